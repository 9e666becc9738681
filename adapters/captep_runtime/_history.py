"""The writes of one key and their outcome: how the runtime sees fights and keeps up a backoff.

Rules of this module:

1. A fight is seen by its history and not by the next pass: another writer may undo a write seconds
   or minutes later. It is a fight at the third effect of the same write within `WINDOW`, or when
   the server accepts a write for the second time without any effect.
2. The first writes of a fight go out at once, so that repairs are immediate. From then on the
   backoff of the write grows from the error interval to `LONGEST_BACKOFF`. The fight is over when
   the write has stood for `WINDOW`.
3. The same write has the same verb, object, subresource and body. A write that sets a field to
   another value ends the count of those that set it before: we changed our mind, nobody else did.
4. A refused write is not sent again before its backoff ends, unless its body has changed or the
   refusal was a conflict.
5. The history keeps fingerprints of bodies, never bodies. The fingerprint leaves out what differs
   each time in a fight: the resourceVersion of a precondition, and times such as a
   lastTransitionTime.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias, assert_never

from attrs import evolve, field, frozen

from captep_core._actions import Apply, Create, Delete, Patch, Write, write_of
from captep_core._not_kept import digest_of, leaves
from captep_core._refusals import Conflicted, Refusal, Refused, Reverted, Throttled
from captep_core._workqueue import Backoff
from captep_core.ports import Answer

__all__ = [
    "EMPTY_HISTORY",
    "LONGEST_BACKOFF",
    "TOLERATED",
    "WINDOW",
    "Attempt",
    "Change",
    "WriteHistory",
    "fields_of",
]

WINDOW: Final = timedelta(minutes=15)
"""Long enough for a writer that acts once in five minutes, the period of slow controllers."""

TOLERATED: Final = 2
"""The first effect is the write, the second one its repair; the third one shows a fight."""

LONGEST_BACKOFF: Final = timedelta(minutes=5)
"""A fight costs at most twelve writes an hour and ends soon after the other writer stops."""

UNREPORTED_FOR: Final = timedelta(seconds=30)
"""A server that is busy for longer is worth a word: HTTP 429 is a refusal like any other then."""

LONGEST_RETRY_AFTER: Final = timedelta(seconds=60)
"""A server may ask for an hour; the cause is mostly gone within seconds."""

_LIMIT: Final = 64
"""More writes than a key needs at once; it bounds the memory where bodies always change."""

_ZERO: Final = timedelta(0)

Change: TypeAlias = Create | Patch | Delete | Apply
"""A write that can be refused, unlike an Event."""


@frozen
class Attempt:
    """One write with one body.

    `values`: the fields of a patch, with digests of their values. `effects`: when the write changed
    the server, within `WINDOW`. `had_effect`: False when the server accepted the last try without
    any change. `tried_at`, `refusal`: of the last try. `backoff`: how long after `tried_at` the
    write must not be sent, zero when it may be sent at once. `refused_since`: the first of the
    refusals in a row. `fight`: set while a fight is under way. `rounds`: how often the server
    accepted the write since the fight began, the last time at `accepted_at`.
    """

    write: Write
    fingerprint: str = field(repr=False)
    values: frozenset[tuple[tuple[str, ...], str]] = field(repr=False)
    tried_at: datetime
    effects: tuple[datetime, ...] = ()
    had_effect: bool = True
    refusal: Refusal | None = None
    backoff: timedelta = _ZERO
    refused_since: datetime | None = None
    fight: Reverted | None = None
    rounds: int = 0
    accepted_at: datetime | None = None


@frozen
class WriteHistory:
    """The attempts of one key, the oldest try first. Losing it, as on a restart, is safe."""

    attempts: tuple[Attempt, ...] = ()

    def backoff_of(self, action: Change, *, now: datetime) -> timedelta:
        """Return the remaining backoff of `action`; zero when it may be sent."""
        attempt = self._find(write_of(action), _fingerprint(action))
        return _ZERO if attempt is None else _remaining(attempt, now)

    def is_reverted(self, action: Change, *, now: datetime) -> bool:
        """Whether accepting `action` now would show that it does not last."""
        attempt = self._find(write_of(action), _fingerprint(action))
        if attempt is None:
            return False
        return not attempt.had_effect or len(_within_window(attempt.effects, now)) >= TOLERATED

    def fight_of(self, action: Change) -> Reverted | None:
        """Return the fight over `action` that is under way, None without one."""
        attempt = self._find(write_of(action), _fingerprint(action))
        return attempt.fight if attempt else None

    def fights(self) -> tuple[Reverted, ...]:
        """Return the fights that are under way, one for each write."""
        found = {each.write: each.fight for each in self.attempts if each.fight is not None}
        return tuple(found.values())

    def refused_in_backoff(self, *, now: datetime) -> tuple[Refusal, ...]:
        """Return the refusals whose backoff has not ended, the oldest try first."""
        return tuple(
            attempt.refusal
            for attempt in self.attempts
            if attempt.refusal is not None and _remaining(attempt, now)
        )

    def refusals(self) -> tuple[Refusal, ...]:
        """Return the refusals of the last tries, the oldest try first."""
        return tuple(each.refusal for each in self.attempts if each.refusal is not None)

    def refused_since(self, write: Write) -> datetime | None:
        """Return when the server began to refuse `write`; None when it accepted the last try."""
        times = [
            attempt.refused_since
            for attempt in self.attempts
            if attempt.write == write and attempt.refused_since is not None
        ]
        return min(times, default=None)

    def without_effect(self) -> frozenset[Write]:
        """Return the writes that the server accepted without any change."""
        return frozenset(attempt.write for attempt in self.attempts if not attempt.had_effect)

    def after(
        self,
        action: Change,
        answer: Answer,
        refusal: Refusal | None,
        *,
        now: datetime,
        interval: timedelta,
    ) -> "WriteHistory":
        """Return the history with one more try.

        `interval` is the backoff after a refusal and the first one of a fight; zero for none.
        """
        write = write_of(action)
        fingerprint = _fingerprint(action)
        before = self._find(write, fingerprint)
        others = tuple(other for other in self.attempts if other is not before)
        if before is None:
            before = Attempt(write, fingerprint, _values(action), now)
        if not answer.is_refusal:
            others = tuple(_after_acceptance(other, write) for other in others)
        if answer.changed:
            others = tuple(_after_overwrite(other, before) for other in others)
        attempt = _after_try(before, answer, refusal, now=now, interval=interval)
        return WriteHistory((*others, attempt)[-_LIMIT:])

    def recent(self, *, now: datetime) -> "WriteHistory":
        """Return the history without the attempts and fights that are too old to matter."""
        recent = tuple(_aged(attempt, now) for attempt in self.attempts if _is_recent(attempt, now))
        return self if recent == self.attempts else WriteHistory(recent)

    def _find(self, write: Write, fingerprint: str) -> Attempt | None:
        for attempt in self.attempts:
            if attempt.write == write and attempt.fingerprint == fingerprint:
                return attempt
        return None


EMPTY_HISTORY: Final = WriteHistory()


# An apply names its object in its body.
_IDENTITY: Final = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"))


def fields_of(action: Change) -> tuple[tuple[str, ...], ...]:
    """Return the paths of the fields that a patch or an apply sets; none for other writes."""
    if not isinstance(action, Patch | Apply):
        return ()
    return tuple(path for path, _ in leaves(action.body) if path not in _IDENTITY)


def _after_try(
    before: Attempt, answer: Answer, refusal: Refusal | None, *, now: datetime, interval: timedelta
) -> Attempt:
    """Return an attempt after one more try."""
    attempt = evolve(before, tried_at=now, refusal=refusal, backoff=_ZERO)
    if answer.is_refusal:
        since = before.refused_since if refusal is not None else None
        attempt = evolve(
            attempt,
            had_effect=True,
            refused_since=(since or now) if refusal is not None else None,
        )
    else:
        effects = _within_window(before.effects, now)
        attempt = evolve(
            attempt,
            effects=(*effects, now)[-TOLERATED - 1 :] if answer.changed else effects,
            had_effect=answer.changed,
            refused_since=None,
            fight=refusal if isinstance(refusal, Reverted) else None,
            rounds=before.rounds + 1 if isinstance(refusal, Reverted) else 0,
            accepted_at=now,
        )
    return evolve(attempt, backoff=_backoff(attempt, answer, interval))


def _backoff(attempt: Attempt, answer: Answer, interval: timedelta) -> timedelta:
    match attempt.refusal:
        case None | Conflicted():
            # After a conflict the next pass has seen the newer object and may write at once.
            return _ZERO
        case Reverted():
            if not interval:
                return _ZERO
            base = interval.total_seconds()
            growing = Backoff(base, max(base, LONGEST_BACKOFF.total_seconds()))
            return timedelta(seconds=growing.after(attempt.rounds))
        case Refused() | Throttled():
            return max(interval, min(answer.retry_after or _ZERO, LONGEST_RETRY_AFTER))
        case _ as unreachable:
            assert_never(unreachable)


def _after_acceptance(other: Attempt, accepted: Write) -> Attempt:
    """Return `other` after another body of its write went through: the write is not refused now."""
    if other.write != accepted or other.refusal is None or isinstance(other.refusal, Reverted):
        return other
    return evolve(other, refusal=None, backoff=_ZERO, refused_since=None)


def _after_overwrite(other: Attempt, done: Attempt) -> Attempt:
    """Return `other` after the write `done`: without a count when that set a field differently."""
    is_same_object = (other.write.target, other.write.subresource) == (
        done.write.target,
        done.write.subresource,
    )
    if not is_same_object or not _differ(dict(other.values), dict(done.values)):
        return other
    return evolve(other, effects=(), had_effect=True, fight=None, rounds=0)


def _differ(one: Mapping[tuple[str, ...], str], other: Mapping[tuple[str, ...], str]) -> bool:
    return any(path in other and other[path] != value for path, value in one.items())


def _remaining(attempt: Attempt, now: datetime) -> timedelta:
    # After a clock that went back, the try lies in the future, and its backoff would last too long.
    is_in_backoff = _ZERO <= now - attempt.tried_at < attempt.backoff
    return attempt.tried_at + attempt.backoff - now if is_in_backoff else _ZERO


def _is_recent(attempt: Attempt, now: datetime) -> bool:
    return abs(now - attempt.tried_at) < max(WINDOW, attempt.backoff)


def _aged(attempt: Attempt, now: datetime) -> Attempt:
    effects = _within_window(attempt.effects, now)
    has_stood = attempt.accepted_at is None or not _within_window((attempt.accepted_at,), now)
    if attempt.fight is not None and has_stood:
        return evolve(attempt, effects=effects, fight=None, rounds=0)
    return evolve(attempt, effects=effects) if effects != attempt.effects else attempt


def _within_window(times: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    # abs: after a clock that went back, times of the future must not count for ever.
    return tuple(at for at in times if abs(now - at) < WINDOW)


def _values(action: Change) -> frozenset[tuple[tuple[str, ...], str]]:
    if not isinstance(action, Patch | Apply):
        return frozenset()
    # A short digest will do: it only separates the few values that one field had.
    return frozenset((path, digest_of(value)[:8]) for path, value in leaves(action.body))


def _fingerprint(action: Change) -> str:
    return digest_of(dict(action.body) if action.body is not None else None)
