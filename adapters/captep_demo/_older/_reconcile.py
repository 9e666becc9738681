"""One pass of the loop before CAPTEP-0016 (commit 31ab233 of the Go project), step by step.

Commit d3f1b66 differs in its intervals alone. Both keep the causes of the hot loop:

1. Two writers of the endpoint disagree: one publishes the URL unchanged, the other its host.
2. One pass reports several verdicts: the status says Creating, the Secrets report a failure, and
   the caller reports the failure again.
3. A pass creates each Secret, and on "already exists" reads and replaces it. It writes the status
   by full update, changed or not.

A pass that waits returns an error. controller-runtime then ignores the interval and backs off,
unless an event comes first, and the pass's own writes are such events.
"""

from datetime import datetime, timedelta

from attrs import frozen

from captep_core import FINALIZER, ObjectRef
from captep_demo._older._client import Client, copied
from captep_demo._older._secrets import Waiting, reconcile_secrets
from captep_demo._older._status import (
    WriteError,
    raised,
    set_condition,
    take_over,
    write_creating,
    write_failed,
    write_ready,
)
from captep_memory import Object
from captep_world import stories

__all__ = ["Intervals", "Outcome", "reconcile"]

_CLUSTER = "cluster.x-k8s.io/v1beta1"
_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"


@frozen
class Intervals:
    """The requeue intervals: normally, and without the Cluster. Errors back off instead."""

    usual: timedelta
    initializing: timedelta


@frozen
class Outcome:
    """The end of a pass: an interval, an error, or neither."""

    requeue_after: timedelta | None = None
    failed: bool = False


def reconcile(client: Client, key: ObjectRef, intervals: Intervals, *, now: datetime) -> Outcome:
    """Run one pass."""
    try:
        return _reconcile(client, key, intervals, now=now)
    except WriteError:
        # controller-runtime logs one line for each failed pass.
        client.log()
        return Outcome(failed=True)


def _reconcile(client: Client, key: ObjectRef, intervals: Intervals, *, now: datetime) -> Outcome:
    client.log()
    control_plane = client.get(key)
    if control_plane is None:
        return Outcome()
    cluster = client.get(ObjectRef(_CLUSTER, "Cluster", key.namespace, key.name))
    if control_plane["metadata"].get("deletionTimestamp"):
        return _delete(client, control_plane)
    if FINALIZER not in control_plane["metadata"].get("finalizers", []):
        control_plane["metadata"].setdefault("finalizers", []).append(FINALIZER)
        _update(client, control_plane)
        _fetch(client, key, control_plane)
    if cluster is None:
        client.log()
        set_condition(control_plane, "False", "Creating", "Waiting for owner cluster", now=now)
        raised(client.update(control_plane, "status").status, "the status")
        _fetch(client, key, control_plane)
        return Outcome(intervals.initializing)
    _own(client, control_plane, cluster)
    _fetch(client, key, control_plane)
    return _provide(client, control_plane, cluster, intervals, now=now)


def _provide(
    client: Client, control_plane: Object, cluster: Object, intervals: Intervals, *, now: datetime
) -> Outcome:
    template = control_plane["spec"]["workspaceTemplateRef"]["name"]
    namespace = control_plane["metadata"]["namespace"]
    if client.get(ObjectRef(_INFRASTRUCTURE, "WorkspaceTemplate", namespace, template)) is None:
        message = (
            "Failed to get WorkspaceTemplate:"
            f' workspacetemplates.infrastructure.cluster.x-k8s.io "{template}" not found'
        )
        client.log()
        write_failed(client, control_plane, cluster, "WorkspaceTemplateNotFound", message, now=now)
        raise WriteError(message)
    apply = _apply(client, control_plane)
    _report(client, control_plane, cluster, apply, now=now)
    client.log()
    try:
        reconcile_secrets(client, control_plane, cluster, apply)
    except Waiting as waiting:
        write_failed(client, control_plane, cluster, waiting.reason, str(waiting), now=now)
        client.log(2)
        message = f"Failed to reconcile secrets: {waiting}"
        write_failed(client, control_plane, cluster, "SecretReconciliationFailed", message, now=now)
        raise WriteError(message) from waiting
    _fetch(
        client,
        stories.Subject(namespace, control_plane["metadata"]["name"]).control_plane,
        control_plane,
    )
    return Outcome(intervals.usual)


def _update(client: Client, control_plane: Object) -> None:
    # The Go field is a struct, not a pointer: an unset endpoint is serialized as an empty one.
    control_plane["spec"].setdefault("controlPlaneEndpoint", {"host": "", "port": 0})
    response = client.update(control_plane)
    raised(response.status, "the control plane")
    take_over(control_plane, response.body)


def _fetch(client: Client, key: ObjectRef, control_plane: Object) -> None:
    found = client.get(key)
    if found is None:
        raise WriteError("the control plane is gone")
    take_over(control_plane, found)


def _own(client: Client, control_plane: Object, cluster: Object) -> None:
    owners = control_plane["metadata"].setdefault("ownerReferences", [])
    if any(owner["kind"] == "Cluster" and owner["apiVersion"] == _CLUSTER for owner in owners):
        return
    owners.append(_reference(cluster))
    _update(client, control_plane)


def _reference(owner: Object) -> Object:
    metadata = owner["metadata"]
    ref = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {**ref, "controller": True, "blockOwnerDeletion": True}


def _apply(client: Client, control_plane: Object) -> Object:
    metadata, spec = control_plane["metadata"], control_plane["spec"]
    name = spec.get("workspaceTemplateApplyName") or f"{metadata['name']}-eks-controlplane-apply"
    if not spec.get("workspaceTemplateApplyName"):
        # The Go code writes the name through a copy. The original keeps its old resourceVersion,
        # so that its next full update conflicts.
        duplicate = copied(control_plane)
        duplicate["spec"]["workspaceTemplateApplyName"] = name
        _update(client, duplicate)
        spec["workspaceTemplateApplyName"] = name
    ref = ObjectRef(_INFRASTRUCTURE, "WorkspaceTemplateApply", metadata["namespace"], name)
    apply = client.get(ref)
    wanted = _apply_spec(client, control_plane)
    if apply is not None:
        apply["spec"] = wanted
        raised(client.update(apply).status, "failed to update WorkspaceTemplateApply")
        return apply
    place = {
        "name": name,
        "namespace": metadata["namespace"],
        "ownerReferences": [_reference(control_plane)],
    }
    response = client.create(
        {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": place, "spec": wanted}
    )
    raised(response.status, "failed to create WorkspaceTemplateApply")
    return copied(response.body)


def _apply_spec(client: Client, control_plane: Object) -> Object:
    metadata, source = control_plane["metadata"], control_plane["spec"]
    variables = {"cluster_name": metadata["name"], "kubernetes_version": source["version"]}
    access = source.get("controlPlaneConfig", {}).get("endpointAccess")
    if access:
        variables["endpoint_public_access"] = "true" if access.get("public") else "false"
        variables["endpoint_private_access"] = "true" if access.get("private") else "false"
    variables |= {f"tags_{name}": value for name, value in source.get("additionalTags", {}).items()}
    spec: Object = {"templateRef": source["workspaceTemplateRef"], "variables": variables}
    spec["writeConnectionSecretToRef"] = {
        "name": f"{metadata['name']}-eks-connection",
        "namespace": metadata["namespace"],
    }
    vpc = ObjectRef(
        _INFRASTRUCTURE, "WorkspaceTemplateApply", metadata["namespace"], f"{metadata['name']}-vpc"
    )
    if client.get(vpc) is not None:
        spec["waitForWorkspaces"] = [{"name": vpc.name, "namespace": metadata["namespace"]}]
    return spec


def _report(
    client: Client, control_plane: Object, cluster: Object, apply: Object, *, now: datetime
) -> None:
    """Report the first verdict of the pass, as the first writer of the endpoint."""
    status = apply.get("status", {})
    ready = any(
        entry["type"] == "Ready" and entry["status"] == "True"
        for entry in status.get("conditions", ())
    )
    if not ready:
        write_creating(client, control_plane, cluster, now=now)
        return
    workspace = client.get(
        ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, status.get("workspaceName", ""))
    )
    if workspace is None:
        message = "Failed to get endpoint from workspace: not found"
        write_failed(client, control_plane, cluster, "EndpointUpdateFailed", message, now=now)
        return
    address = (
        workspace.get("status", {}).get("atProvider", {}).get("outputs", {}).get("cluster_endpoint")
    )
    if isinstance(address, str):
        client.log()
        # The Go code takes the whole text, scheme included, and always port 443.
        control_plane["spec"]["controlPlaneEndpoint"] = {"host": address, "port": 443}
        _update(client, control_plane)
        publish_on_cluster(client, control_plane, cluster)
    write_ready(client, control_plane, cluster, status.get("lastAppliedTime"), now=now)


def publish_on_cluster(client: Client, control_plane: Object, cluster: Object) -> None:
    """Copy the endpoint of the control plane to its Cluster."""
    base = copied(cluster)
    cluster["spec"]["controlPlaneEndpoint"] = copied(control_plane["spec"]["controlPlaneEndpoint"])
    response = client.patch(base, cluster)
    raised(response.status, "the endpoint of the Cluster")
    take_over(cluster, response.body)
    client.log()


def _delete(client: Client, control_plane: Object) -> Outcome:
    """Delete the WorkspaceTemplateApply and remove the finalizer at once, with no wait."""
    metadata = control_plane["metadata"]
    if FINALIZER not in metadata.get("finalizers", []):
        return Outcome()
    name = (
        control_plane["spec"].get("workspaceTemplateApplyName")
        or f"{metadata['name']}-eks-controlplane-apply"
    )
    ref = ObjectRef(_INFRASTRUCTURE, "WorkspaceTemplateApply", metadata["namespace"], name)
    if client.get(ref) is not None:
        raised(client.delete(ref).status, "failed to delete WorkspaceTemplateApply")
        client.log()
    metadata["finalizers"].remove(FINALIZER)
    raised(client.update(control_plane).status, "the finalizer")
    client.log()
    return Outcome()
