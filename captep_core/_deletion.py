"""The way out: what is deleted, in which order, and what is waited for (capt-reference, 51 to 55).

Rules of this module:

1. The Cluster's endpoint and the main apply first; the kubeconfig apply when the Workspace is gone; the finalizer last.
2. The Workspace is waited for, not its apply. One that is to be retained is not waited for; an apply that is gone has taken its
   Workspace with it or was told to leave it.
3. What another controller owns stays. What is unreadable stops all that comes after it.
"""

from collections.abc import Collection, Iterator

from attrs import field, frozen

from captep_core._actions import JSON, Delete, Preconditions, Record, Write, write_of
from captep_core._endpoint import APIEndpoint, parse_endpoint
from captep_core._findings import unreadable
from captep_core._intervals import Policy
from captep_core._model import Cluster, HostPort, Workspace, WorkspaceTemplateApply
from captep_core._names import FINALIZER, apply_ref, cluster_ref, workspace_ref
from captep_core._observation import Observed, Unreadable
from captep_core._ownership import is_foreign
from captep_core._situation import Situation
from captep_core._verdict import AwaitingWorkspaceDeletion, Deleting, Finding, Rank
from captep_core._writes import Step, patch

__all__ = ["Departure", "depart"]


@frozen
class Departure:
    """How far the deletion is: what is to be written now, and the verdict, or else what stands in its way."""

    steps: list[Step]
    verdict: Deleting | AwaitingWorkspaceDeletion | None
    findings: list[Finding] = field(factory=list)


def depart(s: Situation, policy: Policy, refused: Collection[Write]) -> Departure:
    """Work out the next part of the deletion; a part begins when no write of the one before it is `refused`."""
    if isinstance(s.owner, Unreadable):
        ref = cluster_ref(s.namespace, s.cluster_name)
        return Departure([], None, [unreadable(Rank.CLUSTER, "ClusterUnreadable", "Failed to get owner cluster", ref, s.owner)])
    steps = [*_withdraw_endpoint(s, policy), *_delete_main(s)]
    if isinstance(workspace := _awaited(s), Workspace):
        return Departure(steps, AwaitingWorkspaceDeletion(_waiting(workspace)))
    if findings := list(_in_the_way(s)):
        return Departure(steps, None, findings)
    if not _is_stuck(steps, refused):
        steps.extend(_delete_kubeconfig(s))
    if not _is_stuck(steps, refused):
        steps.append(_release(s, steps))
    return Departure(steps, Deleting(f"{s.around.key} is being deleted"))


def _is_stuck(steps: list[Step], refused: Collection[Write]) -> bool:
    return any(write_of(step[0]) in refused for step in steps)


def _withdraw_endpoint(s: Situation, policy: Policy) -> Iterator[Step]:
    cluster, published = s.owner, s.control_plane.spec.control_plane_endpoint
    if not (isinstance(cluster, Cluster) and policy.publishes_to_cluster and published.host):
        return
    if _bare(cluster.spec.control_plane_endpoint) == _bare(published):
        target = cluster_ref(s.namespace, cluster.metadata.name)
        yield (patch(target, cluster.metadata, {"spec": {"controlPlaneEndpoint": None}}, "withdraw the endpoint that was ours"),)


def _bare(endpoint: HostPort) -> HostPort:
    """The endpoint without what the Go controller left on it (a URL as host)."""
    parsed = parse_endpoint(endpoint.host)
    return HostPort(parsed.host, parsed.port) if "://" in endpoint.host and isinstance(parsed, APIEndpoint) else endpoint


def _delete_main(s: Situation) -> Iterator[Step]:
    main = s.around.main.apply
    if isinstance(main, WorkspaceTemplateApply) and not (s.main_is_foreign or main.metadata.deletion_timestamp):
        target = apply_ref(s.namespace, main.metadata.name)
        delete = Delete(target, Preconditions(main.metadata.uid or None), "the control plane is being deleted")
        workspace = _awaited(s)
        waits = (_tell(s, "AwaitingWorkspaceDeletion", _waiting(workspace)),) if isinstance(workspace, Workspace) else ()
        yield (delete, _tell(s, "Deleting", f"{target} is deleted"), *waits)


def _awaited(s: Situation) -> Observed[Workspace] | None:
    """The Workspace that has to be gone before we are done, None when there is none to wait for."""
    apply = s.around.main.apply
    if not isinstance(apply, WorkspaceTemplateApply) or s.main_is_foreign or apply.spec.retain_workspace_on_delete:
        return None
    return s.around.main.workspace


def _waiting(workspace: Workspace) -> str:
    return f"waiting until Workspace {workspace.metadata.name} is destroyed"


def _tell(s: Situation, event: str, message: str) -> Record:
    return Record(s.around.key, "Normal", event, message, Preconditions(s.uid or None))


def _in_the_way(s: Situation) -> Iterator[Finding]:
    """What is unreadable and has to be known before anything more is given up."""
    main, doing = s.around.main, "Failed to delete"
    if isinstance(main.apply, Unreadable):
        ref = apply_ref(s.namespace, s.names.main)
        yield unreadable(Rank.APPLY, "WorkspaceTemplateApplyUnreadable", doing, ref, main.apply)
    elif isinstance(awaited := _awaited(s), Unreadable):
        ref = workspace_ref(main.workspace_name)
        yield unreadable(Rank.WORKSPACE, "WorkspaceStatusUpdateFailed", doing, ref, awaited)
    if isinstance(kubeconfig := s.around.kubeconfig.apply, Unreadable):
        ref = apply_ref(s.namespace, s.names.kubeconfig_apply)
        yield unreadable(Rank.KUBECONFIG, "KubeconfigGenerationFailed", doing, ref, kubeconfig)


def _delete_kubeconfig(s: Situation) -> Iterator[Step]:
    apply = s.around.kubeconfig.apply
    if isinstance(apply, WorkspaceTemplateApply) and not (apply.metadata.deletion_timestamp or is_foreign(apply.metadata, s.uid)):
        yield (Delete(apply_ref(s.namespace, apply.metadata.name), Preconditions(apply.metadata.uid or None), "the Workspace is gone"),)


def _release(s: Situation, before: list[Step]) -> Step:
    """Take the finalizer off; where nothing else told of the deletion, tell of it now."""
    metadata = s.control_plane.metadata
    rest: list[JSON] = [each for each in metadata.finalizers if each != FINALIZER]
    release = patch(s.around.key, metadata, {"metadata": {"finalizers": rest or None}}, "release the control plane", lists=True)
    told = s.around.recollection.verdict in ("Deleting", "AwaitingWorkspaceDeletion") or any(len(step) > 1 for step in before)
    return (release,) if told else (release, _tell(s, "Deleting", "nothing is left to delete"))
