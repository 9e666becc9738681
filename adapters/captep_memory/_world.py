"""The state of the server as one immutable value.

Rows V1 and V6 of the specification live here: one resourceVersion counter for the whole store, and uids that never recur.
Objects are never changed in place, neither by this package nor by its users; worlds share them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal, Self, TypeAlias

from attrs import evolve, field, frozen

from captep_core._objects import rfc3339
from captep_memory._admission import Admission
from captep_memory._json import Object
from captep_memory._kinds import NO_KINDS, Catalog
from captep_memory._request import Key

__all__ = ["NEWEST", "Change", "Quirks", "World", "timestamp"]

ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]
Shelf: TypeAlias = tuple[str, str, str | None]
_NO_SHELVES: Mapping[Shelf, Mapping[str, Object]] = MappingProxyType({})


@frozen
class Quirks:
    """What differs between servers: the minor version decides rows such as U3; the counter starts where `first_resource_version` says."""

    version: tuple[int, int] = (1, 37)
    first_resource_version: int = 700_000


NEWEST = Quirks()


@frozen
class Change:
    """One effective write: what watches tell, and which object it replaced (None for a creation)."""

    type: ChangeType
    key: Key
    object: Object = field(repr=False)
    previous: Object | None = field(repr=False)
    resource_version: int


@frozen
class _History:
    """The changes since the start, newest first: appending costs the same however long it is."""

    last: Change
    earlier: "_History | None"


def _changes(history: _History | None) -> Iterator[Change]:
    while history is not None:
        yield history.last
        history = history.earlier


def timestamp(now: datetime) -> str:
    """Return a time as metadata carries it: RFC 3339, UTC, whole seconds."""
    return rfc3339(now)


@frozen(repr=False)
class World:
    """An API server at one moment: its objects, its clock and what has happened.

    `departed` holds the uids of objects that went away during the run, `compacted` the resourceVersion up to which the
    history is forgotten.
    """

    now: datetime
    resource_version: int
    shelves: Mapping[Shelf, Mapping[str, Object]] = _NO_SHELVES
    catalog: Catalog = NO_KINDS
    quirks: Quirks = NEWEST
    admission: tuple[Admission, ...] = ()
    departed: frozenset[str] = frozenset()
    compacted: int = 0
    _history: _History | None = field(default=None, eq=lambda history: tuple(_changes(history)))

    @classmethod
    def empty(
        cls, *, now: datetime, quirks: Quirks = NEWEST, admission: tuple[Admission, ...] = ()
    ) -> Self:
        """Return a server without objects. `now` must be aware of its time zone."""
        start = quirks.first_resource_version
        return cls(
            now=now, resource_version=start, quirks=quirks, admission=admission, compacted=start
        )

    def __repr__(self) -> str:
        """Tell the size, never the content: there are Secrets in it."""
        return f"World(now={timestamp(self.now)}, resource_version={self.resource_version}, objects={len(self)})"

    def __len__(self) -> int:
        """Return the number of objects."""
        return sum(map(len, self.shelves.values()))

    def get(self, key: Key) -> Object | None:
        """Return a stored object, None if there is none."""
        shelf = self.shelves.get((key.api_group, key.kind, key.namespace))
        return None if shelf is None else shelf.get(key.name)

    def shelf(self, api_group: str, kind: str, namespace: str | None) -> Mapping[str, Object]:
        """Return the objects of one kind in one namespace by name; None is for cluster-scoped objects."""
        return self.shelves.get((api_group, kind, namespace), {})

    def objects(self) -> Iterator[Object]:
        """Yield every object, sorted by apiVersion, kind, namespace and name."""
        stored = (obj for shelf in self.shelves.values() for obj in shelf.values())
        return iter(sorted(stored, key=lambda obj: (obj["apiVersion"], obj["kind"], *_place(obj))))

    def at(self, now: datetime) -> Self:
        """Return the same world at another time."""
        return evolve(self, now=now)

    def changes(self, *, since: int = 0) -> tuple[Change, ...]:
        """Return what happened after resourceVersion `since`, oldest first; nothing is told of what is compacted."""
        newer: list[Change] = []
        for change in _changes(self._history):
            if change.resource_version <= since:
                break
            newer.append(change)
        return tuple(reversed(newer))

    def compact(self, upto: int) -> Self:
        """Forget the history up to and including resourceVersion `upto` (rows R2 and R7: what is forgotten is answered with 410)."""
        history: _History | None = None
        for change in self.changes(since=upto):
            history = _History(change, history)
        return evolve(
            self, history=history, compacted=max(self.compacted, min(upto, self.resource_version))
        )

    def next_uid(self, key: Key, *, dry_run: bool) -> str:
        """Return the uid of an object that is created now: no two creations share key and resourceVersion, and a dry run is none."""
        return uid_of(key, f"{self.resource_version + 1}{'?' if dry_run else ''}")

    def put(self, key: Key, obj: Object) -> tuple[Self, Object]:
        """Store an object under a new resourceVersion; return it as it was stored."""
        previous = self.get(key)
        version = self.resource_version + 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
        change = Change("ADDED" if previous is None else "MODIFIED", key, stored, previous, version)
        shelf = {**self.shelf(key.api_group, key.kind, key.namespace), key.name: stored}
        return self._next(shelf, change, self.departed), stored

    def remove(self, key: Key) -> Self:
        """Remove a stored object (row D4); a watch tells it as it was stored, with the resourceVersion of the deletion."""
        last = self.shelf(key.api_group, key.kind, key.namespace)[key.name]
        version = self.resource_version + 1
        tombstone = {**last, "metadata": {**last["metadata"], "resourceVersion": str(version)}}
        change = Change("DELETED", key, tombstone, last, version)
        shelf = {
            name: obj
            for name, obj in self.shelf(key.api_group, key.kind, key.namespace).items()
            if name != key.name
        }
        return self._next(shelf, change, self.departed | {last["metadata"]["uid"]})

    def _next(self, shelf: Mapping[str, Object], change: Change, departed: frozenset[str]) -> Self:
        # Spelt out because this is the one line that every write passes: `evolve` costs four times as much.
        place = (change.key.api_group, change.key.kind, change.key.namespace)
        shelves = (
            {**self.shelves, place: shelf}
            if shelf
            else {known: rest for known, rest in self.shelves.items() if known != place}
        )
        return self.__class__(
            self.now,
            change.resource_version,
            shelves,
            self.catalog,
            self.quirks,
            self.admission,
            departed,
            self.compacted,
            _History(change, self._history),
        )


def uid_of(key: Key, salt: str) -> str:
    """Return a uid in the form of a UUID that is a function of the key and a salt."""
    identity = "\0".join((key.api_group, key.kind, key.namespace or "", key.name, salt))
    digits = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]
