"""Which key read which object, in which version: an index, and the gateway that fills it."""

import threading
from collections.abc import Callable, Collection
from typing import TypeAlias

from attrs import frozen

from captep_core._actions import JSON, Action, ObjectRef
from captep_core._observation import Observed, Unreadable
from captep_core.ports import Answer, Gateway, ReadsLive

__all__ = ["ReadIndex", "ReadSet", "TrackingGateway", "Version"]

Version: TypeAlias = Callable[[ObjectRef], str | None]
"""The version of an object: different after every change, None while the object does not exist.

A loop asks for it under its lock, so the function must return at once.
"""


@frozen
class ReadSet:
    """The objects that one pass read, and the version that each had before the pass read it."""

    refs: tuple[ObjectRef, ...]
    versions: tuple[str | None, ...]

    def is_unchanged(self, version: Version) -> bool:
        """Whether every object still has its version."""
        pairs = zip(self.refs, self.versions, strict=True)
        return all(version(ref) == before for ref, before in pairs)


class ReadIndex:
    """The keys by the objects that they read; safe for several threads.

    A loop keeps it for every key, so it is lean: it keeps one of equal references, and since most
    objects have one reader, all objects of a reader share one frozenset.
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
                self._readers[ref] = self._sole_reader(key)
            elif isinstance(readers, set):
                readers.add(key)
            else:
                self._readers[ref] = {*readers, key}
            self._read[key] = (*self._read.get(key, ()), ref)

    def keep_only(self, key: ObjectRef, refs: Collection[ObjectRef]) -> tuple[ObjectRef, ...]:
        """Forget what `key` read in earlier passes but not in the last one, which read `refs`.

        Return `refs` as the index keeps them: the first of equal references.
        """
        with self._lock:
            known = {ref: ref for ref in self._read.pop(key, ())}
            for ref in known:
                if ref not in refs:
                    self._drop(key, ref)
            kept = tuple(known[ref] for ref in refs if ref in known)
            if kept:
                self._read[key] = kept
            return kept

    def _sole_reader(self, key: ObjectRef) -> frozenset[ObjectRef]:
        """Return the set of `key` alone, shared with an object that `key` has read already."""
        for ref in self._read.get(key, ()):
            shared = self._readers[ref]
            return shared if isinstance(shared, frozenset) else frozenset((key,))
        return frozenset((key,))

    def _drop(self, key: ObjectRef, ref: ObjectRef) -> None:
        readers = self._readers[ref]
        if len(readers) == 1:
            del self._readers[ref]
        elif isinstance(readers, set):
            readers.discard(key)


class TrackingGateway:
    """A gateway for one pass over one key: it notes each object before the read."""

    def __init__(
        self, gateway: Gateway, index: ReadIndex, key: ObjectRef, version: Version | None
    ) -> None:
        self._gateway = gateway
        self._index = index
        self._key = key
        self._version = version
        self._versions: dict[ObjectRef, str | None] = {}
        self._has_unknown_version = version is None

    def settle(self) -> ReadSet | None:
        """End the pass: the index keeps of the key what this pass read, and nothing else.

        Return that with its versions. Return None when they are unknown: an object that cannot be
        read may change without a new version.
        """
        refs = self._index.keep_only(self._key, self._versions)
        if self._has_unknown_version:
            return None
        return ReadSet(refs, tuple(self._versions.values()))

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Note `ref`, then look it up."""
        if ref not in self._versions:
            self._index.note(self._key, ref)
            self._versions[ref] = None if self._version is None else self._version(ref)
        found = self._gateway.read(ref)
        if isinstance(found, Unreadable):
            self._has_unknown_version = True
        return found

    def read_live(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Ask the server itself; `decide` does not see it, so the index need not know."""
        gateway = self._gateway
        return gateway.read_live(ref) if isinstance(gateway, ReadsLive) else gateway.read(ref)

    def send(self, action: Action) -> Answer:
        """Pass `action` on."""
        return self._gateway.send(action)
