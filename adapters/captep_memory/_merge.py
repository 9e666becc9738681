"""Values of a `MergeType`: their fields, how two of them differ, how one merges into another.

The rules are those of sigs.k8s.io/structured-merge-diff. MISSING stands for a member that is not
there; a null is a value. Every function returns its argument itself when it changes nothing.
"""

import operator
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from captep_memory._field_sets import (
    EMPTY,
    FieldSet,
    contains,
    field_element,
    key_element,
    shown,
    union,
    value_element,
)
from captep_memory._json import MISSING, Value, identical
from captep_memory._merge_types import DEDUCED, MergeType, Scalar

__all__ = [
    "Difference",
    "compare",
    "fields_of",
    "go_type",
    "merge",
    "printed",
    "remove",
    "with_named_fields",
]

_SELF: FieldSet = {".": EMPTY}
# The types of the values that fit a scalar without another look.
_FITTING: Mapping[Scalar, frozenset[type]] = {
    "": frozenset(),
    "numeric": frozenset({int, float}),
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
    "untyped": frozenset({str, bool, int, float}),
}
_SCALARS = _FITTING["untyped"]
_Form: TypeAlias = Literal["map", "list", "scalar"]
# What a value lacks, changes and adds, each as a node of a set; None for nothing.
Difference: TypeAlias = tuple[FieldSet | None, FieldSet | None, FieldSet | None]
_SAME: Difference = (None, None, None)
_MODIFIED: Difference = (None, EMPTY, None)


def _form(type_: MergeType, value: Value) -> _Form:
    """Return which alternative of a type a value takes."""
    if isinstance(value, dict):
        if type_.is_map:
            return "map"
    elif isinstance(value, list):
        if type_.is_list:
            return "list"
    elif value is not None and type_.scalar:
        return "scalar"
    if type_.is_map:
        return "map"
    return "scalar" if type_.scalar else "list"


def _member(node: FieldSet | None) -> FieldSet:
    """Return a node as a member of its set."""
    return {**_SELF, **node} if node else EMPTY


# --- the fields of a value ---------------------------------------------------------------------


def fields_of(value: Value, type_: MergeType, problems: list[str]) -> FieldSet:
    """Return the fields that a configuration names.

    `problems` gets a line for each part that does not fit the type, in the words of the server.
    """
    return _fields(value, type_, problems) or EMPTY


def _fields(value: Value, type_: MergeType, problems: list[str]) -> FieldSet | None:
    kind = type(value)
    if kind is dict and type_.is_map:
        return _map_fields(value, type_, problems)
    if kind is list and type_.is_list:
        return _list_fields(value, type_, problems)
    form = _form(type_, value)
    if form == "map":
        return _map_fields(value, type_, problems)
    if form == "list":
        return _list_fields(value, type_, problems)
    problem = _scalar_problem(value, type_)
    if problem:
        problems.append(f": {problem}")
    return EMPTY


def _map_fields(value: Value, type_: MergeType, problems: list[str]) -> FieldSet | None:
    if value is None:
        return EMPTY if type_.map_is_atomic else None
    if not isinstance(value, dict):
        problems.append(f": expected map, got &{{{printed(value)}}}")
        return None
    below: FieldSet = {}
    known = type_.fields
    for name, item in value.items():
        element = field_element(name)
        member_type = known.get(name) or type_.other
        if member_type is None:
            problems.append(f".{name}: field not declared in schema")
            break
        if type(item) in _FITTING[member_type.scalar]:
            below[element] = EMPTY
            continue
        start = len(problems)
        node = _fields(item, member_type, problems)
        if item is None or item == {} or name not in known:
            below[element] = _member(node)
        elif node is not None:
            below[element] = node
        if len(problems) > start:
            problems[start:] = [f".{name}{problem}" for problem in problems[start:]]
    return EMPTY if type_.map_is_atomic else below or None


def _list_fields(value: Value, type_: MergeType, problems: list[str]) -> FieldSet | None:
    if value is None:
        return EMPTY if type_.list_is_atomic else None
    if not isinstance(value, list):
        problems.append(f": expected list, got &{{{printed(value)}}}")
        return None
    if type_.list_is_atomic:
        return _atomic_list_fields(value, type_.items or DEDUCED, problems)
    items = type_.items or DEDUCED
    below: FieldSet = {}
    for index, item in enumerate(value):
        start = len(problems)
        element = _element(item, type_)
        if element is None:
            problems.append(f": element {index}: {_element_problem(item, type_)}")
            break
        if element in below:
            problems.append(f": duplicate entries for key {shown((element,))}")
            start += 1
        below[element] = _member(_fields(item, items, problems))
        if len(problems) > start:
            place = shown((element,))
            problems[start:] = [f"{place}{problem}" for problem in problems[start:]]
    return below or None


def _atomic_list_fields(value: list[Any], items: MergeType, problems: list[str]) -> FieldSet:
    fitting = _FITTING[items.scalar]
    for index, item in enumerate(value):
        if type(item) in fitting:
            continue
        start = len(problems)
        _fields(item, items, problems)
        if len(problems) > start:
            problems[start:] = [f"[{index}]{problem}" for problem in problems[start:]]
    return EMPTY


def _element(item: Value, type_: MergeType) -> str | None:
    """Return the path element of an item of a list that is not atomic, None if it has none."""
    if not type_.list_keys:
        return None if item is None or isinstance(item, dict | list) else value_element(item)
    if not isinstance(item, dict):
        return None
    if len(type_.list_keys) == 1 and type_.list_keys[0] in item:
        name = type_.list_keys[0]
        return key_element({name: item[name]})
    defaults = type_.items.defaults if type_.items else {}
    keys = {
        name: item[name] if name in item else defaults[name]
        for name in type_.list_keys
        if name in item or name in defaults
    }
    return key_element(keys) if keys else None


def _element_problem(item: Value, type_: MergeType) -> str:
    if type_.list_keys:
        if item is None:
            return "associative list with keys may not have a null element"
        if not isinstance(item, dict):
            return "associative list with keys may not have non-map elements"
        keys = " ".join(f'"{name}"' for name in type_.list_keys)
        return (
            f"associative list with keys has an element that omits all key fields [{keys}] "
            "(and doesn't have default values for any key fields)"
        )
    if isinstance(item, dict):
        return "associative list without keys has an element that's a map type"
    if isinstance(item, list):
        return "not supported: associative list with lists as elements"
    return "associative list without keys has an element that's an explicit null"


def _scalar_problem(value: Value, type_: MergeType) -> str:
    if value is None:
        return ""
    is_bool = isinstance(value, bool)
    match type_.scalar:
        case "numeric" if is_bool or not isinstance(value, int | float):
            return f"expected numeric (int or float), got {go_type(value)}"
        case "string" if not isinstance(value, str):
            return f"expected string, got &value.valueUnstructured{{Value:{printed(value)}}}"
        case "boolean" if not is_bool:
            return f"expected boolean, got &{{{printed(value)}}}"
        case "untyped" if isinstance(value, dict | list):
            return f"expected any scalar, got &{{{printed(value)}}}"
        case _:
            return ""


def go_type(value: Value) -> str:
    """Return the Go type of a JSON value."""
    names: Mapping[type, str] = {
        bool: "bool",
        str: "string",
        list: "[]interface {}",
        dict: "map[string]interface {}",
        int: "int64",
        float: "float64",
    }
    return names.get(type(value), "%!s(<nil>)")


def printed(value: Value) -> str:
    """Return a value as Go prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        inner = " ".join(f"{name}:{printed(item)}" for name, item in sorted(value.items()))
        return f"map[{inner}]"
    return f"[{' '.join(map(printed, value))}]" if isinstance(value, list) else str(value)


# --- the difference of two values --------------------------------------------------------------


def compare(old: Value, new: Value, type_: MergeType) -> Difference:
    """Return what `new` removes, modifies and adds."""
    if old is new:
        return _SAME
    form, other = _form(type_, old), _form(type_, new)
    found = _compared(form, old, new, type_)
    return found if form == other else _joined(found, _compared(other, old, new, type_))


def _joined(left: Difference, right: Difference) -> Difference:
    removed, modified, added = (
        two if one is None else one if two is None else _both(one, two)
        for one, two in zip(left, right, strict=True)
    )
    return removed, modified, added


def _both(left: FieldSet, right: FieldSet) -> FieldSet:
    return union({"": left}, {"": right})[""]  # type: ignore[no-any-return]  # a node of a set


def _compared(form: _Form, old: Value, new: Value, type_: MergeType) -> Difference:
    if form == "map" and not type_.map_is_atomic:
        before, after = (each if isinstance(each, dict) else {} for each in (old, new))
        if before or after:
            return _compare_maps(before, after, type_)
    elif form == "list" and not type_.list_is_atomic:
        items, others = (each if isinstance(each, list) else [] for each in (old, new))
        if items or others:
            return _compare_lists(items, others, type_)
    return _SAME if identical(old, new) else _MODIFIED


def _compare_maps(old: Mapping[str, Any], new: Mapping[str, Any], type_: MergeType) -> Difference:
    found = _Found()
    for name, value in old.items():
        other = new.get(name, MISSING)
        if other is value or _is_same_scalar(other, value):
            continue
        member_type = type_.fields.get(name) or type_.other or DEDUCED
        found.add(field_element(name), value, other, member_type)
    for name, value in new.items():
        if name not in old:
            member_type = type_.fields.get(name) or type_.other or DEDUCED
            found.add(field_element(name), MISSING, value, member_type)
    return found.difference()


def _is_same_scalar(one: Value, other: Value) -> bool:
    return type(one) is type(other) and type(one) in _SCALARS and bool(one == other)


class _Found:
    """Collects the differences of the members of one value."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.removed: FieldSet = {}
        self.modified: FieldSet = {}
        self.added: FieldSet = {}

    def add(self, element: str, old: Value, new: Value, type_: MergeType) -> None:
        """Compare a member; MISSING on one side removes or adds all of it."""
        if new is MISSING:
            self.removed[element] = _whole(old, type_)
        elif old is MISSING:
            self.added[element] = _whole(new, type_)
        else:
            removed, modified, added = compare(old, new, type_)
            if removed is not None:
                self.removed[element] = removed
            if modified is not None:
                self.modified[element] = modified
            if added is not None:
                self.added[element] = added

    def difference(self) -> Difference:
        """Return what was found."""
        return self.removed or None, self.modified or None, self.added or None


def _whole(value: Value, type_: MergeType) -> FieldSet:
    """Return the node of a value that only one side has: itself and everything below it."""
    form = _form(type_, value)
    if form == "map" and isinstance(value, dict) and not type_.map_is_atomic:
        below = {
            field_element(name): _whole(item, type_.fields.get(name) or type_.other or DEDUCED)
            for name, item in value.items()
        }
        return _member(below)
    if form == "list" and isinstance(value, list) and not type_.list_is_atomic:
        items = type_.items or DEDUCED
        below = {}
        for element, found in _by_element(value, type_).items():
            below[element] = EMPTY if len(found) > 1 else _whole(found[0], items)
        return _member(below)
    return EMPTY


def _by_element(items: list[Any], type_: MergeType) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for item in items:
        element = _element(item, type_)
        if element is not None:
            grouped.setdefault(element, []).append(item)
    return grouped


def _compare_lists(old: list[Any], new: list[Any], type_: MergeType) -> Difference:
    """Compare by path elements; repeated items count as one value."""
    before, after = _by_element(old, type_), _by_element(new, type_)
    items = type_.items or DEDUCED
    found = _Found()
    for element in {**before, **after}:
        left, right = before.get(element, []), after.get(element, [])
        if len(left) < 2 and len(right) < 2:
            one, two = (each[0] if each else MISSING for each in (left, right))
            if one is not two:
                found.add(element, one, two, items)
        elif len(left) > 1 and len(right) > 1:
            if not identical(left, right):
                found.modified[element] = EMPTY
        elif len(left) > 1:
            found.removed[element] = EMPTY
            if right:
                found.added[element] = _whole(right[0], items)
        else:
            found.added[element] = EMPTY
            if left:
                found.removed[element] = _whole(left[0], items)
    return found.difference()


# --- merging -----------------------------------------------------------------------------------


def merge(live: Value, config: Value, type_: MergeType) -> Value:
    """Return `live` with what a configuration says; `live` itself if that changes nothing."""
    if live is MISSING:
        return config
    if config is MISSING or live is config:
        return live
    form = _form(type_, config)
    if form == "map" and not type_.map_is_atomic:
        if isinstance(live, dict) and live and not config:
            return live
        if isinstance(live, dict) and live and isinstance(config, dict):
            return _merge_maps(live, config, type_)
    elif form == "list" and not type_.list_is_atomic:
        if isinstance(live, list) and live and not config:
            return live
        if isinstance(live, list) and live and isinstance(config, list):
            return _merge_lists(live, config, type_)
    return live if identical(live, config) else config


def _merge_maps(
    live: dict[str, Any], config: Mapping[str, Any], type_: MergeType
) -> dict[str, Any]:
    changed = {}
    for name, value in config.items():
        old = live.get(name, MISSING)
        if old is value or _is_same_scalar(old, value):
            continue
        new = merge(old, value, type_.fields.get(name) or type_.other or DEDUCED)
        if new is not old:
            changed[name] = new
    return {**live, **changed} if changed else live


def _merge_lists(live: list[Any], config: list[Any], type_: MergeType) -> list[Any]:
    if live == config and identical(live, config):
        return live
    items = type_.items or DEDUCED
    theirs = {str(_element(item, type_)): item for item in config}
    ours = [str(_element(item, type_)) for item in live]
    if ours == list(theirs) and len(config) == len(live):
        merged = [merge(old, new, items) for old, new in zip(live, config, strict=True)]
        return live if all(map(operator.is_, merged, live)) else merged
    known = dict(zip(ours, live, strict=True))
    if len(known) < len(ours):
        # A repeated item is replaced, not merged.
        known |= {element: None for element in ours if ours.count(element) > 1}
    merged = [
        live[place]
        if isinstance(place, int)
        else merge(known.get(place, MISSING), theirs[place], items)
        for place in _merged_order(ours, list(theirs))
    ]
    is_same = len(merged) == len(live) and all(map(operator.is_, merged, live))
    return live if is_same else merged


def _merged_order(ours: list[str], theirs: list[str]) -> Iterator[int | str]:
    """Yield the items of the merged list: an index of `ours` or an element of `theirs`.

    The items of the configuration keep their order among each other; an item that is in the live
    list alone stays behind the one that it followed.
    """
    in_theirs, shared = set(theirs), deque(each for each in theirs if each in set(ours))
    taken: set[str] = set()
    left = right = 0
    while left < len(ours) or right < len(theirs):
        is_next = left < len(ours) and right < len(theirs) and ours[left] == theirs[right]
        if left < len(ours) and not is_next:
            element = ours[left]
            is_theirs = element in in_theirs
            if not is_theirs:
                yield left
            if not is_theirs or (right < len(theirs) and shared and shared[0] != element):
                left += 1
                continue
            left += element in taken
        left += is_next
        if right < len(theirs):
            taken.add(theirs[right])
            if shared and shared[0] == theirs[right]:
                shared.popleft()
            yield theirs[right]
            right += 1


# --- removing ----------------------------------------------------------------------------------


def remove(value: Value, fields: FieldSet, type_: MergeType) -> Value:
    """Return a value without some of its fields; null if nothing remains of it."""
    form = _form(type_, value)
    if form == "map" and isinstance(value, dict):
        kept = {} if type_.map_is_atomic else _without_members(value, fields, type_)
        return kept or None
    if form == "list" and isinstance(value, list):
        return None if type_.list_is_atomic else _without_items(value, fields, type_) or None
    return None if form != "scalar" else value


def _without_members(value: Mapping[str, Any], fields: FieldSet, type_: MergeType) -> Value:
    kept = {}
    for name, item in value.items():
        element = field_element(name)
        if contains(fields, element):
            continue
        below = fields.get(element)
        member_type = type_.fields.get(name) or type_.other or DEDUCED
        kept[name] = item if below is None else remove(item, below, member_type)
    return kept


def _without_items(value: list[Any], fields: FieldSet, type_: MergeType) -> list[Any]:
    kept = []
    for item in value:
        element = _element(item, type_) or ""
        if contains(fields, element):
            continue
        below = fields.get(element)
        kept.append(item if below is None else remove(item, below, type_.items or DEDUCED))
    return kept


def with_named_fields(fields: FieldSet, type_: MergeType | None) -> FieldSet:
    """Return a set in which each declared field above a member is a member too."""
    named: FieldSet = {}
    for element, node in fields.items():
        if not node:
            named[element] = node
            continue
        kind, _, name = element.partition(":")
        below_type, is_declared = None, False
        if kind == "f" and type_ is not None and type_.is_map:
            is_declared = name in type_.fields
            below_type = type_.fields.get(name) or type_.other
        elif kind == "k" and type_ is not None:
            below_type = type_.items
        below = with_named_fields(node, below_type)
        named[element] = {**_SELF, **below} if is_declared else below
    return named
