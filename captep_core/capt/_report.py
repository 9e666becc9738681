"""What is reported of a verdict: one status of the control plane, what the Cluster shows of it, and an Event when the verdict changes.

Rules of this module:

1. Status says what was observed, never what was just requested; it is written when nothing else is left to write.
2. `ready` is what is observed now, `initialized` latches (Cluster API contract). failureReason and failureMessage are for terminal
   failures, of which there are none here: what an earlier controller left is cleared.
3. Mirrored values stay as they were last known while the Workspace shows none.
4. A field that the server does not keep (`secretsReady` under an older CRD) is never a reason to write.
5. On the Cluster: what Cluster API's own controller would write from the status that stands, and nothing else.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

from attrs import evolve

from captep_core._actions import JSON, ObjectRef, Patch, Preconditions, RecordEvent, Write
from captep_core._diff import merge_patch, same_json, without_nulls
from captep_core._objects import instant, rfc3339
from captep_core.capt._desired import Step
from captep_core.capt._facts import Facts
from captep_core.capt._intervals import Policy
from captep_core.capt._model import (
    CAPTControlPlaneStatus,
    Cluster,
    ClusterStatus,
    Condition,
    ObjectMeta,
    Workspace,
    WorkspaceState,
    WorkspaceTemplateApply,
    WorkspaceTemplateState,
)
from captep_core.capt._names import cluster_ref
from captep_core.capt._provider import condition
from captep_core.capt._verdict import Creating, Degraded, Failed, Ready, Severity, Unknown

__all__ = ["Reported", "announce", "report"]

Reported: TypeAlias = Creating | Failed | Unknown | Degraded | Ready

_MESSAGE_LIMIT = 32768  # of a condition, in characters (CRD)
_EVENT_LIMIT = 1024  # of an Event's message (KEP-383)


def report(
    facts: Facts,
    verdict: Reported,
    policy: Policy,
    *,
    now: datetime,
    refused: Iterable[Write],
    conflicts: Iterable[Write],
) -> list[Step]:
    """List the writes that make what is reported agree with the verdict; empty when it does.

    `refused`: writes that are known not to go through. `conflicts`: those of them that are merely to be tried again.
    """
    old = facts.control_plane.status
    pending = bool(old.secrets_ready) and any(write.target.kind == "Secret" for write in conflicts)
    new = _status(facts, verdict, now=now, secrets_ready=facts.secrets_ready or pending)
    steps: list[Step] = []
    if body := _difference(old, new):
        write = _status_patch(facts.observed.key, facts.control_plane.metadata, body)
        steps.append((write, *_told(facts, old.conditions, verdict)))
        if Write("patch", facts.observed.key, "status") in refused:
            new = old
    if isinstance(facts.owner, Cluster) and policy.publishes_to_cluster:
        steps.extend(_cluster(facts, facts.owner, new, verdict, now=now))
    return steps


def announce(facts: Facts, verdict: Reported) -> RecordEvent:
    """Build the Event that tells of a verdict."""
    calm = isinstance(verdict, Creating | Ready) or (
        isinstance(verdict, Degraded) and verdict.kind is Severity.WAITING
    )
    return RecordEvent(
        facts.observed.key,
        "Normal" if calm else "Warning",
        verdict.reason,
        verdict.message[:_EVENT_LIMIT],
        facts.uid,
    )


def _told(facts: Facts, before: tuple[Condition, ...], verdict: Reported) -> Iterator[RecordEvent]:
    ready, is_ready = condition(before, "Ready"), isinstance(verdict, Ready | Degraded)
    if ready is None or (ready.status == "True", ready.reason) != (is_ready, verdict.reason):
        yield announce(facts, verdict)


def _status(
    facts: Facts, verdict: Reported, *, now: datetime, secrets_ready: bool
) -> CAPTControlPlaneStatus:
    old, message = facts.control_plane.status, verdict.message[:_MESSAGE_LIMIT]
    ready = isinstance(verdict, Ready | Degraded)
    phase = "Ready" if ready else "Creating" if isinstance(verdict, Creating) else "Failed"
    wanted = Condition("Ready", "True" if ready else "False", verdict.reason, message)
    return CAPTControlPlaneStatus(
        ready=ready,
        initialized=bool(old.initialized) or ready,
        secrets_ready=secrets_ready,
        phase=phase,
        workspace_template_status=WorkspaceTemplateState(
            ready=ready,
            last_applied_revision=_revision(facts)
            if ready
            else old.workspace_template_status.last_applied_revision,
            last_failure_message="" if isinstance(verdict, Creating | Ready) else message,
        ),
        workspace_status=_mirror(facts, old.workspace_status),
        conditions=_with(old.conditions, wanted, now=now),
    )


def _revision(facts: Facts) -> str:
    """When the apply was applied, as it stands on the wire; a value in Go's format that names the same instant stays."""
    old, apply = (
        facts.control_plane.status.workspace_template_status.last_applied_revision,
        facts.observed.main.apply,
    )
    applied = apply.status.last_applied_time if isinstance(apply, WorkspaceTemplateApply) else ""
    if not applied or old == applied:
        return old
    return old if instant(old) == instant(applied) is not None else applied


def _mirror(facts: Facts, old: WorkspaceState) -> WorkspaceState:
    workspace = facts.observed.main.workspace
    if facts.main_is_foreign or not isinstance(workspace, Workspace):
        return old
    ready, at_provider = (
        condition(workspace.status.conditions, "Ready"),
        workspace.status.at_provider,
    )
    return WorkspaceState(
        ready=ready.status == "True" if ready else old.ready,
        state=ready.reason if ready else old.state,
        at_provider=dict(at_provider.wire) if at_provider else old.at_provider,
    )


def _with(
    entries: tuple[Condition, ...], wanted: Condition, *, now: datetime
) -> tuple[Condition, ...]:
    """Put a condition in its place, once; its transition time moves only with its status."""
    before = condition(entries, wanted.type)
    if before is None:
        return (*entries, evolve(wanted, last_transition_time=rfc3339(now)))
    since = before.last_transition_time if before.status == wanted.status else ""
    stamped = Condition(
        wanted.type,
        wanted.status,
        wanted.reason,
        wanted.message,
        since or rfc3339(now),
        before.wire,
    )
    return tuple(
        [
            stamped if entry is before else entry
            for entry in entries
            if entry is before or entry.type != wanted.type
        ]
    )


def _difference(old: CAPTControlPlaneStatus, new: CAPTControlPlaneStatus) -> dict[str, JSON]:
    if _as_kept(old, new) == old and same_json(
        new.workspace_status.at_provider, old.workspace_status.at_provider
    ):
        return {}
    return merge_patch(_owned(old), _owned(new))


def _as_kept(old: CAPTControlPlaneStatus, new: CAPTControlPlaneStatus) -> CAPTControlPlaneStatus:
    """Leave out of `new` what is no reason to write: a false that is not there, and `secretsReady` where it is not kept."""
    if None not in (
        old.ready,
        old.initialized,
        old.secrets_ready,
        old.workspace_template_status.ready,
    ):
        return new
    template = new.workspace_template_status
    return evolve(
        new,
        ready=new.ready or _absent_or_false(old.ready),
        initialized=new.initialized or _absent_or_false(old.initialized),
        secrets_ready=None if old.secrets_ready is None else new.secrets_ready,
        workspace_template_status=evolve(
            template, ready=template.ready or _absent_or_false(old.workspace_template_status.ready)
        ),
    )


def _absent_or_false(old: bool | None) -> bool | None:  # noqa: FBT001 - a value, not a choice
    return None if old is None else False


def _owned(status: CAPTControlPlaneStatus) -> dict[str, JSON]:
    """The fields of a status that we own, those that equal absent left out."""
    template, workspace = status.workspace_template_status, status.workspace_status
    owned: dict[str, JSON] = {
        "ready": status.ready,
        "initialized": status.initialized,
        "secretsReady": status.secrets_ready,
        "phase": status.phase or None,
        "failureReason": status.failure_reason or None,
        "failureMessage": status.failure_message or None,
        "workspaceTemplateStatus": {
            "ready": template.ready,
            "lastAppliedRevision": template.last_applied_revision or None,
            "lastFailureMessage": template.last_failure_message or None,
        },
        "workspaceStatus": {
            "ready": workspace.ready,
            "state": workspace.state or None,
            "atProvider": workspace.at_provider,
        },
        "conditions": [_entry(each) for each in status.conditions],
    }
    return {key: without_nulls(value) for key, value in owned.items() if value is not None}


def _entry(entry: Condition) -> JSON:
    said = {
        "type": entry.type,
        "status": entry.status,
        "lastTransitionTime": entry.last_transition_time,
    }
    texts = {"reason": entry.reason, "message": entry.message}
    return {
        **entry.wire,
        **said,
        **{key: text for key, text in texts.items() if text or key in entry.wire},
    }


def _status_patch(target: ObjectRef, meta: ObjectMeta, status: dict[str, JSON]) -> Patch:
    # The server takes the metadata of a status write from what is stored: of the uid it says nothing, of the resourceVersion it does.
    preconditions = Preconditions(meta.uid or None, meta.resource_version or None)
    return Patch(
        target, {"status": status}, preconditions, f"report: {', '.join(sorted(status))}", "status"
    )


def _cluster(
    facts: Facts,
    cluster: Cluster,
    reported: CAPTControlPlaneStatus,
    verdict: Reported,
    *,
    now: datetime,
) -> Iterator[Step]:
    """What Cluster API's own controller makes of the status that stands; when all is Ready, failures that were left behind go."""
    old = cluster.status
    stays = not reported.initialized or _is_true(old.conditions, "ControlPlaneInitialized")
    clears = bool(reported.ready) and isinstance(verdict, Ready | Degraded)
    new = ClusterStatus(
        control_plane_ready=bool(reported.ready),
        failure_reason="" if clears else old.failure_reason,
        failure_message="" if clears else old.failure_message,
        conditions=old.conditions
        if stays
        else _with(_bare(old.conditions), Condition("ControlPlaneInitialized", "True"), now=now),
    )
    if new != old:
        body = merge_patch(_owned_of_cluster(old), _owned_of_cluster(new))
        yield (
            _status_patch(
                cluster_ref(facts.namespace, cluster.metadata.name), cluster.metadata, body
            ),
        )


def _bare(entries: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Forget why the Cluster was not initialized: a condition that is True has neither reason nor severity (Cluster API)."""
    return tuple(
        Condition(each.type, each.status) if each.type == "ControlPlaneInitialized" else each
        for each in entries
    )


def _is_true(entries: tuple[Condition, ...], kind: str) -> bool:
    found = condition(entries, kind)
    return found is not None and found.status == "True"


def _owned_of_cluster(status: ClusterStatus) -> dict[str, JSON]:
    owned: dict[str, JSON] = {
        "controlPlaneReady": status.control_plane_ready,
        "failureReason": status.failure_reason or None,
        "failureMessage": status.failure_message or None,
        "conditions": [_entry(each) for each in status.conditions],
    }
    return {key: value for key, value in owned.items() if value is not None}
