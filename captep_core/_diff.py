"""The smallest merge patch between two pieces of JSON; it is empty when they are equal.

Rules of this module:

1. Both sides hold owned fields only, without what equals absent; the result is an RFC 7386 patch.
2. JSON is compared as JSON: true is not 1, the order of keys does not matter, the order of a list
   does.
"""

from collections.abc import Mapping
from typing import TypeAlias

from captep_core._actions import JSON
from captep_core.errors import DecisionError

__all__ = ["merge_patch", "merged", "owned_part", "same_json", "without_nulls"]

# The names of fields from the root of an object down to a list.
_Path: TypeAlias = tuple[str, ...]


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


def owned_part(observed: Mapping[str, JSON], desired: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the fields of `observed` that `desired` names, at any depth; a list is one field."""
    part: dict[str, JSON] = {}
    for name, wanted in desired.items():
        found = observed.get(name)
        if isinstance(found, dict) and isinstance(wanted, dict):
            part[name] = owned_part(found, wanted)
        elif found is not None:
            part[name] = without_nulls(found)
    return part


def merged(
    desired: Mapping[str, JSON],
    observed: Mapping[str, JSON],
    keys: Mapping[_Path, str],
    path: _Path = (),
) -> dict[str, JSON]:
    """Return `desired` without nulls, with each list of maps that has a key merged into the
    observed one.

    An empty map is left out where nothing is observed: most servers drop it, and the difference
    would never end.

    `keys` has the field that identifies the entries of a list, by the path of the list; entries of
    a list are no part of a path.

    Raises:
        DecisionError: an entry of `desired` lacks its key, or two have the same.
    """
    result: dict[str, JSON] = {}
    for name, wanted in desired.items():
        place = (*path, name)
        found = observed.get(name)
        if isinstance(wanted, dict):
            inner = merged(wanted, found if isinstance(found, dict) else {}, keys, place)
            if inner or found is not None:
                result[name] = inner
        elif isinstance(wanted, list) and isinstance(found, list) and place in keys:
            result[name] = _merged_lists(wanted, found, keys, place)
        elif wanted is not None:
            result[name] = without_nulls(wanted)
    return result


def _merged_lists(
    desired: list[JSON], observed: list[JSON], keys: Mapping[_Path, str], path: _Path
) -> list[JSON]:
    """Merge the entries of the same key, in the observed order; entries of others stay."""
    ours = _by_key(desired, keys[path], path)
    result: list[JSON] = []
    for entry in observed:
        if isinstance(entry, dict):
            wanted = ours.pop(str(entry.get(keys[path])), {})
            entry = _laid_over(entry, wanted, keys, path)  # noqa: PLW2901 - the same entry, merged
        result.append(entry)
    return [*result, *(without_nulls(entry) for entry in ours.values())]


def _by_key(entries: list[JSON], key: str, path: _Path) -> dict[str, dict[str, JSON]]:
    found: dict[str, dict[str, JSON]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get(key) is None or str(entry[key]) in found:
            raise DecisionError(f"{'.'.join(path)}: each entry needs a {key} of its own")
        found[str(entry[key])] = entry
    return found


def _laid_over(
    observed: Mapping[str, JSON],
    desired: Mapping[str, JSON],
    keys: Mapping[_Path, str],
    path: _Path,
) -> dict[str, JSON]:
    """Return `observed` with the fields of `desired`; null removes a field."""
    result = dict(observed)
    for name, wanted in desired.items():
        found = observed.get(name)
        if wanted is None:
            result.pop(name, None)
        elif isinstance(wanted, dict) and isinstance(found, dict):
            result[name] = _laid_over(found, wanted, keys, (*path, name))
        elif isinstance(wanted, list) and isinstance(found, list) and (*path, name) in keys:
            result[name] = _merged_lists(wanted, found, keys, (*path, name))
        else:
            result[name] = without_nulls(wanted)
    return result
