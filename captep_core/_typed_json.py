"""Typed values as the JSON of the wire.

A field of an attrs class that is empty (None, "", an empty tuple or map) equals an absent one, so
it is never written, and a patch removes it from an object that has it; `False` and 0 are values. A
plain mapping is JSON already: only None means absent there. A field made by `exact_json` is
mirrored as it is.
"""

import binascii
from collections.abc import Mapping
from functools import cache
from typing import Any

import attrs
from attrs import field

from captep_core._actions import JSON
from captep_core._diff import same_json, without_nulls

__all__ = ["as_json", "exact_json"]

_EXACT = "captep_core.exact_json"


def exact_json() -> Any:  # noqa: ANN401 - an attrs field of any type
    """Declare a field of a model that holds raw JSON and is compared and written exactly; None
    means absent.
    """
    return field(default=None, eq=_Exact, metadata={_EXACT: True})


class _Exact:
    """JSON for comparison; attrs' own `cmp_using` takes twice as long, in every pass."""

    __slots__ = ("value",)
    __hash__ = None  # type: ignore[assignment]  # JSON has none

    def __init__(self, value: JSON) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Exact) and same_json(self.value, other.value)


def as_json(value: object) -> Any:  # noqa: ANN401 - an object becomes a dict, a tuple a list, a string itself
    """Convert typed values to the JSON of the wire; see the head of the module for what counts as
    absent.
    """
    if isinstance(value, bytes):
        return binascii.b2a_base64(value, newline=False).decode()
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items() if item is not None}
    if isinstance(value, (tuple, list)):
        return [as_json(item) for item in value]
    if attrs.has(type(value)):
        return _object(value)
    return value


def _object(value: object) -> dict[str, JSON]:
    """Convert an attrs instance; one that keeps `wire` goes back with all the fields that it came
    with.
    """
    came_with: Mapping[str, JSON] | None = getattr(value, "wire", None)
    made = dict(came_with or {})
    kind: Any = type(value)
    for name, json_name, is_exact in _fields_of(kind):
        item = getattr(value, name)
        if came_with is not None:
            is_written = bool(item) or json_name in came_with
        else:
            is_written = item is not None if is_exact else not _is_empty(item)
        if is_written:
            made[json_name] = without_nulls(item) if is_exact else as_json(item)
    return made


def _is_empty(item: object) -> bool:
    if isinstance(item, bool | int):
        return False
    if attrs.has(type(item)):
        return not _object(item)
    return not item


@cache
def _fields_of(kind: Any) -> tuple[tuple[str, str, bool], ...]:  # noqa: ANN401 - any attrs class
    """List the fields of a class of the model: attribute, JSON name, and whether it is exact."""
    return tuple(
        (each.name, _camel_case(each.name), _EXACT in each.metadata)
        for each in attrs.fields(kind)
        if each.name != "wire"
    )


def _camel_case(name: str) -> str:
    """Return the JSON name of an attribute: `resource_version` is `resourceVersion`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
