"""How a configuration merges into a value of a `MergeType`, and how fields go from one.

The rules are those of sigs.k8s.io/structured-merge-diff. MISSING stands for a member that is not
there; a null is a value. Every function returns its argument itself when it changes nothing.
"""

import operator
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from captep_memory._field_sets import FieldSet, contains
from captep_memory._fields import SCALARS, element_of, form_of
from captep_memory._json import MISSING, Value, identical
from captep_memory._merge_types import DEDUCED, MergeType

__all__ = ["merge", "remove"]


def merge(live: Value, config: Value, type_: MergeType) -> Value:
    """Return `live` with what a configuration says; `live` itself if that changes nothing."""
    if live is MISSING:
        return config
    if config is MISSING or live is config:
        return live
    if type(live) is dict is type(config) and live and type_.is_map and not type_.map_is_atomic:
        return _merge_maps(live, config, type_)
    form = form_of(type_, config)
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
        kind = type(value)
        # Most members are scalars that stay: they need no call.
        if old is value or (kind is type(old) and kind in SCALARS and old == value):
            continue
        new = merge(old, value, type_.fields.get(name) or type_.other or DEDUCED)
        if new is not old:
            changed[name] = new
    return {**live, **changed} if changed else live


def _merge_lists(live: list[Any], config: list[Any], type_: MergeType) -> list[Any]:
    if identical(live, config):
        return live
    items = type_.items or DEDUCED
    theirs = {str(element_of(item, type_)): item for item in config}
    ours = [str(element_of(item, type_)) for item in live]
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


def remove(value: Value, fields: FieldSet, type_: MergeType) -> Value:
    """Return a value without some of its fields; null if nothing remains of it."""
    form = form_of(type_, value)
    if form == "map" and isinstance(value, dict):
        kept = {} if type_.map_is_atomic else _without_members(value, fields, type_)
        return kept or None
    if form == "list" and isinstance(value, list):
        return None if type_.list_is_atomic else _without_items(value, fields, type_) or None
    return None if form != "scalar" else value


def _without_members(value: Mapping[str, Any], fields: FieldSet, type_: MergeType) -> Value:
    kept = dict(value)
    for element, below in fields.items():
        name = element[2:]
        if element[:2] != "f:" or name not in kept:
            continue
        if contains(fields, element):
            del kept[name]
        else:
            member_type = type_.fields.get(name) or type_.other or DEDUCED
            kept[name] = remove(kept[name], below, member_type)
    return kept


def _without_items(value: list[Any], fields: FieldSet, type_: MergeType) -> list[Any]:
    kept = []
    for item in value:
        element = element_of(item, type_) or ""
        if contains(fields, element):
            continue
        below = fields.get(element)
        kept.append(item if below is None else remove(item, below, type_.items or DEDUCED))
    return kept
