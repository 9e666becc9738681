"""Deletion: what is deleted, in which order, and what to wait for.

Rules of this module:

1. The Cluster's endpoint and the main apply go first, the kubeconfig apply when the Workspace is
   gone, and the finalizer last.
2. We wait for the Workspace and not for its apply. A Workspace that is retained is not waited for.
   An apply that is gone has taken its Workspace with it, or was asked to leave it.
3. Another controller's object stays. An unreadable object stops everything that comes after it.
"""

from collections.abc import Collection, Iterator

from attrs import field, frozen

from captep_core._actions import Delete, Preconditions, RecordEvent, Write, write_of
from captep_core._objects import is_foreign, without_finalizer
from captep_core._observation import Observed, Unreadable
from captep_core._write import shared
from captep_core.capt._children import KUBECONFIG_APPLY, MAIN
from captep_core.capt._desired import WriteWithEvents, endpoint_fields, with_events
from captep_core.capt._facts import Facts
from captep_core.capt._findings import unreadable
from captep_core.capt._intervals import Policy
from captep_core.capt._model import Cluster, HostPort, Workspace, WorkspaceTemplateApply
from captep_core.capt._names import FINALIZER, cluster_ref, workspace_ref
from captep_core.capt._outputs import Present, parse_endpoint
from captep_core.capt._verdict import AwaitingWorkspaceDeletion, Deleting, Finding, Rank

__all__ = ["DeletionPlan", "plan_deletion"]


@frozen
class DeletionPlan:
    """The writes of this pass, and the verdict; the verdict is None when `findings` keep the
    deletion from going on.
    """

    writes: list[WriteWithEvents]
    verdict: Deleting | AwaitingWorkspaceDeletion | None
    findings: list[Finding] = field(factory=list)


def plan_deletion(facts: Facts, policy: Policy, refused: Collection[Write]) -> DeletionPlan:
    """Plan the next part of the deletion; a part begins when no write of the one before it is in
    `refused`.
    """
    if isinstance(facts.owner, Unreadable):
        ref = facts.names.cluster
        doing = "Failed to get owner cluster"
        finding = unreadable(Rank.CLUSTER, "ClusterUnreadable", doing, ref, facts.owner)
        return DeletionPlan([], None, [finding])
    writes = [*_withdraw_endpoint(facts, policy), *_delete_main(facts)]
    workspace = _awaited(facts)
    if isinstance(workspace, Workspace):
        return DeletionPlan(writes, AwaitingWorkspaceDeletion(_waiting(workspace)))
    findings = list(_unreadable_objects(facts))
    if findings:
        return DeletionPlan(writes, None, findings)
    if not _any_is_refused(writes, refused):
        writes.extend(_delete_kubeconfig_apply(facts))
    if not _any_is_refused(writes, refused):
        writes.extend(_release(facts, writes))
    return DeletionPlan(writes, Deleting(f"{facts.observed.key} is being deleted"))


def _any_is_refused(writes: list[WriteWithEvents], refused: Collection[Write]) -> bool:
    return any(write_of(each.write) in refused for each in writes)


def _withdraw_endpoint(facts: Facts, policy: Policy) -> Iterator[WriteWithEvents]:
    """Withdraw the endpoint from the Cluster, unless somebody else has set another one there."""
    cluster = facts.owner
    published = facts.control_plane.spec.control_plane_endpoint
    if not (
        isinstance(cluster, Cluster) and policy.publish_to_cluster != "never" and published.host
    ):
        return
    before = cluster.spec.control_plane_endpoint
    if _bare(before) != _bare(published):
        return
    patch = shared(
        cluster_ref(facts.namespace, cluster.metadata.name),
        cluster.metadata,
        {"spec": {"controlPlaneEndpoint": endpoint_fields(before)}},
        {"spec": {"controlPlaneEndpoint": None}},
        "withdraw the endpoint that was ours",
    )
    yield from with_events(patch)


def _bare(endpoint: HostPort) -> HostPort:
    """Return the endpoint with a bare host; the Go controller left a URL as host."""
    if "://" not in endpoint.host:
        return endpoint
    parsed = parse_endpoint(endpoint.host)
    if isinstance(parsed, Present):
        return HostPort(parsed.value.host, parsed.value.port)
    return endpoint


def _delete_main(facts: Facts) -> Iterator[WriteWithEvents]:
    main = facts.observed.main.apply
    if not isinstance(main, WorkspaceTemplateApply) or facts.main_is_foreign:
        return
    if main.metadata.deletion_timestamp:
        return
    target = MAIN.ref(facts)
    events = [_event(facts, "Deleting", f"{target} is deleted")]
    workspace = _awaited(facts)
    if isinstance(workspace, Workspace):
        events.append(_event(facts, "AwaitingWorkspaceDeletion", _waiting(workspace)))
    preconditions = Preconditions(main.metadata.uid or None)
    delete = Delete(target, preconditions, "the control plane is being deleted")
    yield WriteWithEvents(delete, tuple(events))


def _awaited(facts: Facts) -> Observed[Workspace] | None:
    """Return the Workspace that has to go before the finalizer does, None without one."""
    apply = facts.observed.main.apply
    if not isinstance(apply, WorkspaceTemplateApply) or facts.main_is_foreign:
        return None
    if apply.spec.retain_workspace_on_delete:
        return None
    return facts.observed.main.workspace


def _waiting(workspace: Workspace) -> str:
    return f"waiting until Workspace {workspace.metadata.name} is destroyed"


def _event(facts: Facts, reason: str, message: str) -> RecordEvent:
    return RecordEvent(facts.observed.key, "Normal", reason, message, facts.uid or None)


def _unreadable_objects(facts: Facts) -> Iterator[Finding]:
    """Report the objects that have to be known before anything more is given up."""
    main = facts.observed.main
    doing = "Failed to delete"
    awaited = _awaited(facts)
    if isinstance(main.apply, Unreadable):
        ref = facts.names.main
        yield unreadable(Rank.APPLY, MAIN.unreadable_reason, doing, ref, main.apply)
    elif isinstance(awaited, Unreadable):
        ref = workspace_ref(main.workspace_name)
        yield unreadable(Rank.WORKSPACE, "WorkspaceStatusUpdateFailed", doing, ref, awaited)
    kubeconfig = facts.observed.kubeconfig.apply
    if isinstance(kubeconfig, Unreadable):
        ref = KUBECONFIG_APPLY.ref(facts)
        yield unreadable(Rank.KUBECONFIG, KUBECONFIG_APPLY.reason, doing, ref, kubeconfig)


def _delete_kubeconfig_apply(facts: Facts) -> Iterator[WriteWithEvents]:
    apply = facts.observed.kubeconfig.apply
    if not isinstance(apply, WorkspaceTemplateApply):
        return
    if apply.metadata.deletion_timestamp or is_foreign(apply.metadata, facts.uid):
        return
    target = KUBECONFIG_APPLY.ref(facts)
    preconditions = Preconditions(apply.metadata.uid or None)
    yield WriteWithEvents(Delete(target, preconditions, "the Workspace is gone"))


def _release(facts: Facts, before: list[WriteWithEvents]) -> Iterator[WriteWithEvents]:
    """Remove the finalizer; a deletion that no Event has recorded so far is recorded with it."""
    metadata = facts.control_plane.metadata
    rest = without_finalizer(metadata.finalizers, FINALIZER)
    patch = shared(
        facts.observed.key,
        metadata,
        {"metadata": {"finalizers": metadata.finalizers}},
        {"metadata": {"finalizers": rest or None}},
        "release the control plane",
    )
    event = _event(facts, "Deleting", "nothing is left to delete")
    yield from with_events(patch, *(() if _is_recorded(facts, before) else (event,)))


def _is_recorded(facts: Facts, before: list[WriteWithEvents]) -> bool:
    recorded_before = facts.observed.state.verdict in ("Deleting", "AwaitingWorkspaceDeletion")
    return recorded_before or any(each.events for each in before)
