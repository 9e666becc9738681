"""Worlds around one control plane: the objects in the server at some moment of its life, as JSON.

`new`, `created`, `waiting`, `provided`, `ready` and `by_go` are moments. `changed`, `without` and
`plus` derive other worlds from them. The objects are written by hand from the contract and from
upstream's definitions, never by the code under test.
"""

import base64
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeAlias

from attrs import frozen

__all__ = [
    "CA",
    "CA_OF_EKS",
    "CONNECTION_TYPE",
    "ENDPOINT",
    "FINALIZER",
    "HOST",
    "KUBECONFIG",
    "ROTATED",
    "SINCE",
    "TOKYO",
    "Names",
    "Object",
    "Objects",
    "apply",
    "base64_of",
    "by_go",
    "changed",
    "cluster",
    "condition",
    "conditions",
    "control_plane",
    "created",
    "deleting",
    "find",
    "new",
    "owned",
    "owner",
    "plus",
    "provided",
    "ready",
    "ready_status",
    "secret",
    "template",
    "uid",
    "unpaused",
    "waiting",
    "without",
    "workspace",
]

Object: TypeAlias = dict[str, Any]
Objects: TypeAlias = list[Object]

CONTROL_PLANE_API = "controlplane.cluster.x-k8s.io/v1beta1"
CLUSTER_API = "cluster.x-k8s.io/v1beta1"
INFRASTRUCTURE_API = "infrastructure.cluster.x-k8s.io/v1beta1"
TERRAFORM_API = "tf.upbound.io/v1beta1"
FINALIZER = "controlplane.cluster.x-k8s.io/captcontrolplane"
CONNECTION_TYPE = "connection.crossplane.io/v1alpha1"
CLUSTER_LABEL = "cluster.x-k8s.io/cluster-name"
SINCE = "2026-01-01T00:00:00Z"
HOST = "0A1B2C.gr7.ap-northeast-1.eks.amazonaws.com"
ENDPOINT = f"https://{HOST}"
CA = (
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBszCCAVmgAwIBAgIUc2VjcmV0LWNhbmFyeS1jYS1ib2R5AAA=\n"
    "-----END CERTIFICATE-----\n"
)
KUBECONFIG = "apiVersion: v1\nkind: Config\nusers: [{name: tokyo, user: {token: canary-token}}]\n"
ROTATED = KUBECONFIG.replace("canary-token", "rotated-token")
"""The kubeconfig with a new token."""


@frozen
class Names:
    """What the control plane, its Cluster and their namespace are called."""

    control_plane: str = "tokyo"
    cluster: str = "tokyo"
    namespace: str = "fleet"


TOKYO = Names()


def base64_of(text: str) -> str:
    """Return the base64 of a text, as Secrets and EKS hold it."""
    return base64.b64encode(text.encode()).decode()


CA_OF_EKS = base64_of(CA)


def uid(kind: str, name: str) -> str:
    """Return the uid that an object of these worlds has."""
    return f"uid-of-{kind.lower()}-{name}"


def _object(
    api_version: str, kind: str, name: str, namespace: str | None, **rest: object
) -> Object:
    metadata: Object = {
        "name": name,
        "uid": uid(kind, name),
        "resourceVersion": "100",
        "creationTimestamp": SINCE,
    }
    metadata |= ({"namespace": namespace} if namespace else {}) | (
        {} if api_version == "v1" else {"generation": 1}
    )
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": metadata,
        **{key: value for key, value in rest.items() if value},
    }


def owner(
    kind: str,
    name: str,
    *,
    api_version: str = CONTROL_PLANE_API,
    controller: bool = True,
    of: str = "",
) -> Object:
    """Return an entry of metadata.ownerReferences; `of` overrides the uid."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": of or uid(kind, name),
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def owned(obj: Object, *references: Object) -> Object:
    """Return the object with these owners."""
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": list(references)}}


def condition(
    kind: str, status: bool | str, reason: str = "", message: str = "", *, since: str = SINCE
) -> Object:
    """Return an entry of status.conditions."""
    texts = {key: text for key, text in (("reason", reason), ("message", message)) if text}
    return {"type": kind, "status": str(status), "lastTransitionTime": since, **texts}


def conditions(*, ready: bool = True, reason: str = "", synced: str = "") -> Objects:
    """Return a Workspace's conditions as provider-terraform sets them; `synced`: a sync error."""
    said = (
        condition("Synced", False, "ReconcileError", synced)
        if synced
        else condition("Synced", True, "ReconcileSuccess")
    )
    return [said, condition("Ready", ready, reason or ("Available" if ready else "Creating"))]


def control_plane(names: Names = TOKYO) -> Object:
    """Return a CAPTControlPlane as its user writes it."""
    spec = {
        "version": "1.33",
        "workspaceTemplateRef": {"name": "eks", "namespace": names.namespace},
        "controlPlaneConfig": {
            "region": "ap-northeast-1",
            "endpointAccess": {"public": True, "private": False},
        },
        "additionalTags": {"Team": "platform"},
    }
    return _object(
        CONTROL_PLANE_API, "CAPTControlPlane", names.control_plane, names.namespace, spec=spec
    )


def cluster(names: Names = TOKYO) -> Object:
    """Return a Cluster whose controlPlaneRef points to the control plane."""
    to = {
        "apiVersion": CONTROL_PLANE_API,
        "kind": "CAPTControlPlane",
        "name": names.control_plane,
        "namespace": names.namespace,
    }
    return _object(
        CLUSTER_API, "Cluster", names.cluster, names.namespace, spec={"controlPlaneRef": to}
    )


def template(name: str = "eks", namespace: str = "fleet") -> Object:
    """Return a WorkspaceTemplate."""
    spec = {"template": {"spec": {"forProvider": {"source": "Inline", "module": ""}}}}
    return _object(INFRASTRUCTURE_API, "WorkspaceTemplate", name, namespace, spec=spec)


def apply(
    name: str,
    spec: Mapping[str, Any],
    *,
    applied: str = "",
    namespace: str = "fleet",
    entries: Objects | None = None,
) -> Object:
    """Return a WorkspaceTemplateApply; `applied`: the Workspace that its controller made, or ""."""
    status = {
        "applied": True,
        "workspaceName": applied,
        "lastAppliedTime": SINCE,
        "conditions": conditions() if entries is None else entries,
    }
    return _object(
        INFRASTRUCTURE_API,
        "WorkspaceTemplateApply",
        name,
        namespace,
        spec=dict(spec),
        status=status if applied else None,
    )


def workspace(
    name: str,
    outputs: Mapping[str, Any] | None = None,
    *,
    to: Mapping[str, str] | None = None,
    entries: Objects | None = None,
) -> Object:
    """Return a Workspace, which is cluster-scoped; `to`: the place of its connection Secret."""
    spec: Object = {"forProvider": {"source": "Inline", "module": ""}} | (
        {"writeConnectionSecretToRef": dict(to)} if to else {}
    )
    at_provider = {} if outputs is None else {"atProvider": {"outputs": dict(outputs)}}
    status = {**at_provider, "conditions": conditions() if entries is None else entries}
    return _object(TERRAFORM_API, "Workspace", name, None, spec=spec, status=status)


def secret(
    name: str, texts: Mapping[str, str], *, kind: str = CONNECTION_TYPE, namespace: str = "fleet"
) -> Object:
    """Return a Secret with these texts."""
    return _object(
        "v1",
        "Secret",
        name,
        namespace,
        type=kind,
        data={key: base64_of(text) for key, text in texts.items()},
    )


def _is(obj: Object, kind: str, name: str) -> bool:
    return (obj["kind"], obj["metadata"]["name"]) == (kind, name)


def find(world: Objects, kind: str, name: str) -> Object:
    """Return an object of the world; there must be one."""
    found = [obj for obj in world if _is(obj, kind, name)]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def without(world: Objects, kind: str, name: str) -> Objects:
    """Return the world without an object; it must have been there."""
    find(world, kind, name)
    return [obj for obj in world if not _is(obj, kind, name)]


def plus(world: Objects, *objects: Object) -> Objects:
    """Return the world with these objects, each in the place of the one of its kind and name."""
    return [
        obj
        for obj in world
        if not any(_is(obj, new["kind"], new["metadata"]["name"]) for new in objects)
    ] + list(objects)


def _merged(target: object, patch: Mapping[str, Any]) -> Object:
    """Apply a merge patch as RFC 7386 prints it."""
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value) if isinstance(value, Mapping) else value
    return result


def changed(world: Objects, kind: str, name: str, patch: Mapping[str, Any]) -> Objects:
    """Return the world with one object changed by a merge patch (None removes a key)."""
    return [
        deepcopy(_merged(obj, patch)) if obj is find(world, kind, name) else obj for obj in world
    ]


def deleting(world: Objects, kind: str, name: str, *finalizers: str) -> Objects:
    """Return the world with one object being deleted, held by its own finalizers or these."""
    held = (
        list(finalizers)
        or find(world, kind, name)["metadata"].get("finalizers")
        or ["example.com/somebody"]
    )
    return changed(
        world, kind, name, {"metadata": {"deletionTimestamp": SINCE, "finalizers": held}}
    )


def _ours(obj: Object, names: Names) -> Object:
    return owned(obj, owner("CAPTControlPlane", names.control_plane))


def _spec_of_main(names: Names) -> Object:
    return {
        "templateRef": {"name": "eks", "namespace": names.namespace},
        "variables": {
            "cluster_name": names.control_plane,
            "kubernetes_version": "1.33",
            "region": "ap-northeast-1",
            "endpoint_public_access": "true",
            "endpoint_private_access": "false",
            "tags_Team": "platform",
        },
        "writeConnectionSecretToRef": {
            "name": f"{names.control_plane}-eks-connection",
            "namespace": names.namespace,
        },
    }


def _spec_of_kubeconfig(names: Names, to: Object) -> Object:
    return {
        "templateRef": {"name": "eks-kubeconfig-template", "namespace": "default"},
        "variables": {
            "cluster_name": names.control_plane,
            "region": "ap-northeast-1",
            "cluster_endpoint": ENDPOINT,
            "cluster_certificate_authority_data": CA_OF_EKS,
        },
        "writeConnectionSecretToRef": to,
        "waitForWorkspaces": [{"name": f"{names.control_plane}-eks-controlplane"}],
    }


def new(names: Names = TOKYO) -> Objects:
    """A control plane, its Cluster and its template, as their user creates them."""
    return [control_plane(names), cluster(names), template(namespace=names.namespace)]


def _claimed(names: Names) -> Object:
    """The control plane after the first write of the loop."""
    cp = owned(control_plane(names), owner("Cluster", names.cluster, api_version=CLUSTER_API))
    cp["metadata"]["finalizers"] = [FINALIZER]
    cp["spec"]["workspaceTemplateApplyName"] = f"{names.control_plane}-eks-controlplane-apply"
    return cp


def unpaused(since: str = SINCE) -> Object:
    """The condition that goes along with the first report of a control plane."""
    message = "Neither it nor its Cluster is paused"
    return condition("Paused", False, "NotPaused", message, since=since)


def _status(phase: str, reason: str, message: str) -> Object:
    is_ready = phase == "Ready"
    return {
        "ready": is_ready,
        "initialized": is_ready,
        "secretsReady": is_ready,
        "phase": phase,
        "workspaceTemplateStatus": {"ready": is_ready},
        "workspaceStatus": {"ready": is_ready},
        "conditions": [condition("Ready", is_ready, reason, message), unpaused()],
    }


def created(names: Names = TOKYO) -> Objects:
    """The loop has written everything for a new control plane, and nobody else has acted."""
    name = names.control_plane
    space = names.namespace
    cp = _claimed(names) | {
        "status": _status("Creating", "Creating", "Control plane is being created")
    }
    the_cluster = cluster(names) | {"status": {"controlPlaneReady": False}}
    check = apply(
        f"{name}-spot-role-check",
        {"templateRef": {"name": "spot-role-check", "namespace": space}},
        namespace=space,
    )
    main = apply(f"{name}-eks-controlplane-apply", _spec_of_main(names), namespace=space)
    return [cp, the_cluster, template(namespace=space), _ours(check, names), _ours(main, names)]


def _applied(obj: Object, to: str, entries: Objects) -> Object:
    return {
        **obj,
        "status": {
            "applied": True,
            "workspaceName": to,
            "lastAppliedTime": SINCE,
            "conditions": entries,
        },
    }


def waiting(names: Names = TOKYO) -> Objects:
    """Terraform works on the main Workspace: no conditions, an empty connection Secret."""
    name = names.control_plane
    to = {"name": f"{names.control_plane}-eks-connection", "namespace": names.namespace}
    world = created(names)
    main = find(world, "WorkspaceTemplateApply", f"{name}-eks-controlplane-apply")
    check = find(world, "WorkspaceTemplateApply", f"{name}-spot-role-check")
    return plus(
        world,
        _applied(main, f"{name}-eks-controlplane", []),
        _applied(check, f"{name}-spot-role-check", conditions()),
        workspace(f"{name}-eks-controlplane", to=to, entries=[]),
        workspace(f"{name}-spot-role-check", {"role_exists": True}),
        secret(to["name"], {}, namespace=names.namespace),
    )


def provided(names: Names = TOKYO) -> Objects:
    """Terraform is done with the main Workspace; the loop has not reacted yet."""
    name = names.control_plane
    to = {"name": f"{names.control_plane}-eks-connection", "namespace": names.namespace}
    world = waiting(names)
    main = find(world, "WorkspaceTemplateApply", f"{name}-eks-controlplane-apply")
    return plus(
        world,
        _applied(main, f"{name}-eks-controlplane", conditions()),
        workspace(f"{name}-eks-controlplane", {"cluster_endpoint": ENDPOINT}, to=to),
        secret(
            to["name"],
            {"cluster_endpoint": ENDPOINT, "cluster_certificate_authority_data": CA_OF_EKS},
            namespace=names.namespace,
        ),
    )


def ready_status(
    phase: str = "Ready", reason: str = "Ready", message: str = "Control plane is ready"
) -> Object:
    """The status of a control plane that is Ready, or that has been."""
    status = _status(phase, reason, message)
    template_status = {"ready": phase == "Ready", "lastAppliedRevision": SINCE}
    if reason not in ("Ready", "Creating"):
        template_status["lastFailureMessage"] = message
    provider = {"outputs": {"cluster_endpoint": ENDPOINT}}
    return status | {
        "version": "1.33",
        "initialized": True,
        "secretsReady": True,
        "workspaceTemplateStatus": template_status,
        "workspaceStatus": {"ready": True, "state": "Available", "atProvider": provider},
    }


def ready(names: Names = TOKYO) -> Objects:
    """Everything is in order: nothing is left to write."""
    name = names.control_plane
    owner_cluster = names.cluster
    space = names.namespace
    host = {"host": HOST, "port": 443}
    cp = _claimed(names)
    the_cluster = cluster(names)
    to = {"name": f"{owner_cluster}-outputs-kubeconfig", "namespace": space}
    cp = {**cp, "spec": {**cp["spec"], "controlPlaneEndpoint": host}, "status": ready_status()}
    the_cluster = {
        **the_cluster,
        "spec": {**the_cluster["spec"], "controlPlaneEndpoint": host},
        "status": {
            "controlPlaneReady": True,
            "conditions": [condition("ControlPlaneInitialized", True)],
        },
    }
    generator = apply(
        f"{name}-kubeconfig-apply",
        _spec_of_kubeconfig(names, to),
        applied=f"{name}-kubeconfig",
        namespace=space,
    )
    ca = secret(
        f"{owner_cluster}-ca",
        {"tls.crt": CA, "ca.crt": CA},
        kind="cluster.x-k8s.io/secret",
        namespace=space,
    )
    kubeconfig = secret(
        f"{owner_cluster}-kubeconfig",
        {"value": KUBECONFIG},
        kind="cluster.x-k8s.io/secret",
        namespace=space,
    )
    for obj in (ca, kubeconfig):
        obj["metadata"]["labels"] = {CLUSTER_LABEL: owner_cluster}
    return plus(
        provided(names),
        cp,
        the_cluster,
        _ours(generator, names),
        workspace(f"{name}-kubeconfig", to=to),
        secret(to["name"], {"kubeconfig": KUBECONFIG}, namespace=space),
        _ours(ca, names),
        _ours(kubeconfig, names),
    )


def by_go() -> Objects:
    """A Ready control plane as the Go controller leaves it after an earlier failure."""
    world = ready()
    to = {"name": "tokyo-outputs-kubeconfig", "namespace": "default"}
    url = {"host": ENDPOINT, "port": 443}
    main = find(world, "WorkspaceTemplateApply", "tokyo-eks-controlplane-apply")
    ca = find(world, "Secret", "tokyo-ca")
    world = without(world, "Secret", "tokyo-outputs-kubeconfig")
    world = changed(world, "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneEndpoint": url}})
    state = {"lastAppliedRevision": "2026-01-01 00:00:00 +0000 UTC", "lastFailureMessage": None}
    left = {
        "failureReason": "EndpointUpdateFailed",
        "failureMessage": "the object has been modified",
    }
    held = find(world, "CAPTControlPlane", "tokyo")["status"]["conditions"][:1]
    status = {"workspaceTemplateStatus": state, "conditions": held}
    world = changed(world, "CAPTControlPlane", "tokyo", {"status": status})
    world = changed(
        world, "Cluster", "tokyo", {"spec": {"controlPlaneEndpoint": url}, "status": left}
    )
    world = changed(
        world,
        "WorkspaceTemplateApply",
        "tokyo-kubeconfig-apply",
        {"spec": {"writeConnectionSecretToRef": to}},
    )
    world = changed(
        world, "Workspace", "tokyo-kubeconfig", {"spec": {"writeConnectionSecretToRef": to}}
    )
    old = secret("tokyo-control-plane-kubeconfig", {"value": "old"}, kind="Opaque")
    return plus(
        world,
        changed(
            [main],
            "WorkspaceTemplateApply",
            main["metadata"]["name"],
            {"spec": {"templateRef": {"namespace": None}}},
        )[0],
        {
            **ca,
            "type": "Opaque",
            "metadata": {key: value for key, value in ca["metadata"].items() if key != "labels"},
        },
        owned(
            secret(to["name"], {"kubeconfig": KUBECONFIG}, namespace="default"),
            owner("Workspace", "tokyo-kubeconfig", api_version=TERRAFORM_API),
        ),
        _ours(old, TOKYO),
    )
