"""Which key read which object or list, in which version: an index and the gateway that fills it."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

from attrs import evolve

from captep_core._actions import JSON, Action, ObjectRef
from captep_core._observation import Listed, Observed, Selection
from captep_core._remembered import ReadSet, Recorder
from captep_core.ports import Answer, Gateway, Read, Reads, ReadsLive, as_read

__all__ = [
    "ListVersion",
    "Manifests",
    "ReadIndex",
    "TrackingGateway",
    "Version",
]

Version: TypeAlias = Callable[[ObjectRef], str | None]
"""The version of an object: different after every change, None while the object does not exist.

A loop asks for it under its lock, so the function must return at once.
"""
ListVersion: TypeAlias = Callable[[Selection], str | None]
"""The version of a list: different after each change that a list shows, None where it is unknown.

A loop asks for it under its lock, so the function must return at once.
"""
Manifests: TypeAlias = Callable[[], Iterable[Mapping[str, JSON]]]
"""The object before and after a change, as far as each exists; asked for only where a key lists
its kind by labels.
"""
_Shelf: TypeAlias = tuple[str, str, str | None]


def _shelf_of(selection: Selection) -> _Shelf:
    return selection.api_version, selection.kind, selection.namespace


class ReadIndex:
    """The keys by the objects that they read; safe for several threads.

    A loop keeps it for every key, so it is lean: it keeps one of equal references, and since most
    objects have one reader, all objects of a reader share one frozenset.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: dict[ObjectRef, frozenset[ObjectRef] | set[ObjectRef]] = {}
        self._read: dict[ObjectRef, tuple[ObjectRef, ...]] = {}
        self._listers: dict[_Shelf, dict[Selection, frozenset[ObjectRef]]] = {}
        self._lists: dict[ObjectRef, tuple[Selection, ...]] = {}

    def readers(self, ref: ObjectRef, manifests: Manifests | None = None) -> set[ObjectRef]:
        """Return the keys that read `ref`, or a list that `ref` is, was or becomes part of.

        Without `manifests`, every list of its kind and namespace counts.
        """
        with self._lock:
            readers = {*self._readers.get(ref, ())}
            listers = [
                lister
                for namespace in {None, ref.namespace}
                for lister in self._listers.get((ref.api_version, ref.kind, namespace), {}).items()
            ]
        shown = None
        if manifests is not None and any(selection.labels for selection, _ in listers):
            shown = tuple(manifests())
        for selection, keys in listers:
            if shown is None or any(map(selection.fits, shown)):
                readers |= keys
        return readers

    def note_list(self, key: ObjectRef, selection: Selection) -> None:
        """Note that `key` is about to read a list."""
        with self._lock:
            shelf = self._listers.setdefault(_shelf_of(selection), {})
            readers = shelf.get(selection, frozenset())
            if key not in readers:
                shelf[selection] = readers | {key}
                self._lists[key] = (*self._lists.get(key, ()), selection)

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

    def keep_only(
        self,
        key: ObjectRef,
        refs: Collection[ObjectRef],
        lists: Collection[Selection] = (),
    ) -> tuple[ObjectRef, ...]:
        """Forget what `key` read in earlier passes but not in the last one, which read `refs` and
        `lists`.

        Return `refs` as the index keeps them: the first of equal references.
        """
        with self._lock:
            self._keep_lists(key, lists)
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

    def _keep_lists(self, key: ObjectRef, lists: Collection[Selection]) -> None:
        known = self._lists.pop(key, ())
        for selection in known:
            if selection not in lists:
                self._drop_list(key, selection)
        kept = tuple(selection for selection in known if selection in lists)
        if kept:
            self._lists[key] = kept

    def _drop_list(self, key: ObjectRef, selection: Selection) -> None:
        shelf = self._listers[_shelf_of(selection)]
        left = shelf.pop(selection) - {key}
        if left:
            shelf[selection] = left
        elif not shelf:
            del self._listers[_shelf_of(selection)]

    def _drop(self, key: ObjectRef, ref: ObjectRef) -> None:
        readers = self._readers[ref]
        if len(readers) == 1:
            del self._readers[ref]
        elif isinstance(readers, set):
            readers.discard(key)


class TrackingGateway:
    """A gateway for one pass over one key: it notes each object and each list before the read."""

    def __init__(
        self,
        gateway: Gateway,
        index: ReadIndex,
        key: ObjectRef,
        version: Version | None,
        list_version: ListVersion | None = None,
    ) -> None:
        self._gateway = gateway
        self._tracking = _Tracking(as_read(gateway.read), index, key, version, list_version)

    @property
    def read(self) -> Read:
        """Note an object or a list, then look it up."""
        return Reads(self._tracking.get, self._tracking.find)

    def settle(self) -> ReadSet | None:
        """End the pass: the index keeps of the key what this pass read, and nothing else.

        Return that with its versions. Return None when they are unknown: an object that cannot be
        read may change without a new version.
        """
        return self._tracking.settle()

    def read_live(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Ask the server itself; `decide` does not see it, so the index need not know."""
        gateway = self._gateway
        return gateway.read_live(ref) if isinstance(gateway, ReadsLive) else gateway.read(ref)

    def send(self, action: Action) -> Answer:
        """Pass `action` on."""
        return self._gateway.send(action)


class _Tracking:
    """What one pass has read so far."""

    def __init__(
        self,
        read: Read,
        index: ReadIndex,
        key: ObjectRef,
        version: Version | None,
        list_version: ListVersion | None,
    ) -> None:
        self._index = index
        self._key = key
        self._has_versions = version is not None
        self._recorder = Recorder(read, version, list_version)

    def get(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        if ref not in self._recorder.versions:
            self._index.note(self._key, ref)
        return self._recorder.get(ref)

    def find(self, selection: Selection) -> Listed:
        if selection not in self._recorder.lists:
            self._index.note_list(self._key, selection)
        return self._recorder.find(selection)

    def settle(self) -> ReadSet | None:
        recorder = self._recorder
        refs = self._index.keep_only(self._key, recorder.versions, recorder.lists)
        seen = recorder.seen() if self._has_versions else None
        # With the references of the index, a fleet at rest keeps each of them once.
        return None if seen is None else evolve(seen, refs=refs)
