"""What a watch shows of the objects of a kind, and so what a decision sees of them.

A projection only leaves out. A malformed value stays malformed: cut to its sound parts it would
look sound.
"""

from collections.abc import Callable
from typing import Final, assert_never

from captep_core._actions import JSON, ObjectRef
from captep_core._observation import Unreadable
from captep_core._resources import Fields, Representation, Watched

__all__ = ["hidden", "keeping", "shown_of", "without_managed_fields"]

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def shown_of(watched: Watched) -> Callable[[dict[str, JSON]], dict[str, JSON]]:
    """Return the projection from an object to what decisions see of it.

    An object on demand is shown whole: it is fetched when a decision reads it.
    """
    match watched.representation:
        case Representation.ON_DEMAND:
            return without_managed_fields
        case Representation.METADATA:
            return keeping({})
        case Representation.WHOLE:
            return without_managed_fields if watched.fields is None else keeping(watched.fields)
        case _ as unreachable:
            assert_never(unreachable)


def hidden(ref: ObjectRef, watched: Watched) -> Unreadable:
    """Return the observation of an object that exists, and that the selectors do not choose."""
    chosen = " and ".join(f"{name} {text}" for name, text in watched.selectors)
    return Unreadable("Hidden", f"{ref} exists, and the watch with {chosen} does not show it")


def keeping(fields: Fields) -> Callable[[dict[str, JSON]], dict[str, JSON]]:
    """Return a projection to apiVersion, kind, metadata and `fields`.

    metadata loses managedFields and kubectl's copy of the manifest.
    """
    wanted: Fields = {"apiVersion": None, "kind": None, "metadata": None, **fields}
    return lambda obj: _without_last_applied(_part(without_managed_fields(obj), wanted))


def without_managed_fields(obj: dict[str, JSON]) -> dict[str, JSON]:
    """Drop `metadata.managedFields`, often half of an object, which no decision reads."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {
        **obj,
        "metadata": {key: value for key, value in metadata.items() if key != "managedFields"},
    }


def _part(obj: dict[str, JSON], fields: Fields) -> dict[str, JSON]:
    kept: dict[str, JSON] = {}
    for name, inner in fields.items():
        if name in obj:
            value = obj[name]
            kept[name] = (
                _part(value, inner) if inner is not None and isinstance(value, dict) else value
            )
    return kept


def _without_last_applied(obj: dict[str, JSON]) -> dict[str, JSON]:
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
