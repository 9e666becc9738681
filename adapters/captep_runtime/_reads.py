"""Which key looked at which object, in which version: an index, and the gateway that fills it."""

import threading
from collections.abc import Callable, Collection
from typing import TypeAlias

from attrs import frozen

from captep_core import JSON, Action, ObjectRef, Observed, Unreadable
from captep_core.ports import Answer, Gateway

__all__ = ["ReadIndex", "ReadSet", "TrackingGateway", "Version"]

Version: TypeAlias = Callable[[ObjectRef], str | None]
"""The version of an object, the same for as long as the object does not change, None while it does not exist. Must return at once."""


@frozen
class ReadSet:
    """What one pass read: the objects, and of each the version that was there before it was read."""

    refs: tuple[ObjectRef, ...]
    versions: tuple[str | None, ...]

    def is_still_so(self, version: Version) -> bool:
        """Whether nothing of it has changed."""
        return all(
            version(ref) == before for ref, before in zip(self.refs, self.versions, strict=True)
        )


class ReadIndex:
    """The keys by the objects that they read. Safe to be used by several threads.

    It is lean, since it is kept for every key: of equal references it keeps one, and of most objects, which have one reader, the readers
    are one frozenset for all objects of that reader.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: dict[ObjectRef, frozenset[ObjectRef] | set[ObjectRef]] = {}
        self._read: dict[ObjectRef, tuple[ObjectRef, ...]] = {}

    def readers(self, ref: ObjectRef) -> tuple[ObjectRef, ...]:
        """Return the keys that read `ref`, sorted."""
        with self._lock:
            return tuple(sorted(self._readers.get(ref, ()), key=str))

    def note(self, key: ObjectRef, ref: ObjectRef) -> None:
        """Note that `key` is about to read `ref`."""
        with self._lock:
            readers = self._readers.get(ref)
            if readers is not None and key in readers:
                return
            if readers is None:
                self._readers[ref] = self._alone(key)
            elif isinstance(readers, set):
                readers.add(key)
            else:
                self._readers[ref] = {*readers, key}
            self._read[key] = (*self._read.get(key, ()), ref)

    def keep_only(self, key: ObjectRef, refs: Collection[ObjectRef]) -> tuple[ObjectRef, ...]:
        """Forget what `key` read in earlier passes but not in the last one, which read `refs`; return those, as they are kept."""
        with self._lock:
            known = {ref: ref for ref in self._read.pop(key, ())}
            for ref in known:
                if ref not in refs:
                    self._drop(key, ref)
            kept = tuple(known[ref] for ref in refs if ref in known)
            if kept:
                self._read[key] = kept
            return kept

    def _alone(self, key: ObjectRef) -> frozenset[ObjectRef]:
        shared = next((self._readers[ref] for ref in self._read.get(key, ())), None)
        return shared if isinstance(shared, frozenset) else frozenset((key,))

    def _drop(self, key: ObjectRef, ref: ObjectRef) -> None:
        readers = self._readers[ref]
        if len(readers) == 1:
            del self._readers[ref]
        elif isinstance(readers, set):
            readers.discard(key)


class TrackingGateway:
    """A gateway for one pass over one key: it notes each object before it is read, lest a change in between is missed."""

    def __init__(
        self, gateway: Gateway, index: ReadIndex, key: ObjectRef, version: Version | None
    ) -> None:
        self._gateway, self._index, self._key, self._version = gateway, index, key, version
        self._versions: dict[ObjectRef, str | None] = {}
        self._is_uncertain = version is None

    def settle(self) -> ReadSet | None:
        """End the pass: nothing else is noted of the key than what it read.

        Return that in its versions, None when they cannot be told: of what is unreadable, nobody knows whether it changes.
        """
        refs = self._index.keep_only(self._key, self._versions)
        return None if self._is_uncertain else ReadSet(refs, tuple(self._versions.values()))

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Note `ref`, then look it up."""
        if ref not in self._versions:
            self._index.note(self._key, ref)
            self._versions[ref] = None if self._version is None else self._version(ref)
        found = self._gateway.read(ref)
        self._is_uncertain |= isinstance(found, Unreadable)
        return found

    def send(self, action: Action) -> Answer:
        """Pass `action` on."""
        return self._gateway.send(action)
