"""One pass of the loop before CAPTEP-0016 (commit 31ab233 of the Go project), step by step; d3f1b66 differs from it by its intervals alone.

What makes it spin is kept as it was:

1. Two writers of the endpoint that disagree: one publishes the URL as it stands, the other its host.
2. Several verdicts in one pass: the status says Creating, the Secrets say that they fail, and the caller says so once more.
3. Secrets are created first, and on "already exists" fetched and replaced; the status is written by full update, whatever is in it.

Where a pass waits, it returns an error: controller-runtime then ignores the interval and backs off, unless an event comes first, and its
own writes are such events.
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
    """When a pass comes back: normally, and while it waits for the Cluster. After an error the back-off decides, whatever was asked for."""

    usual: timedelta
    initializing: timedelta


@frozen
class Outcome:
    """How a pass ended: with an interval, with an error, or with neither."""

    requeue_after: timedelta | None = None
    failed: bool = False


def reconcile(client: Client, key: ObjectRef, intervals: Intervals, *, now: datetime) -> Outcome:
    """Do one pass."""
    try:
        return _reconcile(client, key, intervals, now=now)
    except WriteError:
        # controller-runtime writes one line for each pass that fails.
        client.say()
        return Outcome(failed=True)


def _reconcile(client: Client, key: ObjectRef, intervals: Intervals, *, now: datetime) -> Outcome:
    client.say()
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
        client.say()
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
        told = f'Failed to get WorkspaceTemplate: workspacetemplates.infrastructure.cluster.x-k8s.io "{template}" not found'
        client.say()
        write_failed(client, control_plane, cluster, "WorkspaceTemplateNotFound", told, now=now)
        raise WriteError(told)
    apply = _apply(client, control_plane)
    _report(client, control_plane, cluster, apply, now=now)
    client.say()
    try:
        reconcile_secrets(client, control_plane, cluster, apply)
    except Waiting as waiting:
        write_failed(client, control_plane, cluster, waiting.reason, str(waiting), now=now)
        client.say(2)
        told = f"Failed to reconcile secrets: {waiting}"
        write_failed(client, control_plane, cluster, "SecretReconciliationFailed", told, now=now)
        raise WriteError(told) from waiting
    _fetch(
        client,
        stories.Subject(namespace, control_plane["metadata"]["name"]).control_plane,
        control_plane,
    )
    return Outcome(intervals.usual)


def _update(client: Client, control_plane: Object) -> None:
    # The Go structure is no pointer: an endpoint that is not set is written as an empty one.
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
        # The name is written through a copy: the object in hand keeps its old resourceVersion, and its next full update conflicts.
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
    metadata, given = control_plane["metadata"], control_plane["spec"]
    variables = {"cluster_name": metadata["name"], "kubernetes_version": given["version"]}
    access = given.get("controlPlaneConfig", {}).get("endpointAccess")
    if access:
        variables["endpoint_public_access"] = "true" if access.get("public") else "false"
        variables["endpoint_private_access"] = "true" if access.get("private") else "false"
    variables |= {f"tags_{name}": value for name, value in given.get("additionalTags", {}).items()}
    spec: Object = {"templateRef": given["workspaceTemplateRef"], "variables": variables}
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
    """The first verdict, and the first writer of the endpoint."""
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
        told = "Failed to get endpoint from workspace: not found"
        write_failed(client, control_plane, cluster, "EndpointUpdateFailed", told, now=now)
        return
    address = (
        workspace.get("status", {}).get("atProvider", {}).get("outputs", {}).get("cluster_endpoint")
    )
    if isinstance(address, str):
        client.say()
        # The whole text, scheme included, and always port 443.
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
    client.say()


def _delete(client: Client, control_plane: Object) -> Outcome:
    """The Workspace is not waited for: the finalizer goes in the pass that deletes its WorkspaceTemplateApply."""
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
        client.say()
    metadata["finalizers"].remove(FINALIZER)
    raised(client.update(control_plane).status, "the finalizer")
    client.say()
    return Outcome()
