"""The state of the server as one immutable value.

Rows V1 and V6 live here: one resourceVersion counter for the whole store, and uids that never
recur. Nobody changes an object in place, neither this package nor its users; worlds share them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, Self, TypeAlias

from attrs import evolve, field, frozen

from captep_core._objects import rfc3339
from captep_memory._admission import Admission
from captep_memory._json import Object
from captep_memory._kinds import NO_KINDS, Catalog
from captep_memory._request import Key
from captep_memory._shelf import with_object, without_object

__all__ = ["NEWEST", "Quirks", "StoreChange", "World", "Writer", "uid_of"]

ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]
Shelf: TypeAlias = tuple[str, str, str | None]
_NO_SHELVES: Mapping[Shelf, Mapping[str, Object]] = MappingProxyType({})
_NO_LEDGER: Mapping[Key, "tuple[StoreChange, ...]"] = MappingProxyType({})
# How many writes of one object outlive the history, for its managedFields.
_LEDGER_LIMIT = 256


@frozen
class Quirks:
    """What differs between servers.

    The minor version decides rows such as U3; the counter starts at `first_resource_version`, a
    number with as many digits as that of a cluster in use. A real server shows managedFields
    `always`; here an object has them once it was `applied`, unless a world asks for more. Until
    then nothing stores a write that changes managedFields alone.
    """

    version: tuple[int, int] = (1, 37)
    first_resource_version: int = 700_000
    managed_fields: Literal["applied", "always"] = "applied"


NEWEST = Quirks()


@frozen
class Writer:
    """The writer of a change and its way of writing, from which managedFields follow.

    `given` is the object before admission changed it, None if admission did not. `settles` is
    whether the object says from here on who owns it: older writes count no longer.
    """

    manager: str
    settles: bool
    api_version: str
    subresource: str
    time: datetime
    given: Object | None = field(default=None, repr=False)


@frozen
class StoreChange:
    """One effective write: type, object, the object before (None for a creation), and its writer.

    A deletion, the garbage collector and a test that changes the store itself have no writer.
    """

    type: ChangeType
    key: Key
    object: Object = field(repr=False)
    previous: Object | None = field(repr=False)
    resource_version: int
    writer: Writer | None = field(default=None, eq=False, repr=False)


@frozen
class _History:
    """The changes since the start, newest first: appending costs the same however long it is."""

    last: StoreChange
    earlier: "_History | None"


def _changes(history: _History | None) -> Iterator[StoreChange]:
    while history is not None:
        yield history.last
        history = history.earlier


@frozen(repr=False)
class World:
    """An API server at one moment: its objects, its clock and its history.

    `departed` holds the uids of objects that went away during the run, `compacted` the
    resourceVersion up to which the history is forgotten.
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
    _ledger: Mapping[Key, tuple[StoreChange, ...]] = field(default=_NO_LEDGER, eq=False)

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
        """Show the size, never the content: a world holds Secrets."""
        at = rfc3339(self.now)
        return f"World(now={at}, resource_version={self.resource_version}, objects={len(self)})"

    def __len__(self) -> int:
        """Return the number of objects."""
        return sum(map(len, self.shelves.values()))

    def get(self, key: Key) -> Object | None:
        """Return a stored object, None when the key is free."""
        shelf = self.shelves.get((key.api_group, key.kind, key.namespace))
        return None if shelf is None else shelf.get(key.name)

    def shelf(self, api_group: str, kind: str, namespace: str | None) -> Mapping[str, Object]:
        """Return the objects of a kind by name; namespace None holds cluster-scoped ones."""
        return self.shelves.get((api_group, kind, namespace), {})

    def objects(self) -> Iterator[Object]:
        """Yield every object, sorted by apiVersion, kind, namespace and name."""
        stored = (obj for shelf in self.shelves.values() for obj in shelf.values())
        return iter(sorted(stored, key=lambda obj: (obj["apiVersion"], obj["kind"], *_place(obj))))

    def at(self, now: datetime) -> Self:
        """Return the same world at another time."""
        return evolve(self, now=now)

    def changes(self, *, since: int = 0) -> tuple[StoreChange, ...]:
        """Return the changes after resourceVersion `since` that are not compacted, oldest first."""
        newer: list[StoreChange] = []
        for change in _changes(self._history):
            if change.resource_version <= since:
                break
            newer.append(change)
        return tuple(reversed(newer))

    @property
    def stamp(self) -> str:
        """The time as objects carry it."""
        return _stamp(self.now)

    @property
    def is_whole(self) -> bool:
        """Whether the world is a whole cluster: one that has the namespace `kube-system`.

        Any other world is a part of one: what it does not hold may exist all the same.
        """
        return "kube-system" in self.shelf("", "Namespace", None)

    def is_as_created(self, key: Key) -> bool:
        """Whether the last write of an object, as far as the history shows, created it."""
        stored = self.get(key)
        if stored is None:
            return False
        since = int(stored["metadata"]["resourceVersion"]) - 1
        newer = self.changes(since=since) if since >= self.compacted else ()
        return bool(newer) and newer[0].type == "ADDED" and newer[0].key == key

    def compact(self, upto: int) -> Self:
        """Forget the history up to resourceVersion `upto`, itself included (rows R2, R7)."""
        history: _History | None = None
        ledger = dict(self._ledger)
        for change in self.changes():
            if change.resource_version > upto:
                history = _History(change, history)
            elif change.type == "DELETED":
                ledger.pop(change.key, None)
            elif change.writer is not None:
                kept = ledger.get(change.key, ())[1 - _LEDGER_LIMIT :]
                ledger[change.key] = (*kept, change)
        return evolve(
            self,
            history=history,
            compacted=max(self.compacted, min(upto, self.resource_version)),
            ledger=ledger,
        )

    def written(self, key: Key) -> tuple[StoreChange, ...]:
        """Return the writes of an object that name their writer, oldest first.

        They begin with its creation, unless the object was loaded or has more than 256 writes.
        """
        newer: list[StoreChange] = []
        for change in _changes(self._history):
            if change.key == key:
                if change.type == "DELETED":
                    return tuple(reversed(newer))
                if change.writer is not None:
                    newer.append(change)
        return (*self._ledger.get(key, ()), *reversed(newer))

    def next_uid(self, key: Key, *, dry_run: bool) -> str:
        """Return the uid of an object created now.

        No two creations share key and resourceVersion. A dry run has uids of its own.
        """
        return uid_of(key, f"{self.resource_version + 1}{'?' if dry_run else ''}")

    def put(self, key: Key, obj: Object, writer: Writer | None = None) -> tuple[Self, Object]:
        """Store an object under a new resourceVersion; return it as it was stored."""
        previous = self.get(key)
        version = self.resource_version + 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
        change = StoreChange(
            "ADDED" if previous is None else "MODIFIED", key, stored, previous, version, writer
        )
        known = self.shelf(key.api_group, key.kind, key.namespace)
        shelf = with_object(known, key.name, stored)
        return self._next(shelf, change, self.departed), stored

    def remove(self, key: Key) -> Self:
        """Remove a stored object (row D4).

        The watch event shows it as stored, with the resourceVersion of the deletion.
        """
        known = self.shelf(key.api_group, key.kind, key.namespace)
        last = known[key.name]
        version = self.resource_version + 1
        tombstone = {**last, "metadata": {**last["metadata"], "resourceVersion": str(version)}}
        change = StoreChange("DELETED", key, tombstone, last, version)
        shelf = without_object(known, key.name)
        return self._next(shelf, change, self.departed | {last["metadata"]["uid"]})

    def _next(
        self, shelf: Mapping[str, Object], change: StoreChange, departed: frozenset[str]
    ) -> Self:
        # Every write passes here: `evolve` would cost four times as much.
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
            self._ledger,
        )


@lru_cache(maxsize=16)
def _stamp(now: datetime) -> str:
    return rfc3339(now)


def uid_of(key: Key, salt: str) -> str:
    """Return a uid in the form of a UUID that is a function of the key and a salt."""
    identity = "\0".join((key.api_group, key.kind, key.namespace or "", key.name, salt))
    digits = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]
