"""What one call used, in disjoint token classes."""

from budgeted_agents.usage.shapes import service_tier
from budgeted_agents.usage.tokens import Usage

__all__ = ["Usage", "service_tier"]
