"""The state of a key between two passes, and when a pass makes the key due again; pure."""

import math
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, field, frozen

from captep_core._actions import ObjectRef
from captep_core._decision import VerdictLike
from captep_core._observation import ReconcileState
from captep_core._remembered import ReadSet
from captep_core._workqueue import Backoff, jittered
from captep_runtime._execute import ERROR_INTERVAL, Pass
from captep_runtime._history import EMPTY_HISTORY, WriteHistory

__all__ = [
    "DEFAULT_TUNING",
    "NEW_KEY",
    "KeyState",
    "Requeue",
    "Tuning",
    "after_pass",
    "after_skip",
    "aligned",
    "next_look",
    "place_of",
    "spread",
    "until",
    "verdict_text",
]


@frozen
class Tuning:
    """How a loop behaves in time.

    `error_interval`: when to look again while a refusal is known, for an operator whose decisions
    have no `requeue_after_refusal`. `backoff`: between passes that raise. `jitter`: the fraction by
    which an interval is lengthened at most; see `spread`. `max_busy_passes`: how many passes in a
    row may make progress before the key has a cooldown of the error interval. `align_to`: passes
    after an interval begin at whole multiples of so many seconds, so that many keys run in one go;
    0 for no alignment.
    """

    error_interval: timedelta = ERROR_INTERVAL
    backoff: Backoff = field(factory=Backoff)
    jitter: float = 0.1
    # An object is complete after a handful of passes; with so many in a row it goes in circles.
    max_busy_passes: int = 20
    align_to: float = 0.0


DEFAULT_TUNING: Final = Tuning()


@frozen
class KeyState:
    """The state of a key between two passes.

    `verdict`, `failure`: the last ones that were logged. `cooldown_until`: in the queue's seconds;
    no wake-up counts before. `seen`: what the last pass read, if the next pass would decide the
    same on the same, None otherwise. `interval`: the seconds to wait after a skipped pass, before
    jitter and alignment. `place`: see `spread`. `is_quiet`: whether the last pass sent nothing.
    `wakes_at`: the deadline of the last pass, in the queue's seconds; a pass that begins then or
    later is not skipped.
    """

    state: ReconcileState = field(factory=ReconcileState)
    history: WriteHistory = EMPTY_HISTORY
    busy_passes: int = 0
    verdict: str = ""
    failure: str = field(default="", repr=False)
    cooldown_until: float = float("-inf")
    seen: ReadSet | None = None
    interval: float = 0.0
    place: float = 0.0
    is_quiet: bool = False
    wakes_at: float = math.inf


NEW_KEY: Final = KeyState()


@frozen
class Requeue:
    """When a key is due again: after `delay` seconds, None for not by itself.

    `is_too_busy`: too many passes in a row made progress, so that nothing wakes the key before.
    """

    delay: float | None
    is_too_busy: bool = False


def after_pass(
    before: KeyState,
    key: ObjectRef,
    done: Pass,
    tuning: Tuning,
    *,
    now: float,
    seen: ReadSet | None = None,
    took: float = 0.0,
) -> tuple[KeyState, Requeue]:
    """Return the state after a pass that read `seen`, took `took` seconds and ended at `now`, and
    the requeue.
    """
    # The next pass reads the state. Where quiet passes are skipped, a new state is reason for a
    # pass now.
    has_new_state = seen is not None and done.state != before.state
    busy_passes = before.busy_passes + 1 if done.progressed or has_new_state else 0
    interval = None if done.requeue_after is None else done.requeue_after.total_seconds()
    place = place_of(key)
    wakes_at = math.inf
    if done.wakes_after is not None:
        wakes_at = now - took + done.wakes_after.total_seconds()
    is_quiet = not done.decision.actions and not has_new_state and interval is not None
    is_calm = is_quiet and before.is_quiet and before.interval == interval
    wait = None
    if interval is not None:
        wait = next_look(interval, place, tuning, now=now, wakes_at=wakes_at, is_calm=is_calm)
    requeue = _requeue(busy_passes, wait, done, tuning)
    state = evolve(
        before,
        state=done.state,
        history=done.history,
        busy_passes=0 if requeue.is_too_busy else busy_passes,
        verdict=verdict_text(done.decision.verdict),
        failure="",
        cooldown_until=now + (requeue.delay or 0.0) if requeue.is_too_busy else float("-inf"),
        seen=seen if is_quiet else None,
        interval=interval or 0.0,
        place=place,
        is_quiet=is_quiet,
        wakes_at=wakes_at,
    )
    return state, requeue


def verdict_text(verdict: VerdictLike) -> str:
    """Return reason and message of a verdict, as the log writes them."""
    return f"{verdict.reason}: {verdict.message}" if verdict.message else verdict.reason


def after_skip(state: KeyState, *, now: datetime) -> KeyState | None:
    """Return the state after a skipped pass: the same, without attempts too old to matter.

    Return None when a fight has ended meanwhile: the reconcile function must see that.
    """
    history = state.history.recent(now=now)
    if history is state.history:
        return state
    if history.fights() != state.history.fights():
        return None
    return evolve(state, history=history)


def next_look(
    interval: float,
    place: float,
    tuning: Tuning,
    *,
    now: float,
    wakes_at: float,
    is_calm: bool = True,
) -> float:
    """Return the seconds from `now` to the next look after a pass, or after a skipped one.

    Only calm keys spread, whose last two passes were quiet: retries keep an even pace, so that a
    fight with a writer who waits as long each time has no more rounds than it needs.
    """
    if is_calm:
        wait = spread(interval, place, fraction=tuning.jitter, now=now)
    else:
        wait = interval * (1 + place * tuning.jitter)
    return until(wakes_at, aligned(wait, tuning.align_to, now=now), now=now)


def place_of(key: ObjectRef) -> float:
    """Return the place of a key in every period, from 0 to 1; it depends on the key alone."""
    return jittered(1.0, str(key), fraction=1.0) - 1.0


def spread(interval: float, place: float, *, fraction: float, now: float) -> float:
    """Lengthen an interval by up to `fraction` of it, and never shorten it.

    A start makes all keys due at once, and keys with fixed periods that differ by a tenth stay in a
    few seconds of each half minute. So each key has a place in the period, and each wait brings it
    nearer to that, by a tenth of the way with the usual jitter: a storm has spread after ten
    minutes, and no wait is outside the bounds of the jitter.
    """
    period = interval * (1 + fraction / 2)
    if period <= 0:
        return interval
    away = (place * period - now + period / 2) % period - period / 2
    return period + away * fraction * interval / period


def aligned(wait: float, align_to: float, *, now: float) -> float:
    """Lengthen a wait so that it ends at a multiple of `align_to` seconds."""
    return wait if align_to <= 0 else math.ceil((now + wait) / align_to) * align_to - now


def until(wakes_at: float, wait: float, *, now: float) -> float:
    """Shorten a wait so that it ends at a deadline: neither jitter nor alignment makes it late."""
    return min(wait, max(0.0, wakes_at - now))


def _requeue(busy_passes: int, wait: float | None, done: Pass, tuning: Tuning) -> Requeue:
    if busy_passes > tuning.max_busy_passes:
        cooldown = done.error_interval.total_seconds()
        return Requeue(cooldown, is_too_busy=True)
    return Requeue(0.0) if busy_passes else Requeue(wait)
