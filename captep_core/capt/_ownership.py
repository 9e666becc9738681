"""Whose is what: by uid, never by name.

Rules of this module:

1. An object is ours when its controller is this incarnation of the control plane. Somebody else's is left alone, deletion included.
2. One without a controller is adopted; from then on it is ours.
3. The Cluster is the one that owns the control plane, or the one of its name whose controlPlaneRef points back.
"""

from attrs import frozen

from captep_core._actions import JSON
from captep_core._observation import ABSENT, Observed
from captep_core.capt._model import CAPTControlPlane, Cluster, ObjectMeta, OwnerReference
from captep_core.capt._names import CLUSTER_API, CONTROL_PLANE_API, CONTROL_PLANE_KIND
from captep_core.capt._observe import ControlPlane, cluster_reference

__all__ = [
    "ForeignController",
    "adopted",
    "controller_of",
    "foreign_controller",
    "is_foreign",
    "is_ours",
    "owner_of",
    "owner_references",
]


@frozen
class ForeignController:
    """The control plane already has another controller than a Cluster."""

    controller: OwnerReference


def controller_of(meta: ObjectMeta) -> OwnerReference | None:
    """Find the one owner that controls the object."""
    for ref in meta.owner_references:
        if ref.controller:
            return ref
    return None


def is_ours(meta: ObjectMeta, uid: str) -> bool:
    """Whether the control plane with this uid controls the object."""
    controller = controller_of(meta)
    return controller is not None and controller.uid == uid


def foreign_controller(meta: ObjectMeta, uid: str) -> OwnerReference | None:
    """Find whoever else controls the object, an earlier control plane of the same name included."""
    for ref in meta.owner_references:
        if ref.controller:
            return None if ref.uid == uid else ref
    return None


def is_foreign(meta: ObjectMeta, uid: str) -> bool:
    """Whether somebody else controls the object."""
    return foreign_controller(meta, uid) is not None


def owner_of(
    observed: ControlPlane, control_plane: CAPTControlPlane
) -> Observed[Cluster] | ForeignController:
    """Resolve the Cluster that the control plane belongs to."""
    cluster, reference = observed.cluster, cluster_reference(control_plane)
    if reference is None and (controller := controller_of(control_plane.metadata)):
        return ForeignController(controller)
    if not isinstance(cluster, Cluster):
        return cluster
    if reference and reference.uid == cluster.metadata.uid:
        return cluster
    return cluster if _points_back(cluster, control_plane) else ABSENT


def _points_back(cluster: Cluster, control_plane: CAPTControlPlane) -> bool:
    ref = cluster.spec.control_plane_ref
    if ref is None:
        return False
    group = ref.api_group or ref.api_version.partition("/")[0]
    namespace = ref.namespace or control_plane.metadata.namespace
    return (ref.kind, group, namespace, ref.name) == (
        CONTROL_PLANE_KIND,
        CONTROL_PLANE_API.partition("/")[0],
        control_plane.metadata.namespace,
        control_plane.metadata.name,
    )


def owner_references(control_plane: CAPTControlPlane, cluster: Cluster) -> list[JSON] | None:
    """Return the control plane's ownerReferences as they should be, None when they are: one to this incarnation of the Cluster."""
    reference, references = (
        cluster_reference(control_plane),
        control_plane.metadata.owner_references,
    )
    if reference is None:
        wanted = _entry(CLUSTER_API, "Cluster", cluster.metadata)
        return [*(dict(ref.wire) for ref in references), wanted]
    if reference.uid == cluster.metadata.uid:
        return None
    others = [ref for ref in references if ref.uid != cluster.metadata.uid]
    return [
        {**ref.wire, "uid": cluster.metadata.uid} if ref is reference else dict(ref.wire)
        for ref in others
    ]


def adopted(meta: ObjectMeta | None, control_plane: CAPTControlPlane) -> list[JSON] | None:
    """Return a dependent's ownerReferences with ours as its controller, None when it is ours already; `meta` None: it is to be created."""
    uid = control_plane.metadata.uid
    if meta and is_ours(meta, uid):
        return None
    others = [dict(ref.wire) for ref in meta.owner_references if ref.uid != uid] if meta else []
    return [*others, _entry(CONTROL_PLANE_API, CONTROL_PLANE_KIND, control_plane.metadata)]


def _entry(api_version: str, kind: str, meta: ObjectMeta) -> JSON:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
