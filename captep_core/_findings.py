"""All that is not as it should be, in the words of upstream where upstream has words (capt-reference, sections 2 and 8).

Rules of this module:

1. Findings come from the observation alone; a refused write is one when it is still wanted.
2. An unreadable object is reported with upstream's reason for that object, or else as `<Kind>Unreadable`.
3. No message quotes a Secret, or what was parsed from one.
"""

from collections.abc import Callable, Iterator
from typing import assert_never

from captep_core._actions import ObjectRef, Patch, Refusal, Write
from captep_core._endpoint import EndpointInvalid, EndpointMissing
from captep_core._model import Cluster, Secret, WorkspaceTemplateApply
from captep_core._names import apply_ref, cluster_ref, secret_ref, template_ref, workspace_ref
from captep_core._observation import Absent, Observed, Unreadable
from captep_core._observe import AppliedTemplate
from captep_core._ownership import Stranger, foreign_controller
from captep_core._provider import Damaged, NotThere, Source, failure, is_lost, is_ready, outputs
from captep_core._situation import Situation
from captep_core._verdict import Finding, Holds, Kind, Rank

__all__ = ["find", "refused", "spot_role_is_missing", "unreadable"]


def find(s: Situation) -> list[Finding]:
    """List what is not as it should be with a control plane that is to be there."""
    found: list[Finding] = []
    for look in (_owner, _template, _main, _workspace, _spot_role, _endpoint):
        found.extend(look(s))
    if s.publishes:
        found.extend(_sources(s))
        found.extend(_kubeconfig_apply(s))
        found.extend(_our_secrets(s))
    return found


def unreadable(rank: Rank, reason: str, doing: str, ref: ObjectRef, why: Unreadable) -> Finding:
    """Report an object that could not be read."""
    return Finding(rank, Kind.UNREADABLE, reason, f"{doing}: {ref} cannot be read: {why}")


def _owner(s: Situation) -> Iterator[Finding]:
    match s.owner:
        case Absent():
            yield Finding(Rank.CLUSTER, Kind.WAITING, "Creating", "Waiting for owner cluster", Holds.ALWAYS)
        case Unreadable() as why:
            ref = cluster_ref(s.namespace, s.cluster_name)
            yield unreadable(Rank.CLUSTER, "ClusterUnreadable", "Failed to get owner cluster", ref, why)
        case Stranger(controller=other):
            message = f"{s.around.key} is controlled by {other.kind} {other.name} and not by a Cluster"
            yield Finding(Rank.CLUSTER, Kind.FAILURE, "ControlPlaneUpdateFailed", message)
        case Cluster():
            pass
        case _:
            assert_never(s.owner)


def _template(s: Situation) -> Iterator[Finding]:
    wanted = s.control_plane.spec.workspace_template_ref
    if isinstance(s.around.template, Absent):
        message = f'Failed to get WorkspaceTemplate: workspacetemplates.infrastructure.cluster.x-k8s.io "{wanted.name}" not found'
        yield Finding(Rank.TEMPLATE, Kind.FAILURE, "WorkspaceTemplateNotFound", message)
    elif isinstance(s.around.template, Unreadable):
        ref = template_ref(wanted.namespace or s.namespace, wanted.name)
        yield unreadable(Rank.TEMPLATE, "WorkspaceTemplateUnreadable", "Failed to get WorkspaceTemplate", ref, s.around.template)


def _main(s: Situation) -> Iterator[Finding]:
    main, vpc = s.around.main.apply, s.around.vpc
    if s.names.is_ambiguous:
        message = f"spec.workspaceTemplateApplyName: {s.names.main} is the name of another WorkspaceTemplateApply of this control plane"
        yield Finding(Rank.APPLY, Kind.FAILURE, "WorkspaceTemplateApplyFailed", message)
    else:
        yield from _out_of_reach(
            s, main, apply_ref, s.names.main, Rank.APPLY, "WorkspaceTemplateApplyFailed", "WorkspaceTemplateApplyUnreadable"
        )
    if isinstance(vpc, Unreadable):
        ref = apply_ref(s.namespace, s.names.vpc)
        yield unreadable(Rank.APPLY, "WorkspaceTemplateApplyUnreadable", "Failed to get WorkspaceTemplateApply", ref, vpc)


def _out_of_reach(
    s: Situation,
    observed: Observed[WorkspaceTemplateApply] | Observed[Secret],
    named: Callable[[str, str], ObjectRef],
    name: str,
    rank: Rank,
    foreign: str,
    unread: str,
) -> Iterator[Finding]:
    """Report a dependent that is somebody else's, with the reason `foreign`, or unreadable, with the reason `unread`."""
    if isinstance(observed, Unreadable):
        ref = named(s.namespace, name)
        yield unreadable(rank, unread, f"Failed to get {ref.kind}", ref, observed)
    elif not isinstance(observed, Absent) and (other := foreign_controller(observed.metadata, s.uid)):
        message = f"{named(s.namespace, name)} is controlled by {other.kind} {other.name} (uid {other.uid})"
        yield Finding(rank, Kind.FAILURE, foreign, message)


def _workspace(s: Situation) -> Iterator[Finding]:
    main = s.around.main
    if s.main_is_foreign or isinstance(main.apply, Unreadable):
        return
    if isinstance(main.workspace, Unreadable):
        doing, ref = "Failed to update workspace status", workspace_ref(main.workspace_name)
        yield unreadable(Rank.WORKSPACE, "WorkspaceStatusUpdateFailed", doing, ref, main.workspace)
        return
    if is_lost(main):
        message = f'Failed to update workspace status: workspaces.tf.upbound.io "{main.workspace_name}" not found'
        yield Finding(Rank.WORKSPACE, Kind.FAILURE, "WorkspaceStatusUpdateFailed", message, Holds.ALWAYS)
    elif problem := failure(main):
        holds = Holds.UNTIL_READY if s.main_ready else Holds.ALWAYS
        yield Finding(Rank.PROVIDER, Kind.FAILURE, "WorkspaceError", problem, holds)
    if not s.main_ready:
        yield Finding(Rank.CREATING, Kind.WAITING, "Creating", "Control plane is being created", Holds.ALWAYS)


def _spot_role(s: Situation) -> Iterator[Finding]:
    yield from _spot_step(s, s.around.spot_check, s.names.spot_check)
    if not spot_role_is_missing(s):
        return
    create = s.around.spot_create
    yield from _spot_step(s, create, s.names.spot_create)
    if is_ready(create) and outputs(create) and not outputs(create).get("role_arn"):
        yield _spot("role_arn not found in outputs of the workspace")


def spot_role_is_missing(s: Situation) -> bool:
    """Whether the check has found that the account has no role for spot instances."""
    shown = outputs(s.around.spot_check)
    return bool(shown) and is_ready(s.around.spot_check) and shown.get("role_exists") is not True


def _spot_step(s: Situation, step: AppliedTemplate, name: str) -> Iterator[Finding]:
    reason = "SpotServiceLinkedRoleFailed"
    yield from _out_of_reach(s, step.apply, apply_ref, name, Rank.SPOT_ROLE, reason, reason)
    if not isinstance(step.apply, WorkspaceTemplateApply):
        return
    if isinstance(step.workspace, Unreadable):
        doing, ref = "Failed to reconcile Spot Service-Linked Role", workspace_ref(step.workspace_name)
        yield unreadable(Rank.SPOT_ROLE, reason, doing, ref, step.workspace)
    elif is_lost(step):
        yield _spot(f'workspaces.tf.upbound.io "{step.workspace_name}" not found')
    elif problem := failure(step):
        yield _spot(problem)


def _spot(problem: str) -> Finding:
    message = f"Failed to reconcile Spot Service-Linked Role: {problem}"
    return Finding(Rank.SPOT_ROLE, Kind.FAILURE, "SpotServiceLinkedRoleFailed", message)


def _endpoint(s: Situation) -> Iterator[Finding]:
    if s.main_is_foreign:
        return
    if isinstance(s.endpoint, EndpointInvalid):
        message = f"Failed to get endpoint from workspace: {s.endpoint.problem}"
        yield Finding(Rank.ENDPOINT, Kind.FAILURE, "EndpointUpdateFailed", message, Holds.ALWAYS)
    elif isinstance(s.endpoint, EndpointMissing):
        yield Finding(Rank.NO_ENDPOINT, Kind.WAITING, "Creating", "Waiting for endpoint to be available", Holds.ALWAYS)


def _sources(s: Situation) -> Iterator[Finding]:
    match s.certificate:
        case Unreadable() as why:
            yield Finding(Rank.SOURCE, Kind.UNREADABLE, "SecretError", f"Failed to get secret: the connection Secret cannot be read: {why}")
        case Damaged(problem=problem):
            message = f"Failed to get certificate authority data: {problem}"
            yield Finding(Rank.SOURCE, Kind.FAILURE, "SecretError", message)
        case Source() | NotThere():
            pass
        case _:
            assert_never(s.certificate)
    match s.kubeconfig:
        case Unreadable() as why:
            message = f"Failed to reconcile secrets: the outputs Secret cannot be read: {why}"
            yield Finding(Rank.SECRET, Kind.UNREADABLE, "SecretReconciliationFailed", message)
        case Damaged(problem=problem):
            yield Finding(Rank.SOURCE, Kind.FAILURE, "SecretError", f"Failed to get kubeconfig: {problem}")
        case Source() | NotThere():
            pass
        case _:
            assert_never(s.kubeconfig)
    missing = isinstance(s.certificate, NotThere) or isinstance(s.kubeconfig, NotThere)
    if missing or not (s.secrets_ready or (s.initialized and not _one_is_leaving(s))):
        yield Finding(Rank.NO_SECRETS, Kind.WAITING, "Creating", "Waiting for secrets")


def _one_is_leaving(s: Situation) -> bool:
    """Whether one of our Secrets is being deleted, and has to be gone before it can be created anew."""
    return any(isinstance(secret, Secret) and secret.metadata.deletion_timestamp for secret in (s.secrets.ca, s.secrets.kubeconfig))


def _kubeconfig_apply(s: Situation) -> Iterator[Finding]:
    reason, applied = "KubeconfigGenerationFailed", s.around.kubeconfig
    yield from _out_of_reach(s, applied.apply, apply_ref, s.names.kubeconfig_apply, Rank.KUBECONFIG, reason, reason)
    doing = "Failed to create kubeconfig WorkspaceTemplateApply"
    if isinstance(applied.apply, Absent) and not s.region:
        problem = "no region: neither spec.controlPlaneConfig.region nor the Cluster's annotation cluster.x-k8s.io/region is set"
        yield Finding(Rank.KUBECONFIG, Kind.FAILURE, reason, f"{doing}: {problem}")
    elif problem := failure(applied):
        yield Finding(Rank.KUBECONFIG, Kind.FAILURE, reason, f"Failed to generate kubeconfig: {problem}")


def _our_secrets(s: Situation) -> Iterator[Finding]:
    reason = "SecretReconciliationFailed"
    for secret, name in ((s.secrets.ca, s.names.ca), (s.secrets.kubeconfig, s.names.kubeconfig)):
        yield from _out_of_reach(s, secret, secret_ref, name, Rank.SECRET, reason, reason)


def refused(s: Situation, refusal: Refusal, patch: Patch | None) -> Iterator[Finding]:
    """Report a refused write that is still wanted; a conflict is not, it is only retried.

    `patch`: what is wanted of the control plane or the Cluster now, to tell its endpoint from its other fields.
    """
    if refusal.is_conflict:
        return
    rank, reason = _place(s, refusal.write, patch)
    yield Finding(rank, Kind.FAILURE, reason, str(refusal))


def _place(s: Situation, write: Write, patch: Patch | None) -> tuple[Rank, str]:
    kind, name = write.target.kind, write.target.name
    if kind == "Secret":
        return Rank.SECRET, "SecretReconciliationFailed"
    if kind == "WorkspaceTemplateApply":
        if name == s.names.kubeconfig_apply:
            return Rank.KUBECONFIG, "KubeconfigGenerationFailed"
        is_main = name not in (s.names.spot_check, s.names.spot_create)
        return (Rank.APPLY, "WorkspaceTemplateApplyFailed") if is_main else (Rank.SPOT_ROLE, "SpotServiceLinkedRoleFailed")
    spec = patch.body.get("spec") if patch else None
    if isinstance(spec, dict) and "controlPlaneEndpoint" in spec:
        return Rank.ENDPOINT, "EndpointUpdateFailed"
    return Rank.CONTROL_PLANE, "ControlPlaneUpdateFailed"
