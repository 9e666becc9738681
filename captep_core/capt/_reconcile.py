"""The reconcile function: judge, desire, diff.

Rules of this module:

1. Pure: equal arguments give an equal decision; time is an argument.
2. A decision either changes the world or, when nothing is left to change, reports on it.
3. A write that the server refused waits behind all others and behind the report of it; refused
   writes take turns.
4. The result is when or why not, never both: an expected state gives an interval, and errors are
   the executor's.

Theory of operation:

*Observe.* `captep_core.capt._observe` has read every object by name. Each is present, absent or
unreadable, and the refusals of earlier passes are part of the observation (`ReconcileState`).

*Judge.* `_findings` lists every problem that the observation shows, each with a rank, a severity
and the word whether it withdraws Ready. `_verdict.judge` picks one: the lowest rank, those that
withdraw Ready first once the control plane is initialized. One verdict per pass decides the
condition, the Event, the log line and the interval, so that no two parts of the code can report
against each other.

*Desire.* `_desired` (or `_deletion`) describes the objects as they should be, restricted to the
fields that we own. A finding holds back only the writes that depend on it: a missing template stops
the apply and not the rotation.

*Diff.* `captep_core._write` compares each observed object with its desired form and returns a write
or nothing. The list of writes is empty exactly when the world is as it should be.

*Schedule.* Without refusals it is simple: the writes, or the report when nothing is to be written.
Status is last and alone because it describes the world: written together with other writes, it
would be outdated by them, and the next pass would write it again. That costs one to two writes more
in four worlds of ten, as measured on a small domain.

*Refusals.* A write that was refused is still wanted in most passes that follow. It then adds a
finding, which may become the verdict, and it is sent again only when nothing else is left: first
the writes that were not refused, then the report, so that people see the reason, then the refused
writes themselves, one for each object. So a refused write stops no other write, and is reported
before it is tried again. A conflict is no finding: the object was merely newer. The executor
forgets a refusal as soon as the decision does not list it as outstanding.

*The report* is a write like any other: it may be refused too, and then it waits its turn like the
others.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from attrs import evolve

from captep_core._actions import Action, ObjectRef, Patch, Write, write_of
from captep_core._decision import Decision
from captep_core._manifest import outstanding
from captep_core._observation import ABSENT, ReconcileState, Unreadable
from captep_core._refusals import Conflicted, Refusal, Reverted, Throttled
from captep_core.capt._deletion import plan_deletion
from captep_core.capt._desired import WriteWithEvents, writes
from captep_core.capt._facts import Facts, facts_of
from captep_core.capt._findings import find, refused
from captep_core.capt._intervals import Policy, interval
from captep_core.capt._model import Cluster
from captep_core.capt._names import FINALIZER, PAUSED_ANNOTATION
from captep_core.capt._observe import observe
from captep_core.capt._observed import ControlPlane, Secrets
from captep_core.capt._outputs import Endpoint
from captep_core.capt._report import Reported, event_of, report, report_of_pause
from captep_core.capt._verdict import (
    REPORTS_READY,
    AwaitingWorkspaceDeletion,
    ControlPlaneUnreadable,
    Deleting,
    Finding,
    Gone,
    Paused,
    Released,
    Unknown,
    Verdict,
    judge,
)
from captep_core.capt.wire import Parsed
from captep_core.ports import Read

__all__ = ["decide", "reconcile"]

_Departing: TypeAlias = Deleting | AwaitingWorkspaceDeletion


def decide(
    key: ObjectRef,
    read: Read,
    state: ReconcileState,
    *,
    now: datetime,
    policy: Policy = Policy(),
    parsed: Parsed | None = None,
) -> Decision[Verdict]:
    """Observe the control plane `key` through `read` and reconcile it: the `Decide` of
    CAPTControlPlanes. `parsed`: as in `observe`; it changes no decision.
    """
    control_plane, secrets, endpoint = observe(key, read, state, parsed=parsed)
    return reconcile(control_plane, secrets, endpoint, now=now, policy=policy)


def reconcile(
    control_plane: ControlPlane,
    secrets: Secrets,
    endpoint: Endpoint,
    *,
    now: datetime,
    policy: Policy = Policy(),
) -> Decision[Verdict]:
    """Decide what a control plane needs next.

    Args:
        control_plane: the observed control plane with the objects that it belongs to and depends
            on.
        secrets: the four Secrets around it.
        endpoint: the endpoint that the provider published.
        now: the time, aware; it is only ever written as the transition time of a condition.
        policy: the intervals, and whether the Cluster is written.

    Returns:
        The actions to send in order, when to look again, and the verdict. No observation makes it
        raise.
    """
    observed = control_plane.object
    if observed is ABSENT:
        return _rest(Gone(), policy)
    if isinstance(observed, Unreadable):
        message = f"{control_plane.key} cannot be read: {observed}"
        return _rest(ControlPlaneUnreadable(message), policy)
    facts = facts_of(control_plane, observed, secrets, endpoint)
    paused = _paused(facts)
    if paused is not None:
        return _schedule(facts, [], report_of_pause(facts, paused, now=now), paused, policy)
    if not observed.metadata.deletion_timestamp:
        return reconcile_normal(facts, policy, now=now)
    if FINALIZER not in observed.metadata.finalizers:
        return _rest(Released(), policy)
    return reconcile_delete(facts, policy, now=now)


def _rest(verdict: Verdict, policy: Policy) -> Decision[Verdict]:
    return Decision((), interval(verdict, policy), verdict)


def _paused(facts: Facts) -> Paused | None:
    """Whether somebody paused the control plane or its Cluster; the annotation counts by presence
    (contract).
    """
    if PAUSED_ANNOTATION in facts.control_plane.metadata.annotations:
        return Paused(f"{facts.observed.key} has the annotation {PAUSED_ANNOTATION}")
    if isinstance(facts.owner, Cluster) and facts.owner.spec.paused:
        return Paused(f"Cluster {facts.namespace}/{facts.owner.metadata.name} is paused")
    return None


def reconcile_normal(facts: Facts, policy: Policy, *, now: datetime) -> Decision[Verdict]:
    """Decide for a control plane that is not being deleted."""
    wanted = writes(facts, policy)
    known = facts.observed.state.refusals
    has_finalizer = FINALIZER in facts.control_plane.metadata.finalizers
    if known and wanted and not has_finalizer and write_of(wanted[0].write) in _writes(known):
        # The first write adds the finalizer. While it is refused, nothing is created that needs
        # cleaning up.
        wanted = wanted[:1]
    return _conclude(facts, wanted, find(facts), None, policy, now=now)


def reconcile_delete(facts: Facts, policy: Policy, *, now: datetime) -> Decision[Verdict]:
    """Decide for a control plane that is being deleted and still has our finalizer.

    The life of the finalizer:

    1. `reconcile_normal` adds it in its first write, together with the owner reference. Nothing is
       created before.
    2. A user, or the garbage collector, deletes the control plane. The API server keeps the object
       because of the finalizer and sets its deletionTimestamp.
    3. The endpoint is withdrawn from the Cluster and the main apply is deleted. We wait for the
       Workspace: Terraform destroys the EKS cluster with it.
    4. When the Workspace is gone, the kubeconfig apply is deleted. Secrets and spot role applies go
       with the control plane, because it owns them.
    5. The finalizer is removed last. Removing the last finalizer deletes the object.

    A step begins when no write of the step before it is refused, so that nothing is released too
    early.
    """
    refusals = facts.observed.state.refusals
    plan = plan_deletion(facts, policy, _writes(refusals))
    return _conclude(facts, plan.writes, plan.findings, plan.verdict, policy, now=now)


def _conclude(
    facts: Facts,
    wanted: list[WriteWithEvents],
    findings: list[Finding],
    departing: _Departing | None,
    policy: Policy,
    *,
    now: datetime,
) -> Decision[Verdict]:
    """Judge, with the refusals that still matter, and choose what goes first."""
    known = facts.observed.state.refusals
    if known:
        findings.extend(_refused_writes(facts, wanted, known))
    if departing is not None and not findings:
        return _schedule(facts, wanted, [], departing, policy)
    verdict = judge(findings, initialized=facts.initialized)
    if isinstance(verdict, Unknown) and facts.initialized:
        return _keep_report(facts, wanted, verdict, policy)
    conflicts = [refusal.write for refusal in known if isinstance(refusal, (Conflicted, Throttled))]
    if conflicts and _is_premature(facts, verdict, wanted, conflicts):
        return _schedule(facts, wanted, [], verdict, policy)
    reports = report(facts, verdict, policy, now=now, refused=_writes(known), conflicts=conflicts)
    return _schedule(facts, wanted, reports, verdict, policy)


def _is_premature(
    facts: Facts,
    verdict: Verdict,
    wanted: list[WriteWithEvents],
    conflicts: Sequence[Write],
) -> bool:
    """Whether Ready would be reported for the first time before a write that is only to be retried.

    A conflict and a busy server are no findings, so the verdict does not know of such a write.
    """
    if facts.control_plane.status.ready or not isinstance(verdict, REPORTS_READY):
        return False
    return any(write_of(each.write) in conflicts for each in wanted)


def _refused_writes(
    facts: Facts, wanted: list[WriteWithEvents], known: Sequence[Refusal]
) -> list[Finding]:
    """Report the refused writes that are still wanted, in the order of the writes, and the fights.

    The order of the tries changes from pass to pass; with it, the verdict would too. A fight goes
    on while its write is not wanted: the other writer may undo it minutes later.
    """
    by_write = {refusal.write: refusal for refusal in known}
    findings: list[Finding] = []
    if not facts.control_plane.metadata.deletion_timestamp:
        findings.extend(_fights(facts, wanted, known))
    for each in wanted:
        refusal = by_write.get(write_of(each.write))
        if refusal is not None:
            patch = each.write if isinstance(each.write, Patch) else None
            findings.extend(refused(facts, refusal, patch))
    return findings


def _fights(facts: Facts, wanted: list[WriteWithEvents], known: Sequence[Refusal]) -> list[Finding]:
    """Report the fights over writes that are not wanted at the moment."""
    writes = {write_of(each.write) for each in wanted}
    findings: list[Finding] = []
    for fight in sorted(known, key=str):
        if isinstance(fight, Reverted) and fight.write not in writes:
            findings.extend(refused(facts, fight, None))
    return findings


def _keep_report(
    facts: Facts, wanted: list[WriteWithEvents], verdict: Reported, policy: Policy
) -> Decision[Verdict]:
    """Leave the reported status as it is while something is unreadable; one Event records when that
    begins.
    """
    decision = _schedule(facts, wanted, [], verdict, policy)
    if facts.observed.state.verdict == verdict.reason:
        return decision
    return evolve(decision, actions=(event_of(facts, verdict), *decision.actions))


def _writes(refusals: Sequence[Refusal]) -> frozenset[Write]:
    return frozenset(refusal.write for refusal in refusals)


def _schedule(
    facts: Facts,
    wanted: list[WriteWithEvents],
    reports: list[WriteWithEvents],
    verdict: Verdict,
    policy: Policy,
) -> Decision[Verdict]:
    """Choose the actions of this pass; see *Schedule* and *Refusals* at the head of the module."""
    known = facts.observed.state.refusals
    if not known:
        # Most passes have nothing to send.
        first = wanted or reports
        return Decision(
            _actions(first) if first else (),
            interval(verdict, policy),
            verdict,
            requeue_after_refusal=policy.failing,
        )
    by_write = {write_of(each.write): each for each in (*wanted, *reports)}
    still = outstanding(facts.observed.state, (each.write for each in (*wanted, *reports)))
    stuck = _writes(still)
    chosen = _not_in(stuck, wanted)
    if not chosen:
        chosen = _not_in(stuck, reports)
    if not chosen:
        chosen = [by_write[write] for write in _longest_waiting(still)]
    requeue_after = policy.failing if still else interval(verdict, policy)
    return Decision(_actions(chosen), requeue_after, verdict, still, policy.failing)


def _not_in(stuck: frozenset[Write], wanted: list[WriteWithEvents]) -> list[WriteWithEvents]:
    return [each for each in wanted if write_of(each.write) not in stuck]


def _longest_waiting(refusals: Sequence[Refusal]) -> list[Write]:
    """Return the longest-waiting write of each object.

    Two at once would conflict: the second is bound to the resourceVersion that the first replaces.
    """
    longest: dict[ObjectRef, Write] = {}
    for refusal in refusals:
        longest.setdefault(refusal.write.target, refusal.write)
    return list(longest.values())


def _actions(chosen: list[WriteWithEvents]) -> tuple[Action, ...]:
    actions: list[Action] = []
    for each in chosen:
        actions.append(each.write)
        actions.extend(each.events)
    return tuple(actions)
