"""The objects of a control plane as they should be, and the writes that make them so.

Rules of this module:

1. Every write is the difference between an object as it was observed and as it should be;
   `captep_core._write` builds it, so that equal means no write.
2. The order is safe to interrupt after any write: finalizer and owner reference before anything
   that needs to be cleaned up, applies before Secrets, the Cluster's endpoint last.
3. A finding holds back only the writes that depend on it. Nothing is created or overwritten because
   of an object that is unreadable.
4. Another controller's object is left alone; an orphan is adopted in the same write that corrects
   it.
"""

import re
from collections.abc import Iterator, Mapping

from attrs import evolve, frozen

from captep_core._actions import Create, Delete, ObjectRef, Patch, Preconditions, RecordEvent
from captep_core._objects import with_finalizer
from captep_core._observation import ABSENT, Observed, Unreadable
from captep_core._write import Desired, Fields, dependent, shared
from captep_core.capt._children import (
    CA,
    KUBECONFIG,
    KUBECONFIG_APPLY,
    MAIN,
    SPOT_CHECK,
    SPOT_CREATE,
    Child,
)
from captep_core.capt._facts import Facts
from captep_core.capt._intervals import Policy
from captep_core.capt._model import (
    Cluster,
    HostPort,
    ObjectReference,
    Secret,
    WorkspaceTemplate,
    WorkspaceTemplateApply,
    WorkspaceTemplateApplySpec,
)
from captep_core.capt._names import FINALIZER, KUBECONFIG_TEMPLATE, SECRET_TYPE
from captep_core.capt._outputs import Present
from captep_core.capt._ownership import cluster_reference, with_cluster_as_owner

__all__ = [
    "WriteWithEvents",
    "eks_version",
    "endpoint_fields",
    "is_version",
    "with_events",
    "writes",
]


@frozen
class WriteWithEvents:
    """One write and the Events that record it; the Events are sent only after the write went
    through.
    """

    write: Create | Patch | Delete
    events: tuple[RecordEvent, ...] = ()


def writes(facts: Facts, policy: Policy) -> list[WriteWithEvents]:
    """List the writes for a control plane that is not being deleted; empty when nothing differs."""
    owner = facts.owner
    if owner is ABSENT:
        return _rotation(facts)
    if not isinstance(owner, Cluster):
        return []
    wanted = [_control_plane(facts, owner), _spot_check(facts), _spot_create(facts), _main(facts)]
    if facts.publishes:
        wanted += [_kubeconfig_apply(facts), _ca(facts), _kubeconfig(facts)]
        if policy.publish_to_cluster != "never":
            wanted.append(_cluster_endpoint(facts, owner))
    return [each for each in wanted if each is not None]


def _rotation(facts: Facts) -> list[WriteWithEvents]:
    """Keep existing Secrets fresh while the Cluster is gone, and create none.

    The kubeconfig of a running cluster expires within minutes. Without the owner reference even the
    name of the Secrets is a guess.
    """
    if not (facts.publishes and facts.initialized and cluster_reference(facts.control_plane)):
        return []
    secrets = (_ca(facts), _kubeconfig(facts))
    return [each for each in secrets if each is not None and isinstance(each.write, Patch)]


def _written(write: Create | Patch | None) -> WriteWithEvents | None:
    return None if write is None else WriteWithEvents(write)


def with_events(write: Patch | None, *events: RecordEvent) -> tuple[WriteWithEvents, ...]:
    """Return a write with its Events; nothing when there is no write."""
    return () if write is None else (WriteWithEvents(write, events),)


def _control_plane(facts: Facts, cluster: Cluster) -> WriteWithEvents | None:
    meta = facts.control_plane.metadata
    spec = facts.control_plane.spec
    finalizers = with_finalizer(meta.finalizers, FINALIZER)
    references = with_cluster_as_owner(facts.control_plane, cluster)
    name = spec.workspace_template_apply_name or facts.names.main.name
    endpoint = _published(facts, spec.control_plane_endpoint)
    purposes: list[str] = []
    if finalizers is not meta.finalizers:
        purposes.append("add the finalizer")
    if references is not meta.owner_references:
        purposes.append(f"refer to Cluster {cluster.metadata.name} as the owner")
    if name != spec.workspace_template_apply_name:
        purposes.append("name the WorkspaceTemplateApply")
    if endpoint != spec.control_plane_endpoint:
        purposes.append("publish the endpoint")
    if not purposes:
        return None
    patch = shared(
        facts.observed.key,
        meta,
        {
            "metadata": {
                "finalizers": meta.finalizers or None,
                "ownerReferences": meta.owner_references or None,
            },
            "spec": {
                "workspaceTemplateApplyName": spec.workspace_template_apply_name or None,
                "controlPlaneEndpoint": _unless_replaced(spec.control_plane_endpoint, endpoint),
            },
        },
        {
            "metadata": {"finalizers": finalizers, "ownerReferences": references},
            "spec": {
                "workspaceTemplateApplyName": name,
                "controlPlaneEndpoint": endpoint_fields(endpoint),
            },
        },
        ", ".join(purposes),
        known=facts.not_kept,
    )
    return _written(patch)


def _published(facts: Facts, published: HostPort) -> HostPort:
    """Return the endpoint as it should stand on an object: the known one, else the one that stands
    there.
    """
    known = facts.endpoint
    if not facts.publishes or not isinstance(known, Present):
        return published
    endpoint = known.value
    if endpoint.host == published.host and endpoint.port == published.port:
        return published
    return HostPort(endpoint.host, endpoint.port)


def endpoint_fields(endpoint: HostPort) -> Fields | None:
    """Return an endpoint as JSON; None for the empty one that the Go controller wrote, which equals
    absent.
    """
    if endpoint == HostPort():
        return None
    return {"host": endpoint.host, "port": endpoint.port}


def _unless_replaced(before: HostPort, after: HostPort) -> Fields | None:
    """Return the observed endpoint, None where it is replaced.

    Host and port are one value and are written together: a patch of the host alone could meet the
    port of another writer.
    """
    return endpoint_fields(before) if before == after else None


def _cluster_endpoint(facts: Facts, cluster: Cluster) -> WriteWithEvents | None:
    before = cluster.spec.control_plane_endpoint
    after = _published(facts, before)
    if after == before:
        return None
    patch = shared(
        facts.names.cluster,
        cluster.metadata,
        {"spec": {"controlPlaneEndpoint": _unless_replaced(before, after)}},
        {"spec": {"controlPlaneEndpoint": endpoint_fields(after)}},
        "publish the endpoint",
        known=facts.not_kept,
    )
    return _written(patch)


def _spot_check(facts: Facts) -> WriteWithEvents | None:
    check = WorkspaceTemplateApplySpec(ObjectReference("spot-role-check", facts.namespace))
    return _apply(facts, SPOT_CHECK, facts.observed.spot_check.apply, check)


def _spot_create(facts: Facts) -> WriteWithEvents | None:
    if not facts.spot_role_is_missing:
        return None
    create = WorkspaceTemplateApplySpec(ObjectReference("spot-role-create", facts.namespace))
    return _apply(facts, SPOT_CREATE, facts.observed.spot_create.apply, create)


def _main(facts: Facts) -> WriteWithEvents | None:
    template = facts.observed.template
    if facts.names.is_ambiguous or not isinstance(template, WorkspaceTemplate):
        return None
    if facts.unwritten_secret is not None:
        return None
    # The VPC decides on `waitForWorkspaces`: while it is unknown, neither answer is right.
    if isinstance(facts.observed.vpc, Unreadable):
        return None
    apply = facts.observed.main.apply
    wanted = _main_spec(facts)
    found = _apply(facts, MAIN, apply, wanted)
    if found is None:
        return None
    return WriteWithEvents(found.write, tuple(_version_not_passed_on(facts, apply, wanted)))


def _main_spec(facts: Facts) -> WorkspaceTemplateApplySpec:
    spec = facts.control_plane.spec
    template = spec.workspace_template_ref
    waits_for: tuple[ObjectReference, ...] = ()
    if facts.observed.vpc is not ABSENT:
        waits_for = (_place_of(facts.names.vpc),)
    return WorkspaceTemplateApplySpec(
        template_ref=ObjectReference(template.name, template.namespace or facts.namespace),
        variables=_main_variables(facts),
        write_connection_secret_to_ref=ObjectReference(
            facts.names.connection.name, facts.namespace
        ),
        wait_for_workspaces=waits_for,
    )


def _place_of(ref: ObjectRef) -> ObjectReference:
    return ObjectReference(ref.name, ref.namespace or "")


_VERSION = re.compile(r"v?([0-9]+\.[0-9]+)(?:\.[0-9]+(?:[-+].*)?)?")


def eks_version(version: str) -> str:
    """Return a Kubernetes version as EKS wants it: `v1.31.0` is `1.31`, and EKS chooses the rest.

    Cluster API writes versions in full; a text that is no version is left to EKS to refuse.
    """
    found = _VERSION.fullmatch(version)
    return found[1] if found else version


def is_version(version: str) -> bool:
    """Whether a text is a Kubernetes version: major and minor at least."""
    return _VERSION.fullmatch(version) is not None


def _main_variables(facts: Facts) -> Mapping[str, str]:
    spec = facts.control_plane.spec
    variables = {
        "cluster_name": facts.observed.key.name,
        "kubernetes_version": eks_version(spec.version),
    }
    config = spec.control_plane_config
    if config is not None:
        variables["region"] = config.region
        if config.endpoint_access is not None:
            access = config.endpoint_access
            variables["endpoint_public_access"] = "true" if access.public else "false"
            variables["endpoint_private_access"] = "true" if access.private else "false"
    for key, value in sorted(spec.additional_tags.items()):
        variables[f"tags_{key}"] = value
    return variables


def _version_not_passed_on(
    facts: Facts, apply: Observed[WorkspaceTemplateApply], wanted: WorkspaceTemplateApplySpec
) -> Iterator[RecordEvent]:
    """Record that the new version stops at an apply that was applied: its controller ignores its
    spec from then on.
    """
    if not isinstance(apply, WorkspaceTemplateApply) or not apply.status.applied:
        return
    applied = apply.spec.variables.get("kubernetes_version", "")
    if eks_version(applied) != wanted.variables["kubernetes_version"]:
        name = apply.metadata.name
        stops = f"{name}, which was applied before and does not pass it on to its Workspace"
        message = f"spec.version is written to {stops}"
        key = facts.observed.key
        yield RecordEvent(key, "Warning", "VersionNotPassedOn", message, facts.uid)


def _kubeconfig_apply(facts: Facts) -> WriteWithEvents | None:
    apply = facts.observed.kubeconfig.apply
    workspace = facts.observed.main.workspace_name
    if not (isinstance(facts.endpoint, Present) and workspace and facts.region):
        return None
    if not isinstance(facts.certificate, Present):
        return None
    wanted = WorkspaceTemplateApplySpec(
        template_ref=ObjectReference(*KUBECONFIG_TEMPLATE),
        variables={
            "cluster_name": facts.observed.key.name,
            "region": facts.region,
            "cluster_endpoint": facts.raw_endpoint,
            "cluster_certificate_authority_data": facts.certificate.value.published,
        },
        write_connection_secret_to_ref=_place_of_outputs(facts, apply),
        wait_for_workspaces=(ObjectReference(workspace),),
    )
    return _apply(facts, KUBECONFIG_APPLY, apply, wanted)


def _place_of_outputs(
    facts: Facts, apply: Observed[WorkspaceTemplateApply]
) -> ObjectReference | None:
    """Return where Crossplane writes the kubeconfig: next to the control plane.

    An apply that is there keeps its place, because its controller would not move the Secret.
    """
    if isinstance(apply, WorkspaceTemplateApply):
        return apply.spec.write_connection_secret_to_ref
    return _place_of(facts.names.outputs)


def _apply(
    facts: Facts,
    child: Child,
    observed: Observed[WorkspaceTemplateApply],
    wanted: WorkspaceTemplateApplySpec,
) -> WriteWithEvents | None:
    """Write a WorkspaceTemplateApply; whether its Workspace outlives it is the user's to say."""
    owned: Fields = {}
    if isinstance(observed, WorkspaceTemplateApply):
        owned = {"spec": observed.spec}
        retains = observed.spec.retain_workspace_on_delete
        if retains is not None:
            wanted = evolve(wanted, retain_workspace_on_delete=retains)
    desired = Desired(child.ref(facts), {"spec": wanted}, child.purpose)
    return _written(dependent(desired, observed, owned, facts.as_owner, known=facts.not_kept))


def _ca(facts: Facts) -> WriteWithEvents | None:
    if not isinstance(facts.certificate, Present):
        return None
    authority = facts.certificate.value.pem
    return _secret(facts, CA, facts.secrets.ca, {"tls.crt": authority, "ca.crt": authority})


def _kubeconfig(facts: Facts) -> WriteWithEvents | None:
    if not isinstance(facts.kubeconfig, Present):
        return None
    held = facts.secrets.kubeconfig
    if isinstance(held, Secret) and facts.type_is_replaceable(held):
        # The type of a Secret is immutable, and Cluster API reads only Secrets of its own type.
        if held.metadata.deletion_timestamp:
            return None
        reason = f"its type is not {SECRET_TYPE} and cannot be changed: it is created again"
        delete = Delete(KUBECONFIG.ref(facts), Preconditions(held.metadata.uid), reason)
        return WriteWithEvents(delete)
    return _secret(facts, KUBECONFIG, held, {"value": facts.kubeconfig.value})


def _secret(
    facts: Facts, child: Child, observed: Observed[Secret], data: Mapping[str, bytes]
) -> WriteWithEvents | None:
    """Write our keys of a Secret, our label and our ownership; other keys and labels stay."""
    owned: Fields = {}
    if isinstance(observed, Secret):
        held = {key: observed.data[key] for key in data if key in observed.data}
        owned = {"data": held}
    desired = Desired(
        child.ref(facts),
        {"data": data},
        child.purpose,
        labels=facts.secret_labels,
        fixed={"type": SECRET_TYPE},
    )
    return _written(dependent(desired, observed, owned, facts.as_owner, known=facts.not_kept))
