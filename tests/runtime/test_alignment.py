"""Waits that end at a multiple of `align_to`, so that passes begin together."""

from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from captep_runtime._schedule import aligned


@given(wait=st.floats(0, 100), align_to=st.floats(0.01, 10), now=st.floats(0, 1e6))
@example(wait=5.0, align_to=0.5, now=0.0)
def test_an_aligned_wait_ends_at_a_multiple_and_never_early(
    wait: float, align_to: float, now: float
) -> None:
    """The wait grows by less than one `align_to`."""
    longer = aligned(wait, align_to, now=now)
    assert wait - 1e-6 <= longer <= wait + align_to + 1e-6
    assert abs((now + longer) / align_to - round((now + longer) / align_to)) < 1e-3


def test_a_wait_without_alignment_keeps_its_length() -> None:
    """0 switches the alignment off."""
    assert aligned(timedelta(seconds=5).total_seconds(), 0.0, now=3.3) == 5.0
