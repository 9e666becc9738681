"""The kinds that this adapter needs for itself, and the name of an object that the server sent."""

import sys
from collections.abc import Mapping
from typing import Final

from captep_core._actions import JSON, ObjectRef
from captep_core._resources import Resource

__all__ = ["EVENTS", "LEASES", "reference"]

EVENTS: Final = Resource("v1", "Event", "events")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")


def reference(resource: Resource, obj: Mapping[str, JSON]) -> ObjectRef | None:
    """Return the name of an object that the server sent; None when it has none."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return None
    name = metadata.get("name")
    namespace = metadata.get("namespace")
    if not isinstance(name, str):
        return None
    # A fleet's objects share few namespaces, and each name is kept for as long as the object.
    scope = sys.intern(namespace) if isinstance(namespace, str) else None
    return ObjectRef(resource.api_version, resource.kind, scope, name)
