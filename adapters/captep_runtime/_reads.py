"""Which key looked at which object, in which version: an index, and the gateway that fills it."""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from captep_core import JSON, Action, ObjectRef, Observed, Unreadable
from captep_core.ports import Answer, Gateway

__all__ = ["NotingGateway", "ReadIndex", "Seen", "Version"]

Version: TypeAlias = Callable[[ObjectRef], str | None]
"""The version of an object, the same for as long as the object does not change, None while it does not exist. Must return at once."""


@frozen
class Seen:
    """What one pass read: the objects, and of each the version that was there before it was read."""

    refs: tuple[ObjectRef, ...]
    versions: tuple[str | None, ...]

    def is_still_so(self, version: Version) -> bool:
        """Whether nothing of it has changed."""
        return all(version(ref) == before for ref, before in zip(self.refs, self.versions, strict=True))


class ReadIndex:
    """The keys by the objects that they read. Safe to be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Most objects have one reader: all those of one key share one frozenset, which is a third of the memory of the index.
        self._readers: dict[ObjectRef, frozenset[ObjectRef] | set[ObjectRef]] = {}
        self._read: defaultdict[ObjectRef, set[ObjectRef]] = defaultdict(set)

    def readers(self, ref: ObjectRef) -> tuple[ObjectRef, ...]:
        """Return the keys that read `ref`, sorted."""
        with self._lock:
            return tuple(sorted(self._readers.get(ref, ()), key=str))

    def note(self, key: ObjectRef, ref: ObjectRef) -> None:
        """Note that `key` is about to read `ref`."""
        with self._lock:
            if ref in self._read[key]:
                return
            self._read[key].add(ref)
            readers = self._readers.get(ref)
            if readers is None:
                self._readers[ref] = self._alone(key)
            elif isinstance(readers, set):
                readers.add(key)
            else:
                self._readers[ref] = {*readers, key}

    def keep_only(self, key: ObjectRef, refs: set[ObjectRef]) -> None:
        """Forget what `key` read in earlier passes but not in the last one, which read `refs`."""
        with self._lock:
            for ref in self._read.pop(key, set()) - refs:
                readers = self._readers[ref] - {key}
                if readers:
                    self._readers[ref] = set(readers)
                else:
                    del self._readers[ref]
            if refs:
                self._read[key] = set(refs)

    def _alone(self, key: ObjectRef) -> frozenset[ObjectRef]:
        shared = next((self._readers[ref] for ref in self._read[key] if ref in self._readers), None)
        return shared if isinstance(shared, frozenset) else frozenset((key,))


class NotingGateway:
    """A gateway for one pass over one key: it notes each object before it is read, lest a change in between is missed."""

    def __init__(self, gateway: Gateway, index: ReadIndex, key: ObjectRef, version: Version | None) -> None:
        self._gateway, self._index, self._key, self._version = gateway, index, key, version
        self._versions: dict[ObjectRef, str | None] = {}
        self._is_uncertain = version is None

    @property
    def read_refs(self) -> set[ObjectRef]:
        """What was read."""
        return set(self._versions)

    @property
    def seen(self) -> Seen | None:
        """What was read, in its versions; None when that cannot be told: of what is unreadable, nobody knows whether it changes."""
        return None if self._is_uncertain else Seen(tuple(self._versions), tuple(self._versions.values()))

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Note `ref`, then look it up."""
        self._index.note(self._key, ref)
        if ref not in self._versions:
            self._versions[ref] = None if self._version is None else self._version(ref)
        found = self._gateway.read(ref)
        self._is_uncertain |= isinstance(found, Unreadable)
        return found

    def send(self, action: Action) -> Answer:
        """Pass `action` on."""
        return self._gateway.send(action)
