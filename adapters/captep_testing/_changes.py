"""What differs between two objects or two worlds, as paths; and the least number of writes that makes one world of another (P3)."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from captep_memory import Key, Object, World, identical

__all__ = ["Path", "changed_keys", "changed_paths", "lower_bound", "shown"]

Path: TypeAlias = tuple[str, ...]
"""A field: the names on the way to it. An item of a list is named by itself, or by its `uid`, `type` or `name`."""

_MISSING: Any = object()
_SYSTEM = frozenset(
    {
        *("resourceVersion", "generation", "uid", "creationTimestamp", "managedFields"),
        *("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"),
    }
)


def changed_paths(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Path]:
    """List the fields that differ, those left out that only the server writes."""
    paths = _differences(before or {}, after or {}, ())
    return [
        path
        for path in paths
        if not (path[:1] == ("metadata",) and path[1:2] and path[1] in _SYSTEM)
    ]


def _differences(before: Any, after: Any, path: Path) -> Iterator[Path]:  # noqa: ANN401 - JSON, taken apart
    if identical(before, after):
        return
    one, other = _members(before), _members(after)
    if one is None or other is None or not (one or other):
        yield path
        return
    found = False
    for name in sorted({*one, *other}):
        for each in _differences(one.get(name, _MISSING), other.get(name, _MISSING), (*path, name)):
            found = True
            yield each
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
    """List the objects that one world has otherwise than the other, sorted."""
    keys: set[Key] = set()
    for place in {*before.shelves, *after.shelves}:
        one, other = before.shelves.get(place, {}), after.shelves.get(place, {})
        if one is not other:
            keys |= {
                Key(*place, name)
                for name in {*one, *other}
                if one.get(name) is not other.get(name) and one.get(name) != other.get(name)
            }
    return sorted(keys, key=lambda key: (key.kind, key.namespace or "", key.name))


def shown(before: World, after: World) -> list[str]:
    """Say which fields of which objects differ; values are not told, they may be a Secret's."""
    return [_shown(key, before.get(key), after.get(key)) for key in changed_keys(before, after)]


def _shown(key: Key, before: Object | None, after: Object | None) -> str:
    named = f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
    if before is None or after is None:
        return f"{named} {'appears' if before is None else 'is gone'}"
    if before["metadata"]["uid"] != after["metadata"]["uid"]:
        return f"{named} is another one of that name"
    marked = (
        "deletionTimestamp" in after["metadata"] and "deletionTimestamp" not in before["metadata"]
    )
    fields = sorted({".".join(_cut(path, before, after)) for path in changed_paths(before, after)})
    fields += ["metadata.deletionTimestamp"] * marked
    return f"{named}: {', '.join(fields) or 'metadata.resourceVersion'}"


def _cut(path: Path, before: Any, after: Any) -> Path:  # noqa: ANN401 - JSON, taken apart
    """A path as far as both objects have it, and one name more."""
    for place, name in enumerate(path):
        one, other = _members(before) or {}, _members(after) or {}
        if name not in one or name not in other:
            return path[: place + 1]
        before, after = one[name], other[name]
    return path


def lower_bound(before: World, after: World) -> int:
    """Return the least number of writes that make `after` of `before`: one for each object and subresource that differs."""
    return sum(_writes(before.get(key), after.get(key)) for key in changed_keys(before, after))


def _writes(before: Object | None, after: Object | None) -> int:
    if before is None:
        return 1 + ("status" in (after or {}))
    if after is None:
        return ("deletionTimestamp" not in before["metadata"]) + bool(
            before["metadata"].get("finalizers")
        )
    if before["metadata"]["uid"] != after["metadata"]["uid"]:
        return _writes(before, None) + _writes(None, after)
    parts = {path[0] == "status" for path in changed_paths(before, after)}
    marked = (
        "deletionTimestamp" in after["metadata"] and "deletionTimestamp" not in before["metadata"]
    )
    return len(parts) + marked
