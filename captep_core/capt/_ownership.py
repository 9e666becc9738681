"""The Cluster that a control plane belongs to.

Rules of this module:

1. A Cluster belongs to the control plane that its controlPlaneRef names, and to no other, whatever
   owner references say: two control planes that write one Cluster would undo each other's writes.
2. The Cluster is looked up by the owner reference, else as the one whose controlPlaneRef names the
   control plane (of several the one that Cluster API's label names), else by the control plane's
   name.
3. A control plane that another kind of object controls has no Cluster.
"""

from attrs import evolve, frozen

from captep_core._objects import Owner, OwnerReference, controller_of
from captep_core._observation import ABSENT, Observed
from captep_core.capt._model import CAPTControlPlane, Cluster
from captep_core.capt._names import (
    CLUSTER_GROUP,
    CONTROL_PLANE_API,
    CONTROL_PLANE_KINDS,
)

__all__ = [
    "ClusterOfAnother",
    "ForeignController",
    "cluster_reference",
    "is_assigned",
    "names_another",
    "names_control_plane",
    "owner_of",
    "with_cluster_as_owner",
]


@frozen
class ClusterOfAnother:
    """The control plane refers to a Cluster that belongs to another control plane."""

    cluster: Cluster

    @property
    def belongs_to(self) -> str:
        """The name of the control plane that has it."""
        reference = self.cluster.spec.control_plane_ref
        return self.cluster.metadata.name if reference is None else reference.name


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
) -> Observed[Cluster] | ForeignController | ClusterOfAnother:
    """Judge whether `cluster`, which was looked up, is the Cluster that the control plane belongs
    to.
    """
    reference = cluster_reference(control_plane)
    controller = controller_of(control_plane.metadata)
    if reference is None and controller is not None:
        return ForeignController(controller)
    if not isinstance(cluster, Cluster) or names_control_plane(cluster, control_plane):
        return cluster
    # Only an owner reference claims a Cluster; a label or a name alone is a guess.
    return ABSENT if reference is None else ClusterOfAnother(cluster)


def names_control_plane(cluster: Cluster, control_plane: CAPTControlPlane) -> bool:
    """Whether the Cluster belongs to the control plane: its controlPlaneRef says so.

    The uid is not compared, because a restored backup has an old one. A Cluster without a
    controlPlaneRef belongs to the control plane of its own name.
    """
    meta = control_plane.metadata
    reference = cluster.spec.control_plane_ref
    if reference is None or not is_assigned(cluster):
        return cluster.metadata.name == meta.name
    return (
        reference.kind in CONTROL_PLANE_KINDS
        and reference.group == CONTROL_PLANE_API.partition("/")[0]
        and (reference.namespace or cluster.metadata.namespace) == meta.namespace
        and reference.name == meta.name
    )


def names_another(cluster: object, name: str) -> bool:
    """Whether the JSON of a Cluster names a control plane of another name than `name`.

    False where the Cluster or its controlPlaneRef is absent, empty or malformed.
    """
    spec = cluster.get("spec") if isinstance(cluster, dict) else None
    reference = spec.get("controlPlaneRef") if isinstance(spec, dict) else None
    named = reference.get("name") if isinstance(reference, dict) else None
    return isinstance(named, str) and named not in ("", name)


def is_assigned(cluster: Cluster) -> bool:
    """Whether the Cluster names any control plane."""
    reference = cluster.spec.control_plane_ref
    return reference is not None and bool(reference.name)


def with_cluster_as_owner(
    control_plane: CAPTControlPlane, cluster: Cluster
) -> tuple[OwnerReference, ...]:
    """Return the owner references with exactly one to this incarnation of the Cluster, the others
    as they are.

    A reference with the right uid stays in whatever version: core would write it back.
    """
    references = control_plane.metadata.owner_references
    reference = cluster_reference(control_plane)
    if reference is None:
        return (*references, Owner(cluster.api_version, "Cluster", cluster.metadata).reference())
    uid = cluster.metadata.uid
    if reference.uid == uid:
        return references
    # A restored Cluster has another uid: the entry is corrected where it stands.
    corrected = evolve(reference, uid=uid, api_version=cluster.api_version)
    return tuple(corrected if each is reference else each for each in references if each.uid != uid)
