"""The Cluster that a control plane belongs to.

Rules of this module:

1. The Cluster is the one that the owner reference names by uid, or the one of the observed name
   whose controlPlaneRef names the control plane. A restored backup has such a Cluster under a new
   uid.
2. A control plane that another kind of object controls has no Cluster.
"""

from attrs import evolve, frozen

from captep_core._objects import Owner, OwnerReference, controller_of
from captep_core._observation import ABSENT, Observed
from captep_core.capt._model import CAPTControlPlane, Cluster
from captep_core.capt._names import (
    CLUSTER_API,
    CLUSTER_GROUP,
    CONTROL_PLANE_API,
    CONTROL_PLANE_KIND,
)

__all__ = [
    "ForeignController",
    "cluster_reference",
    "owner_of",
    "with_cluster_as_owner",
]


@frozen
class ForeignController:
    """Another kind of object than a Cluster controls the control plane."""

    controller: OwnerReference


def cluster_reference(control_plane: CAPTControlPlane) -> OwnerReference | None:
    """Find the owner reference to a Cluster of Cluster API, of whatever version; a controlling one
    goes first.
    """
    found = None
    for reference in control_plane.metadata.owner_references:
        group = reference.api_version.partition("/")[0]
        if reference.kind != "Cluster" or group != CLUSTER_GROUP:
            continue
        if found is None or (reference.controller and not found.controller):
            found = reference
    return found


def owner_of(
    cluster: Observed[Cluster], control_plane: CAPTControlPlane
) -> Observed[Cluster] | ForeignController:
    """Judge whether `cluster`, which was looked up by name, is the Cluster that the control plane
    belongs to.
    """
    reference = cluster_reference(control_plane)
    controller = controller_of(control_plane.metadata)
    if reference is None and controller is not None:
        return ForeignController(controller)
    if not isinstance(cluster, Cluster):
        return cluster
    if reference is not None and reference.uid == cluster.metadata.uid:
        return cluster
    return cluster if _points_back(cluster, control_plane) else ABSENT


def _points_back(cluster: Cluster, control_plane: CAPTControlPlane) -> bool:
    reference = cluster.spec.control_plane_ref
    if reference is None:
        return False
    group = reference.api_group or reference.api_version.partition("/")[0]
    namespace = reference.namespace or control_plane.metadata.namespace
    return (
        reference.kind == CONTROL_PLANE_KIND
        and group == CONTROL_PLANE_API.partition("/")[0]
        and namespace == control_plane.metadata.namespace
        and reference.name == control_plane.metadata.name
    )


def with_cluster_as_owner(
    control_plane: CAPTControlPlane, cluster: Cluster
) -> tuple[OwnerReference, ...]:
    """Return the owner references with exactly one to this incarnation of the Cluster, the others
    as they are.
    """
    references = control_plane.metadata.owner_references
    reference = cluster_reference(control_plane)
    if reference is None:
        return (*references, Owner(CLUSTER_API, "Cluster", cluster.metadata).reference())
    uid = cluster.metadata.uid
    if reference.uid == uid:
        return references
    # A restored Cluster has another uid: the entry is corrected where it stands.
    corrected = evolve(reference, uid=uid)
    return tuple(corrected if each is reference else each for each in references if each.uid != uid)
