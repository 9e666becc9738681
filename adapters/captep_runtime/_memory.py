"""What a loop keeps of a key between passes, and what follows from a pass for when the key is due; pure."""

import math
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, field, frozen

from captep_core import Backoff, ObjectRef, Recollection, jittered
from captep_runtime._attempts import NO_ATTEMPTS, Attempts
from captep_runtime._execute import ERROR_INTERVAL, Pass
from captep_runtime._reads import Seen

__all__ = ["DEFAULT_TUNING", "NOTHING_KEPT", "Kept", "Next", "Tuning", "after_pass", "let_off", "on_tick"]


@frozen
class Tuning:
    """How a loop behaves in time.

    `error_interval`: when a key is looked at again as long as a write is refused, and how long that write is held back.
    `backoff`: between passes that raise. `spread`: up to which fraction an interval is lengthened, by a share that each key has for itself.
    `patience`: how many passes in a row may bring news before the key must rest for `error_interval`.
    `tick`: passes after an interval begin at whole multiples of so many seconds, so that many keys are looked at in one go; 0 for at once.
    """

    error_interval: timedelta = ERROR_INTERVAL
    backoff: Backoff = field(factory=Backoff)
    spread: float = 0.1
    patience: int = 20
    tick: float = 0.0


DEFAULT_TUNING: Final = Tuning()


@frozen
class Kept:
    """What is kept of a key.

    `verdict` and `failure`: what was told last. `rests_until`: no wake-up counts before, in the queue's seconds. `seen`: what the last pass
    read, if the next one would decide the same on the same; then `interval` is the wait in seconds that followed, not lengthened to a tick.
    """

    recollection: Recollection = field(factory=Recollection)
    attempts: Attempts = NO_ATTEMPTS
    busy_passes: int = 0
    verdict: str = ""
    failure: str = field(default="", repr=False)
    rests_until: float = float("-inf")
    seen: Seen | None = None
    interval: float = 0.0


NOTHING_KEPT: Final = Kept()


@frozen
class Next:
    """When a key is due again: after `delay` seconds, None for not by itself. `rests`: nothing wakes it before.

    `alarmed`: it rests because pass after pass brought news.
    """

    delay: float | None
    rests: bool = False
    alarmed: bool = False


def after_pass(kept: Kept, key: ObjectRef, done: Pass, tuning: Tuning, *, now: float, seen: Seen | None = None) -> tuple[Kept, Next]:
    """Return what to keep of `key` after a pass that ended at `now` and has `seen` so much, and when it is due again."""
    # What is remembered is read by the next pass: where quiet passes are let off, that one need not wait for its turn.
    is_other = seen is not None and done.recollection != kept.recollection
    busy_passes = kept.busy_passes + 1 if done.progressed or is_other else 0
    interval = None if done.requeue_after is None else jittered(done.requeue_after.total_seconds(), str(key), fraction=tuning.spread)
    following = _next(busy_passes, interval, done, tuning, now=now)
    is_quiet = not done.decision.actions and not is_other and interval
    conclusion = done.decision.verdict
    return evolve(
        kept,
        recollection=done.recollection,
        attempts=done.attempts,
        busy_passes=0 if following.alarmed else busy_passes,
        verdict=f"{conclusion.reason}: {conclusion.message}" if conclusion.message else conclusion.reason,
        failure="",
        rests_until=now + (following.delay or 0) if following.rests else float("-inf"),
        seen=seen if is_quiet else None,
        interval=interval or 0.0,
    ), following


def let_off(kept: Kept, *, now: datetime) -> Kept:
    """Return what to keep of a key that is let off a pass: the same, without what is too old to say anything."""
    return evolve(kept, attempts=kept.attempts.forgotten(now=now)) if kept.attempts.known else kept


def _next(busy_passes: int, interval: float | None, done: Pass, tuning: Tuning, *, now: float) -> Next:
    wait = None if interval is None else on_tick(interval, tuning.tick, now=now)
    if done.retry_after is not None:
        # What changed during the pass is forgotten for the rest, so that there must be a pass after it.
        return Next(done.retry_after.total_seconds() if wait is None else wait, rests=True)
    if busy_passes > tuning.patience:
        return Next(tuning.error_interval.total_seconds(), rests=True, alarmed=True)
    return Next(0.0) if busy_passes else Next(wait)


def on_tick(wait: float, tick: float, *, now: float) -> float:
    """Lengthen a wait up to the next multiple of `tick`."""
    return wait if tick <= 0 else math.ceil((now + wait) / tick) * tick - now
