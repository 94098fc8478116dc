"""What holds for every test: nothing leaves the machine, and Hypothesis draws the same examples at every run."""

import os

# Read when these libraries are first imported, so they are set before any test module is.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["LANGCHAIN_TRACING_V2"] = "false"

from hypothesis import HealthCheck, settings

_SLOW_MACHINE = [HealthCheck.too_slow]

settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.register_profile("search", max_examples=2_000, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
