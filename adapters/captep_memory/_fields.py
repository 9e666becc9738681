"""The fields of a value: which paths of a `MergeType` a configuration names.

The rules are those of sigs.k8s.io/structured-merge-diff: a null is a value, and each part that does
not fit its type has a line in the words of the server.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from captep_memory._field_sets import (
    EMPTY,
    FieldSet,
    field_element,
    key_element,
    shown,
    text_key_element,
    value_element,
)
from captep_memory._json import Value
from captep_memory._merge_types import DEDUCED, FITTING, MergeType

__all__ = [
    "SCALARS",
    "Form",
    "as_member",
    "element_of",
    "fields_of",
    "form_of",
    "go_type",
    "printed",
    "with_named_fields",
]

_SELF: FieldSet = {".": EMPTY}
SCALARS = FITTING["untyped"]
"""The types of JSON scalars, without null."""
Form: TypeAlias = Literal["map", "list", "scalar"]


def form_of(type_: MergeType, value: Value) -> Form:
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


def as_member(node: FieldSet | None) -> FieldSet:
    """Return a node as a member of its set."""
    return {**_SELF, **node} if node else EMPTY


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
    form = form_of(type_, value)
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
    members, other = type_.members, type_.other
    for name, item in value.items():
        member = members.get(name)
        if member is not None:
            element, member_type, fitting = member
        elif other is not None:
            element, member_type, fitting = field_element(name), other, FITTING[other.scalar]
        else:
            problems.append(f".{name}: field not declared in schema")
            break
        if type(item) in fitting:
            below[element] = EMPTY
            continue
        start = len(problems)
        is_map = type(item) is dict and member_type.is_map
        node = (_map_fields if is_map else _fields)(item, member_type, problems)
        if item is None or item == {} or member is None:
            below[element] = as_member(node)
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
    fitting = FITTING[items.scalar]
    below: FieldSet = {}
    for index, item in enumerate(value):
        start = len(problems)
        element = element_of(item, type_)
        if element is None:
            problems.append(f": element {index}: {_element_problem(item, type_)}")
            break
        if element in below:
            problems.append(f": duplicate entries for key {shown((element,))}")
            start += 1
        is_plain = type(item) in fitting
        below[element] = EMPTY if is_plain else as_member(_fields(item, items, problems))
        if len(problems) > start:
            place = shown((element,))
            problems[start:] = [f"{place}{problem}" for problem in problems[start:]]
    return below or None


def _atomic_list_fields(value: list[Any], items: MergeType, problems: list[str]) -> FieldSet:
    fitting = FITTING[items.scalar]
    for index, item in enumerate(value):
        if type(item) in fitting:
            continue
        start = len(problems)
        _fields(item, items, problems)
        if len(problems) > start:
            problems[start:] = [f"[{index}]{problem}" for problem in problems[start:]]
    return EMPTY


def element_of(item: Value, type_: MergeType) -> str | None:
    """Return the path element of an item of a list that is not atomic, None if it has none."""
    names = type_.list_keys
    if not names:
        return None if item is None or isinstance(item, dict | list) else value_element(item)
    if not isinstance(item, dict):
        return None
    if len(names) == 1 and type(item.get(names[0])) is str:
        return text_key_element(names[0], item[names[0]])
    defaults = type_.items.defaults if type_.items else {}
    keys = {
        name: item[name] if name in item else defaults[name]
        for name in names
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
