"""Sets of field paths in the form of `fieldsV1`, which managedFields store: no other form is built.

A set is a mapping from path elements to nodes. A node `{}` is a member; a node with the key `.` is
a member with members below it; any other node has members below it alone. A path element is
`f:NAME` for a field, `k:{...}` for the item of a list with these keys, `v:VALUE` for an item of a
list of scalars (KEP-555). Sets are immutable: operations share what they do not change.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, TypeAlias

from captep_memory._json import Value

__all__ = [
    "EMPTY",
    "FieldSet",
    "Path",
    "contains",
    "difference",
    "field_element",
    "intersection",
    "is_field_set",
    "key_element",
    "paths",
    "shown",
    "sorted_set",
    "text_key_element",
    "union",
    "value_element",
    "without_paths",
]

FieldSet: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str, ...]
_SELF = "."
_KINDS = frozenset({"f:", "k:", "v:", "i:"})
EMPTY: FieldSet = {}
# The escapes of Go's encoder, which json.dumps does not have.
_ESCAPED = re.compile("[<>&\u2028\u2029]")
_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


@lru_cache(maxsize=4096)
def field_element(name: str) -> str:
    """Return the element of a field."""
    return f"f:{name}"


def key_element(keys: Mapping[str, Value]) -> str:
    """Return the element of a list item with these keys."""
    pairs = [f"{_encoded(name)}:{_encoded(keys[name])}" for name in sorted(keys)]
    return f"k:{{{','.join(pairs)}}}"


@lru_cache(maxsize=4096)
def text_key_element(name: str, value: str) -> str:
    """Return the element of a list item that a text identifies, as most do."""
    return f"k:{{{_encoded(name)}:{_encoded(value)}}}"


@lru_cache(maxsize=4096, typed=True)
def value_element(value: Value) -> str:
    """Return the element of a scalar in a list."""
    return f"v:{_encoded(value)}"


def _encoded(value: Value) -> str:
    if isinstance(value, str):
        encoded = encode_basestring(value)
        return encoded.translate(_GO_ESCAPES) if _ESCAPED.search(encoded) else encoded
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).translate(_GO_ESCAPES)


def _is_member(node: FieldSet) -> bool:
    return not node or _SELF in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths of either set."""
    if not right or left is right:
        return left
    if not left:
        return right
    joined = dict(left)
    for element, node in right.items():
        known = joined.get(element)
        joined[element] = node if known is None else _union_node(known, node)
    return joined


def _union_node(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right:
        return left
    if not left:
        return {_SELF: EMPTY, **right} if right else left
    if not right:
        return {_SELF: EMPTY, **left}
    return union(left, right)


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths of both sets."""
    common: FieldSet = {}
    for element, node in left.items():
        other = right.get(element)
        if other is None or element == _SELF:
            continue
        below = intersection(node, other) if node and other else EMPTY
        if _is_member(node) and _is_member(other):
            common[element] = {_SELF: EMPTY, **below} if below else EMPTY
        elif below:
            common[element] = below
    return common


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths of `left` that are not in `right`: removing a path keeps those below it."""
    if not right:
        return left
    rest: FieldSet | None = None
    for element, other in right.items():
        node = left.get(element)
        if node is None or element == _SELF:
            continue
        kept = _difference_node(node, other)
        if kept is node:
            continue
        rest = dict(left) if rest is None else rest
        if kept is None:
            del rest[element]
        else:
            rest[element] = kept
    return left if rest is None else rest


def _difference_node(node: FieldSet, other: FieldSet) -> FieldSet | None:
    """Return what is left of a node, None if nothing is."""
    if not node:
        return node if other and _SELF not in other else None
    is_member = _SELF in node and not _is_member(other)
    below = difference(node, other) if other else node
    if below is node and is_member is (_SELF in node) and len(node) > is_member:
        return node
    below = {name: item for name, item in below.items() if name != _SELF}
    if below:
        return {_SELF: EMPTY, **below} if is_member else below
    return EMPTY if is_member else None


def without_paths(fields: FieldSet, removed: Iterable[Path]) -> FieldSet:
    """Return a set without the given paths and everything below them."""
    for path in removed:
        fields = _without_path(fields, path)
    return fields


def _without_path(fields: FieldSet, path: Path) -> FieldSet:
    element, *rest = path
    node = fields.get(element)
    if node is None:
        return fields
    if rest:
        below = _without_path(node, tuple(rest))
        if below is node:
            return fields
        if below:
            return {**fields, element: below}
    return {other: item for other, item in fields.items() if other != element}


def contains(fields: FieldSet, element: str) -> bool:
    """Return whether an element at the top of a set is a member itself."""
    node = fields.get(element)
    return node is not None and _is_member(node)


def paths(fields: FieldSet) -> Iterator[Path]:
    """Yield every member: at each level first the members, then those below, both sorted."""
    elements = sorted(element for element in fields if element != _SELF)
    for element in elements:
        if _is_member(fields[element]):
            yield (element,)
    for element in elements:
        yield from ((element, *rest) for rest in paths(fields[element]))


def shown(path: Path) -> str:
    """Return a path as messages show it: `.spec.ports[name="a"].number`."""
    return "".join(map(_shown_element, path))


def _shown_element(element: str) -> str:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    value = json.loads(rest)
    if kind == "k":
        return f"[{','.join(f'{name}={_quoted(item)}' for name, item in sorted(value.items()))}]"
    return f"[={_quoted(value)}]"


def _quoted(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)


def sorted_set(fields: FieldSet) -> FieldSet:
    """Return a set in the order of the wire."""
    if not any(fields.values()):
        return dict.fromkeys(sorted(fields), EMPTY)
    return {element: sorted_set(node) if node else node for element, node in sorted(fields.items())}


def is_field_set(value: Value) -> bool:
    """Return whether a JSON value has the form of a set."""
    if not isinstance(value, dict):
        return False
    for element, node in value.items():
        if element != _SELF and element[:2] not in _KINDS:
            return False
        if node != EMPTY and not is_field_set(node):
            return False
    return True
