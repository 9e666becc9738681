"""The loop around the work queue: many keys, one pass per key at a time, and nothing sleeps that could be told to wake.

Rules of this module:

1. A loop is driven either by `run_due` (the caller's thread and time) or by `start` and `stop` (threads of its own), not by both.
2. What a pass reads is noted before it is read: a change that comes during the pass wakes the key again.
3. A pass after which the next one will see something new makes its key due at once; the same failure again waits for its interval.
4. A key whose last pass did nothing is let off a pass when nothing that it read has changed, if the loop is told how to see that.
5. An exception is a bug or an unreachable server: it is told once, counted and retried after a backoff, and stops no other key.
"""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import evolve, frozen

from captep_core import ObjectRef, ReconcileState, RecordEvent, WorkQueue, write_of
from captep_core.errors import CaptepError
from captep_core.ports import Clock, Decide, Gateway
from captep_runtime._execute import Pass, run_pass
from captep_runtime._log import SILENT, Reporter, described
from captep_runtime._metrics import NO_METRICS, Metrics
from captep_runtime._reads import ReadIndex, ReadSet, TrackingGateway, Version
from captep_runtime._schedule import (
    DEFAULT_TUNING,
    NEW_KEY,
    KeyState,
    Tuning,
    after_pass,
    aligned,
    skipped,
)

__all__ = ["Loop"]


@frozen
class _Run:
    """One pass that is under way."""

    key: ObjectRef
    kept: KeyState
    reconcile_id: str
    started_at: float


class Loop:
    """Runs `decide` for keys when they are due, when something they read changes, and when somebody asks."""

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
    ) -> None:
        """Create a loop without keys.

        Args:
            decide: the pure reconcile function.
            gateway: the server, used by all workers at once.
            clock: tells `decide` the time when threads drive the loop.
            name: of the controller, in metrics.
            tuning: intervals, backoff and patience.
            metrics: where measurements go.
            reporter: who is told about passes; `Logger` writes a line where something changed.
            seconds: the clock of the queue, which must not go back: `time.monotonic` for a real cluster, by default that of `clock`.
            version: lets a key off a pass when nothing that its last one read has changed, at a tenth of the cost of deciding again: for a
                `decide` that goes on doing nothing while nothing changes, whatever the time. None for a pass at each interval.
        """
        self._decide, self._gateway, self._clock = decide, gateway, clock
        self._labels, self._queue_labels = {"controller": name}, {"controller": name, "name": name}
        self._tuning, self._metrics, self._reporter = tuning, metrics, reporter
        self._seconds = seconds or (lambda: clock.now().timestamp())
        self._version = version
        self._queue: WorkQueue[ObjectRef] = WorkQueue(tuning.backoff)
        self._kept: dict[ObjectRef, KeyState] = {}
        self._runs: dict[ObjectRef, _Run] = {}
        self._reads = ReadIndex()
        # Guards everything above but the index; workers wait on it for the next key that is due.
        self._changed = threading.Condition()
        # Until when a worker waits for the clock; the others wait to be told. inf when none does.
        self._alarm = float("inf")
        self._stopping = False
        self._threads: tuple[threading.Thread, ...] = ()

    def add(self, key: ObjectRef) -> None:
        """Keep `key`, and make it due now."""
        with self._changed:
            self._kept.setdefault(key, KeyState())
            self._wake(key)

    def remove(self, key: ObjectRef) -> None:
        """Forget `key` and what is remembered of it. A pass that is under way is finished, and nothing follows from it."""
        with self._changed:
            self._kept.pop(key, None)
            self._queue.forget(key)
            self._reads.keep_only(key, ())

    def notify(self, ref: ObjectRef) -> None:
        """Say that `ref` has changed, appeared or gone: exactly the keys whose last pass read it are due now."""
        with self._changed:
            for key in self._reads.readers(ref):
                self._wake(key)

    def keys(self) -> tuple[ObjectRef, ...]:
        """Return the keys that the loop keeps, sorted."""
        with self._changed:
            return tuple(sorted(self._kept, key=str))

    def state(self, key: ObjectRef) -> ReconcileState:
        """Return what the next pass over `key` will be given."""
        with self._changed:
            return self._kept.get(key, NEW_KEY).state

    def run_due(self, now: datetime, *, limit: int = 10_000) -> datetime | None:
        """Run, in this thread, every pass that is due at `now`; return when the next one is due, None when none waits.

        At most `limit` passes are run, lest a `decide` that never rests keeps the caller for ever: then the answer is not after `now`.
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
        """Start no further pass, wait up to `grace` for those under way, and say whether all of them have ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + grace.total_seconds()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def problems(self, *, longest_run: timedelta) -> tuple[str, ...]:
        """Say what is wrong with the workers: one has died, or a pass has been under way for more than `longest_run`."""
        with self._changed:
            now = self._seconds()
            stuck = sorted(
                str(run.key)
                for run in self._runs.values()
                if now - run.started_at > longest_run.total_seconds()
            )
        dead = [
            thread.name for thread in self._threads if not thread.is_alive() and not self._stopping
        ]
        return (
            *(f"{name} has ended" for name in dead),
            *(f"the pass over {key} does not end" for key in stuck),
        )

    def measure(self) -> None:
        """Set the gauges that change while nothing happens; to be called before the metrics are read."""
        with self._changed:
            now = self._seconds()
            under_way = [now - run.started_at for run in self._runs.values()]
            depth = self._queue.depth(now=now)
        self._metrics.set("workqueue_depth", self._queue_labels, depth)
        self._metrics.set("workqueue_unfinished_work_seconds", self._queue_labels, sum(under_way))
        self._metrics.set(
            "workqueue_longest_running_processor_seconds",
            self._queue_labels,
            max(under_way, default=0.0),
        )
        self._metrics.set("controller_runtime_active_workers", self._labels, len(under_way))

    def _wake(self, key: ObjectRef) -> None:
        kept = self._kept.get(key)
        if kept is not None:
            now = self._seconds()
            self._queue.add(key, now=now, delay=max(0.0, kept.cooldown_until - now))
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
                    # Somebody else looks at the clock now.
                    self._changed.notify()
                    return run
                self._wait()
        return None

    def _wait(self) -> None:
        """Wait to be told, or for the next key to be due: one worker does that, lest all of them wake for the same key."""
        due_at = self._queue.next_wakeup()
        if due_at is None or due_at >= self._alarm:
            self._changed.wait()
            return
        self._alarm = due_at
        self._changed.wait(max(0.0, due_at - self._seconds()))
        if self._alarm == due_at:
            self._alarm = float("inf")

    def _begin(self, now: float, at: datetime) -> _Run | None:
        """Begin a pass over the key that has been due the longest, None when none is; keys that can be let off are."""
        with self._changed:
            run, times = None, 0
            while (
                run is None
                and (due_at := self._queue.next_wakeup()) is not None
                and (key := self._queue.pop(now=now)) is not None
            ):
                kept = self._kept[key]
                if self._is_skipped(kept.seen):
                    self._kept[key] = skipped(kept, now=at)
                    self._queue.done(
                        key,
                        now=now,
                        requeue_after=aligned(kept.interval, self._tuning.align_to, now=now),
                    )
                    times += 1
                else:
                    run = self._runs[key] = _Run(key, kept, str(uuid.uuid4()), now)
        if times:
            self._metrics.count(
                "controller_runtime_reconcile_total",
                {**self._labels, "result": "requeue_after"},
                times,
            )
        if run is not None and due_at is not None:
            self._metrics.observe(
                "workqueue_queue_duration_seconds", self._queue_labels, now - due_at
            )
        return run

    def _is_skipped(self, seen: ReadSet | None) -> bool:
        return seen is not None and self._version is not None and seen.is_still_so(self._version)

    def _run(self, run: _Run, now: datetime, seconds: Callable[[], float]) -> None:
        noting = TrackingGateway(self._gateway, self._reads, run.key, self._version)
        interval = self._tuning.error_interval
        try:
            done = run_pass(
                self._decide,
                noting,
                run.key,
                run.kept.state,
                now=now,
                history=run.kept.history,
                error_interval=interval,
                retry_backoff=interval,
            )
        except Exception as exc:  # noqa: BLE001 - rule 5: whatever decide or the gateway raises, the other keys go on
            self._fail(run, exc, seconds())
        else:
            self._finish(run, done, noting, seconds())

    def _finish(self, run: _Run, done: Pass, noting: TrackingGateway, now: float) -> None:
        kept, following = after_pass(
            run.kept, run.key, done, self._tuning, now=now, seen=noting.settle()
        )
        self._count(
            run,
            "requeue"
            if following.delay == 0
            else "success"
            if following.delay is None
            else "requeue_after",
            now,
        )
        self._count_writes(done)
        self._reporter.passed(run.key, run.reconcile_id, run.kept.verdict, done)
        if following.alarmed:
            self._reporter.alarmed(run.key, run.reconcile_id, run.kept.busy_passes + 1)
        with self._changed:
            self._keep(run, kept)
            if following.cooldown:
                # What was added while it ran must not end the rest either.
                self._queue.forget(run.key)
            self._queue.done(run.key, now=now)
            if following.delay is not None and run.key in self._kept:
                self._queue.add(run.key, now=now, delay=following.delay)
            del self._runs[run.key]

    def _fail(self, run: _Run, exc: Exception, now: float) -> None:
        what = described(exc)
        self._count(run, "error", now)
        self._metrics.count("controller_runtime_reconcile_errors_total", self._labels)
        self._metrics.count("workqueue_retries_total", self._queue_labels)
        if not isinstance(exc, CaptepError):
            self._metrics.count("controller_runtime_reconcile_panics_total", self._labels)
        if what != run.kept.failure:
            self._reporter.failed(run.key, run.reconcile_id, what)
        with self._changed:
            self._keep(run, evolve(run.kept, failure=what))
            self._queue.failed(run.key, now=now)
            del self._runs[run.key]

    def _keep(self, run: _Run, kept: KeyState) -> None:
        """Keep what a pass left, unless its key was removed meanwhile (and perhaps added anew, to start from nothing)."""
        current = self._kept.get(run.key)
        if current is run.kept:
            self._kept[run.key] = kept
        if current is None:
            self._reads.keep_only(run.key, ())

    def _count(self, run: _Run, result: str, now: float) -> None:
        self._metrics.count(
            "controller_runtime_reconcile_total", {**self._labels, "result": result}
        )
        self._metrics.observe(
            "controller_runtime_reconcile_time_seconds", self._labels, now - run.started_at
        )
        self._metrics.observe(
            "workqueue_work_duration_seconds", self._queue_labels, now - run.started_at
        )

    def _count_writes(self, done: Pass) -> None:
        for action, answer in done.sent:
            self._metrics.count(
                "captep_writes_total",
                {**self._labels, "verb": write_of(action).verb, "code": str(answer.status)},
            )
            if answer.changed and not isinstance(action, RecordEvent):
                self._metrics.count("captep_effective_writes_total", self._labels)


def _not_before(due_at: float, now: datetime) -> datetime:
    """Return `due_at` as a time. A datetime has microseconds only: rounded down it would come just too early, for ever."""
    at = now + timedelta(seconds=due_at - now.timestamp())
    while at.timestamp() < due_at:
        at += timedelta(microseconds=1)
    return at
