"""A decision: when the next look is due."""

from datetime import UTC, datetime, timedelta

import pytest

from captep_core import Decision, Unknown


@pytest.mark.parametrize(
    ("interval", "deadline", "wait"),
    [
        (None, None, None),
        (30, None, 30),
        (None, 10, 10),
        (30, 10, 10),
        (30, 60, 30),
        (30, 0, 30),
        (None, -1, None),
    ],
)
def test_the_wait_ends_at_the_interval_or_at_a_deadline_ahead(
    interval: int | None, deadline: int | None, wait: int | None
) -> None:
    """The earlier of both counts, in seconds from now; a deadline that has come counts no more."""
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def seconds(number: int | None) -> timedelta | None:
        return None if number is None else timedelta(seconds=number)

    ahead = seconds(deadline)
    wakes_at = None if ahead is None else now + ahead
    decision = Decision((), seconds(interval), Unknown("Waiting", "it comes"), wakes_at=wakes_at)
    assert decision.wait(now=now) == seconds(wait)
