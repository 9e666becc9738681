"""Which part of an object matters: what is kept of it, and whether a change of it is worth a look. Generic and pure."""

from collections.abc import Callable

from captep_core._resources import Fields
from captep_kubernetes._informer import without_managed_fields
from captep_kubernetes._store import CacheChange, Object

__all__ = ["content_changed", "keeping"]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BOOKKEEPING = ("resourceVersion", "generation", "managedFields")


def keeping(fields: Fields) -> Callable[[Object], Object]:
    """Return a projection: metadata without managedFields and kubectl's copy of the manifest, and of the rest only `fields`.

    What is malformed stays as it is, lest it is taken for something sound.
    """
    wanted: Fields = {"apiVersion": None, "kind": None, "metadata": None, **fields}
    return lambda obj: _without_last_applied(_part(without_managed_fields(obj), wanted))


def content_changed(change: CacheChange) -> bool:
    """Whether more changed than the bookkeeping of the server: resourceVersion, generation and managedFields say nothing by themselves.

    Of an object of which nothing but its identity is kept, every new version is relevant.
    """
    if change.before is None or change.after is None:
        return change.before is not change.after
    old = change.before.obj
    return not old or _essence(old) != _essence(change.after.obj)


def _part(obj: Object, fields: Fields) -> Object:
    kept: Object = {}
    for name, inner in fields.items():
        if name in obj:
            value = obj[name]
            kept[name] = (
                _part(value, inner) if inner is not None and isinstance(value, dict) else value
            )
    return kept


def _without_last_applied(obj: Object) -> Object:
    metadata = obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if (
        not isinstance(metadata, dict)
        or not isinstance(annotations, dict)
        or _LAST_APPLIED not in annotations
    ):
        return obj
    return {
        **obj,
        "metadata": {
            **metadata,
            "annotations": {
                name: text for name, text in annotations.items() if name != _LAST_APPLIED
            },
        },
    }


def _essence(obj: Object) -> Object:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return obj
    return {
        **obj,
        "metadata": {name: value for name, value in metadata.items() if name not in _BOOKKEEPING},
    }
