"""How long the properties run.

By default each property runs the same examples every time, all of them in about a minute on one
core. CAPTEP_EXAMPLES_SCALE asks for a long run with other examples each time: with 50, each
property tries fifty times as many::

    CAPTEP_EXAMPLES_SCALE=50 python -m pytest tests/properties --timeout 0
"""

from tests.properties.profile import SCALE


def pytest_report_header() -> str:
    """Say at which scale the properties run."""
    return f"properties: CAPTEP_EXAMPLES_SCALE={SCALE}" + (
        "" if SCALE > 1 else " (the same examples each time)"
    )
