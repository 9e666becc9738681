"""The loop around the work queue: many keys, one pass per key at a time, workers that never sleep.

Rules of this module:

1. A loop is driven either by `run_due` (the caller's thread and time) or by `start` and `stop`
   (threads of its own), not by both.
2. The index notes an object before the pass reads it: a change during the pass wakes the key again.
3. A pass that makes progress makes its key due at once; the same failure again waits for its
   interval.
4. A loop that can see versions skips a pass when the last one did nothing and nothing that it read
   has changed. A deadline of the decision ends that: time alone is a change then.
5. An exception is a bug or an unreachable server. The loop logs it once, counts it, retries after a
   backoff, and goes on with the other keys.
"""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from captep_core._actions import ObjectRef, RecordEvent, write_of
from captep_core._observation import ReconcileState
from captep_core._remembered import ReadSet
from captep_core._workqueue import WorkQueue
from captep_core.errors import CaptepError
from captep_core.ports import Clock, Decide, Gateway
from captep_runtime._execute import Pass, run_pass
from captep_runtime._log import SILENT, Reporter, described
from captep_runtime._metrics import NO_METRICS, Metrics
from captep_runtime._reads import (
    ListVersion,
    Manifests,
    ReadIndex,
    TrackingGateway,
    Version,
)
from captep_runtime._schedule import (
    DEFAULT_TUNING,
    NEW_KEY,
    KeyState,
    Requeue,
    Tuning,
    after_pass,
    after_skip,
    next_look,
)

__all__ = ["Loop"]

_NEVER: Final = float("inf")


@frozen
class _Run:
    """One pass under way. `state`: of the key at its start. `due_at`, `started_at`: seconds."""

    key: ObjectRef
    state: KeyState
    reconcile_id: str
    due_at: float
    started_at: float


class Loop:
    """Runs `decide` for keys that are due, that somebody added, or whose objects changed."""

    def __init__(
        self,
        decide: Decide,
        gateway: Gateway,
        clock: Clock,
        *,
        name: str = "captep",
        tuning: Tuning = DEFAULT_TUNING,
        metrics: Metrics = NO_METRICS,
        reporter: Reporter = SILENT,
        seconds: Callable[[], float] | None = None,
        version: Version | None = None,
        list_version: ListVersion | None = None,
    ) -> None:
        """Create a loop without keys.

        Args:
            decide: the pure reconcile function.
            gateway: the server; all workers use it at once.
            clock: the source of the time that `decide` gets when threads drive the loop.
            name: of the controller, in metrics.
            tuning: intervals, backoff and limits.
            metrics: the receiver of measurements.
            reporter: the receiver of pass results; `Logger` writes a line for each change.
            seconds: the clock of the queue, which must not go back: `time.monotonic` for a real
                cluster, by default that of `clock`.
            version: the version of an object. With it the loop skips a pass when nothing that the
                last one read has changed, at a tenth of the cost of deciding again. It fits a
                `decide` that goes on doing nothing while nothing changes, until the deadline that
                it names. None for a pass at each interval.
            list_version: the version of a list. None for a pass at each interval of a key that
                lists.
        """
        self._decide = decide
        self._gateway = gateway
        self._clock = clock
        self._labels = {"controller": name}
        self._queue_labels = {"controller": name, "name": name}
        self._tuning = tuning
        self._metrics = metrics
        self._reporter = reporter
        self._seconds = seconds or (lambda: clock.now().timestamp())
        self._version = version
        self._list_version = list_version
        self._queue: WorkQueue[ObjectRef] = WorkQueue(tuning.backoff)
        self._states: dict[ObjectRef, KeyState] = {}
        self._runs: dict[ObjectRef, _Run] = {}
        self._reads = ReadIndex()
        # Guards everything above but the index; workers wait on it for the next key that is due.
        self._changed = threading.Condition()
        # The deadline of the one worker that waits with a timeout; the others wait for a
        # notification.
        self._timer = _NEVER
        self._stopping = False
        self._threads: tuple[threading.Thread, ...] = ()

    def add(self, key: ObjectRef) -> None:
        """Keep `key`, and make it due now."""
        with self._changed:
            self._states.setdefault(key, KeyState())
            self._wake(key)

    def remove(self, key: ObjectRef) -> None:
        """Forget `key` and its state. A pass under way ends, and nothing follows from it."""
        with self._changed:
            self._states.pop(key, None)
            self._queue.forget(key)
            self._reads.keep_only(key, ())

    def notify(
        self,
        ref: ObjectRef,
        manifests: Manifests | None = None,
        *,
        but: ObjectRef | None = None,
    ) -> None:
        """Wake exactly the keys whose last pass read `ref`: it changed, appeared or went.

        A pass that listed read each object that is, was or becomes part of the list.

        Args:
            ref: the object.
            manifests: returns the object before and after the change, as far as each exists, for
                lists by label. None wakes every key that lists its kind and namespace.
            but: a key that sleeps on.
        """
        readers = self._reads.readers(ref, manifests)
        if but is not None:
            readers.discard(but)
        with self._changed:
            # In a new fleet a thousand keys list, and nearly all of them are due already.
            now = self._seconds()
            asleep = [key for key in readers if not self._queue.is_due(key, now=now)]
            for key in sorted(asleep, key=str):
                self._wake(key)

    def keys(self) -> tuple[ObjectRef, ...]:
        """Return the keys of the loop, sorted."""
        with self._changed:
            return tuple(sorted(self._states, key=str))

    def state(self, key: ObjectRef) -> ReconcileState:
        """Return the state that the next pass over `key` will get."""
        with self._changed:
            return self._states.get(key, NEW_KEY).state

    def run_due(self, now: datetime, *, limit: int = 10_000) -> datetime | None:
        """Run, in this thread, every pass that is due at `now`.

        Return when the next key is due, None when none waits. After `limit` passes the method
        returns although keys are still due (its answer is then not after `now`), so that a `decide`
        that never comes to rest cannot keep the caller for ever.
        """
        for _ in range(limit):
            run = self._begin(now.timestamp(), now)
            if run is None:
                break
            self._run(run, now, now.timestamp)
        with self._changed:
            due_at = self._queue.next_wakeup()
        return None if due_at is None else _not_before(due_at, now)

    def start(self, workers: int = 1) -> None:
        """Run passes in `workers` threads until `stop`."""
        self._metrics.set("controller_runtime_max_concurrent_reconciles", self._labels, workers)
        self._threads = tuple(
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(workers)
        )
        for thread in self._threads:
            thread.start()

    def stop(self, grace: timedelta) -> bool:
        """Start no further pass; return whether those under way have ended within `grace`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + grace.total_seconds()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def problems(self, *, longest_run: timedelta) -> tuple[str, ...]:
        """Name the workers that died and the passes that have taken longer than `longest_run`."""
        with self._changed:
            now = self._seconds()
            stuck = sorted(
                str(run.key)
                for run in self._runs.values()
                if now - run.started_at > longest_run.total_seconds()
            )
        # A thread that has not begun yet has no identity, and is not dead.
        dead = [
            thread.name
            for thread in self._threads
            if thread.ident is not None and not thread.is_alive() and not self._stopping
        ]
        return (
            *(f"{name} has ended" for name in dead),
            *(f"the pass over {key} does not end" for key in stuck),
        )

    def measure(self) -> None:
        """Set the gauges that change while nothing happens; call it before reading the metrics."""
        with self._changed:
            now = self._seconds()
            under_way = [now - run.started_at for run in self._runs.values()]
            depth = self._queue.depth(now=now)
        longest = max(under_way, default=0.0)
        gauges = {
            "workqueue_depth": depth,
            "workqueue_unfinished_work_seconds": sum(under_way),
            "workqueue_longest_running_processor_seconds": longest,
        }
        for name, value in gauges.items():
            self._metrics.set(name, self._queue_labels, value)
        self._metrics.set("controller_runtime_active_workers", self._labels, len(under_way))

    def _wake(self, key: ObjectRef) -> None:
        state = self._states.get(key)
        if state is not None:
            now = self._seconds()
            self._queue.add(key, now=now, delay=max(0.0, state.cooldown_until - now))
            self._metrics.count("workqueue_adds_total", self._queue_labels)
            self._changed.notify()

    def _work(self) -> None:
        while (run := self._next_run()) is not None:
            self._run(run, self._clock.now(), self._seconds)

    def _next_run(self) -> _Run | None:
        """Wait for a key that is due; None once the loop stops."""
        with self._changed:
            while not self._stopping:
                run = self._begin(self._seconds(), self._clock.now())
                if run is not None:
                    # Another worker must take over the timer, for this one will be busy.
                    self._changed.notify()
                    return run
                self._wait()
        return None

    def _wait(self) -> None:
        """Wait for a notification or, in one worker only, for the next deadline.

        With a timeout in every worker, all of them would wake up for the same key.
        """
        due_at = self._queue.next_wakeup()
        if due_at is None or due_at >= self._timer:
            self._changed.wait()
            return
        self._timer = due_at
        self._changed.wait(max(0.0, due_at - self._seconds()))
        # While this worker waited, another one may have set the timer to an earlier key.
        if self._timer == due_at:
            self._timer = _NEVER

    def _begin(self, now: float, at: datetime) -> _Run | None:
        """Start a pass over the key that has been due the longest, if any; skip quiet keys."""
        run: _Run | None = None
        skips = 0
        with self._changed:
            while run is None:
                due_at = self._queue.next_wakeup()
                key = self._queue.pop(now=now)
                if key is None or due_at is None:
                    break
                state = self._states[key]
                skipped = self._skipped(state, now, at)
                if skipped is not None:
                    self._skip(key, skipped, now)
                    skips += 1
                else:
                    run = _Run(key, state, str(uuid.uuid4()), due_at, now)
                    self._runs[key] = run
        if skips:
            self._count_results("requeue_after", skips)
        if run is not None:
            waited = now - run.due_at
            self._metrics.observe("workqueue_queue_duration_seconds", self._queue_labels, waited)
        return run

    def _skipped(self, state: KeyState, now: float, at: datetime) -> KeyState | None:
        """Return the state after a skipped pass, None when the pass must run."""
        if state.seen is None or self._version is None or now >= state.wakes_at:
            return None
        if not state.seen.is_unchanged(self._version, self._list_version):
            return None
        return after_skip(state, now=at)

    def _skip(self, key: ObjectRef, state: KeyState, now: float) -> None:
        self._states[key] = state
        wait = next_look(
            state.interval, state.place, self._tuning, now=now, wakes_at=state.wakes_at
        )
        self._queue.done(key, now=now, requeue_after=wait)

    def _run(self, run: _Run, now: datetime, seconds: Callable[[], float]) -> None:
        gateway = TrackingGateway(
            self._gateway, self._reads, run.key, self._version, self._list_version
        )
        try:
            done = run_pass(
                self._decide,
                gateway,
                run.key,
                run.state.state,
                now=now,
                history=run.state.history,
                error_interval=self._tuning.error_interval,
                backs_off=True,
            )
        except Exception as exc:  # noqa: BLE001 - rule 5: whatever decide or the gateway raises, the other keys go on
            self._fail(run, exc, seconds())
        else:
            self._finish(run, done, gateway.settle(), seconds())

    def _finish(self, run: _Run, done: Pass, seen: ReadSet | None, now: float) -> None:
        took = now - run.started_at
        state, requeue = after_pass(
            run.state, run.key, done, self._tuning, now=now, seen=seen, took=took
        )
        self._count(run, _result(requeue), now)
        self._count_writes(done)
        self._reporter.passed(run.key, run.reconcile_id, run.state.verdict, done)
        if requeue.is_too_busy:
            self._reporter.too_busy(run.key, run.reconcile_id, run.state.busy_passes + 1)
        with self._changed:
            self._keep(run, state)
            if requeue.is_too_busy:
                # A wake-up that came during the pass must not end the cooldown either.
                self._queue.forget(run.key)
            self._queue.done(run.key, now=now)
            if requeue.delay is not None and run.key in self._states:
                self._queue.add(run.key, now=now, delay=requeue.delay)
            del self._runs[run.key]

    def _fail(self, run: _Run, exc: Exception, now: float) -> None:
        failure = described(exc)
        self._count(run, "error", now)
        self._metrics.count("controller_runtime_reconcile_errors_total", self._labels)
        self._metrics.count("workqueue_retries_total", self._queue_labels)
        if not isinstance(exc, CaptepError):
            self._metrics.count("controller_runtime_reconcile_panics_total", self._labels)
        if failure != run.state.failure:
            self._reporter.failed(run.key, run.reconcile_id, failure)
        with self._changed:
            self._keep(run, evolve(run.state, failure=failure))
            self._queue.failed(run.key, now=now)
            del self._runs[run.key]

    def _keep(self, run: _Run, state: KeyState) -> None:
        """Keep the state after a pass, unless somebody removed the key during it.

        A key that was added again meanwhile is a new one and starts with an empty state.
        """
        current = self._states.get(run.key)
        if current is run.state:
            self._states[run.key] = state
        if current is None:
            self._reads.keep_only(run.key, ())

    def _count(self, run: _Run, result: str, now: float) -> None:
        took = now - run.started_at
        self._count_results(result, 1)
        self._metrics.observe("controller_runtime_reconcile_time_seconds", self._labels, took)
        self._metrics.observe("workqueue_work_duration_seconds", self._queue_labels, took)

    def _count_results(self, result: str, times: int) -> None:
        labels = {**self._labels, "result": result}
        self._metrics.count("controller_runtime_reconcile_total", labels, times)

    def _count_writes(self, done: Pass) -> None:
        for action, answer in done.sent:
            labels = {**self._labels, "verb": write_of(action).verb, "code": str(answer.status)}
            self._metrics.count("captep_writes_total", labels)
            if answer.changed and not isinstance(action, RecordEvent):
                self._metrics.count("captep_effective_writes_total", self._labels)


def _result(requeue: Requeue) -> str:
    """Return the `result` label of controller-runtime."""
    if requeue.delay is None:
        return "success"
    return "requeue" if requeue.delay == 0 else "requeue_after"


def _not_before(due_at: float, now: datetime) -> datetime:
    """Return `due_at` as a time, never an earlier one.

    A datetime has whole microseconds: rounded down, the time would come just too early, for ever.
    """
    at = now + timedelta(seconds=due_at - now.timestamp())
    while at.timestamp() < due_at:
        at += timedelta(microseconds=1)
    return at
