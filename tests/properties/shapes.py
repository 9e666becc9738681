"""The small domain of worlds: a handful of shapes for each object, with values that collide.

A shape turns the object of a Ready world into another one. The first shape of each list is that
object itself, because Hypothesis shrinks to it.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, TypeAlias

from captep_core import JSON, Unreadable
from tests.capt.worlds import (
    CA,
    CA_OF_EKS,
    ENDPOINT,
    FINALIZER,
    HOST,
    KUBECONFIG,
    SINCE,
    Object,
    condition,
    conditions,
    owner,
)
from tests.capt.worlds import ready_status as status_of

__all__ = [
    "APPLY_CONTENTS",
    "APPLY_STATUSES",
    "BLIND",
    "CLUSTER_ENDPOINTS",
    "CLUSTER_SPECS",
    "CLUSTER_STATUSES",
    "CONNECTION_DATA",
    "CONTROL_PLANE_METADATA",
    "CONTROL_PLANE_SPECS",
    "CONTROL_PLANE_STATUSES",
    "ENDPOINTS",
    "MALFORMED",
    "OTHER_CA",
    "OTHER_ENDPOINT",
    "OTHER_KUBECONFIG",
    "OURS_CA",
    "OURS_KUBECONFIG",
    "OUTPUTS_DATA",
    "OWNERSHIP",
    "SPOT_OUTPUTS",
    "WORKSPACE_CONDITIONS",
    "WORKSPACE_OUTPUTS",
    "patched",
]

Patch: TypeAlias = Mapping[str, Any]
"""A merge patch on an object (None removes a key)."""

OTHER_ENDPOINT: Final = "https://FF00.gr7.ap-northeast-1.eks.amazonaws.com:8443"
OTHER_HOST: Final = "FF00.gr7.ap-northeast-1.eks.amazonaws.com"
OTHER_CA: Final = CA.replace("c2VjcmV0", "b3RoZXI0")
OTHER_KUBECONFIG: Final = KUBECONFIG.replace("canary-token", "rotated-token")


def patched(obj: Object, *patches: Patch) -> Object:
    """The object with merge patches applied (RFC 7386)."""
    result: Any = deepcopy(obj)
    for each in patches:
        result = _merged(result, each)
    return dict(result)


def _merged(target: object, patch: Patch) -> Object:
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value) if isinstance(value, Mapping) else value
    return result


def _owners(*references: Object) -> Patch:
    return {"metadata": {"ownerReferences": list(references) or None}}


_US = owner("CAPTControlPlane", "tokyo")
_FRIEND = {"apiVersion": "v1", "kind": "ConfigMap", "name": "friend", "uid": "uid-of-friend"}

OWNERSHIP: Final[tuple[Patch, ...]] = (
    {},
    _owners(),
    _owners(_FRIEND),
    _owners(_FRIEND, _US),
    _owners({key: value for key, value in _US.items() if key != "controller"}),
    _owners(owner("CAPTControlPlane", "tokyo", of="uid-of-an-earlier-tokyo")),
    _owners(owner("Deployment", "somebody", api_version="apps/v1")),
    {"metadata": {"deletionTimestamp": SINCE, "finalizers": ["example.com/somebody"]}},
    {
        "metadata": {
            "finalizers": ["example.com/somebody"],
            "labels": {"team": "platform"},
            "annotations": {"note": "mine"},
        }
    },
)
"""A dependent's owner: us, nobody, several, an earlier incarnation, a foreign controller; then a
terminating one, and one with labels and annotations of others."""

BLIND: Final[tuple[Unreadable, ...]] = (Unreadable("Forbidden"), Unreadable("Timeout"))
MALFORMED: Final[Mapping[str, tuple[dict[str, JSON], ...]]] = {
    "Secret": ({"data": {"value": "not base64!"}}, {"data": []}, {"metadata": {"labels": 3}}),
    "other": (
        {"spec": "nonsense"},
        {"status": {"conditions": {}}},
        {"metadata": {"ownerReferences": "none"}},
        {"spec": 5, "status": 5},
    ),
}
"""Patches that make an object malformed: a Secret, or any other object."""

APPLY_CONTENTS: Final[tuple[Patch, ...]] = (
    {},
    {"spec": {"variables": {"kubernetes_version": "1.30", "stale": "x"}}},
    {"spec": {"waitForWorkspaces": [{"name": "somebody"}], "retainWorkspaceOnDelete": True}},
    {
        "spec": {
            "writeConnectionSecretToRef": None,
            "templateRef": {"namespace": None},
            "waitForSecrets": [{"name": "s"}],
        }
    },
    {"spec": None},
    {"spec": {"writeConnectionSecretToRef": {"name": "elsewhere", "namespace": "default"}}},
)
APPLY_STATUSES: Final[tuple[Patch, ...]] = (
    {},
    {"status": None},
    {"status": {"conditions": None}},
    {"status": {"conditions": conditions(ready=False)}},
    {"status": {"conditions": conditions(synced="apply failed: quota")}},
    {"status": {"workspaceName": None}},
    {"status": {"lastAppliedTime": "2026-01-01T00:30:00Z"}},
)
WORKSPACE_CONDITIONS: Final[tuple[Patch, ...]] = (
    {},
    {"status": {"conditions": None}},
    {"status": {"conditions": conditions(ready=False)}},
    {"status": {"conditions": conditions(synced="apply failed: quota")}},
    {"status": {"conditions": conditions(ready=False, synced="plan failed: no such role")}},
    {"status": {"conditions": [condition("Ready", False, "Deleting", "going away")]}},
    {"status": None},
)
WORKSPACE_OUTPUTS: Final[tuple[Patch, ...]] = (
    {},
    {"status": {"atProvider": None}},
    {
        "status": {
            "atProvider": {
                "outputs": {"cluster_endpoint": OTHER_ENDPOINT},
                "extra": {"n": [1, None, {"a": None, "b": True}]},
            }
        }
    },
    {"status": {"atProvider": {"outputs": {"cluster_endpoint": "https://not a host"}}}},
    {"status": {"atProvider": {"outputs": {"cluster_endpoint": ""}}}},
    {
        "status": {
            "atProvider": {"outputs": {"cluster_endpoint": {"sensitive": 1}, "n": 1.0, "t": True}}
        }
    },
)
SPOT_OUTPUTS: Final[tuple[Patch, ...]] = (
    {},
    {
        "status": {
            "atProvider": {"outputs": {"role_exists": False, "role_arn": "arn:aws:iam::1:role/x"}}
        }
    },
    {"status": {"atProvider": {"outputs": {"role_exists": "true", "other": 1}}}},
    {"status": {"atProvider": None}},
)

Data: TypeAlias = Mapping[str, str]
CONNECTION_DATA: Final[tuple[Data, ...]] = (
    {"cluster_endpoint": ENDPOINT, "cluster_certificate_authority_data": CA_OF_EKS},
    {},
    {"cluster_endpoint": ENDPOINT},
    {"cluster_certificate_authority_data": OTHER_CA, "cluster_endpoint": OTHER_ENDPOINT},
    {"cluster_endpoint": ENDPOINT, "cluster_certificate_authority_data": "no certificate"},
    {"cluster_certificate_authority_data": CA_OF_EKS},
    {"cluster_endpoint": "https://not a host", "cluster_certificate_authority_data": ""},
    {"cluster_endpoint": "null", "cluster_certificate_authority_data": "null"},
)
OUTPUTS_DATA: Final[tuple[Data, ...]] = (
    {"kubeconfig": KUBECONFIG},
    {},
    {"kubeconfig": OTHER_KUBECONFIG},
    {"kubeconfig": " \n"},
    {"kubeconfig": "<html>Sign in</html>"},
    {"kubeconfig": "null"},
)
OURS_CA: Final[tuple[Patch, ...]] = (
    {},
    {"data": None},
    {"data": {"tls.crt": None, "mine": "eA=="}},
    {"data": {"tls.crt": "", "ca.crt": "eA=="}},
    {"type": "Opaque", "metadata": {"labels": None}},
    {"immutable": True, "data": {"ca.crt": "eA=="}},
)
OURS_KUBECONFIG: Final[tuple[Patch, ...]] = (
    {},
    {"data": None},
    {"data": {"value": "eA==", "mine": "eA=="}},
    {"data": {"value": ""}},
    {"type": "Opaque"},
    {"type": "Opaque", "metadata": {"finalizers": ["example.com/somebody"]}},
    {"metadata": {"labels": {"cluster.x-k8s.io/cluster-name": "other", "team": "platform"}}},
    {"immutable": True, "data": {"value": "eA=="}},
)

_CLUSTER_OWNER = owner("Cluster", "tokyo", api_version="cluster.x-k8s.io/v1beta1")
CONTROL_PLANE_METADATA: Final[tuple[Patch, ...]] = (
    {},
    {"metadata": {"finalizers": None, "ownerReferences": None}},
    {"metadata": {"finalizers": None}},
    _owners(),
    _owners({**_CLUSTER_OWNER, "uid": "uid-of-an-earlier-cluster"}),
    _owners(_FRIEND, {**_CLUSTER_OWNER, "apiVersion": "cluster.x-k8s.io/v1beta2"}),
    _owners({key: value for key, value in _CLUSTER_OWNER.items() if key != "controller"}),
    _owners(owner("Deployment", "somebody", api_version="apps/v1")),
    {
        "metadata": {
            "finalizers": ["example.com/first", FINALIZER, "example.com/last"],
            "labels": {"team": "platform"},
        }
    },
    {"metadata": {"finalizers": ["example.com/first"]}},
    {"metadata": {"finalizers": ["example.com/first"], "deletionTimestamp": SINCE}},
    {"metadata": {"annotations": {"cluster.x-k8s.io/paused": "false"}}},
)
ENDPOINTS: Final[tuple[Patch, ...]] = (
    {},
    {"spec": {"controlPlaneEndpoint": None}},
    {"spec": {"controlPlaneEndpoint": {"host": "", "port": 0}}},
    {"spec": {"controlPlaneEndpoint": {"host": OTHER_HOST, "port": 8443}}},
    {"spec": {"controlPlaneEndpoint": {"host": ENDPOINT, "port": 443}}},
    {"spec": {"controlPlaneEndpoint": {"host": HOST, "port": 0}}},
)
CLUSTER_ENDPOINTS: Final = ENDPOINTS
CONTROL_PLANE_SPECS: Final[tuple[Patch, ...]] = (
    {},
    {"spec": {"version": "1.34", "additionalTags": None}},
    {"spec": {"workspaceTemplateRef": {"namespace": None}, "controlPlaneConfig": None}},
    {"spec": {"workspaceTemplateApplyName": None}},
    {"spec": {"workspaceTemplateApplyName": "tokyo-vpc"}},
    {"spec": {"workspaceTemplateApplyName": "tokyo-kubeconfig-apply"}},
    {"spec": {"workspaceTemplateApplyName": "tokyo-spot-role-check"}},
    {"spec": {"workspaceTemplateApplyName": "tokyo-spot-role-create"}},
    {
        "spec": {
            "controlPlaneConfig": {"region": "", "endpointAccess": {"private": True}},
            "additionalTags": {"a": "", "b": 'q"\\'},
        }
    },
)
_READY = status_of()
_DOUBLE = [
    condition("Ready", True, "Ready"),
    condition("Other", "Unknown", "Odd", "mine"),
    condition("Ready", False, "Creating"),
]
CONTROL_PLANE_STATUSES: Final[tuple[Patch, ...]] = (
    {},
    {"status": None},
    {
        "status": {
            "ready": False,
            "initialized": False,
            "secretsReady": False,
            "phase": "Creating",
            "conditions": None,
        }
    },
    {"status": {"secretsReady": None}},
    {
        "status": {
            "failureReason": "EndpointUpdateFailed",
            "failureMessage": "left",
            "phase": "Failed",
            "ready": False,
        }
    },
    {"status": {"conditions": _DOUBLE}},
    {
        "status": {
            "conditions": [
                condition("Ready", True, "SecretError", "old", since="") | {"observedGeneration": 3}
            ]
        }
    },
    {
        "status": {
            "workspaceTemplateStatus": {
                "lastAppliedRevision": "2026-01-01 00:00:00 +0000 UTC",
                "state": "x",
            }
        }
    },
    {
        "status": {
            "workspaceStatus": {
                "state": "Creating",
                "ready": False,
                "atProvider": {"outputs": {}, "old": [True, 1]},
            }
        }
    },
    {"status": {"initialized": False}},
    {"status": {**_READY, "initialized": False, "secretsReady": False}},
)
CLUSTER_SPECS: Final[tuple[Patch, ...]] = (
    {},
    {"spec": {"controlPlaneRef": None}},
    {
        "spec": {
            "controlPlaneRef": {
                "apiVersion": None,
                "apiGroup": "controlplane.cluster.x-k8s.io",
                "namespace": None,
            }
        }
    },
    {"spec": {"controlPlaneRef": {"name": "osaka"}}},
    {"spec": {"paused": True}},
    {"metadata": {"uid": "uid-of-a-later-cluster"}},
    {
        "metadata": {
            "annotations": {"cluster.x-k8s.io/region": "ap-northeast-1"},
            "finalizers": ["cluster.cluster.x-k8s.io"],
        }
    },
)
CLUSTER_STATUSES: Final[tuple[Patch, ...]] = (
    {},
    {"status": None},
    {
        "status": {
            "controlPlaneReady": False,
            "conditions": [
                condition("ControlPlaneInitialized", False, "Waiting"),
                condition("Up", True),
            ],
        }
    },
    {"status": {"failureReason": "EndpointUpdateFailed", "failureMessage": "left behind"}},
)
