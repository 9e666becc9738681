"""Differences of two objects or two worlds, as paths, and the minimum number of writes between two
worlds (P3).
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from captep_memory import Key, Object, World, identical

__all__ = ["Path", "changed_keys", "changed_paths", "lower_bound", "shown"]

Path: TypeAlias = tuple[str, ...]
"""The names on the way to a field.

A list item goes by its own text, or by its `uid`, `type` or `name`.
"""

_MISSING: Any = object()
# Only the server writes these fields, so no change of them is the loop's.
_SYSTEM = frozenset(
    {
        *("resourceVersion", "generation", "uid", "creationTimestamp", "managedFields"),
        *("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"),
    }
)


def changed_paths(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Path]:
    """List the fields that differ, without those that only the server writes."""
    paths = _differences(before or {}, after or {}, ())
    return [path for path in paths if not _is_system(path)]


def _is_system(path: Path) -> bool:
    return len(path) > 1 and path[0] == "metadata" and path[1] in _SYSTEM


def _differences(before: Any, after: Any, path: Path) -> Iterator[Path]:  # noqa: ANN401 - JSON, taken apart
    if identical(before, after):
        return
    one = _members(before)
    other = _members(after)
    if one is None or other is None or not (one or other):
        yield path
        return
    found = False
    for name in sorted({*one, *other}):
        for each in _differences(one.get(name, _MISSING), other.get(name, _MISSING), (*path, name)):
            found = True
            yield each
    # Members are equal and the whole is not: a list in another order, or `{}` against nothing.
    if not found:
        yield path


def _members(value: Any) -> Mapping[str, Any] | None:  # noqa: ANN401 - JSON, taken apart
    if value is _MISSING:
        return {}
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    named = {str(name): item for item in value if (name := _name_of(item)) is not None}
    return named if len(named) == len(value) else None


def _name_of(item: object) -> object:
    if isinstance(item, dict):
        return next((item[name] for name in ("uid", "type", "name") if name in item), None)
    return item if isinstance(item, str) else None


def changed_keys(before: World, after: World) -> list[Key]:
    """List the objects that differ between two worlds, sorted."""
    keys: set[Key] = set()
    for place in {*before.shelves, *after.shelves}:
        one = before.shelves.get(place, {})
        other = after.shelves.get(place, {})
        if one is not other:
            keys |= {Key(*place, name) for name in {*one, *other} if _differ(one, other, name)}
    return sorted(keys, key=lambda key: (key.kind, key.namespace or "", key.name))


def _differ(one: Mapping[str, Object], other: Mapping[str, Object], name: str) -> bool:
    before = one.get(name)
    after = other.get(name)
    return before is not after and before != after


def shown(before: World, after: World) -> list[str]:
    """Name the fields that differ, object by object; without values, which may be a Secret's."""
    return [_shown(key, before.get(key), after.get(key)) for key in changed_keys(before, after)]


def _shown(key: Key, before: Object | None, after: Object | None) -> str:
    named = f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
    if before is None or after is None:
        return f"{named} {'appears' if before is None else 'is gone'}"
    if before["metadata"]["uid"] != after["metadata"]["uid"]:
        return f"{named} is replaced by another object of that name"
    fields = sorted({".".join(_cut(path, before, after)) for path in changed_paths(before, after)})
    if _is_marked(before, after):
        fields.append("metadata.deletionTimestamp")
    return f"{named}: {', '.join(fields) or 'metadata.resourceVersion'}"


def _is_marked(before: Object, after: Object) -> bool:
    """Whether the deletion of an object began between two versions of it."""
    return (
        "deletionTimestamp" in after["metadata"] and "deletionTimestamp" not in before["metadata"]
    )


def _cut(path: Path, before: Any, after: Any) -> Path:  # noqa: ANN401 - JSON, taken apart
    """Return a path as far as both objects have it, and one name more."""
    for place, name in enumerate(path):
        one = _members(before) or {}
        other = _members(after) or {}
        if name not in one or name not in other:
            return path[: place + 1]
        before, after = one[name], other[name]
    return path


def lower_bound(before: World, after: World) -> int:
    """Return the minimum number of writes from one world to another.

    One an object and subresource that differs.
    """
    return sum(_writes(before.get(key), after.get(key)) for key in changed_keys(before, after))


def _writes(before: Object | None, after: Object | None) -> int:
    if before is None:
        return 1 + ("status" in (after or {}))
    if after is None:
        unmarked = "deletionTimestamp" not in before["metadata"]
        return unmarked + bool(before["metadata"].get("finalizers"))
    if before["metadata"]["uid"] != after["metadata"]["uid"]:
        return _writes(before, None) + _writes(None, after)
    parts = {path[0] == "status" for path in changed_paths(before, after)}
    return len(parts) + _is_marked(before, after)
