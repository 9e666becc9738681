"""Run one pass: observe, decide, send the actions in order, and return the state for the next pass.

Rules of this module:

1. A pass sends its actions in order and stops at the first write that does not go through. A
   refused Event stops nothing.
2. A 404 for a delete is success. 504 is an unknown outcome: the next pass observes before it
   writes.
3. A refusal stays known while its write is wanted (`Decision.outstanding`) or in backoff. A refused
   retry moves to the end of the list, so that several refused writes take turns. A fight stays
   known until the write has stood for a while.
4. A pass that knows of a refusal comes back after `Decision.requeue_after_refusal`, and a loop
   keeps the refused write in backoff as long: both have this one source.
5. A pass that stops at a write in backoff comes back when the backoff ends, if that is earlier, so
   that a wake-up in between does not postpone the retry.
6. A server that is too busy for a write (429) delays that write and nothing else.
7. A verdict counts as reported once its Events were sent: a pass that stopped before them keeps the
   verdict that was reported before.
8. A deadline (`Decision.wakes_at`) wakes the key earlier than any interval. One that has passed
   already is looked at again after the interval of a refusal, so that a decision that does not act
   on it makes no busy loop.
9. The first message of a refusal stays while write, status and reason do: a text with a duration or
   a request id in it is no reason to write a condition again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from captep_core._actions import (
    Action,
    Apply,
    Create,
    Delete,
    ObjectRef,
    Patch,
    RecordEvent,
    Write,
    write_of,
)
from captep_core._decision import Decision
from captep_core._not_kept import leaves, not_kept
from captep_core._observation import NotKept, ReconcileState
from captep_core._refusals import Refusal, Refused, Reverted, Throttled, refusal_of
from captep_core.ports import Answer, Decide, Gateway, ReadsLive, as_read
from captep_runtime._bodies import require_decision
from captep_runtime._history import (
    EMPTY_HISTORY,
    UNREPORTED_FOR,
    Change,
    WriteHistory,
    fields_of,
)
from captep_runtime._managers import managers_of

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
    `wakes_after`: the part of it that is a deadline, None without one; it is never lengthened.
    `effective_writes`: the number of writes that changed something in the server, Events left out.
    `changed`: whether the world, or the refusals that the next pass sees, differ from what this
    pass found. `progressed`: whether the next pass will see something worth deciding on at once,
    rather than the same failure again. `error_interval`: when to look again while a refusal is
    known.
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
    new_not_kept: tuple[NotKept, ...] = ()
    wakes_after: timedelta | None = None


_TOO_MANY_REQUESTS: Final = 429

_LONGEST_STATE: Final = 64
"""More fields and objects than one key has; it bounds the memory where names always change."""


@frozen
class _Sending:
    """How far the sending of a decision has come; a new value after each answer.

    `known`: the refusals that the decision saw. `before`: the history that earlier passes left.
    `interval`: the interval of a refusal. `backs_off`: whether a refused write gets a backoff of
    that length. `backoff`: the remaining backoff of the write that stopped the pass, zero when no
    backoff did. `not_kept`, `deleted`: as in `ReconcileState`.
    """

    known: tuple[Refusal, ...]
    before: WriteHistory
    history: WriteHistory
    interval: timedelta
    backs_off: bool
    not_kept: tuple[NotKept, ...] = ()
    deleted: tuple[ObjectRef, ...] = ()
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

    Raises:
        DecisionError: `decide` returned no Decision, or an action has a body that is no JSON.
    """
    recent = history.recent(now=now)
    known = _known_at(state.refusals, recent, now=now)
    in_backoff = _unlisted(recent.refused_in_backoff(now=now), known)
    seen = (*in_backoff, *known)
    decision = decide(key, as_read(gateway.read), evolve(state, refusals=seen), now=now)
    require_decision(decision)
    sending = _Sending(
        known=seen,
        before=recent,
        history=recent,
        interval=decision.requeue_after_refusal or error_interval,
        backs_off=backs_off,
        not_kept=state.not_kept,
        deleted=state.deleted,
    )
    for action in decision.actions:
        if sending.stopped:
            break
        sending = _send(gateway, action, sending, now=now)
    return _conclude(decision, state, known, sending, now=now)


def _known_at(
    refusals: Sequence[Refusal], history: WriteHistory, *, now: datetime
) -> tuple[Refusal, ...]:
    """Return the refusals as they are at `now`: a server that is busy for long gets a report."""
    return tuple(
        _throttled(refusal.write, refusal.reason, refusal.message, history, now=now)
        if isinstance(refusal, Throttled)
        else refusal
        for refusal in refusals
    )


def _throttled(
    write: Write, reason: str, message: str, history: WriteHistory, *, now: datetime
) -> Refusal:
    since = history.refused_since(write)
    is_long = since is not None and now - since >= UNREPORTED_FOR
    if is_long:
        return Refused(write, _TOO_MANY_REQUESTS, reason, message)
    return Throttled(write, reason, message)


def _unlisted(refusals: Iterable[Refusal], listed: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Return the refusals of writes that the list does not have."""
    writes = {refusal.write for refusal in listed}
    return tuple(refusal for refusal in refusals if refusal.write not in writes)


def _send(gateway: Gateway, action: Action, sending: _Sending, *, now: datetime) -> _Sending:
    if isinstance(action, RecordEvent):
        return evolve(sending, sent=(*sending.sent, (action, gateway.send(action))))
    backoff = sending.before.backoff_of(action, now=now)
    if backoff:
        return evolve(sending, stopped=True, backoff=backoff)
    cause = _cause(gateway, action, sending.before, now=now)
    answer = gateway.send(action)
    refusal = _with_first_message(
        _refusal(action, answer, sending.before, cause, now=now), sending.known, sending.before
    )
    history = sending.history.after(
        action,
        answer,
        refusal,
        now=now,
        interval=sending.interval if sending.backs_off else _ZERO,
    )
    return evolve(
        sending,
        history=history,
        not_kept=_not_kept_after(sending.not_kept, action, answer),
        deleted=_deleted_after(sending.deleted, action, answer),
        sent=(*sending.sent, (action, answer)),
        refused=() if refusal is None else (refusal,),
        stopped=refusal is not None,
    )


def _cause(
    gateway: Gateway, action: Change, history: WriteHistory, *, now: datetime
) -> Reverted | None:
    """Name the fight that accepting `action` will show, and the other writer, once for each fight.

    The object is read before the write: our own write takes the field over from the other manager.
    A write that had no effect met no other writer, and so there is nobody to name.
    """
    known = history.fight_of(action)
    if known is not None or not history.is_reverted(action, now=now):
        return known
    if write_of(action) in history.without_effect():
        return Reverted(write_of(action))
    paths = fields_of(action)
    read = gateway.read_live if isinstance(gateway, ReadsLive) else gateway.read
    manager = "" if isinstance(action, Create) else managers_of(read(action.target), paths)
    return Reverted(write_of(action), tuple(".".join(path) for path in paths), manager)


def _refusal(
    action: Change,
    answer: Answer,
    history: WriteHistory,
    cause: Reverted | None,
    *,
    now: datetime,
) -> Refusal | None:
    """Return the refusal that `answer` amounts to, None when the write went through."""
    if not answer.is_refusal:
        return cause if history.is_reverted(action, now=now) else None
    if isinstance(action, Delete) and answer.status == 404:
        return None
    write = write_of(action)
    if answer.status == _TOO_MANY_REQUESTS:
        return _throttled(write, answer.reason, answer.message, history, now=now)
    return refusal_of(write, answer.status, answer.reason, answer.message)


def _with_first_message(
    refusal: Refusal | None, known: Sequence[Refusal], history: WriteHistory
) -> Refusal | None:
    """Return `refusal` with the message that the server first gave for it; see rule 9."""
    for earlier in (*known, *history.refusals()):
        if earlier == refusal:
            return earlier
    return refusal


def _not_kept_after(
    known: tuple[NotKept, ...], action: Change, answer: Answer
) -> tuple[NotKept, ...]:
    # The server merges what is applied: lists in the answer hold the entries of others as well.
    if answer.is_refusal or answer.object is None or isinstance(action, Delete | Apply):
        return known
    tried = {path for path, _ in leaves(action.body)}
    others = tuple(
        record
        for record in known
        if (record.target, record.subresource) != (action.target, action.subresource)
        or (isinstance(action, Patch) and record.path not in tried)
    )
    return (*others, *not_kept(action, answer.object))[-_LONGEST_STATE:]


def _deleted_after(
    known: tuple[ObjectRef, ...], action: Change, answer: Answer
) -> tuple[ObjectRef, ...]:
    if answer.is_refusal or not isinstance(action, Delete) or action.target in known:
        return known
    return (*known, action.target)[-_LONGEST_STATE:]


def _conclude(
    decision: Decision,
    before: ReconcileState,
    known: tuple[Refusal, ...],
    sending: _Sending,
    *,
    now: datetime,
) -> Pass:
    refusals = _refusals_after(decision, sending)
    seen_before = {*before.refusals, *sending.before.refused_in_backoff(now=now)}
    refused = {refusal.write for refusal in sending.refused}
    effective = _effective_writes(sending)
    wakes_after = _wakes_after(decision, sending, now=now)
    # A refusal that came or went, a write without effect that is new and a field that the server
    # does not keep are something to decide on.
    has_news = (
        set(refusals) != set(known)
        or not sending.history.without_effect() <= sending.before.without_effect()
        or sending.not_kept != before.not_kept
    )
    return Pass(
        decision=decision,
        sent=sending.sent,
        state=ReconcileState(
            refusals,
            _reported_verdict(decision, before, len(sending.sent)),
            sending.not_kept,
            sending.deleted,
        ),
        history=sending.history,
        new_refusals=tuple(refusal for refusal in refusals if refusal not in seen_before),
        requeue_after=min(
            (wait for wait in (wakes_after, _requeue_after(decision, sending)) if wait is not None),
            default=None,
        ),
        effective_writes=len(effective),
        changed=bool(effective) or has_news,
        progressed=any(write not in refused for write in effective) or has_news,
        error_interval=sending.interval,
        new_not_kept=tuple(each for each in sending.not_kept if each not in before.not_kept),
        wakes_after=wakes_after,
    )


def _refusals_after(decision: Decision, sending: _Sending) -> tuple[Refusal, ...]:
    """Return the refusals that the next pass sees, the oldest try first."""
    tried = {write_of(action) for action, _ in sending.sent}
    untried = tuple(refusal for refusal in decision.outstanding if refusal.write not in tried)
    wanted = (*untried, *sending.refused)
    return (*_unlisted(sending.history.fights(), wanted), *wanted)


def _effective_writes(sending: _Sending) -> list[Write]:
    return [
        write_of(action)
        for action, answer in sending.sent
        if answer.changed and not isinstance(action, RecordEvent)
    ]


def _wakes_after(decision: Decision, sending: _Sending, *, now: datetime) -> timedelta | None:
    if decision.wakes_at is None:
        return None
    left = decision.wakes_at - now
    return left if left > _ZERO else sending.interval


def _requeue_after(decision: Decision, sending: _Sending) -> timedelta | None:
    if sending.backoff:
        return min(sending.backoff, sending.interval)
    # An outstanding refusal counts even when its retry has just gone through: the pass knew of it.
    if decision.outstanding or sending.refused:
        return sending.interval
    return decision.requeue_after


def _reported_verdict(decision: Decision, before: ReconcileState, sent: int) -> str:
    unsent = decision.actions[sent:]
    if any(isinstance(action, RecordEvent) for action in unsent):
        return before.verdict
    return decision.verdict.reason
