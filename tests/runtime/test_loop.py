"""The loop: who runs when, who wakes whom, and what a failing key does to the others."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from captep_core import (
    JSON,
    Action,
    Backoff,
    Decision,
    ObjectRef,
    Observed,
    ReconcileState,
    Reverted,
    Unreadable,
)
from captep_core.errors import GatewayError
from captep_core.ports import Answer, Decide, Read
from captep_runtime import InMemoryMetrics, Loop, Pass, Tuning
from tests.runtime.toys import KEY, NOW, Clock, Said, Server, child, create, event, patch, wants

EXACT = Tuning(jitter=0)
OTHER = ObjectRef("example.org/v1", "Toy", "fleet", "osaka")
LABELS = {"controller": "captep"}
QUEUE = {**LABELS, "name": "captep"}


class Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.passes: list[tuple[ObjectRef, str]] = []
        self.failures: list[tuple[ObjectRef, str]] = []
        self.alarms: list[tuple[ObjectRef, int]] = []
        self.ids: list[str] = []
        self.done: list[Pass] = []

    def passed(self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass) -> None:
        """Remember who ran, and the verdict before."""
        self.passes.append((key, verdict_before))
        self.ids.append(reconcile_id)
        self.done.append(done)

    def failed(self, key: ObjectRef, reconcile_id: str, what: str) -> None:
        """Remember what was told."""
        self.failures.append((key, what))
        self.ids.append(reconcile_id)

    def alarmed(self, key: ObjectRef, reconcile_id: str, passes: int) -> None:
        """Remember the alarm."""
        self.alarms.append((key, passes))
        self.ids.append(reconcile_id)


class Driven:
    """A loop with a clock that the test moves, and a list of the passes with their times in seconds."""

    def __init__(
        self, decide: Decide, server: Server | None = None, tuning: Tuning = EXACT
    ) -> None:
        self.clock, self.told, self.metrics = Clock(), Told(), InMemoryMetrics()
        self.runs: list[tuple[float, str]] = []
        self.server = server or Server()

        def noted(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
            self.runs.append(((self.clock.time - NOW).total_seconds(), key.name))
            return decide(key, read, state, now=self.clock.time)

        self.loop = Loop(
            noted, self.server, self.clock, tuning=tuning, metrics=self.metrics, reporter=self.told
        )

    def until(self, seconds: float) -> list[tuple[float, str]]:
        """Let the time go on to `seconds` after the start, from wake-up to wake-up; return the passes so far."""
        end = NOW + timedelta(seconds=seconds)
        while True:
            wakeup = self.loop.run_due(self.clock.time)
            if wakeup is None or wakeup > end:
                break
            self.clock.time = wakeup
        self.clock.time = end
        return self.runs


def reads(*refs: ObjectRef, after: float | None = None) -> Decide:
    """Return a Decide that reads `refs` and wants nothing."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        for ref in refs:
            read(ref)
        return Decision((), None if after is None else timedelta(seconds=after), Said())

    return decide


def test_a_quiet_key_runs_at_its_interval() -> None:
    """Nothing changes: one pass per interval and no other."""
    driven = Driven(wants(after=30))
    driven.loop.add(KEY)
    assert driven.until(95) == [(0, "tokyo"), (30, "tokyo"), (60, "tokyo"), (90, "tokyo")]


def test_the_interval_is_spread_but_never_shortened() -> None:
    """With a spread, the second pass comes after the interval and less than a tenth later."""
    driven = Driven(wants(after=30), tuning=Tuning(jitter=0.1))
    driven.loop.add(KEY)
    driven.until(40)
    assert 30 <= driven.runs[1][0] <= 33


def test_each_key_has_a_spread_of_its_own() -> None:
    """Keys that start together do not come back together."""
    driven = Driven(wants(after=30), tuning=Tuning(jitter=0.5))
    driven.loop.add(KEY)
    driven.loop.add(OTHER)
    assert len({at for at, _ in driven.until(45)}) == 3


def test_a_key_without_interval_waits_for_an_event() -> None:
    """Nothing to come back for: the loop has no wake-up, until the object that was read changes."""
    driven = Driven(reads(KEY, child("a")))
    driven.loop.add(KEY)
    assert driven.loop.run_due(NOW) is None
    driven.loop.notify(child("a"))
    assert driven.until(100) == [(0, "tokyo"), (0, "tokyo")]


def test_only_those_who_read_it_are_woken() -> None:
    """A change wakes exactly the keys whose last pass read the object."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        read(child("common"))
        read(child(key.name))
        return Decision((), None, Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    driven.loop.add(OTHER)
    driven.until(1)
    driven.runs.clear()
    for ref in (child("osaka"), child("nobody"), child("common")):
        driven.loop.notify(ref)
        driven.until(1)
        driven.runs.append((-1, ref.name))
    assert driven.runs == [
        (1, "osaka"),
        (-1, "osaka"),
        (-1, "nobody"),
        (1, "osaka"),
        (1, "tokyo"),
        (-1, "common"),
    ]


def test_what_is_no_longer_read_no_longer_wakes() -> None:
    """The second pass reads something else; a change of the first object means nothing any more."""
    targets = [child("a"), child("b"), child("b")]

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        read(targets.pop(0))
        return Decision((), None, Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    driven.until(0)
    driven.loop.notify(child("a"))
    driven.until(0)
    driven.loop.notify(child("a"))
    assert len(driven.until(0)) == 2
    driven.loop.notify(child("b"))
    assert len(driven.until(0)) == 3


def test_a_change_during_the_pass_is_not_missed() -> None:
    """An object changes right after it was read, before the pass has ended: the key runs again."""
    driven: Driven

    class Changing(Server):
        def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
            found = super().read(ref)
            if len(driven.runs) == 1:
                driven.loop.notify(ref)
            return found

    driven = Driven(reads(child("a")), Changing())
    driven.loop.add(KEY)
    assert driven.until(0) == [(0, "tokyo"), (0, "tokyo")]


def test_own_writes_make_the_key_due_at_once() -> None:
    """After a pass that changed something the next one does not wait for a watch event or the interval."""
    remaining = [create("a"), create("b")]

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        return Decision((remaining.pop(0),) if remaining else (), timedelta(seconds=30), Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    assert driven.until(29) == [(0, "tokyo")] * 3


def test_a_new_refusal_is_seen_at_once_and_a_known_one_waits() -> None:
    """The pass after a refusal comes at once; then the same write is tried every 10 s, whatever wakes the key in between."""
    driven = Driven(wants(create("a"), after=30), Server(usual=Answer(403, changed=False)))
    driven.loop.add(KEY)
    driven.until(5)
    driven.loop.add(KEY)
    driven.until(40)
    assert [at for at, _ in driven.runs] == [0, 0, 5, 10, 20, 30, 40]
    assert len(driven.server.sent) == 5


def test_the_error_interval_is_that_of_the_tuning() -> None:
    """It is both when a refused write is looked at again and for how long it is held back."""
    driven = Driven(
        wants(create("a"), after=30),
        Server(usual=Answer(403, changed=False)),
        Tuning(jitter=0, error_interval=timedelta(seconds=3)),
    )
    driven.loop.add(KEY)
    assert [at for at, _ in driven.until(9)] == [0, 0, 3, 6, 9]


def test_a_fight_costs_one_write_per_error_interval() -> None:
    """A write that is accepted and reverted at once: three at the start, then one per 10 s, though the reverter wakes us each second."""
    driven = Driven(wants(patch("a"), after=30))
    driven.loop.add(KEY)
    for second in range(120):
        driven.until(second)
        driven.loop.add(KEY)
    assert len(driven.server.sent) <= 3 + 12
    assert isinstance(driven.loop.state(KEY).refusals[0], Reverted)


def test_the_server_is_left_alone_when_it_asks_for_it() -> None:
    """After Retry-After: 25 nothing wakes the key earlier, not even an event."""
    answer = Answer(429, changed=False, retry_after=timedelta(seconds=25))
    driven = Driven(wants(create("a"), after=5), Server(answer))
    driven.loop.add(KEY)
    driven.until(3)
    driven.loop.add(KEY)
    assert [at for at, _ in driven.until(26)][:2] == [0, 25]


def test_a_short_retry_after_does_not_shorten_the_error_interval() -> None:
    """3 s are asked for, and the write is tried again after 10."""
    driven = Driven(
        wants(create("a"), after=30),
        Server(Answer(429, changed=False, retry_after=timedelta(seconds=3))),
    )
    driven.loop.add(KEY)
    assert [at for at, _ in driven.until(10)][:2] == [0, 10]


def test_a_change_during_a_pass_is_not_lost_to_a_rest() -> None:
    """An Event is answered with Retry-After: 25 in a pass that has nothing to come back for: what changed meanwhile is looked at after that."""

    class Waking(Server):
        def send(self, action: Action) -> Answer:
            driven.loop.notify(child("a"))
            return super().send(action)

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        read(child("a"))
        return Decision((event(),) if len(driven.runs) == 1 else (), None, Said())

    driven = Driven(decide, Waking(Answer(429, changed=False, retry_after=timedelta(seconds=25))))
    driven.loop.add(KEY)
    assert driven.until(100) == [(0, "tokyo"), (25, "tokyo")]


def test_a_key_that_never_rests_is_made_to() -> None:
    """More than 20 passes in a row that change something: one warning, then a rest of 10 s that its own events do not end."""
    number = 0

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        nonlocal number
        number += 1
        return Decision((create(str(number)),), timedelta(seconds=30), Said())

    class Waking(Server):
        def send(self, action: object) -> Answer:
            driven.loop.add(KEY)
            return Answer(201, changed=True)

    driven = Driven(decide, Waking())
    driven.loop.add(KEY)
    driven.until(9)
    assert (len(driven.runs), driven.told.alarms) == (21, [(KEY, 21)])
    assert driven.told.ids[-1] == driven.told.ids[-2]
    driven.until(10)
    assert len(driven.runs) == 42


def test_run_due_ends_although_the_key_does_not() -> None:
    """`limit` bounds the passes of one call; the answer is then not after now."""
    driven = Driven(wants(patch("a")), tuning=Tuning(jitter=0, max_busy_passes=10**9))
    driven.loop.add(KEY)
    driven.loop.add(OTHER)
    assert driven.loop.run_due(NOW, limit=3) == NOW
    assert len(driven.runs) == 3


def test_a_key_that_raises_is_told_once_and_retried_and_stops_nobody() -> None:
    """The same failure is told once; the retries back off; the other key runs as ever. The text of the exception is not told."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        if key == KEY:
            raise LookupError("not-to-be-seen")
        return Decision((), timedelta(seconds=30), Said())

    driven = Driven(decide, tuning=Tuning(jitter=0, backoff=Backoff(base=1, cap=8)))
    driven.loop.add(KEY)
    driven.loop.add(OTHER)
    driven.until(31)
    assert [at for at, name in driven.runs if name == "tokyo"] == [0, 1, 3, 7, 15, 23, 31]
    assert [at for at, name in driven.runs if name == "osaka"] == [0, 30]
    ((key, what),) = driven.told.failures
    assert key == KEY
    assert what.startswith("LookupError at test_loop.py:")
    assert "not-to-be-seen" not in what
    assert driven.metrics.value("controller_runtime_reconcile_panics_total", LABELS) == 7
    assert driven.metrics.value("workqueue_retries_total", QUEUE) == 7
    assert driven.loop.problems(longest_run=timedelta(0)) == ()
    assert (
        driven.metrics.value("controller_runtime_reconcile_total", {**LABELS, "result": "error"})
        == 7
    )


def test_an_error_of_our_own_tells_itself_and_is_no_panic() -> None:
    """A GatewayError says what to do; it counts as an error, and a success in between makes it news again."""
    fails = [True, True, False, True]

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        if fails and fails.pop(0):
            raise GatewayError("log in first")
        return Decision((), timedelta(seconds=1), Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    driven.until(20)
    assert driven.told.failures == [(KEY, "GatewayError: log in first")] * 2
    assert driven.metrics.value("controller_runtime_reconcile_errors_total", LABELS) == 3
    assert driven.metrics.value("controller_runtime_reconcile_panics_total", LABELS) == 0


def test_a_removed_key_is_forgotten() -> None:
    """It runs no more, nothing wakes it, and its recollection is gone; added anew it starts from nothing."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        read(KEY)
        return wants(create("a"))(key, read, state, now=now)

    driven = Driven(decide, Server(usual=Answer(403, changed=False)))
    driven.loop.add(KEY)
    driven.until(0)
    driven.loop.remove(KEY)
    count = len(driven.runs)
    driven.loop.notify(KEY)
    assert driven.loop._reads._readers == {}
    assert (len(driven.until(100)), driven.loop.keys(), driven.loop.state(KEY)) == (
        count,
        (),
        ReconcileState(),
    )
    driven.loop.add(KEY)
    driven.loop.run_due(driven.clock.time, limit=1)
    assert len(driven.runs) == count + 1


def test_a_key_that_is_removed_while_it_runs_does_not_come_back() -> None:
    """The pass under way is finished; what it learned is dropped, and so is its interval."""
    driven: Driven

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        read(child("a"))
        driven.loop.remove(key)
        read(child("b"))
        driven.loop.notify(child("b"))
        return Decision((create("b"),), timedelta(seconds=5), Said("Gone"))

    driven = Driven(decide)
    driven.loop.add(KEY)
    driven.until(100)
    driven.loop.notify(child("a"))
    assert (len(driven.until(200)), driven.loop.state(KEY)) == (1, ReconcileState())
    assert (driven.told.failures, driven.loop._reads._readers) == ([], {})


def test_a_key_that_is_removed_while_it_runs_has_no_rest_to_come_back_from() -> None:
    """Its write is answered with Retry-After after it was removed."""

    class Removing(Server):
        def send(self, action: Action) -> Answer:
            driven.loop.remove(KEY)
            return super().send(action)

    driven = Driven(
        wants(create("a"), after=5),
        Removing(Answer(429, changed=False, retry_after=timedelta(seconds=25))),
    )
    driven.loop.add(KEY)
    assert (driven.until(100), driven.loop.run_due(driven.clock.time)) == ([(0, "tokyo")], None)


def test_keys_are_listed_in_order() -> None:
    """Whichever was added first."""
    driven = Driven(wants())
    driven.loop.add(KEY)
    driven.loop.add(OTHER)
    assert driven.loop.keys() == (OTHER, KEY)


def test_the_verdict_of_the_pass_before_is_handed_to_the_reporter() -> None:
    """The first pass has none before it."""
    driven = Driven(wants(reason="Ready", after=30))
    driven.loop.add(KEY)
    driven.until(30)
    assert driven.told.passes == [(KEY, ""), (KEY, "Ready")]
    assert [done.state for done in driven.told.done] == [ReconcileState((), "Ready")] * 2


def test_every_pass_has_an_id_of_its_own() -> None:
    """One that raised as well."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        if len(driven.runs) == 2:
            raise LookupError
        return Decision((), timedelta(seconds=1), Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    driven.until(3)
    assert len({UUID(each) for each in driven.told.ids}) == len(driven.runs) == 4


def test_what_is_measured() -> None:
    """Results, writes, wake-ups and durations are counted under controller-runtime's names."""
    driven = Driven(
        wants(create("a"), after=30),
        Server(Answer(201, changed=True), usual=Answer(403, changed=False)),
    )
    driven.loop.add(KEY)
    driven.loop.run_due(NOW)
    value = driven.metrics.value
    assert value("captep_effective_writes_total", LABELS) == 1
    assert value("captep_writes_total", {**LABELS, "verb": "create", "code": "403"}) == 1
    assert value("controller_runtime_reconcile_total", {**LABELS, "result": "requeue"}) == 2
    assert value("controller_runtime_reconcile_total", {**LABELS, "result": "requeue_after"}) == 1
    assert value("workqueue_adds_total", QUEUE) == 1
    assert driven.metrics.values("controller_runtime_reconcile_time_seconds", LABELS) == (0, 0, 0)
    driven.clock.time += timedelta(seconds=20)
    driven.loop.measure()
    assert (
        value("workqueue_depth", QUEUE),
        value("controller_runtime_active_workers", LABELS),
    ) == (1, 0)


def test_durations_are_measured() -> None:
    """How long a key was due, how long its pass took, and what came of it: nothing to come back for is a success."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        driven.clock.time += timedelta(seconds=3)
        return Decision((event(),), None, Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    driven.clock.time += timedelta(seconds=20)
    start = driven.clock.time
    driven.loop._run(driven.loop._begin(start.timestamp(), start), start, driven.loop._seconds)  # type: ignore[arg-type]  # one is due
    durations = ("workqueue_queue_duration_seconds", "workqueue_work_duration_seconds")
    assert [driven.metrics.values(name, QUEUE) for name in durations] == [(20,), (3,)]
    assert driven.metrics.values("controller_runtime_reconcile_time_seconds", LABELS) == (3,)
    assert (
        driven.metrics.value("controller_runtime_reconcile_total", {**LABELS, "result": "success"})
        == 1
    )
    assert driven.metrics.value("captep_effective_writes_total", LABELS) == 0


def test_what_is_under_way_is_measured_and_missed() -> None:
    """Two passes, one begun within the other: their sum, the longest, how many; and which one takes longer than it may, not a second before."""
    gauges = ("workqueue_unfinished_work_seconds", "workqueue_longest_running_processor_seconds")
    seen: list[object] = []

    def measured() -> tuple[float, ...]:
        driven.loop.measure()
        return (
            *(driven.metrics.value(name, QUEUE) for name in gauges),
            driven.metrics.value("controller_runtime_active_workers", LABELS),
        )

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        if key == KEY:
            driven.clock.time += timedelta(seconds=100)
            driven.loop.add(OTHER)
            driven.loop.run_due(driven.clock.time)
        else:
            driven.clock.time += timedelta(seconds=200)
            seen.append(measured())
            seen.append(
                [
                    driven.loop.problems(longest_run=timedelta(seconds=longest))
                    for longest in (300, 299, 199)
                ]
            )
        return Decision((), None, Said())

    driven = Driven(decide)
    assert measured() == (0, 0, 0)
    driven.loop.add(KEY)
    driven.until(0)
    stuck = (
        "the pass over Toy fleet/osaka does not end",
        "the pass over Toy fleet/tokyo does not end",
    )
    assert seen == [(500, 300, 2), [(), stuck[1:], stuck]]
    assert measured() == (0, 0, 0)


def threaded(decide: Decide, **options: Any) -> Loop:  # noqa: ANN401  # options of Loop
    """Return a loop for threads, at a time that stands still."""
    clock = Clock()
    return Loop(
        decide, Server(), clock, tuning=EXACT, seconds=lambda: clock.time.timestamp(), **options
    )


def test_workers_have_the_time_of_the_clock_and_are_counted() -> None:
    """What `decide` is given as now, and how many there are."""
    seen, times, metrics = threading.Event(), list[object](), InMemoryMetrics()

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        times.append(now)
        seen.set()
        return Decision((), None, Said())

    loop = threaded(decide, metrics=metrics)
    loop.add(KEY)
    loop.start(workers=2)
    assert seen.wait(20)
    assert loop.stop(timedelta(seconds=20))
    assert (times, metrics.value("controller_runtime_max_concurrent_reconciles", LABELS)) == (
        [NOW],
        2,
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_has_ended_by_itself_is_a_problem() -> None:
    """Which one; once the loop is stopped, that is as it should be."""

    class Faulty(Told):
        def passed(
            self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass
        ) -> None:
            raise LookupError

    loop = threaded(wants(after=None), reporter=Faulty())
    loop.add(KEY)
    loop.start()
    loop._threads[0].join(20)
    assert loop.problems(longest_run=timedelta(seconds=1)) == ("worker-0 has ended",)
    loop.stop(timedelta(0))
    assert loop.problems(longest_run=timedelta(seconds=1)) == ()


def test_workers_share_the_keys_and_never_one_key() -> None:
    """Three workers, three keys, each waiting for the others to be under way at once; one key is never run by two."""
    barrier = threading.Barrier(3, timeout=20)
    lock, running, overlaps = threading.Lock(), set[str](), list[str]()
    everything = threading.Event()
    passes = 0

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        nonlocal passes
        with lock:
            overlaps.extend([key.name] if key.name in running else [])
            running.add(key.name)
        loop.add(key)
        try:
            barrier.wait()
        finally:
            # The barrier is broken at the end, and the pass with it.
            with lock:
                running.discard(key.name)
        with lock:
            passes += 1
            if passes >= 30:
                everything.set()
        return Decision((), None, Said())

    loop = threaded(decide)
    for name in ("a", "b", "c"):
        loop.add(ObjectRef("example.org/v1", "Toy", "fleet", name))
    loop.start(workers=3)
    assert everything.wait(20)
    barrier.abort()
    assert loop.stop(timedelta(seconds=20))
    assert overlaps == []


def under_way(
    release: threading.Event,
) -> tuple[Callable[..., Decision], threading.Event, threading.Event]:
    """Return a Decide that says when it has begun and ended, and ends when it is released."""
    begun, ended = threading.Event(), threading.Event()

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        begun.set()
        release.wait(20)
        ended.set()
        return Decision((), timedelta(0, 0.001), Said())

    return decide, begun, ended


def test_stopping_finishes_what_is_under_way() -> None:
    """The running pass ends, no other begins, and `stop` says that all is done."""
    release = threading.Event()
    blocking, begun, ended = under_way(release)
    worker: list[str] = []

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        worker.append(threading.current_thread().name)
        return blocking(key, read, state, now=now)

    loop = threaded(decide)
    loop.add(KEY)
    loop.start(workers=2)
    assert begun.wait(20)
    assert not loop.stop(timedelta(0))
    idle = [thread for thread in loop._threads if thread.name != worker[0]]
    idle[0].join(20)
    assert not loop.stop(timedelta(0))
    release.set()
    assert loop.stop(timedelta(seconds=20))
    assert ended.is_set()
    assert loop.problems(longest_run=timedelta(0)) == ()


def test_a_pass_that_does_not_end_is_a_problem() -> None:
    """Health names the key; a loop whose workers work has no problem."""
    release = threading.Event()
    decide, begun, _ = under_way(release)
    loop = threaded(decide)
    loop.start()
    assert loop.problems(longest_run=timedelta(0)) == ()
    loop.add(KEY)
    assert begun.wait(20)
    assert loop.problems(longest_run=timedelta(seconds=-1)) == (
        "the pass over Toy fleet/tokyo does not end",
    )
    release.set()
    assert loop.stop(timedelta(seconds=20))


@pytest.mark.parametrize("reason", ["Forbidden", "Timeout"])
def test_the_gateway_is_passed_through(reason: str) -> None:
    """What the gateway answers to a read reaches `decide` as it is."""
    seen: list[object] = []

    class Blind(Server):
        def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
            return Unreadable(reason)

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        seen.append(read(key))
        return Decision((), None, Said())

    driven = Driven(decide, Blind())
    driven.loop.add(KEY)
    driven.until(0)
    assert seen == [Unreadable(reason)]
