"""Passes that begin together."""

from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from captep_runtime._memory import on_tick


@given(wait=st.floats(0, 100), tick=st.floats(0.01, 10), now=st.floats(0, 1e6))
@example(wait=5.0, tick=0.5, now=0.0)
def test_a_wait_ends_on_a_tick_and_never_early(wait: float, tick: float, now: float) -> None:
    """It is lengthened by less than one tick, up to a whole multiple of it."""
    longer = on_tick(wait, tick, now=now)
    assert wait - 1e-6 <= longer <= wait + tick + 1e-6
    assert abs((now + longer) / tick - round((now + longer) / tick)) < 1e-3


def test_without_a_tick_nothing_is_lengthened() -> None:
    """0 means at once."""
    assert on_tick(timedelta(seconds=5).total_seconds(), 0.0, now=3.3) == 5.0
