"""What a loop keeps of a key between passes, and what follows from a pass for when the key is due; pure."""

import math
from datetime import timedelta
from typing import Final

from attrs import evolve, field, frozen

from captep_core import Backoff, ObjectRef, Recollection, jittered
from captep_runtime._attempts import NO_ATTEMPTS, Attempts
from captep_runtime._execute import ERROR_INTERVAL, Pass

__all__ = ["DEFAULT_TUNING", "NOTHING_KEPT", "Kept", "Next", "Tuning", "after_pass"]


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

    `verdict` and `failure`: what was told last. `rests_until`: no wake-up counts before, in the queue's seconds.
    """

    recollection: Recollection = field(factory=Recollection)
    attempts: Attempts = NO_ATTEMPTS
    busy_passes: int = 0
    verdict: str = ""
    failure: str = field(default="", repr=False)
    rests_until: float = float("-inf")


NOTHING_KEPT: Final = Kept()


@frozen
class Next:
    """When a key is due again: after `delay` seconds, None for not by itself. `rests`: nothing wakes it before.

    `alarmed`: it rests because pass after pass brought news.
    """

    delay: float | None
    rests: bool = False
    alarmed: bool = False


def after_pass(kept: Kept, key: ObjectRef, done: Pass, tuning: Tuning, *, now: float) -> tuple[Kept, Next]:
    """Return what to keep of `key` after a pass that ended at `now`, and when it is due again."""
    busy_passes = kept.busy_passes + 1 if done.progressed else 0
    following = _next(busy_passes, key, done, tuning, now=now)
    conclusion = done.decision.verdict
    return evolve(
        kept,
        recollection=done.recollection,
        attempts=done.attempts,
        busy_passes=0 if following.alarmed else busy_passes,
        verdict=f"{conclusion.reason}: {conclusion.message}" if conclusion.message else conclusion.reason,
        failure="",
        rests_until=now + (following.delay or 0) if following.rests else float("-inf"),
    ), following


def _next(busy_passes: int, key: ObjectRef, done: Pass, tuning: Tuning, *, now: float) -> Next:
    wait = (
        None
        if done.requeue_after is None
        else _on_tick(jittered(done.requeue_after.total_seconds(), str(key), fraction=tuning.spread), tuning.tick, now=now)
    )
    if done.retry_after is not None:
        return Next(wait, rests=True)
    if busy_passes > tuning.patience:
        return Next(tuning.error_interval.total_seconds(), rests=True, alarmed=True)
    return Next(0.0) if done.progressed else Next(wait)


def _on_tick(wait: float, tick: float, *, now: float) -> float:
    """Lengthen a wait up to the next multiple of `tick`."""
    return wait if tick <= 0 else math.ceil((now + wait) / tick) * tick - now
