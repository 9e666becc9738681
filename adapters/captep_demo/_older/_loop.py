"""The controller of the older loops: events of control planes and a timer wake it."""

import time
from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Final

from captep_core import ObjectRef
from captep_demo._older._client import Client
from captep_demo._older._reconcile import Intervals, reconcile
from captep_demo._timeline import Count, Timeline
from captep_world import PASS_TIME, WorldServer

__all__ = ["BEFORE", "INTERVALS_ALONE", "OlderLoop"]

BEFORE: Final = Intervals(usual=timedelta(seconds=10), initializing=timedelta(seconds=10))
"""Commit 31ab233."""
INTERVALS_ALONE: Final = Intervals(usual=timedelta(seconds=30), initializing=timedelta(seconds=5))
"""Commit d3f1b66: the first phase of CAPTEP-0016 and nothing else."""
# controller-runtime's default rate limiter: 5 ms, doubled after each failure, at most 1000 s.
_BACKOFF_BASE = timedelta(milliseconds=5)
_BACKOFF_CAP = timedelta(seconds=1000)


class OlderLoop:
    """Runs the older passes over the control planes of one server.

    It is a `ControlLoop` whose repetitions the simulation may skip: `repeat` counts them.
    """

    def __init__(self, server: WorldServer, intervals: Intervals, timeline: Timeline) -> None:
        """Create a loop without control planes; it adds every pass to `timeline`."""
        self._server, self._intervals, self._timeline = server, intervals, timeline
        self.cpu_seconds = 0.0
        self._due: dict[ObjectRef, datetime] = {}
        self._failures: dict[ObjectRef, int] = {}
        self._last: tuple[datetime, Count] | None = None
        self._now: datetime | None = None

    def add(self, key: ObjectRef) -> None:
        """Take over a control plane."""
        self.notify(key)

    def notify(self, ref: ObjectRef) -> None:
        """Make a control plane due. The older controller watches no other kind, unfiltered."""
        if ref.kind == "CAPTControlPlane":
            self._due[ref] = self._server.world.now

    def run_due(self, now: datetime, *, limit: int) -> datetime | None:
        """Run at most `limit` passes that are due at `now`; return when the next one is."""
        for key in sorted(self._due, key=lambda key: (self._due[key], str(key)))[:limit]:
            if self._due[key] <= now:
                self._run(key, now)
        return min(self._due.values(), default=None)

    def state(self) -> Hashable:
        """Return the due times relative to the last pass, and that pass's count.

        Failures are left out: while events come first, the backoff has no effect.
        """
        if self._last is None:
            return None
        at, count = self._last
        return frozenset((key, due - at) for key, due in self._due.items()), count

    def repeat(self, times: int) -> None:
        """Count the last pass `times` times again."""
        if self._last is not None:
            at, count = self._last
            self._timeline.add_repeated(at + PASS_TIME, count, times)
            self._due = {key: due + times * PASS_TIME for key, due in self._due.items()}
            self._last = (at + times * PASS_TIME, count)

    def _run(self, key: ObjectRef, now: datetime) -> None:
        del self._due[key]
        client = Client(self._server)
        began = time.process_time()
        outcome = reconcile(client, key, self._intervals, now=now)
        self.cpu_seconds += time.process_time() - began
        self._last = (now, client.count)
        self._timeline.add(now, client.count)
        failures = self._failures.get(key, 0) + 1 if outcome.failed else 0
        self._failures[key] = failures
        # Backoff and interval start at the end of the pass; an event makes the key due earlier.
        if outcome.failed:
            backoff = min(_BACKOFF_CAP, _BACKOFF_BASE * (1 << min(failures - 1, 30)))
            self._due[key] = now + PASS_TIME + backoff
        elif outcome.requeue_after is not None:
            self._due[key] = now + PASS_TIME + outcome.requeue_after
