"""Names that existing clusters rely on: kinds, finalizer, labels, and the names of the dependents
of a control plane.
"""

from typing import Final

from attrs import evolve, frozen

from captep_core._actions import ObjectRef

__all__ = [
    "CLUSTER_API",
    "CLUSTER_GROUP",
    "CLUSTER_NAME_LABEL",
    "CONTROL_PLANE_API",
    "CONTROL_PLANE_KIND",
    "CONTROL_PLANE_KINDS",
    "CORE_FINALIZER",
    "FINALIZER",
    "INFRASTRUCTURE_API",
    "INFRASTRUCTURE_GROUP",
    "KUBECONFIG_TEMPLATE",
    "NEWER_CLUSTER_API",
    "PAUSED_ANNOTATION",
    "REGION_ANNOTATION",
    "SECRET_TYPE",
    "TERRAFORM_API",
    "Names",
    "apply_ref",
    "cluster_ref",
    "control_plane_ref",
    "names_of",
    "secret_ref",
    "template_ref",
    "with_vpc",
    "workspace_ref",
]

CLUSTER_GROUP: Final = "cluster.x-k8s.io"
CONTROL_PLANE_KIND: Final = "CAPTControlPlane"
FINALIZER: Final = "controlplane.cluster.x-k8s.io/captcontrolplane"
CONTROL_PLANE_KINDS: Final = (CONTROL_PLANE_KIND, "CaptControlPlane")
"""The kinds that a Cluster may call a control plane of ours; the second is that of ClusterClass."""
CORE_FINALIZER: Final = "cluster.cluster.x-k8s.io"
"""Cluster API's core, in whatever version, puts it on every Cluster that it acts on."""
CLUSTER_NAME_LABEL: Final = "cluster.x-k8s.io/cluster-name"
PAUSED_ANNOTATION: Final = "cluster.x-k8s.io/paused"
REGION_ANNOTATION: Final = "cluster.x-k8s.io/region"
SECRET_TYPE: Final = "cluster.x-k8s.io/secret"  # noqa: S105 - a type, not a password
KUBECONFIG_TEMPLATE: Final = ("eks-kubeconfig-template", "default")

CONTROL_PLANE_API: Final = "controlplane.cluster.x-k8s.io/v1beta1"
CLUSTER_API: Final = "cluster.x-k8s.io/v1beta1"
NEWER_CLUSTER_API: Final = "cluster.x-k8s.io/v1beta2"
INFRASTRUCTURE_GROUP: Final = "infrastructure.cluster.x-k8s.io"
INFRASTRUCTURE_API: Final = "infrastructure.cluster.x-k8s.io/v1beta1"
TERRAFORM_API: Final = "tf.upbound.io/v1beta1"


def control_plane_ref(namespace: str, name: str) -> ObjectRef:
    """Refer to a CAPTControlPlane."""
    return ObjectRef(CONTROL_PLANE_API, CONTROL_PLANE_KIND, namespace, name)


def cluster_ref(namespace: str | None, name: str) -> ObjectRef:
    """Refer to a Cluster of Cluster API."""
    return ObjectRef(CLUSTER_API, "Cluster", namespace, name)


def template_ref(namespace: str | None, name: str) -> ObjectRef:
    """Refer to a WorkspaceTemplate."""
    return ObjectRef(INFRASTRUCTURE_API, "WorkspaceTemplate", namespace, name)


def apply_ref(namespace: str | None, name: str) -> ObjectRef:
    """Refer to a WorkspaceTemplateApply."""
    return ObjectRef(INFRASTRUCTURE_API, "WorkspaceTemplateApply", namespace, name)


def workspace_ref(name: str) -> ObjectRef:
    """Refer to a Workspace, which is cluster-scoped."""
    return ObjectRef(TERRAFORM_API, "Workspace", None, name)


def secret_ref(namespace: str | None, name: str) -> ObjectRef:
    """Refer to a Secret."""
    return ObjectRef("v1", "Secret", namespace, name)


@frozen
class Names:
    """The objects around one control plane by name; existing clusters have these names.

    `is_ambiguous`: spec.workspaceTemplateApplyName gives the main apply the name of another one.

    `main`, `vpc`, `kubeconfig_apply`, `spot_check` and `spot_create` are WorkspaceTemplateApplies;
    the infrastructure owns `vpc`, and we only read it. The others, but the Cluster, are Secrets.
    """

    control_plane: str
    cluster: ObjectRef
    main: ObjectRef
    vpc: ObjectRef
    kubeconfig_apply: ObjectRef
    spot_check: ObjectRef
    spot_create: ObjectRef
    connection: ObjectRef
    outputs: ObjectRef
    ca: ObjectRef
    kubeconfig: ObjectRef
    is_ambiguous: bool


_OTHER_APPLIES = ("vpc", "kubeconfig-apply", "spot-role-check", "spot-role-create")


def names_of(control_plane: ObjectRef, cluster: str, main_apply: str) -> Names:
    """Derive the names; `main_apply` is spec.workspaceTemplateApplyName, "" for the usual name."""
    namespace = control_plane.namespace or ""
    name = control_plane.name
    others = {f"{name}-{suffix}" for suffix in _OTHER_APPLIES} if main_apply else ()
    return Names(
        control_plane=name,
        cluster=cluster_ref(namespace, cluster),
        main=apply_ref(namespace, main_apply or f"{name}-eks-controlplane-apply"),
        vpc=apply_ref(namespace, f"{name}-vpc"),
        kubeconfig_apply=apply_ref(namespace, f"{name}-kubeconfig-apply"),
        spot_check=apply_ref(namespace, f"{name}-spot-role-check"),
        spot_create=apply_ref(namespace, f"{name}-spot-role-create"),
        connection=secret_ref(namespace, f"{name}-eks-connection"),
        outputs=secret_ref(namespace, f"{cluster}-outputs-kubeconfig"),
        ca=secret_ref(namespace, f"{cluster}-ca"),
        kubeconfig=secret_ref(namespace, f"{cluster}-kubeconfig"),
        is_ambiguous=main_apply in others,
    )


def with_vpc(names: Names, vpc: ObjectRef) -> Names:
    """Return the names with the apply of the VPC that was found."""
    if vpc == names.vpc:
        return names
    is_ambiguous = names.is_ambiguous or names.main == vpc
    return evolve(names, vpc=vpc, is_ambiguous=is_ambiguous)
