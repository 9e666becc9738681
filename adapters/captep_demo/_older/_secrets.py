"""The Secrets of the older loop, with its second writer of the endpoint."""

import base64

from captep_core import APIEndpoint, ObjectRef, Present, parse_endpoint
from captep_demo._older._client import Client, copied
from captep_demo._older._status import raised, take_over
from captep_memory import Object

__all__ = ["Waiting", "reconcile_secrets"]


class Waiting(Exception):  # noqa: N818 - no error: to treat it as one was the Go code's defect
    """An object is not there yet; the older loop reports a failure with this reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def reconcile_secrets(
    client: Client, control_plane: Object, cluster: Object, apply: Object
) -> None:
    """Write both Secrets, then the endpoint."""
    client.log()
    name = apply.get("status", {}).get("workspaceName", "")
    if not name:
        raise Waiting("WorkspaceNotReady", "Waiting for workspace to be created")
    workspace = client.get(ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, name))
    if workspace is None:
        raise Waiting(
            "EndpointError", f'Failed to get workspace: workspaces.tf.upbound.io "{name}" not found'
        )
    client.log()
    to = apply["spec"]["writeConnectionSecretToRef"]
    connection = client.get(ObjectRef("v1", "Secret", to["namespace"], to["name"]))
    if connection is None:
        raise Waiting("SecretError", "Waiting for connection secret to be created")
    endpoint = _endpoint(workspace, connection)
    if endpoint is None:
        raise Waiting("EndpointNotReady", "Waiting for endpoint to be available")
    client.log(2)
    held = connection.get("data", {})
    if not held.get("cluster_certificate_authority_data"):
        message = (
            "Failed to get certificate authority data:"
            " cluster_certificate_authority_data not found in secret"
        )
        raise Waiting("SecretError", message)
    _write(client, control_plane, "control-plane-kubeconfig", {"value": held.get("kubeconfig", "")})
    authority = _certificate(held["cluster_certificate_authority_data"])
    _write(client, control_plane, "ca", {"tls.crt": authority, "ca.crt": authority})
    _publish(client, control_plane, cluster, endpoint)


def _endpoint(workspace: Object, connection: Object) -> APIEndpoint | None:
    """Parse the endpoint, correctly for a URL, unlike the first writer."""
    address = (
        workspace.get("status", {}).get("atProvider", {}).get("outputs", {}).get("cluster_endpoint")
    )
    if not isinstance(address, str):
        address = base64.b64decode(connection.get("data", {}).get("cluster_endpoint", "")).decode()
    parsed = parse_endpoint(address)
    return parsed.value if isinstance(parsed, Present) else None


def _certificate(encoded: str) -> str:
    """Remove one layer of base64; the other layer is the encoding of the Secret's data."""
    return base64.b64decode(encoded).decode()


def _write(client: Client, control_plane: Object, suffix: str, data: dict[str, str]) -> None:
    """Create a Secret, or read it and replace its data, even by equal data."""
    metadata = control_plane["metadata"]
    owner = {
        "apiVersion": control_plane["apiVersion"],
        "kind": control_plane["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    place = {"name": f"{metadata['name']}-{suffix}", "namespace": metadata["namespace"]}
    owned = {
        **place,
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }
    response = client.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": owned, "data": data}
    )
    if response.status != 409:
        raised(response.status, "failed to create a Secret")
        client.log()
        return
    existing = client.get(ObjectRef("v1", "Secret", place["namespace"], place["name"]))
    if existing is not None:
        existing["data"] = data
        raised(client.update(existing).status, "failed to update a Secret")
        client.log()


def _publish(client: Client, control_plane: Object, cluster: Object, endpoint: APIEndpoint) -> None:
    for obj, what in ((control_plane, "the control plane"), (cluster, "the Cluster")):
        base = copied(obj)
        obj["spec"]["controlPlaneEndpoint"] = {"host": endpoint.host, "port": endpoint.port}
        response = client.patch(base, obj)
        raised(response.status, f"failed to patch the endpoint of {what}")
        take_over(obj, response.body)
        client.log()
