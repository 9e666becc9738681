"""What the controller watches, and which fields of it are kept: those that `captep_core` looks at, with lists that go back whole.

Of Secrets all are watched, by their metadata, and nothing but their identity is kept: a selector by type or label would hide one that has
the right name and a wrong type or no label, and it would be created again and again.
"""

from captep_core import ObjectRef
from captep_kubernetes import RESOURCES, Fields, Representation, Watched, keeping

__all__ = ["CONTROL_PLANES", "WATCHED", "is_control_plane"]

_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
CONTROL_PLANES = RESOURCES["controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane"]
"""The kind that is reconciled."""


def _watched(api_version: str, kind: str, fields: Fields) -> Watched:
    return Watched(RESOURCES[api_version, kind], project=keeping(fields))


WATCHED: tuple[Watched, ...] = (
    Watched(CONTROL_PLANES, project=keeping({"spec": None, "status": None})),
    _watched(
        "cluster.x-k8s.io/v1beta1",
        "Cluster",
        {
            "spec": {"paused": None, "controlPlaneRef": None, "controlPlaneEndpoint": None},
            "status": {
                "controlPlaneReady": None,
                "failureReason": None,
                "failureMessage": None,
                "conditions": None,
            },
        },
    ),
    _watched(_INFRASTRUCTURE, "WorkspaceTemplate", {}),
    _watched(_INFRASTRUCTURE, "WorkspaceTemplateApply", {"spec": None, "status": None}),
    _watched(
        "tf.upbound.io/v1beta1",
        "Workspace",
        {"spec": {"writeConnectionSecretToRef": None}, "status": None},
    ),
    Watched(RESOURCES["v1", "Secret"], Representation.METADATA),
)


def is_control_plane(ref: ObjectRef) -> bool:
    """Whether an object is one that is reconciled."""
    return (ref.api_version, ref.kind) == (CONTROL_PLANES.api_version, CONTROL_PLANES.kind)
