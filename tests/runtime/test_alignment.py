"""When the next look comes: passes begin together, and the looks of a fleet spread."""

from collections import Counter
from datetime import timedelta

from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from captep_runtime._schedule import Tuning, aligned, next_look, place_of, spread
from tests.runtime.toys import KEY


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


@given(
    interval=st.floats(0, 300),
    place=st.floats(0, 1),
    fraction=st.floats(0, 1),
    now=st.floats(0, 1e6),
)
@example(interval=30.0, place=0.5, fraction=0.0, now=7.0)
def test_a_spread_wait_keeps_the_bounds_of_the_jitter(
    interval: float, place: float, fraction: float, now: float
) -> None:
    """It is never shorter than the interval, and longer by the fraction at most."""
    wait = spread(interval, place, fraction=fraction, now=now)
    assert interval - 1e-6 <= wait <= interval * (1 + fraction) + 1e-6


def test_the_looks_of_a_fleet_spread_after_a_start() -> None:
    """1,000 keys that all began in one second fill the half minute after ten: the busiest second
    has less than twice the mean, where fixed periods leave twelve times.
    """
    tuning, looks = Tuning(align_to=1.0), Counter[int]()
    for number in range(1000):
        place, now = place_of(evolve(KEY, name=f"c{number}")), 0.0
        while now < 660:
            now += next_look(30.0, place, tuning, now=now, wakes_at=float("inf"))
            looks[round(now)] += 1
    last = [looks[second] for second in range(600, 660)]
    assert max(last) < 2 * sum(last) / len(last)
    first = [looks[second] for second in range(60)]
    assert max(first) > 5 * sum(first) / len(first)
