"""The objects as they should be, and what has to be written for it; the order is the order in which it is safe to be interrupted.

Rules of this module:

1. We own fields, not objects: a patch touches nothing else, and what equals absent is not written.
2. Finalizer and owner reference before anything that needs cleaning up; applies before Secrets; the Cluster's endpoint last.
3. A finding holds back only the writes that depend on it. Nothing is created or overwritten on account of an object that is unreadable.
4. What another controller owns is left alone; what nobody owns is adopted in the same write that makes it right.
"""

import binascii
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from captep_core._actions import (
    JSON,
    Action,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
)
from captep_core._diff import merge_patch
from captep_core._observation import ABSENT, Absent, Observed, Unreadable
from captep_core.capt._facts import Facts
from captep_core.capt._findings import spot_role_is_missing
from captep_core.capt._intervals import Policy
from captep_core.capt._model import (
    Cluster,
    HostPort,
    ObjectMeta,
    ObjectReference,
    Secret,
    WorkspaceTemplate,
    WorkspaceTemplateApply,
    WorkspaceTemplateApplySpec,
)
from captep_core.capt._names import (
    CLUSTER_NAME_LABEL,
    FINALIZER,
    KUBECONFIG_TEMPLATE,
    SECRET_TYPE,
    apply_ref,
    cluster_ref,
    secret_ref,
)
from captep_core.capt._outputs import Present
from captep_core.capt._ownership import adopted, is_foreign, is_ours, owner_references

__all__ = ["Step", "patch", "writes"]

Step: TypeAlias = tuple[Action, ...]
"""One write and the Events that tell of it."""


def writes(facts: Facts, policy: Policy) -> list[Step]:
    """List what has to be written for a control plane that is to be there; empty when all is as it should be."""
    if isinstance(facts.owner, Unreadable):
        return []
    steps: list[Step] = []
    if isinstance(facts.owner, Cluster):
        steps.extend(_control_plane(facts, facts.owner))
        steps.extend(_spot_role(facts))
        steps.extend(_main(facts))
        if facts.publishes:
            steps.extend(_kubeconfig_apply(facts))
    if facts.publishes and (facts.initialized or isinstance(facts.owner, Cluster)):
        steps.extend(_ca(facts))
        steps.extend(_kubeconfig(facts))
    if isinstance(facts.owner, Cluster) and facts.publishes and policy.publishes_to_cluster:
        steps.extend(_cluster_endpoint(facts, facts.owner))
    return steps


def patch(
    target: ObjectRef,
    meta: ObjectMeta,
    body: Mapping[str, JSON],
    reason: str,
    *,
    lists: bool = False,
) -> Patch:
    """Build the patch of an object that was observed: by uid, and by resourceVersion where it replaces a list."""
    return Patch(
        target,
        body,
        Preconditions(meta.uid or None, (meta.resource_version or None) if lists else None),
        reason,
    )


def _control_plane(facts: Facts, cluster: Cluster) -> Iterator[Step]:
    cp, metadata, spec, why = facts.control_plane, dict[str, JSON](), dict[str, JSON](), list[str]()
    if FINALIZER not in cp.metadata.finalizers:
        metadata["finalizers"] = [*cp.metadata.finalizers, FINALIZER]
        why.append("add the finalizer")
    if (references := owner_references(cp, cluster)) is not None:
        metadata["ownerReferences"] = references
        why.append(f"refer to Cluster {cluster.metadata.name} as the owner")
    if not cp.spec.workspace_template_apply_name:
        spec["workspaceTemplateApplyName"] = facts.names.main
        why.append("name the WorkspaceTemplateApply")
    if endpoint := _new_endpoint(facts, cp.spec.control_plane_endpoint):
        spec["controlPlaneEndpoint"] = endpoint
        why.append("publish the endpoint")
    if why:
        body: dict[str, JSON] = {"metadata": metadata} if metadata else {}
        yield (
            patch(
                facts.observed.key,
                cp.metadata,
                {**body, "spec": spec} if spec else body,
                ", ".join(why),
                lists=bool(metadata),
            ),
        )


def _new_endpoint(facts: Facts, published: HostPort) -> dict[str, JSON] | None:
    """Return the endpoint as it is to be published, None when it is, or when it is not known."""
    known = facts.endpoint
    if not (facts.publishes and isinstance(known, Present)) or (
        known.value.host,
        known.value.port,
    ) == (published.host, published.port):
        return None
    return {"host": known.value.host, "port": known.value.port}


def _cluster_endpoint(facts: Facts, cluster: Cluster) -> Iterator[Step]:
    if endpoint := _new_endpoint(facts, cluster.spec.control_plane_endpoint):
        target = cluster_ref(facts.namespace, cluster.metadata.name)
        yield (
            patch(
                target,
                cluster.metadata,
                {"spec": {"controlPlaneEndpoint": endpoint}},
                "publish the endpoint",
            ),
        )


def _spot_role(facts: Facts) -> Iterator[Step]:
    yield from _apply(
        facts,
        facts.observed.spot_check.apply,
        facts.names.spot_check,
        _spot_spec(facts, "spot-role-check"),
        "check for the role that spot instances need",
    )
    if spot_role_is_missing(facts):
        yield from _apply(
            facts,
            facts.observed.spot_create.apply,
            facts.names.spot_create,
            _spot_spec(facts, "spot-role-create"),
            "create the role that spot instances need",
        )


def _spot_spec(facts: Facts, template: str) -> WorkspaceTemplateApplySpec:
    return WorkspaceTemplateApplySpec(ObjectReference(template, facts.namespace))


def _main(facts: Facts) -> Iterator[Step]:
    if (
        facts.names.is_ambiguous
        or not isinstance(facts.observed.template, WorkspaceTemplate)
        or isinstance(facts.observed.vpc, Unreadable)
    ):
        return
    apply = facts.observed.main.apply
    wanted = _main_spec(facts)
    for step in _apply(
        facts, apply, facts.names.main, wanted, "apply the template of the control plane"
    ):
        yield (*step, *_version_is_not_passed_on(facts, apply, wanted))


def _main_spec(facts: Facts) -> WorkspaceTemplateApplySpec:
    spec, name = facts.control_plane.spec, facts.observed.key.name
    variables = {"cluster_name": name, "kubernetes_version": spec.version}
    if config := spec.control_plane_config:
        variables["region"] = config.region
        if access := config.endpoint_access:
            variables["endpoint_public_access"] = "true" if access.public else "false"
            variables["endpoint_private_access"] = "true" if access.private else "false"
    variables.update((f"tags_{key}", value) for key, value in sorted(spec.additional_tags.items()))
    template = spec.workspace_template_ref
    return WorkspaceTemplateApplySpec(
        template_ref=ObjectReference(template.name, template.namespace or facts.namespace),
        variables=variables,
        write_connection_secret_to_ref=ObjectReference(facts.names.connection, facts.namespace),
        wait_for_workspaces=()
        if facts.observed.vpc is ABSENT
        else (ObjectReference(facts.names.vpc, facts.namespace),),
    )


def _version_is_not_passed_on(
    facts: Facts, apply: Observed[WorkspaceTemplateApply], wanted: WorkspaceTemplateApplySpec
) -> Iterator[Action]:
    """Tell that an apply which was applied does not pass a new version on: its controller ignores its spec from then on."""
    version = wanted.variables["kubernetes_version"]
    if (
        isinstance(apply, WorkspaceTemplateApply)
        and apply.status.applied
        and apply.spec.variables.get("kubernetes_version") != version
    ):
        message = f"spec.version is written to {apply.metadata.name}, which was applied before and does not pass it on to its Workspace"
        yield RecordEvent(facts.observed.key, "Warning", "VersionNotPassedOn", message, facts.uid)


def _kubeconfig_apply(facts: Facts) -> Iterator[Step]:
    apply, workspace = facts.observed.kubeconfig.apply, facts.observed.main.workspace_name
    authority, region = facts.raw_certificate, facts.region
    if not (isinstance(facts.endpoint, Present) and workspace and authority and region):
        return
    wanted = WorkspaceTemplateApplySpec(
        template_ref=ObjectReference(*KUBECONFIG_TEMPLATE),
        variables={
            "cluster_name": facts.observed.key.name,
            "region": region,
            "cluster_endpoint": facts.raw_endpoint,
            "cluster_certificate_authority_data": authority,
        },
        write_connection_secret_to_ref=_outputs_place(facts, apply),
        wait_for_workspaces=(ObjectReference(workspace),),
    )
    yield from _apply(
        facts,
        apply,
        facts.names.kubeconfig_apply,
        wanted,
        "apply the template that makes the kubeconfig",
    )


def _outputs_place(facts: Facts, apply: Observed[WorkspaceTemplateApply]) -> ObjectReference | None:
    """Where the kubeconfig is to be written: beside the control plane, but an apply that is there keeps its place."""
    if isinstance(apply, WorkspaceTemplateApply):
        return apply.spec.write_connection_secret_to_ref
    return ObjectReference(facts.names.outputs, facts.namespace)


def _apply(
    facts: Facts,
    apply: Observed[WorkspaceTemplateApply],
    name: str,
    wanted: WorkspaceTemplateApplySpec,
    why: str,
) -> Iterator[Step]:
    """Create an apply, or make what we own of it right."""
    if isinstance(apply, Absent):
        target = apply_ref(facts.namespace, name)
        meta: dict[str, JSON] = {
            "name": name,
            "namespace": facts.namespace,
            "ownerReferences": adopted(None, facts.control_plane),
        }
        yield (Create(target, _manifest(target, meta, {"spec": _owned(wanted)}), why),)
    elif isinstance(apply, WorkspaceTemplateApply) and not _is_out_of_reach(facts, apply.metadata):
        references = adopted(apply.metadata, facts.control_plane)
        spec = (
            {}
            if _is_as_wanted(apply.spec, wanted)
            else merge_patch(_owned(apply.spec), _owned(wanted))
        )
        if references is not None or spec:
            body: dict[str, JSON] = (
                {"metadata": {"ownerReferences": references}} if references is not None else {}
            )
            reason = f"{why}: {'adopt it' if references is not None else 'its spec differs'}"
            lists = references is not None or "waitForWorkspaces" in spec
            yield (
                patch(
                    apply_ref(facts.namespace, name),
                    apply.metadata,
                    {**body, "spec": spec} if spec else body,
                    reason,
                    lists=lists,
                ),
            )


def _is_out_of_reach(facts: Facts, meta: ObjectMeta) -> bool:
    """Whether an object is not to be touched: it is somebody else's, or on its way out."""
    return bool(meta.deletion_timestamp) or is_foreign(meta, facts.uid)


def _is_as_wanted(spec: WorkspaceTemplateApplySpec, wanted: WorkspaceTemplateApplySpec) -> bool:
    return (
        spec.variables == wanted.variables
        and spec.template_ref == wanted.template_ref
        and spec.write_connection_secret_to_ref == wanted.write_connection_secret_to_ref
        and spec.wait_for_workspaces == wanted.wait_for_workspaces
    )


def _owned(spec: WorkspaceTemplateApplySpec) -> dict[str, JSON]:
    """The fields of an apply's spec that we own, those that equal absent left out."""
    to = spec.write_connection_secret_to_ref
    owned: dict[str, JSON] = {
        "templateRef": _named(spec.template_ref),
        "variables": dict(spec.variables),
        "writeConnectionSecretToRef": _named(to) if to else {},
        "waitForWorkspaces": [_named(workspace) for workspace in spec.wait_for_workspaces],
    }
    return {key: value for key, value in owned.items() if value}


def _named(ref: ObjectReference) -> JSON:
    return {"name": ref.name, "namespace": ref.namespace} if ref.namespace else {"name": ref.name}


def _ca(facts: Facts) -> Iterator[Step]:
    if isinstance(facts.certificate, Present):
        data = {"tls.crt": facts.certificate.value, "ca.crt": facts.certificate.value}
        yield from _secret(
            facts, facts.secrets.ca, facts.names.ca, data, "copy the certificate authority"
        )


def _kubeconfig(facts: Facts) -> Iterator[Step]:
    held, name = facts.secrets.kubeconfig, facts.names.kubeconfig
    if isinstance(facts.kubeconfig, Present):
        if (
            isinstance(held, Secret)
            and held.type != SECRET_TYPE
            and is_ours(held.metadata, facts.uid)
        ):
            if not held.metadata.deletion_timestamp:
                why = f"its type is not {SECRET_TYPE} and cannot be changed: it is created anew"
                yield (
                    Delete(
                        secret_ref(facts.namespace, name), Preconditions(held.metadata.uid), why
                    ),
                )
            return
        yield from _secret(
            facts, held, name, {"value": facts.kubeconfig.value}, "copy the kubeconfig"
        )


def _secret(
    facts: Facts, secret: Observed[Secret], name: str, data: Mapping[str, bytes], why: str
) -> Iterator[Step]:
    """Create one of our Secrets, or make our keys, our label and our ownership of it right."""
    if isinstance(secret, Absent):
        target = secret_ref(facts.namespace, name)
        meta: dict[str, JSON] = {
            "name": name,
            "namespace": facts.namespace,
            "labels": dict(facts.labels),
            "ownerReferences": adopted(None, facts.control_plane),
        }
        yield (
            Create(
                target, _manifest(target, meta, {"type": SECRET_TYPE, "data": _base64(data)}), why
            ),
        )
    elif isinstance(secret, Secret) and not _is_out_of_reach(facts, secret.metadata):
        references = adopted(secret.metadata, facts.control_plane)
        metadata: dict[str, JSON] = {} if references is None else {"ownerReferences": references}
        if secret.metadata.labels.get(CLUSTER_NAME_LABEL) != facts.cluster_name:
            metadata["labels"] = dict(facts.labels)
        body: dict[str, JSON] = {"metadata": metadata} if metadata else {}
        if differing := {
            key: value for key, value in data.items() if secret.data.get(key) != value
        }:
            body["data"] = _base64(differing)
        if body:
            reason = f"{why}: {_in_what_it_differs(body, metadata)}"
            yield (
                patch(
                    secret_ref(facts.namespace, name),
                    secret.metadata,
                    body,
                    reason,
                    lists=references is not None,
                ),
            )


def _in_what_it_differs(body: Mapping[str, JSON], metadata: Mapping[str, JSON]) -> str:
    said = {
        "adopt it": "ownerReferences" in metadata,
        "its label is missing": "labels" in metadata,
        "its content differs": "data" in body,
    }
    return ", ".join(words for words, holds in said.items() if holds)


def _base64(data: Mapping[str, bytes]) -> dict[str, JSON]:
    return {key: binascii.b2a_base64(value, newline=False).decode() for key, value in data.items()}


def _manifest(
    target: ObjectRef, metadata: Mapping[str, JSON], rest: Mapping[str, JSON]
) -> dict[str, JSON]:
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": dict(metadata),
        **rest,
    }
