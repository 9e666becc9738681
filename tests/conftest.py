"""Settings of Hypothesis: no deadline, as a slow machine is no bug; CI repeats its examples."""

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
