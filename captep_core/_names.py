"""Names that existing clusters rely on: kinds, finalizer, labels, and how the objects around a control plane are called."""

from typing import Final

from captep_core._actions import ObjectRef

__all__ = [
    "CLUSTER_API",
    "CLUSTER_GROUP",
    "CLUSTER_NAME_LABEL",
    "CONTROL_PLANE_API",
    "CONTROL_PLANE_KIND",
    "FINALIZER",
    "KUBECONFIG_TEMPLATE",
    "PAUSED_ANNOTATION",
    "REGION_ANNOTATION",
    "SECRET_TYPE",
    "apply_ref",
    "cluster_ref",
    "control_plane_ref",
    "secret_ref",
    "template_ref",
    "workspace_ref",
]

CLUSTER_GROUP: Final = "cluster.x-k8s.io"
CONTROL_PLANE_KIND: Final = "CAPTControlPlane"
FINALIZER: Final = "controlplane.cluster.x-k8s.io/captcontrolplane"
CLUSTER_NAME_LABEL: Final = "cluster.x-k8s.io/cluster-name"
PAUSED_ANNOTATION: Final = "cluster.x-k8s.io/paused"
REGION_ANNOTATION: Final = "cluster.x-k8s.io/region"
SECRET_TYPE: Final = "cluster.x-k8s.io/secret"  # noqa: S105 - a type, not a password
KUBECONFIG_TEMPLATE: Final = ("eks-kubeconfig-template", "default")

CONTROL_PLANE_API: Final = "controlplane.cluster.x-k8s.io/v1beta1"
CLUSTER_API: Final = "cluster.x-k8s.io/v1beta1"
_INFRASTRUCTURE: Final = "infrastructure.cluster.x-k8s.io/v1beta1"
_TERRAFORM: Final = "tf.upbound.io/v1beta1"


def control_plane_ref(namespace: str, name: str) -> ObjectRef:
    """Refer to a CAPTControlPlane."""
    return ObjectRef(CONTROL_PLANE_API, CONTROL_PLANE_KIND, namespace, name)


def cluster_ref(namespace: str | None, name: str) -> ObjectRef:
    """Refer to a Cluster of Cluster API."""
    return ObjectRef(CLUSTER_API, "Cluster", namespace, name)


def template_ref(namespace: str | None, name: str) -> ObjectRef:
    """Refer to a WorkspaceTemplate."""
    return ObjectRef(_INFRASTRUCTURE, "WorkspaceTemplate", namespace, name)


def apply_ref(namespace: str | None, name: str) -> ObjectRef:
    """Refer to a WorkspaceTemplateApply."""
    return ObjectRef(_INFRASTRUCTURE, "WorkspaceTemplateApply", namespace, name)


def workspace_ref(name: str) -> ObjectRef:
    """Refer to a Workspace, which is cluster-scoped."""
    return ObjectRef(_TERRAFORM, "Workspace", None, name)


def secret_ref(namespace: str | None, name: str) -> ObjectRef:
    """Refer to a Secret."""
    return ObjectRef("v1", "Secret", namespace, name)
