"""Which key looked at which object: an index, and the gateway that fills it."""

import threading
from collections import defaultdict

from captep_core import JSON, Action, ObjectRef, Observed
from captep_core.ports import Answer, Gateway

__all__ = ["NotingGateway", "ReadIndex"]


class ReadIndex:
    """The keys by the objects that they read. Safe to be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: defaultdict[ObjectRef, set[ObjectRef]] = defaultdict(set)
        self._read: defaultdict[ObjectRef, set[ObjectRef]] = defaultdict(set)

    def readers(self, ref: ObjectRef) -> tuple[ObjectRef, ...]:
        """Return the keys that read `ref`, sorted."""
        with self._lock:
            return tuple(sorted(self._readers.get(ref, ()), key=str))

    def note(self, key: ObjectRef, ref: ObjectRef) -> None:
        """Note that `key` is about to read `ref`."""
        with self._lock:
            self._readers[ref].add(key)
            self._read[key].add(ref)

    def keep_only(self, key: ObjectRef, refs: set[ObjectRef]) -> None:
        """Forget what `key` read in earlier passes but not in the last one, which read `refs`."""
        with self._lock:
            for ref in self._read.pop(key, set()) - refs:
                self._readers[ref].discard(key)
                if not self._readers[ref]:
                    del self._readers[ref]
            if refs:
                self._read[key] = set(refs)


class NotingGateway:
    """A gateway for one pass over one key: it notes each object before it is read, lest a change in between is missed."""

    def __init__(self, gateway: Gateway, index: ReadIndex, key: ObjectRef) -> None:
        self._gateway, self._index, self._key = gateway, index, key
        self.read_refs: set[ObjectRef] = set()

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Note `ref`, then look it up."""
        self.read_refs.add(ref)
        self._index.note(self._key, ref)
        return self._gateway.read(ref)

    def send(self, action: Action) -> Answer:
        """Pass `action` on."""
        return self._gateway.send(action)
