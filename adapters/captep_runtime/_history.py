"""What was sent for one key, and what came of it: how the runtime sees fights, and that it does not retry too early.

Rules of this module:

1. A write that is accepted and decided again, the same write with the same body, does not last. That is certain the second time when the
   server said that nothing changed, and taken for certain the third time within `WINDOW`.
2. A write that did not go through is not sent again before its wait is over, unless its body has changed, or it was a conflict.
3. Bodies are kept as fingerprints only. What is another one each time in a fight does not count: the resourceVersion of a precondition,
   and times, such as the transition time of a condition that is set anew.
"""

import hashlib
import json
import re
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, field, frozen

from captep_core import Conflicted, Create, Delete, Patch, Refusal, Write, write_of
from captep_core.ports import Answer

__all__ = ["EMPTY_HISTORY", "TOLERATED", "WINDOW", "Attempt", "WriteHistory"]

WINDOW = timedelta(seconds=60)
TOLERATED = 2
_LIMIT = 64
_TIME = re.compile(
    r'(?<=")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)(?=")'
)  # RFC 3339


@frozen
class Attempt:
    """One write with one body: when it was accepted within the window, and how the last try ended.

    `wait` is how long after `tried_at` it is held back; zero when it may be sent at once.
    """

    write: Write
    fingerprint: str = field(repr=False)
    accepted_at: tuple[datetime, ...]
    lasting: bool
    tried_at: datetime
    wait: timedelta = timedelta(0)


@frozen
class WriteHistory:
    """The attempts for one key, oldest try first; empty after a restart, and nothing breaks."""

    known: tuple[Attempt, ...] = ()

    def backoff_of(self, action: Create | Patch | Delete, *, now: datetime) -> timedelta:
        """Return for how long `action` must not be sent yet, because it failed so recently; zero when it may be."""
        attempt = self._of(write_of(action), _fingerprint(action))
        if attempt is None or not timedelta(0) <= now - attempt.tried_at < attempt.wait:
            return timedelta(0)
        return attempt.tried_at + attempt.wait - now

    def does_not_last(self, action: Create | Patch | Delete, *, now: datetime) -> bool:
        """Whether `action`, if it is accepted now, has been accepted in vain before."""
        attempt = self._of(write_of(action), _fingerprint(action))
        return attempt is not None and (
            not attempt.lasting or len(_recent(attempt.accepted_at, now)) >= TOLERATED
        )

    def suspects(self) -> frozenset[Write]:
        """The writes that were accepted without any change: deciding one of them again shows that it does not last."""
        return frozenset(attempt.write for attempt in self.known if not attempt.lasting)

    def after(
        self,
        action: Create | Patch | Delete,
        answer: Answer,
        refusal: Refusal | None,
        *,
        now: datetime,
        wait: timedelta,
    ) -> "WriteHistory":
        """Return the attempts with one more; `refusal` is what it is remembered as when it did not go through."""
        write, fingerprint = write_of(action), _fingerprint(action)
        before = self._of(write, fingerprint)
        accepted_at = _recent(before.accepted_at, now) if before else ()
        if not answer.is_refusal:
            accepted_at = (*accepted_at, now)[-TOLERATED - 1 :]
        held = wait if refusal is not None and not isinstance(refusal, Conflicted) else timedelta(0)
        lasting = answer.is_refusal or answer.changed
        attempt = Attempt(write, fingerprint, accepted_at, lasting, now, held)
        return WriteHistory(
            (*(known for known in self.known if known is not before), attempt)[-_LIMIT:]
        )

    def forgotten(self, *, now: datetime) -> "WriteHistory":
        """Return the attempts without those that are too old to say anything."""
        kept = tuple(
            evolve(attempt, accepted_at=_recent(attempt.accepted_at, now))
            for attempt in self.known
            if abs(now - attempt.tried_at) < max(WINDOW, attempt.wait)
        )
        return self if kept == self.known else WriteHistory(kept)

    def _of(self, write: Write, fingerprint: str) -> Attempt | None:
        return next(
            (
                known
                for known in self.known
                if (known.write, known.fingerprint) == (write, fingerprint)
            ),
            None,
        )


EMPTY_HISTORY: Final = WriteHistory()


def _recent(times: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    # abs: after a clock that went back, times of the future must not count for ever.
    return tuple(at for at in times if abs(now - at) < WINDOW)


def _fingerprint(action: Create | Patch | Delete) -> str:
    text = json.dumps(action.body, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.blake2b(_TIME.sub("", text).encode(), digest_size=16).hexdigest()
