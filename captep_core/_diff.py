"""The smallest merge patch between two pieces of JSON; it is empty when they are equal.

Rules of this module:

1. Both sides hold owned fields only, without what equals absent; the result is an RFC 7386 patch.
2. JSON is compared as JSON: true is not 1, the order of keys does not matter, the order of a list
   does.
"""

from collections.abc import Mapping

from captep_core._actions import JSON

__all__ = ["merge_patch", "same_json", "without_nulls"]


def merge_patch(observed: Mapping[str, JSON], desired: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the smallest merge patch that makes `observed` into `desired`; neither may hold a null
    outside of lists.
    """
    patch: dict[str, JSON] = {key: None for key in observed if key not in desired}
    for key, value in desired.items():
        if key not in observed:
            patch[key] = value
            continue
        before = observed[key]
        if isinstance(before, dict) and isinstance(value, dict):
            if inner := merge_patch(before, value):
                patch[key] = inner
        elif not same_json(before, value):
            patch[key] = value
    return patch


def same_json(one: JSON, other: JSON) -> bool:
    """Whether two pieces of JSON are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same_json(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def without_nulls(value: JSON) -> JSON:
    """Return `value` without its null keys, at any depth: a merge patch cannot store them."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
