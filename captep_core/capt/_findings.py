"""Every problem of a control plane, with the upstream controller's reasons and messages where it
has them.

Rules of this module:

1. Findings come from the observation alone. A refused write is a finding while it is still wanted.
2. An unreadable object has the upstream reason for that object, or else `<Kind>Unreadable`.
3. No message quotes a Secret, or a value that was parsed from one.
"""

from collections.abc import Iterator
from typing import assert_never

from captep_core._actions import ObjectRef, Patch, Write
from captep_core._objects import ObjectMeta, find_condition, foreign_controller
from captep_core._observation import ABSENT, Absent, Unreadable
from captep_core._refusals import Conflicted, Refusal, Reverted, Throttled, worded
from captep_core.capt._children import (
    CA,
    KUBECONFIG,
    KUBECONFIG_APPLY,
    MAIN,
    SPOT_CHECK,
    SPOT_CREATE,
    Child,
    child_of,
)
from captep_core.capt._facts import Facts
from captep_core.capt._model import Cluster, Secret, WorkspaceTemplateApply
from captep_core.capt._names import SECRET_TYPE, template_ref, workspace_ref
from captep_core.capt._observed import AppliedTemplate
from captep_core.capt._outputs import Invalid, Missing, Present
from captep_core.capt._ownership import ClusterOfAnother, ForeignController
from captep_core.capt._provider import failure, is_lost, is_ready, outputs
from captep_core.capt._verdict import Finding, Holds, Rank, Severity

__all__ = ["find", "refused", "unreadable"]


def find(facts: Facts) -> list[Finding]:
    """List the problems of a control plane that is not being deleted."""
    found: list[Finding] = []
    for look in (_owner, _template, _main, _workspace, _spot_role, _endpoint):
        found.extend(look(facts))
    if facts.not_kept:
        found.extend(_fields_not_kept(facts))
    if facts.publishes:
        found.extend(_sources(facts))
        found.extend(_kubeconfig_apply(facts))
        found.extend(_out_of_reach(facts, CA))
        found.extend(_out_of_reach(facts, KUBECONFIG))
        found.extend(_wrong_type(facts))
    return found


def unreadable(rank: Rank, reason: str, doing: str, ref: ObjectRef, why: Unreadable) -> Finding:
    """Report an object that could not be read."""
    return Finding(rank, Severity.UNREADABLE, reason, f"{doing}: {ref} cannot be read: {why}")


def _owner(facts: Facts) -> Iterator[Finding]:
    match facts.owner:
        case Cluster():
            pass
        case Absent():
            message = "Waiting for owner cluster"
            yield Finding(Rank.CLUSTER, Severity.WAITING, "Creating", message, Holds.ALWAYS)
        case Unreadable() as why:
            ref = facts.names.cluster
            doing = "Failed to get owner cluster"
            yield unreadable(Rank.CLUSTER, "ClusterUnreadable", doing, ref, why)
        case ForeignController(controller=other):
            controller = f"{other.kind} {other.name}"
            message = f"{facts.observed.key} is controlled by {controller} and not by a Cluster"
            reason = "ControlPlaneUpdateFailed"
            yield Finding(Rank.CLUSTER, Severity.FAILURE, reason, message)
        case ClusterOfAnother(cluster=cluster) as owner:
            name = cluster.metadata.name
            message = (
                f"Cluster {facts.namespace}/{name} belongs to the control plane {owner.belongs_to}"
            )
            reason = "ClusterBelongsToAnother"
            yield Finding(Rank.CLUSTER, Severity.FAILURE, reason, message, Holds.ALWAYS)
        case _:
            assert_never(facts.owner)


def _template(facts: Facts) -> Iterator[Finding]:
    wanted = facts.control_plane.spec.workspace_template_ref
    template = facts.observed.template
    doing = "Failed to get WorkspaceTemplate"
    if template is ABSENT:
        resource = "workspacetemplates.infrastructure.cluster.x-k8s.io"
        namespace = wanted.namespace or facts.namespace
        message = f'{doing}: {resource} "{wanted.name}" not found in namespace {namespace}'
        yield Finding(Rank.TEMPLATE, Severity.FAILURE, "WorkspaceTemplateNotFound", message)
    elif isinstance(template, Unreadable):
        ref = template_ref(wanted.namespace or facts.namespace, wanted.name)
        yield unreadable(Rank.TEMPLATE, "WorkspaceTemplateUnreadable", doing, ref, template)


def _wrong_type(facts: Facts) -> Iterator[Finding]:
    secret = facts.secrets.kubeconfig
    if not isinstance(secret, Secret) or not facts.has_wrong_type(secret):
        return
    if not facts.type_is_replaceable(secret):
        target = KUBECONFIG.ref(facts)
        problem = f"{target} has the type {secret.type}, expected {SECRET_TYPE}"
        message = f"{problem}: something in the cluster sets it"
        yield Finding(KUBECONFIG.rank, Severity.FAILURE, KUBECONFIG.reason, message)


def _fields_not_kept(facts: Facts) -> Iterator[Finding]:
    """Report fields of metadata and spec that the server does not keep; a status needs no words."""
    for record in facts.not_kept:
        if record.subresource is not None or record.path[0] in ("status", "type"):
            continue
        meta = _metadata_of(facts, record.target)
        if meta is None or record.uid not in ("", meta.uid):
            continue
        if record.generation in (0, meta.generation):
            rank, reason = _place(
                facts, Write("patch", record.target), None, (".".join(record.path),)
            )
            message = f"the server does not keep {record}"
            yield Finding(rank, Severity.FAILURE, reason, message)


def _metadata_of(facts: Facts, target: ObjectRef) -> ObjectMeta | None:
    if target == facts.observed.key:
        return facts.control_plane.metadata
    if target == facts.names.cluster:
        return facts.owner.metadata if isinstance(facts.owner, Cluster) else None
    child = child_of(facts, target)
    observed = None if child is None else child.observed(facts)
    if isinstance(observed, WorkspaceTemplateApply | Secret):
        return observed.metadata
    return None


def _main(facts: Facts) -> Iterator[Finding]:
    names = facts.names
    if names.is_ambiguous:
        problem = (
            f"{names.main.name} is the name of another WorkspaceTemplateApply of this control plane"
        )
        message = f"spec.workspaceTemplateApplyName: {problem}"
        yield Finding(Rank.APPLY, Severity.FAILURE, MAIN.reason, message)
    else:
        yield from _out_of_reach(facts, MAIN)
    if facts.unwritten_secret is not None:
        read, written = facts.unwritten_secret
        reads = f"the template reads the Secret {read}"
        message = f"{reads}, but {names.vpc} writes its connection to the Secret {written}"
        yield Finding(Rank.APPLY, Severity.FAILURE, MAIN.reason, message)
    vpc = facts.observed.vpc
    if isinstance(vpc, Unreadable):
        ref = names.vpc
        doing = "Failed to get WorkspaceTemplateApply"
        yield unreadable(Rank.APPLY, MAIN.unreadable_reason, doing, ref, vpc)


def _out_of_reach(facts: Facts, child: Child) -> Iterator[Finding]:
    """Report a dependent that is unreadable, or that another controller has."""
    observed = child.observed(facts)
    if isinstance(observed, Unreadable):
        ref = child.ref(facts)
        doing = f"Failed to get {ref.kind}"
        yield unreadable(child.rank, child.unreadable_reason, doing, ref, observed)
    elif observed is not ABSENT:
        other = foreign_controller(observed.metadata, facts.uid)
        if other is not None:
            controller = f"{other.kind} {other.name} (uid {other.uid})"
            message = f"{child.ref(facts)} is controlled by {controller}"
            yield Finding(child.rank, Severity.FAILURE, child.reason, message)


def _workspace(facts: Facts) -> Iterator[Finding]:
    main = facts.observed.main
    if facts.main_is_foreign or isinstance(main.apply, Unreadable):
        return
    doing = "Failed to update workspace status"
    reason = "WorkspaceStatusUpdateFailed"
    if isinstance(main.workspace, Unreadable):
        ref = workspace_ref(main.workspace_name)
        yield unreadable(Rank.WORKSPACE, reason, doing, ref, main.workspace)
        return
    problem = failure(main)
    if is_lost(main):
        message = f'{doing}: workspaces.tf.upbound.io "{main.workspace_name}" not found'
        yield Finding(Rank.WORKSPACE, Severity.FAILURE, reason, message, Holds.ALWAYS)
    elif problem:
        # A Workspace that fails a later apply keeps Ready=True: the control plane is still there.
        holds = Holds.UNTIL_READY if facts.main_ready else Holds.ALWAYS
        yield Finding(Rank.PROVIDER, Severity.FAILURE, "WorkspaceError", problem, holds)
    if not facts.main_ready:
        message = "Control plane is being created"
        yield Finding(Rank.CREATING, Severity.WAITING, "Creating", message, Holds.ALWAYS)


def _spot_role(facts: Facts) -> Iterator[Finding]:
    yield from _spot_apply(facts, SPOT_CHECK, facts.observed.spot_check)
    if not facts.spot_role_is_missing:
        return
    create = facts.observed.spot_create
    yield from _spot_apply(facts, SPOT_CREATE, create)
    shown = outputs(create)
    if is_ready(create) and shown and not shown.get("role_arn"):
        yield _spot_failure("role_arn not found in outputs of the workspace")


def _spot_apply(facts: Facts, child: Child, applied: AppliedTemplate) -> Iterator[Finding]:
    yield from _out_of_reach(facts, child)
    if not isinstance(applied.apply, WorkspaceTemplateApply):
        return
    if isinstance(applied.workspace, Unreadable):
        doing = "Failed to reconcile Spot Service-Linked Role"
        ref = workspace_ref(applied.workspace_name)
        yield unreadable(child.rank, child.reason, doing, ref, applied.workspace)
    elif is_lost(applied):
        yield _spot_failure(f'workspaces.tf.upbound.io "{applied.workspace_name}" not found')
    elif failure(applied):
        yield _spot_failure(failure(applied))


def _spot_failure(problem: str) -> Finding:
    message = f"Failed to reconcile Spot Service-Linked Role: {problem}"
    return Finding(Rank.SPOT_ROLE, Severity.FAILURE, SPOT_CHECK.reason, message)


def _endpoint(facts: Facts) -> Iterator[Finding]:
    if facts.main_is_foreign:
        return
    match facts.endpoint:
        case Present() | Unreadable():
            # The object behind an unreadable endpoint has a finding of its own.
            pass
        case Invalid(problem=problem):
            message = f"Failed to get endpoint from workspace: {problem}"
            reason = "EndpointUpdateFailed"
            yield Finding(Rank.ENDPOINT, Severity.FAILURE, reason, message, Holds.ALWAYS)
        case Missing():
            message = "Waiting for endpoint to be available"
            yield Finding(Rank.NO_ENDPOINT, Severity.WAITING, "Creating", message, Holds.ALWAYS)
        case _:
            assert_never(facts.endpoint)


def _sources(facts: Facts) -> Iterator[Finding]:
    yield from _certificate(facts)
    yield from _kubeconfig(facts)
    if _waits_for_secrets(facts):
        message = "Waiting for secrets"
        yield Finding(Rank.NO_SECRETS, Severity.WAITING, "Creating", message)


def _certificate(facts: Facts) -> Iterator[Finding]:
    match facts.certificate:
        case Present() | Missing():
            pass
        case Unreadable() as why:
            message = f"Failed to get secret: the connection Secret cannot be read: {why}"
            yield Finding(Rank.SOURCE, Severity.UNREADABLE, "SecretError", message)
        case Invalid(problem=problem):
            message = f"Failed to get certificate authority data: {problem}"
            yield Finding(Rank.SOURCE, Severity.FAILURE, "SecretError", message)
        case _:
            assert_never(facts.certificate)


def _kubeconfig(facts: Facts) -> Iterator[Finding]:
    match facts.kubeconfig:
        case Present() | Missing():
            pass
        case Unreadable() as why:
            message = f"Failed to reconcile secrets: the outputs Secret cannot be read: {why}"
            yield Finding(Rank.SECRET, Severity.UNREADABLE, KUBECONFIG.reason, message)
        case Invalid(problem=problem):
            message = f"Failed to get kubeconfig: {problem}"
            yield Finding(Rank.SOURCE, Severity.FAILURE, "SecretError", message)
        case _:
            assert_never(facts.kubeconfig)


def _waits_for_secrets(facts: Facts) -> bool:
    """Whether a source is still to come, or our Secrets are still to be written.

    The second counts in two cases only. Before the control plane was Ready, Secrets that disagree
    keep it from becoming so. Afterwards a difference is corrected within the pass, so it is worth
    no words, except where a Secret of ours has to be gone before it can be created again.
    """
    if isinstance(facts.certificate, Missing) or isinstance(facts.kubeconfig, Missing):
        return True
    if facts.secrets_ready:
        return False
    return not facts.initialized or _one_is_terminating(facts)


def _one_is_terminating(facts: Facts) -> bool:
    return any(
        isinstance(secret, Secret) and secret.metadata.deletion_timestamp
        for secret in (facts.secrets.ca, facts.secrets.kubeconfig)
    )


def _kubeconfig_apply(facts: Facts) -> Iterator[Finding]:
    applied = facts.observed.kubeconfig
    yield from _out_of_reach(facts, KUBECONFIG_APPLY)
    if applied.apply is ABSENT and not facts.region:
        missing = "neither spec.controlPlaneConfig.region nor the Cluster's annotation"
        problem = f"no region: {missing} cluster.x-k8s.io/region is set"
        message = f"Failed to create kubeconfig WorkspaceTemplateApply: {problem}"
        yield _kubeconfig_failure(message)
    elif failure(applied):
        yield _kubeconfig_failure(f"Failed to generate kubeconfig: {failure(applied)}")


def _kubeconfig_failure(message: str) -> Finding:
    return Finding(Rank.KUBECONFIG, Severity.FAILURE, KUBECONFIG_APPLY.reason, message)


def refused(facts: Facts, refusal: Refusal, patch: Patch | None) -> Iterator[Finding]:
    """Report a refused write that is still wanted, or a fight.

    A conflict is retried and never reported; a server that is too busy is reported after a while.

    `patch` is the wanted patch of the control plane or its Cluster: the endpoint has a reason of
    its own.
    """
    if isinstance(refusal, Conflicted | Throttled):
        return
    fields = refusal.fields if isinstance(refusal, Reverted) else ()
    rank, reason = _place(facts, refusal.write, patch, fields)
    reported = find_condition(facts.control_plane.status.conditions, "Ready")
    message = worded(refusal, reported.message if reported else "")
    yield Finding(rank, Severity.FAILURE, reason, message)


def _place(
    facts: Facts, write: Write, patch: Patch | None, fields: tuple[str, ...]
) -> tuple[Rank, str]:
    child = child_of(facts, write.target)
    if child is not None:
        return child.rank, child.reason
    spec = patch.body.get("spec") if patch else None
    is_endpoint = isinstance(spec, dict) and "controlPlaneEndpoint" in spec
    if is_endpoint or any(each.startswith("spec.controlPlaneEndpoint") for each in fields):
        return Rank.ENDPOINT, "EndpointUpdateFailed"
    return Rank.CONTROL_PLANE, "ControlPlaneUpdateFailed"
