"""The report of a verdict: the status of the control plane, the Cluster's share of it, and an Event
when it changes.

Rules of this module:

1. Status says what was observed, never what was just requested. It is written when nothing else is
   left to write.
2. `ready` is what is observed now; only `initialized` latches (Cluster API contract). failureReason
   and failureMessage are for terminal failures. This controller knows no such failure, so it
   removes what an earlier one left.
3. Mirrored values stay as they were last known while the Workspace shows none.
4. A field that the server does not keep, such as `secretsReady` under an older CRD, is never a
   reason to write.
5. On the Cluster stands what Cluster API's own controller would make of the status, and nothing
   else.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

from attrs import evolve

from captep_core._actions import RecordEvent, Write
from captep_core._objects import Condition, find_condition, instant, with_condition
from captep_core._write import status
from captep_core.capt._desired import WriteWithEvents, eks_version, is_version, with_events
from captep_core.capt._facts import Facts
from captep_core.capt._intervals import Policy
from captep_core.capt._model import (
    CAPTControlPlaneStatus,
    Cluster,
    ClusterInitialization,
    ClusterStatus,
    DeprecatedClusterStatus,
    Workspace,
    WorkspaceState,
    WorkspaceTemplateApply,
    WorkspaceTemplateState,
)
from captep_core.capt._names import CORE_FINALIZER, FINALIZER
from captep_core.capt._provider import outputs
from captep_core.capt._verdict import (
    REPORTS_READY,
    Creating,
    Degraded,
    Failed,
    Paused,
    Ready,
    Severity,
    Unknown,
)

__all__ = ["Reported", "event_of", "report", "report_of_pause"]

Reported: TypeAlias = Creating | Failed | Unknown | Degraded | Ready

# The CRD limits the message of a condition to so many characters and rejects the whole status above
# it.
_LONGEST_MESSAGE = 32768
# Cluster API's condition, with its reasons `Paused` and `NotPaused`.
_PAUSED = "Paused"
# The API server rejects an Event with a longer message (KEP-383).
_LONGEST_EVENT_MESSAGE = 1024


def report(
    facts: Facts,
    verdict: Reported,
    policy: Policy,
    *,
    now: datetime,
    refused: Iterable[Write],
    conflicts: Iterable[Write],
) -> list[WriteWithEvents]:
    """List the writes that make the reported status agree with the verdict; empty when it does.

    `refused` are the writes that are known not to go through, `conflicts` those of them that only
    need a retry.
    """
    old = facts.control_plane.status
    new = _status(facts, verdict, now=now, secrets_ready=_secrets_ready(facts, conflicts))
    writes: list[WriteWithEvents] = []
    if _as_kept(old, new) != old:
        # Upstream's definition prunes `version`, and the absence of `Paused` says no less than
        # False: both ride along and are no reason to write.
        new = evolve(new, version=_version(facts), conditions=_unpaused(new.conditions, now=now))
        patch = status(
            facts.observed.key,
            facts.control_plane.metadata,
            old,
            new,
            known=facts.not_kept,
        )
        if patch is not None:
            events = tuple(_changed_verdict(facts, old.conditions, verdict))
            writes.append(WriteWithEvents(patch, events))
            if Write("patch", facts.observed.key, "status") in refused:
                # The Cluster follows the status that stands. A refused one never stood.
                new = old
    if isinstance(facts.owner, Cluster) and policy.publish_to_cluster != "never":
        if policy.publish_to_cluster == "auto" and _core_acts_on(facts.owner):
            writes.extend(_stale_failures(facts, facts.owner, new, verdict))
        else:
            writes.extend(_cluster(facts, facts.owner, new, verdict, now=now))
    return writes


def report_of_pause(facts: Facts, paused: Paused, *, now: datetime) -> list[WriteWithEvents]:
    """Report a pause in its condition (contract: SHOULD): the one write that a pause allows.

    A control plane that was released is no longer ours to report on.
    """
    meta = facts.control_plane.metadata
    old = facts.control_plane.status
    if _is_paused(old.conditions) or (meta.deletion_timestamp and FINALIZER not in meta.finalizers):
        return []
    wanted = Condition(_PAUSED, "True", paused.reason, paused.message)
    new = evolve(old, conditions=with_condition(old.conditions, wanted, now=now))
    patch = status(facts.observed.key, meta, old, new, known=facts.not_kept)
    return [*with_events(patch)]


def _is_paused(conditions: Iterable[Condition]) -> bool:
    found = find_condition(conditions, _PAUSED)
    return found is not None and found.status == "True"


def _without_pause(conditions: tuple[Condition, ...], *, now: datetime) -> tuple[Condition, ...]:
    """Withdraw a `Paused` that is no longer true."""
    return _unpaused(conditions, now=now) if _is_paused(conditions) else conditions


def _unpaused(conditions: tuple[Condition, ...], *, now: datetime) -> tuple[Condition, ...]:
    """Set `Paused` to False, unless it says that already, in whatever words."""
    found = find_condition(conditions, _PAUSED)
    if found is not None and found.status == "False":
        return conditions
    wanted = Condition(_PAUSED, "False", "NotPaused", "Neither it nor its Cluster is paused")
    return with_condition(conditions, wanted, now=now)


def event_of(facts: Facts, verdict: Reported) -> RecordEvent:
    """Build the Event that records a verdict: a Warning unless it is good or only waits."""
    message = verdict.message[:_LONGEST_EVENT_MESSAGE]
    type_ = "Normal" if _is_calm(verdict) else "Warning"
    return RecordEvent(facts.observed.key, type_, verdict.reason, message, facts.uid)


def _is_calm(verdict: Reported) -> bool:
    if isinstance(verdict, Degraded):
        return verdict.severity is Severity.WAITING
    return isinstance(verdict, (Creating, Ready))


def _changed_verdict(
    facts: Facts, conditions: tuple[Condition, ...], verdict: Reported
) -> Iterator[RecordEvent]:
    ready = find_condition(conditions, "Ready")
    is_ready = isinstance(verdict, REPORTS_READY)
    if ready is None or (ready.status == "True") != is_ready or ready.reason != verdict.reason:
        yield event_of(facts, verdict)


def _secrets_ready(facts: Facts, conflicts: Iterable[Write]) -> bool:
    """Whether `secretsReady` is to be reported: a Secret that only needs a retry does not withdraw
    it.
    """
    if facts.secrets_ready:
        return True
    is_retried = any(write.target.kind == "Secret" for write in conflicts)
    return is_retried and bool(facts.control_plane.status.secrets_ready)


def _status(
    facts: Facts,
    verdict: Reported,
    *,
    now: datetime,
    secrets_ready: bool,
) -> CAPTControlPlaneStatus:
    old = facts.control_plane.status
    template = old.workspace_template_status
    message = verdict.message[:_LONGEST_MESSAGE]
    ready = isinstance(verdict, REPORTS_READY)
    wanted = Condition("Ready", "True" if ready else "False", verdict.reason, message)
    return CAPTControlPlaneStatus(
        ready=ready,
        initialized=bool(old.initialized) or ready,
        secrets_ready=secrets_ready,
        phase=_phase(verdict),
        version=old.version,
        workspace_template_status=WorkspaceTemplateState(
            ready=ready,
            last_applied_revision=_revision(facts) if ready else template.last_applied_revision,
            last_failure_message="" if isinstance(verdict, (Creating, Ready)) else message,
        ),
        workspace_status=_mirror(facts, old.workspace_status),
        conditions=with_condition(_without_pause(old.conditions, now=now), wanted, now=now),
    )


def _phase(verdict: Reported) -> str:
    if isinstance(verdict, REPORTS_READY):
        return "Ready"
    return "Creating" if isinstance(verdict, Creating) else "Failed"


def _version(facts: Facts) -> str:
    """Return the Kubernetes version that runs: what Terraform shows, else what was applied.

    Cluster API compares it with spec.version, so it has the user's spelling where both are the same
    minor version.
    """
    spec = facts.control_plane.spec
    # Without an output, what was reported first stays: an apply passes no new version on.
    reported = facts.control_plane.status.version
    running = _shown_version(facts) or reported or _applied_version(facts)
    return spec.version if eks_version(spec.version) == eks_version(running) else running


def _shown_version(facts: Facts) -> str:
    shown = outputs(facts.observed.main)
    for name in ("cluster_version", "kubernetes_version"):
        version = shown.get(name)
        if isinstance(version, str) and is_version(version):
            return version
    return ""


def _applied_version(facts: Facts) -> str:
    apply = facts.observed.main.apply
    if facts.main_is_foreign or not isinstance(apply, WorkspaceTemplateApply):
        return ""
    version = apply.spec.variables.get("kubernetes_version", "")
    return version if apply.status.applied and is_version(version) else ""


def _revision(facts: Facts) -> str:
    """Return when the apply was applied, as its status has it.

    A value in Go's format that names the same instant stays: rewriting it would be a write without
    a change.
    """
    old = facts.control_plane.status.workspace_template_status.last_applied_revision
    apply = facts.observed.main.apply
    applied = apply.status.last_applied_time if isinstance(apply, WorkspaceTemplateApply) else ""
    if not applied or old == applied:
        return old
    is_same_instant = instant(old) == instant(applied) is not None
    return old if is_same_instant else applied


def _mirror(facts: Facts, old: WorkspaceState) -> WorkspaceState:
    workspace = facts.observed.main.workspace
    if facts.main_is_foreign or not isinstance(workspace, Workspace):
        return old
    ready = find_condition(workspace.status.conditions, "Ready")
    at_provider = workspace.status.at_provider
    return WorkspaceState(
        ready=ready.status == "True" if ready else old.ready,
        state=ready.reason if ready else old.state,
        at_provider=dict(at_provider.wire) if at_provider else old.at_provider,
    )


def _as_kept(old: CAPTControlPlaneStatus, new: CAPTControlPlaneStatus) -> CAPTControlPlaneStatus:
    """Leave out of `new` what is no reason to write: a false that is absent, and a `secretsReady`
    that is not kept.
    """
    before = old.workspace_template_status.ready
    if None not in (old.ready, old.initialized, old.secrets_ready, before):
        return new
    template = new.workspace_template_status
    return evolve(
        new,
        ready=new.ready or _absent_or_false(old.ready),
        initialized=new.initialized or _absent_or_false(old.initialized),
        secrets_ready=None if old.secrets_ready is None else new.secrets_ready,
        workspace_template_status=evolve(
            template, ready=template.ready or _absent_or_false(before)
        ),
    )


def _absent_or_false(old: bool | None) -> bool | None:  # noqa: FBT001 - a value, not a choice
    return None if old is None else False


def _core_acts_on(cluster: Cluster) -> bool:
    """Whether Cluster API's core, of any version, publishes the status of the Cluster."""
    return CORE_FINALIZER in cluster.metadata.finalizers or _is_one_way(cluster.status)


def _is_one_way(status: ClusterStatus) -> bool:
    """Whether the server stores `controlPlaneReady` as `initialization.controlPlaneInitialized`.

    Core never takes that one back (contract v1beta2), so nobody else may.
    """
    newer = status.initialization is not None or status.deprecated is not None
    return newer or status.v1beta2 is not None


def _stale_failures(
    facts: Facts, cluster: Cluster, reported: CAPTControlPlaneStatus, verdict: Reported
) -> Iterator[WriteWithEvents]:
    """Remove failures once Ready: core copies them from a control plane and never clears them."""
    if reported.ready and isinstance(verdict, REPORTS_READY):
        yield from _cluster_status(facts, cluster, _without_failures(cluster.status))


def _without_failures(status: ClusterStatus) -> ClusterStatus:
    deprecated = status.deprecated
    if deprecated is not None and deprecated.v1beta1 is not None:
        older = evolve(deprecated.v1beta1, failure_reason="", failure_message="")
        deprecated = DeprecatedClusterStatus(older)
    elif not (status.failure_reason or status.failure_message):
        return status
    return evolve(status, failure_reason="", failure_message="", deprecated=deprecated)


def _cluster(
    facts: Facts,
    cluster: Cluster,
    reported: CAPTControlPlaneStatus,
    verdict: Reported,
    *,
    now: datetime,
) -> Iterator[WriteWithEvents]:
    """Write what core would make of the status; stale failures go when all is Ready."""
    old = cluster.status
    if reported.ready and isinstance(verdict, REPORTS_READY):
        old = _without_failures(old)
    new = (_newer if cluster.is_newer else _older)(old, reported, now=now)
    if new is not cluster.status:
        yield from _cluster_status(facts, cluster, new)


def _older(old: ClusterStatus, reported: CAPTControlPlaneStatus, *, now: datetime) -> ClusterStatus:
    """Return the status of a Cluster in v1beta1."""
    stays_ready = old.control_plane_ready and _is_one_way(old)
    ready = bool(reported.ready) or stays_ready
    conditions = _cluster_conditions(old.conditions, reported, _INITIALIZED, now=now)
    # In most passes nothing changes, and a copy would cost as much as all of the rest.
    if ready == old.control_plane_ready and conditions is old.conditions:
        return old
    return evolve(old, control_plane_ready=ready, conditions=conditions)


def _newer(old: ClusterStatus, reported: CAPTControlPlaneStatus, *, now: datetime) -> ClusterStatus:
    """Return the status of a Cluster in v1beta2. The reports of v1beta1 are kept where core has
    them.
    """
    initialization = old.initialization
    if reported.initialized:
        initialization = ClusterInitialization(control_plane_initialized=True)
    deprecated = old.deprecated
    if deprecated is not None and deprecated.v1beta1 and deprecated.v1beta1.conditions:
        conditions = deprecated.v1beta1.conditions
        conditions = _cluster_conditions(conditions, reported, _INITIALIZED, now=now)
        deprecated = DeprecatedClusterStatus(evolve(deprecated.v1beta1, conditions=conditions))
    return evolve(
        old,
        initialization=initialization,
        conditions=_cluster_conditions(old.conditions, reported, _NEWER_INITIALIZED, now=now),
        deprecated=deprecated,
    )


def _cluster_status(
    facts: Facts, cluster: Cluster, new: ClusterStatus
) -> Iterator[WriteWithEvents]:
    patch = status(facts.names.cluster, cluster.metadata, cluster.status, new, known=facts.not_kept)
    yield from with_events(patch)


# A condition of Cluster API's v1beta1 that is True has no reason. One of Kubernetes' type has one,
# and its message may be empty but not absent.
_INITIALIZED = Condition("ControlPlaneInitialized", "True")
_NEWER_INITIALIZED = evolve(_INITIALIZED, reason="Initialized", wire={"message": ""})


def _cluster_conditions(
    old: tuple[Condition, ...],
    reported: CAPTControlPlaneStatus,
    wanted: Condition,
    *,
    now: datetime,
) -> tuple[Condition, ...]:
    """Set ControlPlaneInitialized, which latches: once True it stays."""
    found = find_condition(old, wanted.type)
    if not reported.initialized or (found is not None and found.status == "True"):
        return old
    # What explained the False goes.
    bare = tuple(evolve(each, wire=wanted.wire) if each is found else each for each in old)
    return with_condition(bare, wanted, now=now)
