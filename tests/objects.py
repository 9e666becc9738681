"""Manifests for tests that care about one part of an object."""

from captep_core import JSON, ObjectRef

__all__ = ["manifest"]


def manifest(ref: ObjectRef, **fields: JSON) -> dict[str, JSON]:
    """Return the object `ref` with some fields."""
    metadata: dict[str, JSON] = {"name": ref.name}
    if ref.namespace is not None:
        metadata["namespace"] = ref.namespace
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, **fields}
