"""What an apply removes: the fields that its manager applied last and that nobody owns any longer.

The rule is that of sigs.k8s.io/structured-merge-diff (`prune` of its merge): it removes everything
that the manager applied last, adds back what somebody owns, and keeps what nobody ever applied.
A field that the manager names as before stays with everything below it, so the rule looks at the
members alone that the new configuration names in another way, and that is where the time goes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import frozen

from captep_memory._field_sets import (
    EMPTY,
    FieldSet,
    difference,
    intersection,
    union,
)
from captep_memory._fields import SCALARS, element_of, fields_of, with_named_fields
from captep_memory._json import Object, Value
from captep_memory._merge import remove
from captep_memory._merge_types import DEDUCED, MergeType

__all__ = ["without_abandoned"]


def without_abandoned(
    merged: Object,
    last: FieldSet,
    named: FieldSet,
    others: Sequence[FieldSet],
    type_: MergeType,
) -> Object:
    """Return a merged object without the fields of `last` that nobody owns.

    `named` are the fields of the new configuration of the same manager, `others` the fields of
    the other managers.
    """
    gone = _gone(merged, _Owned(last, named, others), type_)
    return (remove(merged, gone, type_) or {}) if gone else merged


@frozen
class _Owned:
    """The owners of the members of one map."""

    last: FieldSet
    named: FieldSet
    others: Sequence[FieldSet]

    def below(self, element: str) -> "_Owned":
        """Return who owns what is below a member."""
        others = [fields[element] for fields in self.others if element in fields]
        return _Owned(self.last[element], self.named[element], others)

    def items(self) -> FieldSet:
        """Return the items of a set that were applied last and that nobody owns."""
        owners = (self.named, *self.others)
        return {
            element: EMPTY
            for element in self.last
            if element != "." and not any(element in fields for fields in owners)
        }

    def of(self, elements: Iterable[str]) -> tuple[FieldSet, FieldSet]:
        """Return what of some members was applied last, and what of them somebody owns."""
        owned: FieldSet = EMPTY
        elements = list(elements)
        for fields in (self.named, *self.others):
            owned = union(owned, {name: fields[name] for name in elements if name in fields})
        return {name: self.last[name] for name in elements}, owned


def _gone(value: dict[str, Any], owned: _Owned, type_: MergeType) -> FieldSet:
    """Return the abandoned fields of a map: a member with the same fields as before has none."""
    gone: FieldSet = {}
    doubtful: dict[str, Value] = {}
    for element, node in owned.last.items():
        name, named = element[2:], owned.named.get(element)
        if name not in value or element[:2] != "f:":
            continue
        item = value[name]
        if named == node and type(item) in SCALARS:
            continue
        member_type = _member_type(type_, name)
        below: FieldSet = EMPTY
        if named == node and _keeps(item, named, member_type):
            continue
        if (
            named
            and node
            and _is_granular(item, member_type)
            and _keeps_some(item, named, member_type)
        ):
            below = _gone(item, owned.below(element), member_type)
        elif named and node and isinstance(item, list) and _is_set(member_type):
            below = owned.below(element).items()
        else:
            doubtful[name] = item
        if below:
            gone[element] = below
    return gone | _abandoned(doubtful, owned, type_) if doubtful else gone


def _member_type(type_: MergeType, name: str) -> MergeType:
    return type_.fields.get(name) or type_.other or DEDUCED


def _is_granular(value: Value, type_: MergeType) -> bool:
    return isinstance(value, dict) and type_.is_map and not type_.map_is_atomic


def _keeps(value: Value, named: FieldSet, type_: MergeType) -> bool:
    """Return whether the rule certainly keeps each named field that a value has.

    It does not keep every one: a map or a list with nothing but empty lists in it has no fields.
    """
    if isinstance(value, dict) and type_.is_map:
        if type_.map_is_atomic:
            return True
        if SCALARS.issuperset(map(type, value.values())):
            # Most maps: the rule keeps each scalar.
            return any(element[:2] == "f:" and element[2:] in value for element in named)
        return all(_kept_members(value, named, type_))
    if isinstance(value, list) and type_.is_list:
        return type_.list_is_atomic or _keeps_items(value, named, type_)
    return not isinstance(value, dict | list)


def _keeps_some(value: dict[str, Any], named: FieldSet, type_: MergeType) -> bool:
    """Return whether the rule certainly keeps a named member of a map, and so the map."""
    return any(_kept_members(value, named, type_))


def _kept_members(value: dict[str, Any], named: FieldSet, type_: MergeType) -> Iterator[bool]:
    """Yield for each named member of a map whether the rule certainly keeps it; False for none."""
    is_empty = True
    for element, node in named.items():
        name = element[2:]
        if element[:2] == "f:" and name in value:
            is_empty = False
            item = value[name]
            # Most members are scalars: they need no call.
            yield type(item) in SCALARS or _keeps(item, node, _member_type(type_, name))
    if is_empty:
        yield False


def _keeps_items(value: list[Any], named: FieldSet, type_: MergeType) -> bool:
    """Every item is named: the rule stops at an item of which it leaves nothing."""
    items = type_.items or DEDUCED
    for item in value:
        element = element_of(item, type_)
        node = None if element is None else named.get(element)
        if node is None:
            return False
        if type_.list_keys and not (
            any(f"f:{name}" in node for name in type_.list_keys) and _keeps(item, node, items)
        ):
            return False
    return bool(value)


def _is_set(type_: MergeType) -> bool:
    return type_.is_list and not type_.list_is_atomic and not type_.list_keys


def _abandoned(value: dict[str, Value], owned: _Owned, type_: MergeType) -> FieldSet:
    """Return what the rule removes of these members."""
    last, others = owned.of(f"f:{name}" for name in value)
    applied = with_named_fields(last, type_)
    fields = _all_fields(value, type_)
    kept = union(
        _all_fields(remove(value, applied, type_), type_), with_named_fields(others, type_)
    )
    left = remove(value, difference(fields, kept), type_)
    return intersection(difference(fields, _all_fields(left, type_)), applied)


def _all_fields(value: Value, type_: MergeType) -> FieldSet:
    return with_named_fields(fields_of(value, type_, []), type_)
