"""Kinds and their place in the API: what discovery would tell, without asking."""

import sys
from collections.abc import Mapping
from urllib.parse import quote

from attrs import frozen

from captep_core import JSON, ObjectRef

__all__ = ["RESOURCES", "Resource", "reference", "resource_of"]


@frozen
class Resource:
    """One kind: `api_version` as `v1` or `group/version`, `plural` as in the URL."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def __str__(self) -> str:
        group, _, _ = self.api_version.rpartition("/")
        return f"{self.plural}.{group}" if group else self.plural

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the URL path of one object, or of all of them (in a namespace) when `name` is None.

        Raises:
            ValueError: a namespace for a cluster-scoped kind, or a namespaced object without one.
        """
        if (namespace and not self.namespaced) or (name and self.namespaced and not namespace):
            raise ValueError(
                f"{self.kind} {name or ''} is {'' if self.namespaced else 'not '}namespaced, the namespace is {namespace}"
            )
        root = (
            f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        )
        parts = [
            *(("namespaces", namespace) if namespace else ()),
            self.plural,
            *((name,) if name else ()),
            *((subresource,) if subresource else ()),
        ]
        return "/".join([root, *(quote(part, safe=":") for part in parts)])


_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
_KNOWN = (
    Resource("controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane", "captcontrolplanes"),
    Resource("cluster.x-k8s.io/v1beta1", "Cluster", "clusters"),
    Resource(_INFRASTRUCTURE, "WorkspaceTemplate", "workspacetemplates"),
    Resource(_INFRASTRUCTURE, "WorkspaceTemplateApply", "workspacetemplateapplies"),
    Resource("tf.upbound.io/v1beta1", "Workspace", "workspaces", namespaced=False),
    Resource("v1", "Secret", "secrets"),
    Resource("v1", "Event", "events"),
    Resource("coordination.k8s.io/v1", "Lease", "leases"),
)
RESOURCES: Mapping[tuple[str, str], Resource] = {
    (known.api_version, known.kind): known for known in _KNOWN
}
"""The kinds that captep touches, by (apiVersion, kind)."""


def resource_of(
    ref: ObjectRef, resources: Mapping[tuple[str, str], Resource] = RESOURCES
) -> Resource:
    """Return the kind of `ref`.

    Raises:
        KeyError: it is none of `resources`.
    """
    return resources[ref.api_version, ref.kind]


def reference(resource: Resource, obj: Mapping[str, JSON]) -> ObjectRef | None:
    """Return the name of an object that the server sent; None when it has none, which no server sends."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(name := metadata.get("name"), str):
        return None
    namespace = metadata.get("namespace")
    return ObjectRef(
        resource.api_version,
        resource.kind,
        sys.intern(namespace) if isinstance(namespace, str) else None,
        name,
    )
