"""The writes of one key and their outcome: how the runtime sees fights and keeps up a backoff.

Rules of this module:

1. A write does not last when the server accepts it and a later pass decides the same write with the
   same body again. The second time is proof when the server reported no change the first time; with
   changes, the third time within `WINDOW` counts as proof.
2. A refused write is not sent again before its backoff ends, unless its body has changed or the
   refusal was a conflict.
3. The history keeps fingerprints of bodies, never bodies. The fingerprint leaves out what differs
   each time in a fight: the resourceVersion of a precondition, and times such as a
   lastTransitionTime.
"""

import hashlib
import json
import re
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from attrs import evolve, field, frozen

from captep_core._actions import Conflicted, Create, Delete, Patch, Refusal, Write, write_of
from captep_core.ports import Answer

__all__ = ["EMPTY_HISTORY", "TOLERATED", "WINDOW", "Attempt", "WriteHistory"]

WINDOW: Final = timedelta(seconds=60)
"""Corrections further apart are everyday work: a person who edits by hand is slower than this."""

TOLERATED: Final = 2
"""The first correction is a repair, the second may answer a stale cache; the third is a fight."""

_LIMIT: Final = 64
"""More writes than a key needs at once; it bounds the memory where bodies always change."""

_ZERO: Final = timedelta(0)

# RFC 3339, as the whole of a JSON string: a text that merely contains a time is content.
_TIME: Final = re.compile(r'(?<=")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)(?=")')

_Change: TypeAlias = Create | Patch | Delete


@frozen
class Attempt:
    """One write with one body.

    `accepted_at`: when the server accepted it, within `WINDOW`. `had_effect`: False when the last
    try was accepted without any change. `backoff`: how long after `tried_at` it must not be sent,
    zero when it may be sent at once.
    """

    write: Write
    fingerprint: str = field(repr=False)
    accepted_at: tuple[datetime, ...]
    had_effect: bool
    tried_at: datetime
    backoff: timedelta = _ZERO


@frozen
class WriteHistory:
    """The attempts of one key, the oldest try first. Losing it, as on a restart, is safe."""

    attempts: tuple[Attempt, ...] = ()

    def backoff_of(self, action: _Change, *, now: datetime) -> timedelta:
        """Return the remaining backoff of `action`; zero when it may be sent."""
        attempt = self._find(write_of(action), _fingerprint(action))
        if attempt is None:
            return _ZERO
        # After a clock that went back, the try lies in the future, and its backoff would last too
        # long.
        is_in_backoff = _ZERO <= now - attempt.tried_at < attempt.backoff
        return attempt.tried_at + attempt.backoff - now if is_in_backoff else _ZERO

    def is_reverted(self, action: _Change, *, now: datetime) -> bool:
        """Whether accepting `action` now would show that somebody reverts or drops it."""
        attempt = self._find(write_of(action), _fingerprint(action))
        if attempt is None:
            return False
        return not attempt.had_effect or len(_within_window(attempt.accepted_at, now)) >= TOLERATED

    def without_effect(self) -> frozenset[Write]:
        """Return the writes that the server accepted without any change."""
        return frozenset(attempt.write for attempt in self.attempts if not attempt.had_effect)

    def after(
        self,
        action: _Change,
        answer: Answer,
        refusal: Refusal | None,
        *,
        now: datetime,
        wait: timedelta,
    ) -> "WriteHistory":
        """Return the history with one more try; `wait` is its backoff in case of a `refusal`."""
        write = write_of(action)
        fingerprint = _fingerprint(action)
        before = self._find(write, fingerprint)
        accepted_at = _within_window(before.accepted_at, now) if before else ()
        if not answer.is_refusal:
            accepted_at = (*accepted_at, now)[-TOLERATED - 1 :]
        # After a conflict the next pass has seen the newer object and may write at once.
        backs_off = refusal is not None and not isinstance(refusal, Conflicted)
        attempt = Attempt(
            write,
            fingerprint,
            accepted_at,
            had_effect=answer.is_refusal or answer.changed,
            tried_at=now,
            backoff=wait if backs_off else _ZERO,
        )
        others = tuple(other for other in self.attempts if other is not before)
        return WriteHistory((*others, attempt)[-_LIMIT:])

    def recent(self, *, now: datetime) -> "WriteHistory":
        """Return the history without the attempts that are too old to matter."""
        recent = tuple(
            evolve(attempt, accepted_at=_within_window(attempt.accepted_at, now))
            for attempt in self.attempts
            if abs(now - attempt.tried_at) < max(WINDOW, attempt.backoff)
        )
        return self if recent == self.attempts else WriteHistory(recent)

    def _find(self, write: Write, fingerprint: str) -> Attempt | None:
        for attempt in self.attempts:
            if attempt.write == write and attempt.fingerprint == fingerprint:
                return attempt
        return None


EMPTY_HISTORY: Final = WriteHistory()


def _within_window(times: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    # abs: after a clock that went back, times of the future must not count for ever.
    return tuple(at for at in times if abs(now - at) < WINDOW)


def _fingerprint(action: _Change) -> str:
    text = json.dumps(action.body, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.blake2b(_TIME.sub("", text).encode(), digest_size=16).hexdigest()
