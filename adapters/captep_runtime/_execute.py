"""Run one pass: observe, decide, send the actions in order, and return the state for the next pass.

Rules of this module:

1. A pass sends its actions in order and stops at the first write that does not go through. A
   refused Event stops nothing.
2. A 404 for a delete is success. 504 is an unknown outcome: the next pass observes before it
   writes.
3. A refusal stays known while its write is wanted (`Decision.outstanding`). A refused retry moves
   to the end of the list, so that several refused writes take turns.
4. A pass that knows of a refusal comes back after `Decision.requeue_after_refusal`, and a loop
   keeps the refused write in backoff as long: both have this one source.
5. A pass that stops at a write in backoff comes back when the backoff ends, so that a wake-up in
   between does not postpone the retry.
6. A verdict counts as reported once its Events were sent: a pass that stopped before them keeps the
   verdict that was reported before.
"""

from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from captep_core._actions import (
    Action,
    Decision,
    ObjectRef,
    RecordEvent,
    Refusal,
    Write,
    refusal_of,
    write_of,
)
from captep_core._observation import ReconcileState
from captep_core.ports import Answer, Decide, Gateway
from captep_runtime._history import EMPTY_HISTORY, WriteHistory

__all__ = ["ERROR_INTERVAL", "Pass", "run_pass"]

ERROR_INTERVAL: Final = timedelta(seconds=10)
"""For decisions that name no interval of their own.

A person who removes the cause sees the retry soon, and the server sees six requests a minute at
most.
"""

_ZERO: Final = timedelta(0)


@frozen
class Pass:
    """The outcome of one pass.

    `sent`: the actions that were sent, each with its answer. `state`, `history`: arguments of the
    next pass. `requeue_after`: when to look again unless something happens before, None for never.
    `effective_writes`: the number of writes that changed something in the server, Events left out.
    `changed`: whether the world, or the refusals that the next pass sees, differ from what this
    pass found. `progressed`: whether the next pass will see something worth deciding on at once,
    rather than the same failure again. `error_interval`: when to look again while a refusal is
    known. `retry_after`: how long the server asked to be left alone.
    """

    decision: Decision
    sent: tuple[tuple[Action, Answer], ...]
    state: ReconcileState
    history: WriteHistory
    new_refusals: tuple[Refusal, ...]
    requeue_after: timedelta | None
    effective_writes: int
    changed: bool
    progressed: bool
    error_interval: timedelta
    retry_after: timedelta | None = None


@frozen
class _Sending:
    """How far the sending of a decision has come; a new value after each answer.

    `before`: the history that earlier passes left. `interval`: the interval of a refusal.
    `backs_off`: whether a refused write gets a backoff of that length. `backoff`: the remaining
    backoff of the write that stopped the pass, zero when no backoff did.
    """

    before: WriteHistory
    history: WriteHistory
    interval: timedelta
    backs_off: bool
    sent: tuple[tuple[Action, Answer], ...] = ()
    refused: tuple[Refusal, ...] = ()
    stopped: bool = False
    backoff: timedelta = _ZERO


def run_pass(
    decide: Decide,
    gateway: Gateway,
    key: ObjectRef,
    state: ReconcileState,
    *,
    now: datetime,
    history: WriteHistory = EMPTY_HISTORY,
    error_interval: timedelta = ERROR_INTERVAL,
    backs_off: bool = False,
) -> Pass:
    """Run one pass over `key`.

    Args:
        decide: the pure reconcile function.
        gateway: the server.
        key: the object to reconcile.
        state: the `state` of the pass before, empty for the first one.
        now: the time of the pass, aware.
        history: the `history` of the pass before, empty for the first one.
        error_interval: when to look again while a refusal is known, for a decision that has no
            `requeue_after_refusal`.
        backs_off: whether the same write waits out that interval after a refusal, whatever wakes
            the key in between. A loop needs this; passes that all run at one moment do not.
    """
    decision = decide(key, gateway.read, state, now=now)
    recent = history.recent(now=now)
    sending = _Sending(
        before=recent,
        history=recent,
        interval=decision.requeue_after_refusal or error_interval,
        backs_off=backs_off,
    )
    for action in decision.actions:
        if sending.stopped:
            break
        sending = _send(gateway, action, sending, now=now)
    return _conclude(decision, state, sending)


def _send(gateway: Gateway, action: Action, sending: _Sending, *, now: datetime) -> _Sending:
    if isinstance(action, RecordEvent):
        return evolve(sending, sent=(*sending.sent, (action, gateway.send(action))))
    backoff = sending.before.backoff_of(action, now=now)
    if backoff:
        return evolve(sending, stopped=True, backoff=backoff)
    answer = gateway.send(action)
    refusal = _refusal(action, answer, is_reverted=sending.before.is_reverted(action, now=now))
    wait = max(
        sending.interval if sending.backs_off else _ZERO,
        answer.retry_after or _ZERO,
    )
    return evolve(
        sending,
        history=sending.history.after(action, answer, refusal, now=now, wait=wait),
        sent=(*sending.sent, (action, answer)),
        refused=() if refusal is None else (refusal,),
        stopped=refusal is not None,
    )


def _refusal(action: Action, answer: Answer, *, is_reverted: bool) -> Refusal | None:
    """Return the refusal that `answer` amounts to, None when the write went through."""
    write = write_of(action)
    if not answer.is_refusal:
        return refusal_of(write, answer.status) if is_reverted else None
    if write.verb == "delete" and answer.status == 404:
        return None
    return refusal_of(write, answer.status)


def _conclude(decision: Decision, before: ReconcileState, sending: _Sending) -> Pass:
    refusals = _known_refusals(decision, sending)
    refused = {refusal.write for refusal in sending.refused}
    effective = _effective_writes(sending)
    # A write without effect that is new, or a refusal that came or went, is something to decide on.
    has_news = (
        set(refusals) != set(before.refusals)
        or not sending.history.without_effect() <= sending.before.without_effect()
    )
    retry_after = _retry_after(sending)
    return Pass(
        decision=decision,
        sent=sending.sent,
        state=ReconcileState(refusals, _reported_verdict(decision, before, len(sending.sent))),
        history=sending.history,
        new_refusals=tuple(refusal for refusal in refusals if refusal not in before.refusals),
        requeue_after=_requeue_after(decision, sending, refusals, retry_after),
        effective_writes=len(effective),
        changed=bool(effective) or has_news,
        progressed=any(write not in refused for write in effective) or has_news,
        error_interval=sending.interval,
        retry_after=retry_after,
    )


def _known_refusals(decision: Decision, sending: _Sending) -> tuple[Refusal, ...]:
    """Return the refusals that the next pass sees, the oldest try first."""
    tried = {write_of(action) for action, _ in sending.sent}
    untried = (refusal for refusal in decision.outstanding if refusal.write not in tried)
    return (*untried, *sending.refused)


def _effective_writes(sending: _Sending) -> list[Write]:
    return [
        write_of(action)
        for action, answer in sending.sent
        if answer.changed and not isinstance(action, RecordEvent)
    ]


def _retry_after(sending: _Sending) -> timedelta | None:
    asked = [answer.retry_after for _, answer in sending.sent if answer.retry_after]
    return max(asked, default=None)


def _requeue_after(
    decision: Decision,
    sending: _Sending,
    refusals: tuple[Refusal, ...],
    retry_after: timedelta | None,
) -> timedelta | None:
    if sending.backoff:
        return sending.backoff
    # An outstanding refusal counts even when its retry has just gone through: the pass knew of it.
    if decision.outstanding or refusals:
        return max(sending.interval, retry_after or _ZERO)
    return decision.requeue_after


def _reported_verdict(decision: Decision, before: ReconcileState, sent: int) -> str:
    unsent = decision.actions[sent:]
    if any(isinstance(action, RecordEvent) for action in unsent):
        return before.verdict
    return decision.verdict.reason
