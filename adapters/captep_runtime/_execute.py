"""Execute one decision: observe, decide, send in order, and remember what the next pass must know.

Rules of this module:

1. Actions are sent in order, and the pass stops at the first write that does not go through. A refused Event stops nothing.
2. A 404 for a delete is success. 504 is an unknown outcome: the next pass observes before anything else is written.
3. Of the refusals, those survive whose writes are still wanted (`Decision.standing`); one that was tried again goes to the end, so that
   several refused writes take turns.
4. A pass that stops at a write that is held back comes back when the hold is over, so that no wake-up in between puts the retry off.
5. A verdict counts as told once its Events were sent: a pass that stopped before them keeps the verdict that was told last.
"""

from datetime import datetime, timedelta

from attrs import evolve, frozen

from captep_core import (
    Action,
    Decision,
    ObjectRef,
    ReconcileState,
    RecordEvent,
    Refusal,
    refusal_of,
    write_of,
)
from captep_core.ports import Answer, Decide, Gateway
from captep_runtime._history import EMPTY_HISTORY, WriteHistory

__all__ = ["ERROR_INTERVAL", "Pass", "run_pass"]

ERROR_INTERVAL = timedelta(seconds=10)


@frozen
class Pass:
    """What one pass did.

    `sent`: the actions that were sent, each with its answer. `recollection`, `attempts`: what the next pass is to be given.
    `requeue_after`: when to look again unless something happens before, None when there is nothing to come back for.
    `effective_writes`: the writes that changed something in the server; Events are not counted.
    `changed`: whether the world, or the refusals that the next pass sees, are other than this pass found them.
    `progressed`: whether the next pass will see something that is worth deciding on at once, rather than the same failure again.
    `retry_after`: how long the server asked to be left alone.
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
    retry_after: timedelta | None = None


@frozen
class _Sending:
    """How far the sending of a decision has come; a new value after each answer.

    `before`: the attempts of earlier passes. `backoff`: how long the write is still held back at which the pass stopped; zero for none.
    """

    before: WriteHistory
    history: WriteHistory
    sent: tuple[tuple[Action, Answer], ...] = ()
    refused: tuple[Refusal, ...] = ()
    stopped: bool = False
    backoff: timedelta = timedelta(0)


def run_pass(
    decide: Decide,
    gateway: Gateway,
    key: ObjectRef,
    state: ReconcileState,
    *,
    now: datetime,
    history: WriteHistory = EMPTY_HISTORY,
    error_interval: timedelta = ERROR_INTERVAL,
    retry_backoff: timedelta = timedelta(0),
) -> Pass:
    """Run one pass over `key`.

    Args:
        recollection: what the pass before returned, empty for the first one.
        now: the time of the pass, aware.
        attempts: what the pass before returned, empty for the first one.
        error_interval: when to look again as long as a write is known not to go through.
        retry_backoff: how long the same write is held back after it did not go through, whatever wakes the key in between.
    """
    decision = decide(key, gateway.read, state, now=now)
    known = history.forgotten(now=now)
    sending = _Sending(before=known, history=known)
    for action in decision.actions:
        if sending.stopped:
            break
        sending = _send(gateway, action, sending, now=now, retry_backoff=retry_backoff)
    return _conclude(decision, state, sending, error_interval)


def _send(
    gateway: Gateway, action: Action, sending: _Sending, *, now: datetime, retry_backoff: timedelta
) -> _Sending:
    if isinstance(action, RecordEvent):
        return evolve(sending, sent=(*sending.sent, (action, gateway.send(action))))
    backoff = sending.before.backoff_of(action, now=now)
    if backoff:
        return evolve(sending, stopped=True, backoff=backoff)
    answer = gateway.send(action)
    refusal = _refusal(action, answer, in_vain=sending.before.does_not_last(action, now=now))
    wait = max(retry_backoff, answer.retry_after or timedelta(0))
    return evolve(
        sending,
        history=sending.history.after(action, answer, refusal, now=now, wait=wait),
        sent=(*sending.sent, (action, answer)),
        refused=() if refusal is None else (refusal,),
        stopped=refusal is not None,
    )


def _refusal(action: Action, answer: Answer, *, in_vain: bool) -> Refusal | None:
    """What the answer is remembered as, None when the write went through."""
    write = write_of(action)
    if answer.is_refusal:
        return (
            None
            if (write.verb, answer.status) == ("delete", 404)
            else refusal_of(write, answer.status)
        )
    return refusal_of(write, answer.status) if in_vain else None


def _conclude(
    decision: Decision, before: ReconcileState, sending: _Sending, error_interval: timedelta
) -> Pass:
    tried = {write_of(action) for action, _ in sending.sent}
    refusals = (
        *(known for known in decision.outstanding if known.write not in tried),
        *sending.refused,
    )
    stuck = {refusal.write for refusal in sending.refused}
    effective = [
        write_of(action)
        for action, answer in sending.sent
        if answer.changed and not isinstance(action, RecordEvent)
    ]
    news = (
        set(refusals) != set(before.refusals)
        or not sending.history.suspects() <= sending.before.suspects()
    )
    retry_after = max(
        (answer.retry_after for _, answer in sending.sent if answer.retry_after), default=None
    )
    wait = max(error_interval, retry_after or error_interval)
    return Pass(
        decision=decision,
        sent=sending.sent,
        state=ReconcileState(refusals, _told(decision, before, len(sending.sent))),
        history=sending.history,
        new_refusals=tuple(refusal for refusal in refusals if refusal not in before.refusals),
        requeue_after=sending.backoff
        or (wait if decision.outstanding or refusals else decision.requeue_after),
        effective_writes=len(effective),
        changed=bool(effective) or news,
        progressed=any(write not in stuck for write in effective) or news,
        retry_after=retry_after,
    )


def _told(decision: Decision, before: ReconcileState, sent: int) -> str:
    if any(isinstance(action, RecordEvent) for action in decision.actions[sent:]):
        return before.verdict
    return decision.verdict.reason
