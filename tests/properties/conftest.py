"""How long the properties run.

By default each runs the same examples every time, all of them together for about a minute on one core. For a long run
with other examples each time set CAPTEP_EXAMPLES_SCALE: with 50, each property tries fifty times as many::

    CAPTEP_EXAMPLES_SCALE=50 python -m pytest tests/properties --timeout 0
"""

from tests.properties.profile import SCALE


def pytest_report_header() -> str:
    """Tell at which scale the properties run."""
    return f"properties: CAPTEP_EXAMPLES_SCALE={SCALE}" + (
        "" if SCALE > 1 else " (the same examples each time)"
    )
