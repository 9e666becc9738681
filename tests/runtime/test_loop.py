"""The loop: when a key runs, what wakes it, and what a failing key means for the others."""

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
from tests.runtime.toys import KEY, NOW, Clock, Said, ToyServer, child, create, event, patch, wants

EXACT = Tuning(jitter=0)
OTHER = ObjectRef("example.org/v1", "Toy", "fleet", "osaka")
LABELS = {"controller": "captep"}
QUEUE = {**LABELS, "name": "captep"}


class Recorder:
    """A reporter that keeps everything."""

    def __init__(self) -> None:
        self.passes: list[tuple[ObjectRef, str]] = []
        self.failures: list[tuple[ObjectRef, str]] = []
        self.too_busy_keys: list[tuple[ObjectRef, int]] = []
        self.ids: list[str] = []
        self.done: list[Pass] = []

    def passed(self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass) -> None:
        """Keep the key and the verdict before."""
        self.passes.append((key, verdict_before))
        self.ids.append(reconcile_id)
        self.done.append(done)

    def failed(self, key: ObjectRef, reconcile_id: str, failure: str) -> None:
        """Keep the failure."""
        self.failures.append((key, failure))
        self.ids.append(reconcile_id)

    def too_busy(self, key: ObjectRef, reconcile_id: str, passes: int) -> None:
        """Keep the number of passes."""
        self.too_busy_keys.append((key, passes))
        self.ids.append(reconcile_id)


class Driven:
    """A loop with a clock that the test moves, and its passes with their times in seconds."""

    def __init__(
        self, decide: Decide, server: ToyServer | None = None, tuning: Tuning = EXACT
    ) -> None:
        self.clock = Clock()
        self.reports = Recorder()
        self.metrics = InMemoryMetrics()
        self.runs: list[tuple[float, str]] = []
        self.server = server or ToyServer()

        def noted(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
            self.runs.append(((self.clock.time - NOW).total_seconds(), key.name))
            return decide(key, read, state, now=self.clock.time)

        self.loop = Loop(
            noted,
            self.server,
            self.clock,
            tuning=tuning,
            metrics=self.metrics,
            reporter=self.reports,
        )

    def until(self, seconds: float) -> list[tuple[float, str]]:
        """Go from wake-up to wake-up up to that second; return all passes."""
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
    """Without changes there is one pass per interval and no other."""
    driven = Driven(wants(after=30))
    driven.loop.add(KEY)
    assert driven.until(95) == [(0, "tokyo"), (30, "tokyo"), (60, "tokyo"), (90, "tokyo")]


def test_jitter_lengthens_an_interval_and_never_shortens_it() -> None:
    """The second pass comes after the interval and less than a tenth later."""
    driven = Driven(wants(after=30), tuning=Tuning(jitter=0.1))
    driven.loop.add(KEY)
    driven.until(40)
    assert 30 <= driven.runs[1][0] <= 33


def test_each_key_has_a_jitter_of_its_own() -> None:
    """Keys that start together do not come back together."""
    driven = Driven(wants(after=30), tuning=Tuning(jitter=0.5))
    driven.loop.add(KEY)
    driven.loop.add(OTHER)
    assert len({at for at, _ in driven.until(45)}) == 3


def test_a_key_without_interval_waits_for_an_event() -> None:
    """The loop has no wake-up until an object that the pass read changes."""
    driven = Driven(reads(KEY, child("a")))
    driven.loop.add(KEY)
    assert driven.loop.run_due(NOW) is None
    driven.loop.notify(child("a"))
    assert driven.until(100) == [(0, "tokyo"), (0, "tokyo")]


def test_a_change_wakes_exactly_the_keys_whose_last_pass_read_the_object() -> None:
    """A common object wakes both keys, and an object that no key read wakes none."""

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


def test_an_object_that_the_last_pass_did_not_read_wakes_no_key() -> None:
    """The second pass reads another object: a change of the first one has no effect."""
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


def test_a_change_during_a_pass_makes_the_key_run_again() -> None:
    """The object changes right after the read, before the pass has ended."""
    driven: Driven

    class Changing(ToyServer):
        def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
            found = super().read(ref)
            if len(driven.runs) == 1:
                driven.loop.notify(ref)
            return found

    driven = Driven(reads(child("a")), Changing())
    driven.loop.add(KEY)
    assert driven.until(0) == [(0, "tokyo"), (0, "tokyo")]


def test_an_own_write_makes_the_key_due_at_once() -> None:
    """The next pass waits neither for a watch event nor for the interval."""
    remaining = [create("a"), create("b")]

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        return Decision((remaining.pop(0),) if remaining else (), timedelta(seconds=30), Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    assert driven.until(29) == [(0, "tokyo")] * 3


def test_a_new_refusal_is_seen_at_once_and_a_known_one_waits() -> None:
    """The retries come 10 s apart, whatever wakes the key in between."""
    driven = Driven(wants(create("a"), after=30), ToyServer(usual=Answer(403, changed=False)))
    driven.loop.add(KEY)
    driven.until(5)
    driven.loop.add(KEY)
    driven.until(40)
    assert [at for at, _ in driven.runs] == [0, 0, 5, 10, 20, 30, 40]
    assert len(driven.server.sent) == 5


def test_the_error_interval_of_the_tuning_serves_decisions_without_an_interval() -> None:
    """It is the interval of the passes and the backoff of the write."""
    driven = Driven(
        wants(create("a"), after=30),
        ToyServer(usual=Answer(403, changed=False)),
        Tuning(jitter=0, error_interval=timedelta(seconds=3)),
    )
    driven.loop.add(KEY)
    assert [at for at, _ in driven.until(9)] == [0, 0, 3, 6, 9]


def test_the_interval_of_the_decision_is_the_only_one_after_a_refusal() -> None:
    """Passes, backoff and the cooldown of a busy key last 60 s, whatever the tuning says."""
    refused = ToyServer(usual=Answer(403, changed=False))
    driven = Driven(wants(create("a"), after=30, after_refusal=60), refused)
    driven.loop.add(KEY)
    driven.until(25)
    driven.loop.add(KEY)
    assert [at for at, _ in driven.until(130)] == [0, 0, 25, 60, 120]
    assert len(refused.sent) == 3

    def restless(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        action = create(str(len(busy.runs)))
        return Decision((action,), timedelta(seconds=30), Said(), (), timedelta(seconds=60))

    busy = Driven(restless)
    busy.loop.add(KEY)
    busy.until(59)
    assert len(busy.runs) == 21
    busy.until(60)
    assert len(busy.runs) == 42


def test_a_fight_costs_one_write_per_error_interval() -> None:
    """After three writes there is one per 10 s, although a wake-up comes each second."""
    driven = Driven(wants(patch("a"), after=30))
    driven.loop.add(KEY)
    for second in range(120):
        driven.until(second)
        driven.loop.add(KEY)
    assert len(driven.server.sent) <= 3 + 12
    assert isinstance(driven.loop.state(KEY).refusals[0], Reverted)


def test_a_busy_server_delays_one_write_and_no_pass() -> None:
    """After Retry-After: 600 the key wakes as ever, and its other write goes out at once."""
    answer = Answer(429, changed=False, retry_after=timedelta(seconds=600))

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        wanted = [each for each in (create("a"), create("b")) if each not in driven.server.sent[1:]]
        return wants(*wanted, after=5)(key, read, state, now=now)

    driven = Driven(decide, ToyServer(answer))
    driven.loop.add(KEY)
    driven.until(3)
    driven.loop.add(KEY)
    driven.until(59)
    assert [at for at, _ in driven.runs] == [0, 0, 0, 3, 13, 23, 33, 43, 53]
    assert [action.target.name for action in driven.server.sent] == ["a", "b"]
    driven.until(60)
    assert [action.target.name for action in driven.server.sent] == ["a", "b", "a"]


def test_a_key_that_makes_progress_in_too_many_passes_has_a_cooldown() -> None:
    """The 21st pass in a row gives one warning and 10 s that own wake-ups do not shorten."""
    number = 0

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        nonlocal number
        number += 1
        return Decision((create(str(number)),), timedelta(seconds=30), Said())

    class Waking(ToyServer):
        def send(self, action: object) -> Answer:
            driven.loop.add(KEY)
            return Answer(201, changed=True)

    driven = Driven(decide, Waking())
    driven.loop.add(KEY)
    driven.until(9)
    assert (len(driven.runs), driven.reports.too_busy_keys) == (21, [(KEY, 21)])
    assert driven.reports.ids[-1] == driven.reports.ids[-2]
    driven.until(10)
    assert len(driven.runs) == 42


def test_run_due_returns_after_its_limit_although_keys_are_due() -> None:
    """The answer is then not after the time of the call."""
    driven = Driven(wants(patch("a")), tuning=Tuning(jitter=0, max_busy_passes=10**9))
    driven.loop.add(KEY)
    driven.loop.add(OTHER)
    assert driven.loop.run_due(NOW, limit=3) == NOW
    assert len(driven.runs) == 3


def test_a_key_that_raises_is_reported_once_and_retried_and_stops_no_other_key() -> None:
    """The retries back off, and the report lacks the text of the exception."""

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
    ((key, failure),) = driven.reports.failures
    assert key == KEY
    assert failure.startswith("LookupError at test_loop.py:")
    assert "not-to-be-seen" not in failure
    assert driven.metrics.value("controller_runtime_reconcile_panics_total", LABELS) == 7
    assert driven.metrics.value("workqueue_retries_total", QUEUE) == 7
    assert driven.loop.problems(longest_run=timedelta(0)) == ()
    assert (
        driven.metrics.value("controller_runtime_reconcile_total", {**LABELS, "result": "error"})
        == 7
    )


def test_an_error_of_captep_is_reported_with_its_text_and_is_no_panic() -> None:
    """It counts as an error, and after a success in between the loop reports it again."""
    fails = [True, True, False, True]

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        if fails and fails.pop(0):
            raise GatewayError("log in first")
        return Decision((), timedelta(seconds=1), Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    driven.until(20)
    assert driven.reports.failures == [(KEY, "GatewayError: log in first")] * 2
    assert driven.metrics.value("controller_runtime_reconcile_errors_total", LABELS) == 3
    assert driven.metrics.value("controller_runtime_reconcile_panics_total", LABELS) == 0


def test_a_removed_key_runs_no_more_and_has_no_state() -> None:
    """Nothing wakes it; added again, it starts with an empty state."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        read(KEY)
        return wants(create("a"))(key, read, state, now=now)

    driven = Driven(decide, ToyServer(usual=Answer(403, changed=False)))
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


def test_a_key_that_is_removed_during_its_pass_does_not_come_back() -> None:
    """The pass ends, and the loop drops its state and its interval."""
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
    assert (driven.reports.failures, driven.loop._reads._readers) == ([], {})


def test_a_key_that_is_removed_during_its_pass_has_no_cooldown_to_come_back_from() -> None:
    """The answer to its write, with Retry-After, comes after the removal."""

    class Removing(ToyServer):
        def send(self, action: Action) -> Answer:
            driven.loop.remove(KEY)
            return super().send(action)

    driven = Driven(
        wants(create("a"), after=5),
        Removing(Answer(429, changed=False, retry_after=timedelta(seconds=25))),
    )
    driven.loop.add(KEY)
    assert (driven.until(100), driven.loop.run_due(driven.clock.time)) == ([(0, "tokyo")], None)


def test_keys_are_sorted() -> None:
    """The order of the calls to `add` does not matter."""
    driven = Driven(wants())
    driven.loop.add(KEY)
    driven.loop.add(OTHER)
    assert driven.loop.keys() == (OTHER, KEY)


def test_the_reporter_gets_the_verdict_of_the_pass_before() -> None:
    """It is empty for the first pass."""
    driven = Driven(wants(reason="Ready", after=30))
    driven.loop.add(KEY)
    driven.until(30)
    assert driven.reports.passes == [(KEY, ""), (KEY, "Ready")]
    assert [done.state for done in driven.reports.done] == [ReconcileState((), "Ready")] * 2


def test_every_pass_has_an_id_of_its_own() -> None:
    """A pass that raises has one too."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        if len(driven.runs) == 2:
            raise LookupError
        return Decision((), timedelta(seconds=1), Said())

    driven = Driven(decide)
    driven.loop.add(KEY)
    driven.until(3)
    assert len({UUID(each) for each in driven.reports.ids}) == len(driven.runs) == 4


def test_the_loop_counts_results_writes_and_wake_ups() -> None:
    """The names are controller-runtime's."""
    driven = Driven(
        wants(create("a"), after=30),
        ToyServer(Answer(201, changed=True), usual=Answer(403, changed=False)),
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


def test_the_loop_measures_how_long_a_key_was_due_and_its_pass_took() -> None:
    """A pass without an interval counts as a success."""

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


def test_the_loop_measures_passes_under_way_and_names_those_that_take_too_long() -> None:
    """One of two passes begins within the other; neither is a problem before its time."""
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
    """Return a loop for threads, with a clock that stands still."""
    clock = Clock()
    return Loop(
        decide, ToyServer(), clock, tuning=EXACT, seconds=lambda: clock.time.timestamp(), **options
    )


def test_workers_use_the_time_of_the_clock_and_a_gauge_has_their_number() -> None:
    """`decide` gets the time of the clock as `now`."""
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
def test_a_worker_that_dies_is_a_problem() -> None:
    """The problem names the worker; one that ends after `stop` is not a problem."""

    class Faulty(Recorder):
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


def test_a_worker_that_has_not_begun_is_no_problem() -> None:
    """A probe may come while the loop starts its threads."""
    loop = threaded(wants())
    loop._threads = (threading.Thread(target=print, name="worker-0"),)
    assert loop.problems(longest_run=timedelta(seconds=1)) == ()


def test_workers_share_the_keys_and_never_one_key() -> None:
    """Each of three passes waits until all three are under way; no two workers run one key."""
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
            # The last passes raise, because the test aborts the barrier.
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
    """Return a Decide that ends on `release`, and its events for begin and end."""
    begun, ended = threading.Event(), threading.Event()

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        begun.set()
        release.wait(20)
        ended.set()
        return Decision((), timedelta(0, 0.001), Said())

    return decide, begun, ended


def test_stop_lets_passes_under_way_end_and_starts_no_other() -> None:
    """`stop` returns True once all have ended."""
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
    """The problem names the key; a loop with busy workers has no problem."""
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
def test_the_answer_to_a_read_reaches_decide_unchanged(reason: str) -> None:
    """An unreadable object stays unreadable for the same reason."""
    seen: list[object] = []

    class Blind(ToyServer):
        def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
            return Unreadable(reason)

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
        seen.append(read(key))
        return Decision((), None, Said())

    driven = Driven(decide, Blind())
    driven.loop.add(KEY)
    driven.until(0)
    assert seen == [Unreadable(reason)]
