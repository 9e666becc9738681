"""Decisions of a pure function, not computed again while nothing that they were computed from has changed."""

import threading
from datetime import datetime

from attrs import frozen

from captep_core import JSON, Decision, ObjectRef, Observed, Recollection
from captep_core.ports import Decide, Read

__all__ = ["Quiet"]


@frozen
class _Kept:
    seen: tuple[tuple[ObjectRef, Observed[dict[str, JSON]]], ...]
    recollection: Recollection
    decision: Decision


class Quiet:
    """A `decide` that looks at everything each time, and thinks about it only when something is another object than before.

    Sound for a `decide` that is pure, whose decision to do nothing does not depend on the time, and for a `read` that returns the very
    same object as long as it has not changed. In steady state this is nine tenths of the work.
    """

    def __init__(self, decide: Decide) -> None:
        self._decide = decide
        self._lock = threading.Lock()
        self._kept: dict[ObjectRef, _Kept] = {}

    def __call__(self, key: ObjectRef, read: Read, recollection: Recollection, *, now: datetime) -> Decision:
        """Decide; see `captep_core.ports.Decide`."""
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept.recollection == recollection and all(read(ref) is obj for ref, obj in kept.seen):
            return kept.decision
        seen: dict[ObjectRef, Observed[dict[str, JSON]]] = {}

        def noting(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            if ref not in seen:
                seen[ref] = read(ref)
            return seen[ref]

        decision = self._decide(key, noting, recollection, now=now)
        self._keep(key, None if decision.actions else _Kept(tuple(seen.items()), recollection, decision))
        return decision

    def forget(self, key: ObjectRef) -> None:
        """Drop what is kept for `key`."""
        self._keep(key, None)

    def _keep(self, key: ObjectRef, kept: _Kept | None) -> None:
        with self._lock:
            if kept is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = kept
