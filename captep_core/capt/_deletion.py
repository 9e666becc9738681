"""The way out: what is deleted, in which order, and what is waited for (capt-reference, 51 to 55).

Rules of this module:

1. The Cluster's endpoint and the main apply first; the kubeconfig apply when the Workspace is gone; the finalizer last.
2. The Workspace is waited for, not its apply. One that is to be retained is not waited for; an apply that is gone has taken its
   Workspace with it or was told to leave it.
3. What another controller owns stays. What is unreadable stops all that comes after it.
"""

from collections.abc import Collection, Iterator

from attrs import field, frozen

from captep_core._actions import JSON, Delete, Preconditions, RecordEvent, Write, write_of
from captep_core._observation import Observed, Unreadable
from captep_core.capt._desired import Step, patch
from captep_core.capt._facts import Facts
from captep_core.capt._findings import unreadable
from captep_core.capt._intervals import Policy
from captep_core.capt._model import Cluster, HostPort, Workspace, WorkspaceTemplateApply
from captep_core.capt._names import FINALIZER, apply_ref, cluster_ref, workspace_ref
from captep_core.capt._outputs import Present, parse_endpoint
from captep_core.capt._ownership import is_foreign
from captep_core.capt._verdict import AwaitingWorkspaceDeletion, Deleting, Finding, Rank

__all__ = ["DeletionPlan", "plan_deletion"]


@frozen
class DeletionPlan:
    """How far the deletion is: what is to be written now, and the verdict, or else what stands in its way."""

    steps: list[Step]
    verdict: Deleting | AwaitingWorkspaceDeletion | None
    findings: list[Finding] = field(factory=list)


def plan_deletion(facts: Facts, policy: Policy, refused: Collection[Write]) -> DeletionPlan:
    """Work out the next part of the deletion; a part begins when no write of the one before it is `refused`."""
    if isinstance(facts.owner, Unreadable):
        ref = cluster_ref(facts.namespace, facts.cluster_name)
        return DeletionPlan(
            [],
            None,
            [
                unreadable(
                    Rank.CLUSTER,
                    "ClusterUnreadable",
                    "Failed to get owner cluster",
                    ref,
                    facts.owner,
                )
            ],
        )
    steps = [*_withdraw_endpoint(facts, policy), *_delete_main(facts)]
    if isinstance(workspace := _awaited(facts), Workspace):
        return DeletionPlan(steps, AwaitingWorkspaceDeletion(_waiting(workspace)))
    if findings := list(_in_the_way(facts)):
        return DeletionPlan(steps, None, findings)
    if not _is_stuck(steps, refused):
        steps.extend(_delete_kubeconfig(facts))
    if not _is_stuck(steps, refused):
        steps.append(_release(facts, steps))
    return DeletionPlan(steps, Deleting(f"{facts.observed.key} is being deleted"))


def _is_stuck(steps: list[Step], refused: Collection[Write]) -> bool:
    return any(write_of(step[0]) in refused for step in steps)


def _withdraw_endpoint(facts: Facts, policy: Policy) -> Iterator[Step]:
    cluster, published = facts.owner, facts.control_plane.spec.control_plane_endpoint
    if not (isinstance(cluster, Cluster) and policy.publishes_to_cluster and published.host):
        return
    if _bare(cluster.spec.control_plane_endpoint) == _bare(published):
        target = cluster_ref(facts.namespace, cluster.metadata.name)
        yield (
            patch(
                target,
                cluster.metadata,
                {"spec": {"controlPlaneEndpoint": None}},
                "withdraw the endpoint that was ours",
            ),
        )


def _bare(endpoint: HostPort) -> HostPort:
    """The endpoint without what the Go controller left on it (a URL as host)."""
    parsed = parse_endpoint(endpoint.host)
    return (
        HostPort(parsed.value.host, parsed.value.port)
        if "://" in endpoint.host and isinstance(parsed, Present)
        else endpoint
    )


def _delete_main(facts: Facts) -> Iterator[Step]:
    main = facts.observed.main.apply
    if isinstance(main, WorkspaceTemplateApply) and not (
        facts.main_is_foreign or main.metadata.deletion_timestamp
    ):
        target = apply_ref(facts.namespace, main.metadata.name)
        delete = Delete(
            target, Preconditions(main.metadata.uid or None), "the control plane is being deleted"
        )
        workspace = _awaited(facts)
        waits = (
            (_tell(facts, "AwaitingWorkspaceDeletion", _waiting(workspace)),)
            if isinstance(workspace, Workspace)
            else ()
        )
        yield (delete, _tell(facts, "Deleting", f"{target} is deleted"), *waits)


def _awaited(facts: Facts) -> Observed[Workspace] | None:
    """The Workspace that has to be gone before we are done, None when there is none to wait for."""
    apply = facts.observed.main.apply
    if (
        not isinstance(apply, WorkspaceTemplateApply)
        or facts.main_is_foreign
        or apply.spec.retain_workspace_on_delete
    ):
        return None
    return facts.observed.main.workspace


def _waiting(workspace: Workspace) -> str:
    return f"waiting until Workspace {workspace.metadata.name} is destroyed"


def _tell(facts: Facts, event: str, message: str) -> RecordEvent:
    return RecordEvent(facts.observed.key, "Normal", event, message, facts.uid or None)


def _in_the_way(facts: Facts) -> Iterator[Finding]:
    """What is unreadable and has to be known before anything more is given up."""
    main, doing = facts.observed.main, "Failed to delete"
    if isinstance(main.apply, Unreadable):
        ref = apply_ref(facts.namespace, facts.names.main)
        yield unreadable(Rank.APPLY, "WorkspaceTemplateApplyUnreadable", doing, ref, main.apply)
    elif isinstance(awaited := _awaited(facts), Unreadable):
        ref = workspace_ref(main.workspace_name)
        yield unreadable(Rank.WORKSPACE, "WorkspaceStatusUpdateFailed", doing, ref, awaited)
    if isinstance(kubeconfig := facts.observed.kubeconfig.apply, Unreadable):
        ref = apply_ref(facts.namespace, facts.names.kubeconfig_apply)
        yield unreadable(Rank.KUBECONFIG, "KubeconfigGenerationFailed", doing, ref, kubeconfig)


def _delete_kubeconfig(facts: Facts) -> Iterator[Step]:
    apply = facts.observed.kubeconfig.apply
    if isinstance(apply, WorkspaceTemplateApply) and not (
        apply.metadata.deletion_timestamp or is_foreign(apply.metadata, facts.uid)
    ):
        yield (
            Delete(
                apply_ref(facts.namespace, apply.metadata.name),
                Preconditions(apply.metadata.uid or None),
                "the Workspace is gone",
            ),
        )


def _release(facts: Facts, before: list[Step]) -> Step:
    """Take the finalizer off; where nothing else told of the deletion, tell of it now."""
    metadata = facts.control_plane.metadata
    rest: list[JSON] = [each for each in metadata.finalizers if each != FINALIZER]
    release = patch(
        facts.observed.key,
        metadata,
        {"metadata": {"finalizers": rest or None}},
        "release the control plane",
        lists=True,
    )
    told = facts.observed.state.verdict in ("Deleting", "AwaitingWorkspaceDeletion") or any(
        len(step) > 1 for step in before
    )
    return (release,) if told else (release, _tell(facts, "Deleting", "nothing is left to delete"))
