"""What an apply removes: the fields that its manager applied last and that nobody owns any longer.

The rule is that of sigs.k8s.io/structured-merge-diff (`prune` of its merge): it removes everything
that the manager applied last, adds back what somebody owns, and keeps what nobody ever applied.
A field that the manager names as before stays with everything below it, so the rule looks at the
members alone that the new configuration names in another way, and that is where the time goes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from captep_memory._field_sets import (
    EMPTY,
    FieldSet,
    difference,
    intersection,
    union,
)
from captep_memory._fields import fields_of, with_named_fields
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
    """Who owns the members of one map."""

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
        if named == node or name not in value or element[:2] != "f:":
            continue
        item, member_type = value[name], type_.fields.get(name) or type_.other or DEDUCED
        below: FieldSet = EMPTY
        if not named or not node:
            doubtful[name] = item
        elif isinstance(item, dict) and member_type.is_map and not member_type.map_is_atomic:
            below = _gone(item, owned.below(element), member_type)
        elif isinstance(item, list) and _is_set(member_type):
            below = owned.below(element).items()
        else:
            doubtful[name] = item
        if below:
            gone[element] = below
    return gone | _abandoned(doubtful, owned, type_) if doubtful else gone


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
