"""Deadlines: `Decision.wakes_at` wakes a key in time, whatever its interval and its reads say."""

from datetime import datetime, timedelta

import pytest

from captep_core import Decision, ObjectRef, ReconcileState
from captep_core.errors import DecisionError
from captep_core.ports import Answer, Read
from captep_runtime import Loop, Tuning, run_pass
from captep_runtime._schedule import DEFAULT_TUNING, NEW_KEY, after_pass
from tests.runtime.test_skipped import Versioned
from tests.runtime.toys import KEY, NOW, Clock, Said, ToyServer, child, patch

A = child("a")
DAY = timedelta(days=1)


class Renewing:
    """A `decide` that writes A once a day, and notes the times at which it was called."""

    def __init__(self, interval: timedelta | None, refused_again: timedelta | None = None) -> None:
        self.interval = interval
        self.refused_again = refused_again
        self.due = NOW + DAY
        self.times: list[datetime] = []

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        self.times.append(now)
        read(A)
        if now < self.due:
            return Decision((), self.interval, Said(), wakes_at=self.due)
        self.due += DAY
        return Decision((patch("a"),), self.interval, Said(), wakes_at=self.due)


@pytest.mark.parametrize("interval", [None, timedelta(minutes=5), timedelta(hours=7), 3 * DAY])
@pytest.mark.parametrize("align_to", [0.0, 3600.0])
@pytest.mark.parametrize("sees_versions", [True, False])
def test_a_deadline_is_met_to_the_microsecond(
    interval: timedelta | None, align_to: float, sees_versions: bool
) -> None:
    """Neither the interval, nor its jitter, nor alignment, nor a skipped pass makes it late.

    With versions, the passes between the deadlines are skipped, because nothing that they read has
    changed; the pass at the deadline is not.
    """
    decide, server = Renewing(interval), Versioned()
    server.put(A, "1")
    loop = Loop(
        decide,
        server,
        Clock(),
        tuning=Tuning(align_to=align_to),
        version=server.version if sees_versions else None,
    )
    loop.add(KEY)
    now: datetime | None = NOW
    writes: list[datetime] = []
    while now is not None and now <= NOW + 3 * DAY:
        before = len(server.sent)
        now_next = loop.run_due(now)
        writes += [now] * (len(server.sent) - before)
        now = now_next
    late = timedelta(microseconds=2)
    assert len(writes) == 3
    for number, at in enumerate(writes, start=1):
        assert timedelta(0) <= at - (NOW + number * DAY) <= late
    if sees_versions and interval is not None:
        # The first pass; at each deadline two, for a pass with an effect is followed by another.
        assert len(decide.times) <= 2 + 3 * 3


def test_the_time_of_the_pass_counts() -> None:
    """A pass that takes two seconds leaves two seconds less until the deadline."""
    decide = Renewing(None)
    decide.due = NOW + timedelta(seconds=10)
    done = run_pass(decide, ToyServer(), KEY, ReconcileState(), now=NOW)
    state, requeue = after_pass(NEW_KEY, KEY, done, DEFAULT_TUNING, now=102.0, took=2.0)
    assert (state.wakes_at, requeue.delay) == (110.0, 8.0)


def test_a_deadline_comes_before_the_interval_of_a_refusal() -> None:
    """The pass that it wakes may have other things to do."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((patch("a"),), None, Said(), wakes_at=NOW + timedelta(seconds=4))

    refused = ToyServer(usual=Answer(403, changed=False))
    done = run_pass(decide, refused, KEY, ReconcileState(), now=NOW, backs_off=True)
    assert (done.requeue_after, done.wakes_after) == (timedelta(seconds=4),) * 2


@pytest.mark.parametrize("interval", [None, timedelta(minutes=5)])
def test_a_deadline_that_has_passed_makes_no_busy_loop(interval: timedelta | None) -> None:
    """A decision that does not act on its deadline is asked again after ten seconds."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), interval, Said(), wakes_at=NOW)

    done = run_pass(decide, ToyServer(), KEY, ReconcileState(), now=NOW)
    assert done.requeue_after == timedelta(seconds=10)


def test_a_deadline_without_a_time_zone_is_a_mistake() -> None:
    """It names no moment."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), None, Said(), wakes_at=NOW.replace(tzinfo=None))

    with pytest.raises(DecisionError, match="wakes_at has no time zone, expected an aware time"):
        run_pass(decide, ToyServer(), KEY, ReconcileState(), now=NOW)


@pytest.mark.parametrize(
    ("interval", "deadline", "wait"),
    [(5, None, 5), (5, 3, 3), (5, 9, 5), (None, 9, 9), (None, None, None), (5, 0, 5), (5, -1, 5)],
)
def test_a_decision_says_how_long_to_wait(
    interval: int | None, deadline: int | None, wait: int | None
) -> None:
    """The earlier one of interval and deadline; one that has passed does not count."""
    after, due, expected = (
        None if each is None else timedelta(seconds=each) for each in (interval, deadline, wait)
    )
    decision = Decision((), after, Said(), wakes_at=None if due is None else NOW + due)
    assert decision.wait(now=NOW) == expected
