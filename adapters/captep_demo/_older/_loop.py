"""The older loops' controller: woken by events about control planes and by its own timer, and backing off after errors."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Final

from captep_core import ObjectRef
from captep_demo._ledger import Count, Ledger
from captep_demo._older._client import Client
from captep_demo._older._reconcile import Intervals, reconcile
from captep_world import PASS_TIME, WorldServer

__all__ = ["BEFORE", "INTERVALS_ALONE", "OlderLoop"]

BEFORE: Final = Intervals(usual=timedelta(seconds=10), initializing=timedelta(seconds=10))
"""Commit 31ab233."""
INTERVALS_ALONE: Final = Intervals(usual=timedelta(seconds=30), initializing=timedelta(seconds=5))
"""Commit d3f1b66: the first phase of CAPTEP-0016 and nothing else."""
_BACKOFF_BASE = timedelta(milliseconds=5)
_BACKOFF_CAP = timedelta(seconds=1000)


class OlderLoop:
    """Runs the older passes over the control planes of one server; a `ControlLoop` that can be let off repetitions."""

    def __init__(self, server: WorldServer, intervals: Intervals, ledger: Ledger) -> None:
        """Create a loop without control planes; `ledger` is told of every pass."""
        self._server, self._intervals, self._ledger = server, intervals, ledger
        self._due: dict[ObjectRef, datetime] = {}
        self._failures: dict[ObjectRef, int] = {}
        self._last: tuple[datetime, Count] | None = None
        self._now: datetime | None = None

    def add(self, key: ObjectRef) -> None:
        """Take over a control plane."""
        self.notify(key)

    def notify(self, ref: ObjectRef) -> None:
        """Only control planes are watched; there is no filter."""
        if ref.kind == "CAPTControlPlane":
            self._due[ref] = self._server.world.now

    def run_due(self, now: datetime, *, limit: int) -> datetime | None:
        """Run at most `limit` passes that are due at `now`; return when the next one is."""
        for key in sorted(self._due, key=lambda key: (self._due[key], str(key)))[:limit]:
            if self._due[key] <= now:
                self._run(key, now)
        return min(self._due.values(), default=None)

    def state(self) -> Hashable:
        """Return how long from the last pass everything is due, and what that pass did. Back-offs do not count while events come first."""
        if self._last is None:
            return None
        at, count = self._last
        return frozenset((key, due - at) for key, due in self._due.items()), count

    def repeat(self, times: int) -> None:
        """Count the last pass so many times again."""
        if self._last is not None:
            at, count = self._last
            self._ledger.repeat(at + PASS_TIME, count, times)
            self._due = {key: due + times * PASS_TIME for key, due in self._due.items()}
            self._last = (at + times * PASS_TIME, count)

    def _run(self, key: ObjectRef, now: datetime) -> None:
        del self._due[key]
        client = Client(self._server)
        outcome = reconcile(client, key, self._intervals, now=now)
        self._last = (now, client.count)
        self._ledger.note(now, client.count)
        failures = self._failures.get(key, 0) + 1 if outcome.failed else 0
        self._failures[key] = failures
        # Both count from the end of the pass; an event about the control plane makes it due earlier.
        if outcome.failed:
            self._due[key] = (
                now + PASS_TIME + min(_BACKOFF_CAP, _BACKOFF_BASE * (1 << min(failures - 1, 30)))
            )
        elif outcome.requeue_after is not None:
            self._due[key] = now + PASS_TIME + outcome.requeue_after
