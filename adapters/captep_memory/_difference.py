"""The difference of two values of a `MergeType`: what one removes, modifies and adds.

The rules are those of sigs.k8s.io/structured-merge-diff. MISSING stands for a member that is not
there; a null is a value.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from captep_memory._field_sets import EMPTY, FieldSet, field_element, union
from captep_memory._fields import SCALARS, Form, as_member, element_of, form_of
from captep_memory._json import MISSING, Value, identical
from captep_memory._merge_types import DEDUCED, MergeType

__all__ = ["Difference", "compare"]

# What a value lacks, changes and adds, each as a node of a set; None for nothing.
Difference: TypeAlias = tuple[FieldSet | None, FieldSet | None, FieldSet | None]
_SAME: Difference = (None, None, None)
_MODIFIED: Difference = (None, EMPTY, None)


def compare(old: Value, new: Value, type_: MergeType) -> Difference:
    """Return what `new` removes, modifies and adds."""
    if old is new:
        return _SAME
    form, other = form_of(type_, old), form_of(type_, new)
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


def _compared(form: Form, old: Value, new: Value, type_: MergeType) -> Difference:
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
        kind = type(value)
        # Most members are scalars that stay: they need no call.
        if other is value or (kind is type(other) and kind in SCALARS and other == value):
            continue
        member_type = type_.fields.get(name) or type_.other or DEDUCED
        found.add(field_element(name), value, other, member_type)
    for name, value in new.items():
        if name not in old:
            member_type = type_.fields.get(name) or type_.other or DEDUCED
            found.add(field_element(name), MISSING, value, member_type)
    return found.difference()


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
    form = form_of(type_, value)
    if form == "map" and isinstance(value, dict) and not type_.map_is_atomic:
        below = {
            field_element(name): _whole(item, type_.fields.get(name) or type_.other or DEDUCED)
            for name, item in value.items()
        }
        return as_member(below)
    if form == "list" and isinstance(value, list) and not type_.list_is_atomic:
        items = type_.items or DEDUCED
        below = {}
        for element, found in _by_element(value, type_).items():
            below[element] = EMPTY if len(found) > 1 else _whole(found[0], items)
        return as_member(below)
    return EMPTY


def _by_element(items: list[Any], type_: MergeType) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for item in items:
        element = element_of(item, type_)
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
