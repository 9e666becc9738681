"""Predicates: which change of a kept object wakes a reconcile."""

from collections.abc import Collection

from captep_core._actions import JSON
from captep_kubernetes._store import CacheChange, Object

__all__ = ["content_changed", "essence_of"]

_BOOKKEEPING = ("resourceVersion", "generation", "managedFields")


def content_changed(change: CacheChange, conditions: Collection[str] | None = None) -> bool:
    """Whether more changed than bookkeeping: resourceVersion, generation and managedFields.

    Where the cache keeps nothing but uid and resourceVersion, every new version counts.

    Args:
        change: the news.
        conditions: the types of status.conditions that count, None for all.
    """
    if change.before is None or change.after is None:
        return change.before is not change.after
    if change.before.digest and change.before.digest == change.after.digest:
        # Equal contents, or nothing but the identity kept.
        return change.before.packed.is_empty
    if change.before.essence and change.before.essence == change.after.essence:
        return False
    old = change.before.obj
    if not old:
        return True
    return essence_of(old, conditions) != essence_of(change.after.obj, conditions)


def essence_of(obj: Object, conditions: Collection[str] | None) -> Object:
    """Return the part of an object whose change is worth a look."""
    essence = dict(obj)
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        essence["metadata"] = {
            name: value for name, value in metadata.items() if name not in _BOOKKEEPING
        }
    status = obj.get("status")
    if conditions is not None and isinstance(status, dict):
        essence["status"] = _counting(status, conditions)
    return essence


def _counting(status: Object, conditions: Collection[str]) -> Object:
    """Leave out conditions of other types, at any depth: `deprecated.v1beta1` has some too."""
    counting: Object = {}
    for name, value in status.items():
        if isinstance(value, dict):
            counting[name] = _counting(value, conditions)
        elif name == "conditions" and isinstance(value, list):
            counting[name] = [each for each in value if _type_of(each) in conditions]
        else:
            counting[name] = value
    return counting


def _type_of(condition: JSON) -> str:
    kind = condition.get("type") if isinstance(condition, dict) else None
    return kind if isinstance(kind, str) else ""
