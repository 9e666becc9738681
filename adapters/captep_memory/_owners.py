"""The owners after a write: what an update and an apply make of managedFields (KEP-555).

An update takes what it changes from every other owner. An apply owns what its configuration names:
a field with another value that another manager owns is a conflict, a field that the manager applied
before and names no longer is removed unless somebody else owns it.
"""

from collections.abc import Callable, Iterator, Mapping

from attrs import field, frozen

from captep_memory._difference import compare
from captep_memory._field_sets import (
    EMPTY,
    FieldSet,
    Path,
    difference,
    intersection,
    union,
    without_paths,
)
from captep_memory._fields import fields_of
from captep_memory._json import Object, identical
from captep_memory._managers import NOBODY, Held, ManagedFields, Manager, identifier
from captep_memory._merge import merge
from captep_memory._merge_types import MergeType
from captep_memory._removal import without_abandoned
from captep_memory._status import not_modelled

__all__ = ["ConflictsError", "Endpoint", "MisfitError", "applied", "updated"]

# What no manager ever owns (stripSet of the real server); what is below metadata stays.
_UNOWNED: FieldSet = {
    "f:apiVersion": EMPTY,
    "f:kind": EMPTY,
    "f:metadata": {
        ".": EMPTY,
        **{
            f"f:{name}": EMPTY
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        },
    },
}
# DefaultMaxUpdateManagers of the real server, and the entry that takes the oldest beyond it.
_MOST_UPDATERS = 10
_OLDEST = "ancient-changes"
_BEFORE = "before-first-apply"


@frozen
class Endpoint:
    """Where a request writes.

    `resets` are the paths that this endpoint ignores. `type_at` returns how the kind merges in a
    version, None for one that the server lacks; `convert` returns an object in a version that it
    has.
    """

    type: MergeType
    api_version: str
    subresource: str
    resets: tuple[Path, ...]
    type_at: Callable[[str], MergeType | None] = field(eq=False)
    convert: Callable[[Object, str], Object] = field(eq=False)
    now: str


class ConflictsError(Exception):
    """Fields of a configuration have other owners and other values."""

    def __init__(self, conflicts: Mapping[Manager, FieldSet]) -> None:
        super().__init__(len(conflicts))
        self.conflicts = conflicts


class MisfitError(Exception):
    """A configuration does not fit its schema."""


def updated(
    managed: ManagedFields, old: Object, new: Object, endpoint: Endpoint, name: str
) -> ManagedFields:
    """Return the owners after an update, a patch or a creation of `new`, `old` being live."""
    compared = _Compared(old, new, endpoint)
    owners = dict(_without_changed(managed, compared, {}))
    own = difference(compared.own().written, _UNOWNED)
    if not own:
        return owners
    manager = Manager(name or "unknown", "Update", endpoint.api_version, endpoint.subresource)
    before = owners.get(manager)
    fields = own if before is None else union(before.fields, own)
    owners[manager] = Held(endpoint.api_version, fields, endpoint.now)
    return _capped(owners)


class _Compared:
    """The difference of two objects in each version that an owner has."""

    def __init__(self, old: Object, new: Object, endpoint: Endpoint) -> None:
        self._old, self._new, self._endpoint = old, new, endpoint
        self._known: dict[str, _Changes | None] = {}

    def at(self, version: str) -> "_Changes | None":
        """Return the changes in a version, None if the server lacks it."""
        if version not in self._known:
            self._known[version] = self._compare(version)
        return self._known[version]

    def own(self) -> "_Changes":
        """Return the changes in the version of the request."""
        return self.at(self._endpoint.api_version) or _Changes(EMPTY, EMPTY)

    def _compare(self, version: str) -> "_Changes | None":
        endpoint, old, new, resets = self._endpoint, self._old, self._new, self._endpoint.resets
        type_ = endpoint.type
        if version != endpoint.api_version:
            other, resets = endpoint.type_at(version), ()
            if other is None:
                return None
            type_ = other
            old, new = (endpoint.convert(each, version) for each in (old, new))
        found = compare(old, new, type_)
        removed, modified, added = (without_paths(each or EMPTY, resets) for each in found)
        return _Changes(removed, union(modified, added))


@frozen
class _Changes:
    """The paths that went, and those that have a new value."""

    removed: FieldSet
    written: FieldSet


def _without_changed(
    managed: ManagedFields, compared: _Compared, kept: ManagedFields
) -> Iterator[tuple[Manager, Held]]:
    """Yield the owners without what was changed or removed; those in `kept` stay as they are."""
    for manager, held in managed.items():
        if manager in kept:
            yield manager, held
            continue
        changes = compared.at(held.api_version)
        if changes is None:
            continue
        fields = difference(difference(held.fields, changes.written), changes.removed)
        if fields:
            yield manager, held if fields is held.fields else _with(held, fields)


def _with(held: Held, fields: FieldSet) -> Held:
    return held if fields == held.fields else Held(held.api_version, fields, held.time)


def _capped(owners: dict[Manager, Held]) -> ManagedFields:
    """Merge the oldest updaters when there are too many."""
    updaters = [manager for manager in owners if manager.operation == "Update"]
    excess = len(updaters) - _MOST_UPDATERS
    if excess <= 0:
        return owners
    updaters.sort(key=lambda manager: (owners[manager].time or "", identifier(manager)))
    first: dict[str, Manager] = {}
    for manager in updaters:
        if excess <= 0:
            break
        held = owners[manager]
        bucket = Manager(_OLDEST, "Update", held.api_version)
        known = first.setdefault(held.api_version, manager)
        if known is manager:
            continue
        if bucket not in owners:
            owners[bucket] = owners.pop(known)
        fields = union(held.fields, owners[bucket].fields)
        del owners[manager]
        owners[bucket] = Held(held.api_version, fields, held.time)
        excess -= 1
    return owners


def applied(
    managed: ManagedFields,
    live: Object,
    config: Object,
    endpoint: Endpoint,
    name: str,
    *,
    empty: Object,
    force: bool,
) -> tuple[Object, ManagedFields]:
    """Return the object and its owners after an apply; `live` itself if nothing changes.

    `empty` is an object of this kind without any field: an object that nobody owns was written
    before managedFields were.

    Raises:
        MisfitError: the configuration does not fit the schema.
        ConflictsError: other managers own fields that would change, and `force` is False.
    """
    if not managed:
        managed = updated(NOBODY, empty, live, endpoint, _BEFORE)
    problems: list[str] = []
    fields = fields_of(config, endpoint.type, problems)
    if problems:
        lines = [problem.removeprefix(": ") for problem in problems]
        raise MisfitError(lines[0] if len(lines) == 1 else "\n  ".join(["errors:", *lines]))
    manager = Manager(name, "Apply", "", endpoint.subresource)
    last = managed.get(manager)
    own = Held(
        endpoint.api_version,
        without_paths(fields, endpoint.resets),
        None if last is None else last.time,
    )
    stripped = difference(own.fields, _UNOWNED)
    owners = {**managed, manager: own}
    merged = merge(live, config, endpoint.type)
    is_renewed = last is not None and _owns(last, own.api_version, stripped)
    if merged is live and is_renewed:
        return live, managed
    new = merged if is_renewed else _pruned(merged, owners, manager, last, endpoint)
    compared = _Compared(live, new, endpoint)
    if not force:
        conflicts = dict(_conflicts(owners, compared, manager))
        if conflicts:
            raise ConflictsError(conflicts)
    left = dict(_without_changed(owners, compared, {manager: own}))
    is_same = new is live or identical(new, live)
    time = own.time if is_same else endpoint.now
    if is_renewed and last is not None:
        left[manager] = _at(last, time)
    elif stripped:
        left[manager] = Held(own.api_version, stripped, time)
    else:
        left.pop(manager, None)
    return live if is_same else new, left


def _owns(held: Held, api_version: str, fields: FieldSet) -> bool:
    return bool(fields) and held.api_version == api_version and held.fields == fields


def _at(held: Held, time: str | None) -> Held:
    """Return an owner of the same fields at another time; its entry shares them."""
    entry = None if held.entry is None or time is None else {**held.entry, "time": time}
    return Held(held.api_version, held.fields, time, entry)


def _conflicts(
    owners: ManagedFields, compared: _Compared, manager: Manager
) -> Iterator[tuple[Manager, FieldSet]]:
    for other, held in owners.items():
        changes = None if other == manager else compared.at(held.api_version)
        if changes is not None and changes.written:
            contested = intersection(held.fields, changes.written)
            if contested:
                yield other, contested


def _pruned(
    merged: Object,
    owners: ManagedFields,
    manager: Manager,
    last: Held | None,
    endpoint: Endpoint,
) -> Object:
    """Return the merged object without what the manager applied last and owns no longer.

    Raises:
        RefusedError: 501, an owner is in another version.
    """
    named = owners[manager].fields
    if last is None:
        return merged
    versions = {last.api_version, *(held.api_version for held in owners.values())}
    if versions != {endpoint.api_version}:
        if not difference(last.fields, named):
            return merged
        raise not_modelled("an apply that removes fields while owners have other versions")
    others = [held.fields for other, held in owners.items() if other != manager]
    return without_abandoned(merged, last.fields, named, others, endpoint.type)
