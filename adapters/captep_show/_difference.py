"""The difference of two worlds, field by field, as people read it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from captep_show._mask import Show

__all__ = ["Change", "Field", "Objects", "changes", "named"]

Objects: TypeAlias = Mapping[str, Any]
"""Each object as JSON, by the name that the page shows: `Secret fleet/tokyo-ca`."""

# Only the server writes them, at every write.
_BOOKKEEPING: Final = ("resourceVersion", "managedFields")
_MISSING: Final = object()


@frozen
class Field:
    """One field that differs: its path, and its value before and after as JSON; None is absent."""

    path: str
    before: Any
    after: Any


@frozen
class Change:
    """One object that differs; `what` is `appears`, `changes` or `is gone`."""

    object: str
    what: str
    fields: tuple[Field, ...]


def named(objects: Iterable[Mapping[str, Any]], show: Show) -> Objects:
    """Return objects by kind, namespace and name, as `show` shows them, without Events."""
    found: dict[str, Any] = {}
    for obj in objects:
        metadata = obj["metadata"]
        place = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
        if obj["kind"] != "Event":
            found[f"{obj['kind']} {place}"] = show(str(obj["kind"]), obj)
    return found


def changes(before: Objects, after: Objects) -> tuple[Change, ...]:
    """List the objects that differ, by name; what the server alone keeps does not count."""
    return tuple(
        found
        for name in sorted({*before, *after})
        if (found := _change(name, before.get(name), after.get(name))) is not None
    )


def _change(name: str, before: Any, after: Any) -> Change | None:  # noqa: ANN401 - JSON
    if before is after:
        return None
    fields = tuple(
        Field(path, None if old is _MISSING else old, None if new is _MISSING else new)
        for path, old, new in _differences(_shown(before), _shown(after), "")
    )
    if not fields:
        return None
    what = "appears" if before is None else "is gone" if after is None else "changes"
    return Change(name, what, fields)


def _shown(obj: Any) -> Any:  # noqa: ANN401 - JSON
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict):
        return obj if obj is not None else _MISSING
    kept = {name: value for name, value in metadata.items() if name not in _BOOKKEEPING}
    return {**obj, "metadata": kept}


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401
    one = _members(before)
    other = _members(after)
    # A part that appears or goes is shown as a whole; only of an object, its fields one by one.
    is_whole = bool(path) and (before is _MISSING or after is _MISSING)
    if is_whole or one is None or other is None or not (one or other):
        if not _same(before, after):
            yield path, before, after
        return
    for name in (*one, *(name for name in other if name not in one)):
        below = f"{path}.{name}" if path else name
        yield from _differences(one.get(name, _MISSING), other.get(name, _MISSING), below)


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON
    return type(one) is type(other) and one == other


def _members(value: Any) -> Mapping[str, Any] | None:  # noqa: ANN401 - JSON
    """Return the parts of a value by name; None when it is shown as a whole."""
    if value is _MISSING:
        return {}
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    # Conditions and owners have a name of their own; other lists are shown as a whole.
    named = {f"[{name}]": item for item in value if (name := _name_of(item)) is not None}
    return named if named and len(named) == len(value) else None


def _name_of(item: object) -> object:
    if not isinstance(item, dict):
        return None
    return next((item[key] for key in ("uid", "type", "name") if key in item), None)
