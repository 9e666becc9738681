"""How Hypothesis runs here: no deadline, for a slow machine is no bug, and the same examples each time where nobody watches (CI)."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "captep",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("captep")
