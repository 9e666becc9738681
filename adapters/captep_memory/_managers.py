"""managedFields: the entries of an object, and the managers that own its fields (KEP-555)."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal, TypeAlias

from attrs import field, frozen

from captep_memory._field_sets import EMPTY, FieldSet, Path, is_field_set, paths, sorted_set
from captep_memory._json import Object, Same, Value, text

__all__ = [
    "NOBODY",
    "Held",
    "ManagedFields",
    "Manager",
    "decode_managed",
    "encode_managed",
    "identifier",
    "paths_of",
]

Operation: TypeAlias = Literal["Apply", "Update"]


@frozen(cache_hash=True)
class Manager:
    """The identity of an entry; an apply has no version in it."""

    name: str
    operation: Operation
    api_version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """Return the manager as messages name it."""
        shown = f'"{self.name}"'
        if self.subresource:
            shown += f' with subresource "{self.subresource}"'
        return f"{shown} using {self.api_version}" if self.operation == "Update" else shown


@frozen
class Held:
    """What a manager owns, in which version, and the time of its last change.

    `entry` is the entry of the object that says so, None for one to make.
    """

    api_version: str
    fields: FieldSet = field(repr=False)
    time: str | None
    entry: Object | None = field(default=None, eq=False, repr=False)


ManagedFields: TypeAlias = Mapping[Manager, Held]
NOBODY: ManagedFields = {}


def decode_managed(entries: Value) -> ManagedFields | None:
    """Return the owners that an object names, None if an entry is malformed."""
    return _decoded(Same(entries))


@lru_cache(maxsize=256)
def _decoded(known: Same) -> ManagedFields | None:
    """Return the owners of entries; most requests meet entries that an earlier one decoded."""
    entries = known.value
    managed: dict[Manager, Held] = {}
    for entry in entries or ():
        fields = entry.get("fieldsV1") or EMPTY if isinstance(entry, dict) else None
        if fields is None or not is_field_set(fields) or entry.get("fieldsType") != "FieldsV1":
            return None
        operation, version = entry.get("operation"), text(entry.get("apiVersion"))
        if operation not in ("Apply", "Update") or not version:
            return None
        manager = Manager(
            text(entry.get("manager")),
            operation,
            version if operation == "Update" else "",
            text(entry.get("subresource")),
        )
        managed[manager] = Held(version, fields, entry.get("time"), entry)
    return managed


def encode_managed(managed: ManagedFields) -> list[Object]:
    """Return the entries of an object, in the order of the wire."""
    ordered = sorted(
        managed.items(),
        key=lambda item: (
            item[0].operation,
            item[1].time or "",
            item[0].name,
            item[1].api_version,
            item[0].subresource,
        ),
    )
    return [_encoded(manager, held) for manager, held in ordered]


def _encoded(manager: Manager, held: Held) -> Object:
    if held.entry is not None:
        return held.entry
    entry: Object = {
        "apiVersion": held.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": sorted_set(held.fields),
        "manager": manager.name,
        "operation": manager.operation,
    }
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry if held.time is None else {**entry, "time": held.time}


def identifier(manager: Manager) -> str:
    """Return a key that sorts managers as the real server does."""
    return f"{manager.name}\0{manager.operation}\0{manager.api_version}\0{manager.subresource}"


def paths_of(conflicts: Mapping[Manager, FieldSet]) -> Iterator[tuple[Manager, Path]]:
    """Yield each contested path with its manager, in the order of messages."""
    for manager in sorted(conflicts, key=identifier):
        yield from ((manager, path) for path in paths(conflicts[manager]))
