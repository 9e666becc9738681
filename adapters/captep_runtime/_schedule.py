"""What a loop keeps of a key between passes, and what follows from a pass for when the key is due; pure."""

import math
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, field, frozen

from captep_core import Backoff, ObjectRef, ReconcileState, jittered
from captep_runtime._execute import ERROR_INTERVAL, Pass
from captep_runtime._history import EMPTY_HISTORY, WriteHistory
from captep_runtime._reads import ReadSet

__all__ = [
    "DEFAULT_TUNING",
    "NEW_KEY",
    "KeyState",
    "Next",
    "Tuning",
    "after_pass",
    "aligned",
    "skipped",
]


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
    jitter: float = 0.1
    max_busy_passes: int = 20
    align_to: float = 0.0


DEFAULT_TUNING: Final = Tuning()


@frozen
class KeyState:
    """What is kept of a key.

    `verdict` and `failure`: what was told last. `cooldown_until`: no wake-up counts before, in the queue's seconds. `seen`: what the last pass
    read, if the next one would decide the same on the same; then `interval` is the wait in seconds that followed, not lengthened to a tick.
    """

    state: ReconcileState = field(factory=ReconcileState)
    history: WriteHistory = EMPTY_HISTORY
    busy_passes: int = 0
    verdict: str = ""
    failure: str = field(default="", repr=False)
    cooldown_until: float = float("-inf")
    seen: ReadSet | None = None
    interval: float = 0.0


NEW_KEY: Final = KeyState()


@frozen
class Next:
    """When a key is due again: after `delay` seconds, None for not by itself. `rests`: nothing wakes it before.

    `alarmed`: it rests because pass after pass brought news.
    """

    delay: float | None
    cooldown: bool = False
    alarmed: bool = False


def after_pass(
    kept: KeyState,
    key: ObjectRef,
    done: Pass,
    tuning: Tuning,
    *,
    now: float,
    seen: ReadSet | None = None,
) -> tuple[KeyState, Next]:
    """Return what to keep of `key` after a pass that ended at `now` and has `seen` so much, and when it is due again."""
    # What is remembered is read by the next pass: where quiet passes are let off, that one need not wait for its turn.
    is_other = seen is not None and done.state != kept.state
    busy_passes = kept.busy_passes + 1 if done.progressed or is_other else 0
    interval = (
        None
        if done.requeue_after is None
        else jittered(done.requeue_after.total_seconds(), str(key), fraction=tuning.jitter)
    )
    following = _next(busy_passes, interval, done, tuning, now=now)
    is_quiet = not done.decision.actions and not is_other and interval
    conclusion = done.decision.verdict
    return evolve(
        kept,
        state=done.state,
        history=done.history,
        busy_passes=0 if following.alarmed else busy_passes,
        verdict=f"{conclusion.reason}: {conclusion.message}"
        if conclusion.message
        else conclusion.reason,
        failure="",
        cooldown_until=now + (following.delay or 0) if following.cooldown else float("-inf"),
        seen=seen if is_quiet else None,
        interval=interval or 0.0,
    ), following


def skipped(kept: KeyState, *, now: datetime) -> KeyState:
    """Return what to keep of a key that is let off a pass: the same, without what is too old to say anything."""
    return evolve(kept, history=kept.history.forgotten(now=now)) if kept.history.known else kept


def _next(
    busy_passes: int, interval: float | None, done: Pass, tuning: Tuning, *, now: float
) -> Next:
    wait = None if interval is None else aligned(interval, tuning.align_to, now=now)
    if done.retry_after is not None:
        # What changed during the pass is forgotten for the rest, so that there must be a pass after it.
        return Next(done.retry_after.total_seconds() if wait is None else wait, cooldown=True)
    if busy_passes > tuning.max_busy_passes:
        return Next(tuning.error_interval.total_seconds(), cooldown=True, alarmed=True)
    return Next(0.0) if busy_passes else Next(wait)


def aligned(wait: float, align_to: float, *, now: float) -> float:
    """Lengthen a wait up to the next multiple of `tick`."""
    return wait if align_to <= 0 else math.ceil((now + wait) / align_to) * align_to - now
