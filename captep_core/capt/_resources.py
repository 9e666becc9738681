"""The kinds that the reconcile of a CAPTControlPlane uses, and the fields of each that it reads.

Lists of fields end at a list: a list goes back to the server whole, so it is kept whole.

Every Secret is watched, by its metadata. A selector by type or label would hide a Secret with the
right name and a wrong type or no label, and a create of that name would be refused for ever.
"""

from collections.abc import Mapping
from typing import Final

from captep_core._actions import ObjectRef
from captep_core._resources import Fields, Representation, Resource, Watched
from captep_core.capt._names import (
    CLUSTER_API,
    CONTROL_PLANE_API,
    CONTROL_PLANE_KIND,
    INFRASTRUCTURE_API,
    NEWER_CLUSTER_API,
    TERRAFORM_API,
)

__all__ = ["CONTROL_PLANES", "RESOURCES", "WATCHED", "is_control_plane"]

CONTROL_PLANES: Final = Resource(CONTROL_PLANE_API, CONTROL_PLANE_KIND, "captcontrolplanes")
"""The kind that is reconciled."""
_CLUSTERS: Final = Resource(CLUSTER_API, "Cluster", "clusters")
_TEMPLATES: Final = Resource(INFRASTRUCTURE_API, "WorkspaceTemplate", "workspacetemplates")
_APPLIES: Final = Resource(INFRASTRUCTURE_API, "WorkspaceTemplateApply", "workspacetemplateapplies")
_WORKSPACES: Final = Resource(TERRAFORM_API, "Workspace", "workspaces", namespaced=False)
_SECRETS: Final = Resource("v1", "Secret", "secrets")

_CLUSTER_FIELDS: Final[Fields] = {
    "spec": {
        "paused": None,
        "infrastructureRef": None,
        "controlPlaneRef": None,
        "controlPlaneEndpoint": None,
    },
    "status": {
        "controlPlaneReady": None,
        "failureReason": None,
        "failureMessage": None,
        "conditions": None,
        "initialization": {"controlPlaneInitialized": None},
        "deprecated": {
            "v1beta1": {"failureReason": None, "failureMessage": None, "conditions": None}
        },
        # Only its presence counts, and conditions below it change often.
        "v1beta2": {},
    },
}

# Upstream's template reads one Secret of the VPC.
_TEMPLATE_FIELDS: Final[Fields] = {
    "spec": {"template": {"spec": {"forProvider": {"varFiles": None}}}}
}

WATCHED: Final[tuple[Watched, ...]] = (
    Watched(CONTROL_PLANES, fields={"spec": None, "status": None}),
    # Core and the infrastructure provider write other conditions, in a fight several a second.
    Watched(
        _CLUSTERS,
        fields=_CLUSTER_FIELDS,
        versions=(NEWER_CLUSTER_API, CLUSTER_API),
        conditions=("ControlPlaneInitialized",),
    ),
    Watched(_TEMPLATES, fields=_TEMPLATE_FIELDS),
    Watched(_APPLIES, fields={"spec": None, "status": None}),
    Watched(_WORKSPACES, fields={"spec": {"writeConnectionSecretToRef": None}, "status": None}),
    Watched(_SECRETS, Representation.ON_DEMAND),
)
"""What a decision reads."""

RESOURCES: Final[Mapping[tuple[str, str], Resource]] = {
    (watched.resource.api_version, watched.resource.kind): watched.resource for watched in WATCHED
}
"""The same kinds by (apiVersion, kind)."""


def is_control_plane(ref: ObjectRef) -> bool:
    """Whether an object is one that is reconciled."""
    return (ref.api_version, ref.kind) == (CONTROL_PLANES.api_version, CONTROL_PLANES.kind)
