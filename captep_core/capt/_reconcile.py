"""The reconcile function: judge, desire, diff.

Rules of this module:

1. Pure: equal arguments give an equal decision; time is an argument.
2. A decision either changes the world or, when nothing is left to change, reports on it (write-optimal: design rule 9).
3. A write that the server refused waits behind all others and behind the report of it; refused writes take turns.
4. The result is when or why not, never both: an expected state gives an interval, and errors are the executor's.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from captep_core._actions import (
    Action,
    Conflicted,
    Decision,
    ObjectRef,
    Patch,
    Refusal,
    Write,
    write_of,
)
from captep_core._observation import Absent, ReconcileState, Unreadable
from captep_core.capt._deletion import plan_deletion
from captep_core.capt._desired import Step, writes
from captep_core.capt._facts import Facts, facts_of
from captep_core.capt._findings import find, refused
from captep_core.capt._intervals import Policy, interval
from captep_core.capt._model import Cluster
from captep_core.capt._names import FINALIZER, PAUSED_ANNOTATION
from captep_core.capt._observe import ControlPlane, Secrets, observe
from captep_core.capt._outputs import Endpoint
from captep_core.capt._report import Reported, announce, report
from captep_core.capt._verdict import (
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
from captep_core.ports import Read

__all__ = ["decide", "reconcile"]


def decide(
    key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime, policy: Policy = Policy()
) -> Decision:
    """Observe the control plane `key` through `read` and reconcile it: `captep_core.ports.Decide` for CAPTControlPlanes."""
    return reconcile(*observe(key, read, state), now=now, policy=policy)


def reconcile(
    control_plane: ControlPlane,
    secrets: Secrets,
    endpoint: Endpoint,
    *,
    now: datetime,
    policy: Policy = Policy(),
) -> Decision:
    """Decide what a control plane needs next.

    Args:
        control_plane: the observed control plane with the objects it belongs to and depends on.
        secrets: the four Secrets around it.
        endpoint: what the provider published.
        now: the time, aware; only ever written as the transition time of a condition.
        policy: the intervals, and whether the Cluster is written to.

    Returns:
        The actions to send in order, when to look again, and the verdict. Never raises for any observation.
    """
    as_observed = control_plane.object
    if isinstance(as_observed, Absent):
        return _rest(Gone(), policy)
    if isinstance(as_observed, Unreadable):
        return _rest(
            ControlPlaneUnreadable(f"{control_plane.key} cannot be read: {as_observed}"), policy
        )
    situation = facts_of(control_plane, as_observed, secrets, endpoint)
    if paused := _paused(situation):
        return _rest(paused, policy)
    if not as_observed.metadata.deletion_timestamp:
        return _keep(situation, policy, now=now)
    if FINALIZER not in as_observed.metadata.finalizers:
        return _rest(Released(), policy)
    return _delete(situation, policy, now=now)


def _rest(verdict: Verdict, policy: Policy) -> Decision:
    return Decision((), interval(verdict, policy), verdict)


def _paused(facts: Facts) -> Paused | None:
    """Whether anybody asked us to keep our hands off (Cluster API contract); the annotation counts by presence."""
    if PAUSED_ANNOTATION in facts.control_plane.metadata.annotations:
        return Paused(f"{facts.observed.key} has the annotation {PAUSED_ANNOTATION}")
    if isinstance(facts.owner, Cluster) and facts.owner.spec.paused:
        return Paused(f"Cluster {facts.namespace}/{facts.owner.metadata.name} is paused")
    return None


def _keep(facts: Facts, policy: Policy, *, now: datetime) -> Decision:
    """Decide for a control plane that is to be there."""
    steps, known = writes(facts, policy), facts.observed.state.refusals
    if (
        known
        and steps
        and FINALIZER not in facts.control_plane.metadata.finalizers
        and write_of(steps[0][0]) in _writes(known)
    ):
        steps = steps[:1]  # nothing that needs cleaning up before the finalizer is there
    return _conclude(facts, steps, find(facts), None, policy, now=now)


def _delete(facts: Facts, policy: Policy, *, now: datetime) -> Decision:
    """Decide for a control plane that is being deleted."""
    departure = plan_deletion(facts, policy, _writes(facts.observed.state.refusals))
    return _conclude(facts, departure.steps, departure.findings, departure.verdict, policy, now=now)


def _conclude(
    facts: Facts,
    steps: list[Step],
    findings: list[Finding],
    departing: Deleting | AwaitingWorkspaceDeletion | None,
    policy: Policy,
    *,
    now: datetime,
) -> Decision:
    """Judge, with the refusals that still matter, and choose what goes first: the world, the report, or another try."""
    known = facts.observed.state.refusals
    if known:
        by_write = {refusal.write: refusal for refusal in known}
        for action in (
            step[0] for step in steps
        ):  # in the order of the writes: that of the tries changes from pass to pass
            if refusal := by_write.get(write_of(action)):
                findings.extend(
                    refused(facts, refusal, action if isinstance(action, Patch) else None)
                )
    if departing and not findings:
        return _schedule(facts, steps, [], departing, policy)
    verdict = judge(findings, initialized=facts.initialized)
    if isinstance(verdict, Unknown) and facts.initialized:
        return _keep_quiet(facts, steps, verdict, policy)
    conflicts = [refusal.write for refusal in known if isinstance(refusal, Conflicted)]
    return _schedule(
        facts,
        steps,
        report(facts, verdict, policy, now=now, refused=_writes(known), conflicts=conflicts),
        verdict,
        policy,
    )


def _keep_quiet(facts: Facts, steps: list[Step], verdict: Reported, policy: Policy) -> Decision:
    """What cannot be read changes nothing of what was reported; an Event tells when it starts."""
    decision = _schedule(facts, steps, [], verdict, policy)
    if facts.observed.state.verdict == verdict.reason:
        return decision
    return Decision(
        (announce(facts, verdict), *decision.actions),
        decision.requeue_after,
        verdict,
        decision.outstanding,
    )


def _writes(refusals: Sequence[Refusal]) -> frozenset[Write]:
    return frozenset(refusal.write for refusal in refusals)


def _schedule(
    facts: Facts, steps: list[Step], reports: list[Step], verdict: Verdict, policy: Policy
) -> Decision:
    known = facts.observed.state.refusals
    if not known:
        chosen = steps or reports
        return Decision(_actions(chosen), interval(verdict, policy), verdict)
    wanted = {write_of(step[0]): step for step in (*steps, *reports)}
    outstanding = tuple(refusal for refusal in known if refusal.write in wanted)
    stuck = _writes(outstanding)
    chosen = (
        [step for step in steps if write_of(step[0]) not in stuck]
        or [step for step in reports if write_of(step[0]) not in stuck]
        or [wanted[write] for write in _one_of_each_object(outstanding)]
    )
    return Decision(
        _actions(chosen),
        policy.failing if outstanding else interval(verdict, policy),
        verdict,
        outstanding,
    )


def _one_of_each_object(outstanding: Sequence[Refusal]) -> Iterable[Write]:
    """Of each object the write that waits longest: when it goes through, it makes the version that another one is bound to an old one."""
    longest: dict[ObjectRef, Write] = {}
    for refusal in outstanding:
        longest.setdefault(refusal.write.target, refusal.write)
    return longest.values()


def _actions(steps: list[Step]) -> tuple[Action, ...]:
    return tuple(action for step in steps for action in step)
