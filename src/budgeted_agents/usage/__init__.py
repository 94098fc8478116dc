"""What one call used, in disjoint token classes."""

from budgeted_agents.usage.counts import MAX_TOKENS, as_count
from budgeted_agents.usage.shapes import region_of, service_region, service_tier
from budgeted_agents.usage.tokens import Usage

__all__ = ["MAX_TOKENS", "Usage", "as_count", "region_of", "service_region", "service_tier"]
