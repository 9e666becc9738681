"""JSON values as immutable data: comparison as etcd sees it, and two patch formats.

Every function returns its first argument itself when nothing changes, so that `is` shows whether a
write has an effect.
"""

import json
import operator
import re
from collections.abc import Mapping
from functools import reduce
from itertools import zip_longest
from typing import Any, TypeAlias

from attrs import field, frozen

__all__ = [
    "JSON",
    "MISSING",
    "Object",
    "PatchError",
    "Same",
    "Value",
    "apply_json_patch",
    "apply_merge_patch",
    "as_stored",
    "deep_equal",
    "identical",
    "stored_object",
    "text",
    "without",
]

JSON: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"
Object: TypeAlias = dict[str, Any]
# A JSON value that a function takes apart with isinstance; the type checker cannot follow.
Value: TypeAlias = Any

MISSING: Any = object()
# The types of the values that come back from the store as they were.
_UNCHANGED = frozenset({str, bool, int, type(None)})


class PatchError(ValueError):
    """A JSON patch that does not apply."""


@frozen(eq=False)
class Same:
    """A value that equals itself alone: stored objects never change, so that is enough."""

    value: Value = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def text(value: object) -> str:
    """Return `value` if it is a string, else the empty string: an absent field to Go."""
    return value if isinstance(value, str) else ""


def identical(left: Value, right: Value) -> bool:
    """Return whether two JSON values have the same encoding: unlike `==`, `True` is not `1`."""
    # Most values that a write compares differ, and `==` finds that without running Python.
    return left is right or (bool(left == right) and _has_same_flags(left, right))


def _has_same_flags(left: Value, right: Value) -> bool:
    """Return whether two equal values have their booleans in the same places."""
    if isinstance(left, dict):
        for key, value in left.items():
            other = right[key]
            # Most values need no call: a string equals no value of another type.
            if value is other or type(value) is str:
                continue
            if not _has_same_flags(value, other):
                return False
        return True
    if isinstance(left, list):
        return left is right or all(map(_has_same_flags, left, right))
    return isinstance(left, bool) is isinstance(right, bool)


def deep_equal(left: Value, right: Value) -> bool:
    """Return whether two JSON values are equal in Go, where `2` and `2.0` have two types."""
    return identical(left, right) and _alike(left, right)


def _alike(left: Value, right: Value) -> bool:
    if left is right:
        return True
    if isinstance(left, dict):
        return all(_alike(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return all(map(_alike, left, right))
    return isinstance(left, float) is isinstance(right, float)


def as_stored(value: Value, known: Value = None) -> Value:
    """Return a JSON value as it comes back from the store: Go writes `2.0` as `2`.

    Parts that are the same object as in `known` come from the store already.
    """
    if value is known:
        return value
    if isinstance(value, dict):
        if _UNCHANGED.issuperset(map(type, value.values())):
            return value
        before = known if isinstance(known, dict) else {}
        changed = {}
        for key, item in value.items():
            # Most values need no call.
            if type(item) in _UNCHANGED or item == {}:
                continue
            new = as_stored(item, before.get(key))
            if new is not item:
                changed[key] = new
        return {**value, **changed} if changed else value
    if isinstance(value, list):
        if _UNCHANGED.issuperset(map(type, value)):
            return value
        olds = known if isinstance(known, list) else ()
        items = [as_stored(item, old) for item, old in zip_longest(value, olds[: len(value)])]
        return value if all(map(operator.is_, items, value)) else items
    return (
        int(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 63
        else value
    )


def _has_floats(value: Value) -> bool:
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if kind is float or ((kind is dict or kind is list) and item and _has_floats(item)):
            return True
    return False


def stored_object(obj: Object, known: Object | None = None) -> Object:
    """Return an object as it comes back from the store; metadata has no floats."""
    content = {name: value for name, value in obj.items() if name != "metadata"}
    if known is None and not _has_floats(content):
        return obj
    changed = as_stored(content, known)
    return obj if changed is content else {**obj, **changed}


def without(value: Mapping[str, Any], *keys: str) -> Object:
    """Return a copy of an object that lacks `keys`."""
    return {key: item for key, item in value.items() if key not in keys}


def apply_merge_patch(target: Value, patch: Value) -> Value:
    """Apply a JSON merge patch (RFC 7386) as the API server's library does.

    That library also drops nulls in the objects of a list, unless the list replaces an object.
    """
    if not isinstance(patch, dict):
        if isinstance(patch, list) and not isinstance(target, dict):
            patch = _without_nulls(patch)
        return target if deep_equal(target, patch) else patch
    base = target if isinstance(target, dict) else {}
    merged: Object | None = None if base is target else {}
    for key, change in patch.items():
        old = base.get(key, MISSING)
        new = MISSING if change is None else apply_merge_patch(old, change)
        if new is old:
            continue
        merged = dict(base) if merged is None else merged
        if new is MISSING:
            del merged[key]
        else:
            merged[key] = new
    return base if merged is None else merged


def _without_nulls(value: Value) -> Value:
    """Return a value whose objects have no null; a list keeps its own."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


# The position after the last item (RFC 6901).
_END = "-"
_INDEX = re.compile(r"[+-]?[0-9]+")


def apply_json_patch(target: Value, operations: list[Any]) -> Value:
    """Apply a JSON patch (RFC 6902) as the API server's library does.

    That library reads an absent member and an absent value as null, and counts a negative index
    from the end.

    Raises:
        PatchError: an operation is malformed, does not apply, or its `test` fails.
    """
    return reduce(_operate, operations, target)


def _operate(target: Value, operation: Value) -> Value:
    members = operation if isinstance(operation, dict) else {}
    path, value = _pointer(members, "path"), members.get("value")
    match members.get("op"):
        case "add":
            return _change(target, path, value, insert=True)
        case "remove":
            return _change(target, path, MISSING, insert=False)
        case "replace":
            return _change(target, path, value, insert=False)
        case "copy":
            return _change(target, path, _find(target, _pointer(members, "from")), insert=True)
        case "move":
            source = _pointer(members, "from")
            return _change(
                _change(target, source, MISSING, insert=False),
                path,
                _find(target, source),
                insert=True,
            )
        case "test":
            if json.dumps(as_stored(_find(target, path)), sort_keys=True) == json.dumps(
                value, sort_keys=True
            ):
                return target
            raise PatchError(f"testing path {members['path']} failed")
        case _:
            raise PatchError("unknown operation")


def _pointer(operation: Object, member: str) -> list[str]:
    pointer = operation.get(member)
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise PatchError(f"{member} is not a JSON pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _find(target: Value, path: list[str]) -> Value:
    for token in path:
        if isinstance(target, dict):
            target = target.get(token)
        elif isinstance(target, list):
            target = target[_index(token, len(target) - 1)]
        else:
            raise PatchError(f"missing path: no member {token}")
    return target


def _index(token: str, last: int) -> int:
    index = int(token) if _INDEX.fullmatch(token) else last + 1
    index += last + 1 if index < 0 else 0
    if not 0 <= index <= last:
        raise PatchError(f"invalid array index {token}")
    return index


def _change(target: Value, path: list[str], value: Value, *, insert: bool) -> Value:
    """Return `target` with the member at `path` set, or removed when `value` is MISSING."""
    if not path:
        if insert or not isinstance(value, dict | list):
            raise PatchError("the whole document can only be replaced, and by no scalar")
        return value
    token, rest = path[0], path[1:]
    if isinstance(target, dict):
        return _change_member(
            target,
            token,
            value if not rest else _change(_find(target, [token]), rest, value, insert=insert),
        )
    if isinstance(target, list):
        if rest:
            index = _index(token, len(target) - 1)
            return [
                *target[:index],
                _change(target[index], rest, value, insert=insert),
                *target[index + 1 :],
            ]
        return _change_item(target, token, value, insert=insert)
    raise PatchError(f"missing path: no member {token}")


def _change_member(target: Object, token: str, value: Value) -> Object:
    if value is not MISSING:
        return {**target, token: value}
    if token not in target:
        raise PatchError(f"missing path: no member {token}")
    return without(target, token)


def _change_item(target: list[Any], token: str, value: Value, *, insert: bool) -> list[Any]:
    if insert:
        index = _index(str(len(target)) if token == _END else token, len(target))
        return [*target[:index], value, *target[index:]]
    index = _index(token, len(target) - 1)
    return [*target[:index], *([] if value is MISSING else [value]), *target[index + 1 :]]
