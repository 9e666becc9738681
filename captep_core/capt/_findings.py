"""All that is not as it should be, in the words of upstream where upstream has words (capt-reference, sections 2 and 8).

Rules of this module:

1. Findings come from the observation alone; a refused write is one when it is still wanted.
2. An unreadable object is reported with upstream's reason for that object, or else as `<Kind>Unreadable`.
3. No message quotes a Secret, or what was parsed from one.
"""

from collections.abc import Callable, Iterator
from typing import assert_never

from captep_core._actions import Conflicted, ObjectRef, Patch, Refusal, Write
from captep_core._observation import Absent, Observed, Unreadable
from captep_core.capt._facts import Facts
from captep_core.capt._model import Cluster, Secret, WorkspaceTemplateApply
from captep_core.capt._names import apply_ref, cluster_ref, secret_ref, template_ref, workspace_ref
from captep_core.capt._observe import AppliedTemplate
from captep_core.capt._outputs import Invalid, Missing, Present
from captep_core.capt._ownership import ForeignController, foreign_controller
from captep_core.capt._provider import failure, is_lost, is_ready, outputs
from captep_core.capt._verdict import Finding, Holds, Rank, Severity

__all__ = ["find", "refused", "spot_role_is_missing", "unreadable"]


def find(facts: Facts) -> list[Finding]:
    """List what is not as it should be with a control plane that is to be there."""
    found: list[Finding] = []
    for look in (_owner, _template, _main, _workspace, _spot_role, _endpoint):
        found.extend(look(facts))
    if facts.publishes:
        found.extend(_sources(facts))
        found.extend(_kubeconfig_apply(facts))
        found.extend(_our_secrets(facts))
    return found


def unreadable(rank: Rank, reason: str, doing: str, ref: ObjectRef, why: Unreadable) -> Finding:
    """Report an object that could not be read."""
    return Finding(rank, Severity.UNREADABLE, reason, f"{doing}: {ref} cannot be read: {why}")


def _owner(facts: Facts) -> Iterator[Finding]:
    match facts.owner:
        case Absent():
            yield Finding(
                Rank.CLUSTER,
                Severity.WAITING,
                "Creating",
                "Waiting for owner cluster",
                Holds.ALWAYS,
            )
        case Unreadable() as why:
            ref = cluster_ref(facts.namespace, facts.cluster_name)
            yield unreadable(
                Rank.CLUSTER, "ClusterUnreadable", "Failed to get owner cluster", ref, why
            )
        case ForeignController(controller=other):
            message = f"{facts.observed.key} is controlled by {other.kind} {other.name} and not by a Cluster"
            yield Finding(Rank.CLUSTER, Severity.FAILURE, "ControlPlaneUpdateFailed", message)
        case Cluster():
            pass
        case _:
            assert_never(facts.owner)


def _template(facts: Facts) -> Iterator[Finding]:
    wanted = facts.control_plane.spec.workspace_template_ref
    if isinstance(facts.observed.template, Absent):
        message = f'Failed to get WorkspaceTemplate: workspacetemplates.infrastructure.cluster.x-k8s.io "{wanted.name}" not found'
        yield Finding(Rank.TEMPLATE, Severity.FAILURE, "WorkspaceTemplateNotFound", message)
    elif isinstance(facts.observed.template, Unreadable):
        ref = template_ref(wanted.namespace or facts.namespace, wanted.name)
        yield unreadable(
            Rank.TEMPLATE,
            "WorkspaceTemplateUnreadable",
            "Failed to get WorkspaceTemplate",
            ref,
            facts.observed.template,
        )


def _main(facts: Facts) -> Iterator[Finding]:
    main, vpc = facts.observed.main.apply, facts.observed.vpc
    if facts.names.is_ambiguous:
        message = f"spec.workspaceTemplateApplyName: {facts.names.main} is the name of another WorkspaceTemplateApply of this control plane"
        yield Finding(Rank.APPLY, Severity.FAILURE, "WorkspaceTemplateApplyFailed", message)
    else:
        yield from _out_of_reach(
            facts,
            main,
            apply_ref,
            facts.names.main,
            Rank.APPLY,
            "WorkspaceTemplateApplyFailed",
            "WorkspaceTemplateApplyUnreadable",
        )
    if isinstance(vpc, Unreadable):
        ref = apply_ref(facts.namespace, facts.names.vpc)
        yield unreadable(
            Rank.APPLY,
            "WorkspaceTemplateApplyUnreadable",
            "Failed to get WorkspaceTemplateApply",
            ref,
            vpc,
        )


def _out_of_reach(
    facts: Facts,
    as_observed: Observed[WorkspaceTemplateApply] | Observed[Secret],
    named: Callable[[str, str], ObjectRef],
    name: str,
    rank: Rank,
    foreign: str,
    unread: str,
) -> Iterator[Finding]:
    """Report a dependent that is somebody else's, with the reason `foreign`, or unreadable, with the reason `unread`."""
    if isinstance(as_observed, Unreadable):
        ref = named(facts.namespace, name)
        yield unreadable(rank, unread, f"Failed to get {ref.kind}", ref, as_observed)
    elif not isinstance(as_observed, Absent) and (
        other := foreign_controller(as_observed.metadata, facts.uid)
    ):
        message = f"{named(facts.namespace, name)} is controlled by {other.kind} {other.name} (uid {other.uid})"
        yield Finding(rank, Severity.FAILURE, foreign, message)


def _workspace(facts: Facts) -> Iterator[Finding]:
    main = facts.observed.main
    if facts.main_is_foreign or isinstance(main.apply, Unreadable):
        return
    if isinstance(main.workspace, Unreadable):
        doing, ref = "Failed to update workspace status", workspace_ref(main.workspace_name)
        yield unreadable(Rank.WORKSPACE, "WorkspaceStatusUpdateFailed", doing, ref, main.workspace)
        return
    if is_lost(main):
        message = f'Failed to update workspace status: workspaces.tf.upbound.io "{main.workspace_name}" not found'
        yield Finding(
            Rank.WORKSPACE, Severity.FAILURE, "WorkspaceStatusUpdateFailed", message, Holds.ALWAYS
        )
    elif problem := failure(main):
        holds = Holds.UNTIL_READY if facts.main_ready else Holds.ALWAYS
        yield Finding(Rank.PROVIDER, Severity.FAILURE, "WorkspaceError", problem, holds)
    if not facts.main_ready:
        yield Finding(
            Rank.CREATING,
            Severity.WAITING,
            "Creating",
            "Control plane is being created",
            Holds.ALWAYS,
        )


def _spot_role(facts: Facts) -> Iterator[Finding]:
    yield from _spot_step(facts, facts.observed.spot_check, facts.names.spot_check)
    if not spot_role_is_missing(facts):
        return
    create = facts.observed.spot_create
    yield from _spot_step(facts, create, facts.names.spot_create)
    if is_ready(create) and outputs(create) and not outputs(create).get("role_arn"):
        yield _spot("role_arn not found in outputs of the workspace")


def spot_role_is_missing(facts: Facts) -> bool:
    """Whether the check has found that the account has no role for spot instances."""
    shown = outputs(facts.observed.spot_check)
    return (
        bool(shown) and is_ready(facts.observed.spot_check) and shown.get("role_exists") is not True
    )


def _spot_step(facts: Facts, step: AppliedTemplate, name: str) -> Iterator[Finding]:
    reason = "SpotServiceLinkedRoleFailed"
    yield from _out_of_reach(facts, step.apply, apply_ref, name, Rank.SPOT_ROLE, reason, reason)
    if not isinstance(step.apply, WorkspaceTemplateApply):
        return
    if isinstance(step.workspace, Unreadable):
        doing, ref = (
            "Failed to reconcile Spot Service-Linked Role",
            workspace_ref(step.workspace_name),
        )
        yield unreadable(Rank.SPOT_ROLE, reason, doing, ref, step.workspace)
    elif is_lost(step):
        yield _spot(f'workspaces.tf.upbound.io "{step.workspace_name}" not found')
    elif problem := failure(step):
        yield _spot(problem)


def _spot(problem: str) -> Finding:
    message = f"Failed to reconcile Spot Service-Linked Role: {problem}"
    return Finding(Rank.SPOT_ROLE, Severity.FAILURE, "SpotServiceLinkedRoleFailed", message)


def _endpoint(facts: Facts) -> Iterator[Finding]:
    if facts.main_is_foreign:
        return
    if isinstance(facts.endpoint, Invalid):
        message = f"Failed to get endpoint from workspace: {facts.endpoint.problem}"
        yield Finding(
            Rank.ENDPOINT, Severity.FAILURE, "EndpointUpdateFailed", message, Holds.ALWAYS
        )
    elif isinstance(facts.endpoint, Missing):
        yield Finding(
            Rank.NO_ENDPOINT,
            Severity.WAITING,
            "Creating",
            "Waiting for endpoint to be available",
            Holds.ALWAYS,
        )


def _sources(facts: Facts) -> Iterator[Finding]:
    match facts.certificate:
        case Unreadable() as why:
            yield Finding(
                Rank.SOURCE,
                Severity.UNREADABLE,
                "SecretError",
                f"Failed to get secret: the connection Secret cannot be read: {why}",
            )
        case Invalid(problem=problem):
            message = f"Failed to get certificate authority data: {problem}"
            yield Finding(Rank.SOURCE, Severity.FAILURE, "SecretError", message)
        case Present() | Missing():
            pass
        case _:
            assert_never(facts.certificate)
    match facts.kubeconfig:
        case Unreadable() as why:
            message = f"Failed to reconcile secrets: the outputs Secret cannot be read: {why}"
            yield Finding(Rank.SECRET, Severity.UNREADABLE, "SecretReconciliationFailed", message)
        case Invalid(problem=problem):
            yield Finding(
                Rank.SOURCE, Severity.FAILURE, "SecretError", f"Failed to get kubeconfig: {problem}"
            )
        case Present() | Missing():
            pass
        case _:
            assert_never(facts.kubeconfig)
    missing = isinstance(facts.certificate, Missing) or isinstance(facts.kubeconfig, Missing)
    if missing or not (facts.secrets_ready or (facts.initialized and not _one_is_leaving(facts))):
        yield Finding(Rank.NO_SECRETS, Severity.WAITING, "Creating", "Waiting for secrets")


def _one_is_leaving(facts: Facts) -> bool:
    """Whether one of our Secrets is being deleted, and has to be gone before it can be created anew."""
    return any(
        isinstance(secret, Secret) and secret.metadata.deletion_timestamp
        for secret in (facts.secrets.ca, facts.secrets.kubeconfig)
    )


def _kubeconfig_apply(facts: Facts) -> Iterator[Finding]:
    reason, applied = "KubeconfigGenerationFailed", facts.observed.kubeconfig
    yield from _out_of_reach(
        facts,
        applied.apply,
        apply_ref,
        facts.names.kubeconfig_apply,
        Rank.KUBECONFIG,
        reason,
        reason,
    )
    doing = "Failed to create kubeconfig WorkspaceTemplateApply"
    if isinstance(applied.apply, Absent) and not facts.region:
        problem = "no region: neither spec.controlPlaneConfig.region nor the Cluster's annotation cluster.x-k8s.io/region is set"
        yield Finding(Rank.KUBECONFIG, Severity.FAILURE, reason, f"{doing}: {problem}")
    elif problem := failure(applied):
        yield Finding(
            Rank.KUBECONFIG, Severity.FAILURE, reason, f"Failed to generate kubeconfig: {problem}"
        )


def _our_secrets(facts: Facts) -> Iterator[Finding]:
    reason = "SecretReconciliationFailed"
    for secret, name in (
        (facts.secrets.ca, facts.names.ca),
        (facts.secrets.kubeconfig, facts.names.kubeconfig),
    ):
        yield from _out_of_reach(facts, secret, secret_ref, name, Rank.SECRET, reason, reason)


def refused(facts: Facts, refusal: Refusal, patch: Patch | None) -> Iterator[Finding]:
    """Report a refused write that is still wanted; a conflict is not, it is only retried.

    `patch`: what is wanted of the control plane or the Cluster now, to tell its endpoint from its other fields.
    """
    if isinstance(refusal, Conflicted):
        return
    rank, reason = _place(facts, refusal.write, patch)
    yield Finding(rank, Severity.FAILURE, reason, str(refusal))


def _place(facts: Facts, write: Write, patch: Patch | None) -> tuple[Rank, str]:
    kind, name = write.target.kind, write.target.name
    if kind == "Secret":
        return Rank.SECRET, "SecretReconciliationFailed"
    if kind == "WorkspaceTemplateApply":
        if name == facts.names.kubeconfig_apply:
            return Rank.KUBECONFIG, "KubeconfigGenerationFailed"
        is_main = name not in (facts.names.spot_check, facts.names.spot_create)
        return (
            (Rank.APPLY, "WorkspaceTemplateApplyFailed")
            if is_main
            else (Rank.SPOT_ROLE, "SpotServiceLinkedRoleFailed")
        )
    spec = patch.body.get("spec") if patch else None
    if isinstance(spec, dict) and "controlPlaneEndpoint" in spec:
        return Rank.ENDPOINT, "EndpointUpdateFailed"
    return Rank.CONTROL_PLANE, "ControlPlaneUpdateFailed"
