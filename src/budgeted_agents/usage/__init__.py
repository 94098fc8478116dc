"""What one call used, in disjoint token classes."""

from budgeted_agents.usage.counts import MAX_TOKENS, as_count
from budgeted_agents.usage.shapes import iterations, region_of, service_region, service_tier
from budgeted_agents.usage.tokens import Usage

__all__ = ["MAX_TOKENS", "Usage", "as_count", "iterations", "region_of", "service_region", "service_tier"]
