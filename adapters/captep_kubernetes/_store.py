"""The known objects of one kind: a cache that never goes back in time. No I/O, no threads.

Rules of this module:

1. resourceVersions of one kind are ordered (KEP-5504). News that is not newer changes nothing.
2. News comes from lists, from watch events and from the answers to own writes, in any order. Older
   news never undoes newer news: an own write is seen at once and stays seen.
3. A deletion stays known as a tombstone: a late answer or event does not bring the object back.
4. A list at version V says nothing about an object that is known at a version after V.
5. A list is the truth. When its version is lower than the newest one known before the list was
   sent, the server went back in time (an etcd restored from a backup), and the cache goes back with
   it. Only news that came after that moment stays.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from attrs import evolve, field, frozen

from captep_core._actions import JSON, ObjectRef
from captep_kubernetes._listing import Listing
from captep_kubernetes._packing import Object, Packed, Packer, marshalled

__all__ = ["CacheChange", "Known", "Object", "Store", "is_newer", "is_version"]

# 2**64 has twenty; Python refuses to parse a number of 4,300 digits.
_MOST_DIGITS: Final = 20
# Late answers and events come within seconds; in that time nobody deletes more objects of a kind.
_TOMBSTONES = 4096


@frozen
class Known:
    """One cached object, with the uid and resourceVersion that order news about it.

    `essence`: a digest of what is worth a look; b"" where nothing says what that is.
    """

    uid: str
    resource_version: str
    packed: Packed
    digest: bytes = field(default=b"", eq=False, repr=False)
    essence: bytes = field(default=b"", eq=False, repr=False)

    @property
    def obj(self) -> Object:
        """The kept part of the object, a new copy each time."""
        obj = self.packed.unpacked()
        metadata = obj.get("metadata")
        if isinstance(metadata, dict) and "resourceVersion" in metadata:
            metadata["resourceVersion"] = self.resource_version
        return obj


@frozen
class CacheChange:
    """News of one object: what the cache knew `before` and knows `after`, None: no such object."""

    ref: ObjectRef
    before: Known | None
    after: Known | None

    @property
    def old(self) -> Object | None:
        """The object as it was, a new copy each time."""
        return None if self.before is None else self.before.obj

    @property
    def new(self) -> Object | None:
        """The object as it is, a new copy each time."""
        return None if self.after is None else self.after.obj


@frozen
class _Tombstone:
    uid: str
    resource_version: str


def is_newer(one: str, other: str) -> bool:
    """Whether resourceVersion `one` is after `other`.

    Versions that are no decimal numbers have no order: a different one counts as newer.
    """
    if not (is_version(one) and is_version(other)):
        return one != other
    return int(one) > int(other)


def is_version(text: str) -> bool:
    """Whether `text` is a resourceVersion as etcd counts them, at most 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


class Store:
    """The objects of one kind, by name.

    Args:
        project: applied to each object before the cache keeps it.
        essence: returns the part of a kept object whose change is worth a look; None for all of it.

    `changes` counts the changes that it took in. `get` may be called while another thread changes
    the store: an object that exists before and after the change is there all the time.
    """

    def __init__(
        self,
        project: Callable[[Object], Object],
        essence: Callable[[Object], Object] | None = None,
    ) -> None:
        self._project = project
        self._essence = essence
        self._packer = Packer()
        self._newest = "0"
        self._since_list: set[ObjectRef] | None = None
        self._newest_at_list = "0"
        self._known: dict[ObjectRef, Known] = {}
        self._gone: OrderedDict[ObjectRef, _Tombstone] = OrderedDict()
        self._listings: dict[str | None, Listing] = {}
        self.changes = 0

    def get(self, ref: ObjectRef) -> Known | None:
        """Return the cached object, None when `ref` is not known to exist."""
        return self._known.get(ref)

    def refs(self) -> tuple[ObjectRef, ...]:
        """Return the names of all objects that are known to exist."""
        return tuple(self._known)

    def objects(self, namespace: str | None) -> tuple[Object, ...]:
        """Return the kept parts of the objects of a namespace, None for all, in order of namespace
        and name.

        A state of an object is unpacked once, and later lists share it.
        """
        listing = self._listings.get(namespace)
        if listing is None:
            refs = (ref for ref in self._known if namespace in (None, ref.namespace))
            listing = self._listings[namespace] = Listing(refs)
        return listing.objects(lambda ref: self._known[ref].obj)

    def forget_lists(self) -> None:
        """Drop what `objects` keeps unpacked; the next list unpacks each object again."""
        self._listings.clear()

    def known(self, obj: Mapping[str, JSON]) -> Known:
        """Return what the cache would keep of an object."""
        return self._packed(obj, None)

    def put(self, ref: ObjectRef, obj: Mapping[str, JSON]) -> CacheChange | None:
        """Learn that `obj` exists; None when that is no news."""
        if not self._is_news(ref, *_identity(obj)):
            return None
        return self._put(ref, self._packed(obj, self._known.get(ref)))

    def remove(self, ref: ObjectRef, *, uid: str, resource_version: str = "") -> CacheChange | None:
        """Learn that the incarnation `uid` of `ref` is gone; None when that is no news.

        `resource_version` is that of the deletion, "" when the answer did not say.
        """
        known = self._known.get(ref)
        if (
            known is not None
            and known.uid != uid
            and not (resource_version and is_newer(resource_version, known.resource_version))
        ):
            return None
        self._bury(ref, uid, resource_version or (known.resource_version if known else ""))
        self._note(ref)
        self.advance(resource_version)
        if known is None:
            return None
        del self._known[ref]
        for listing in self._listings_of(ref):
            listing.remove(ref)
        self.changes += 1
        return CacheChange(ref, known, None)

    def advance(self, resource_version: str) -> None:
        """Learn that the server is at `resource_version` at least."""
        if is_version(resource_version) and is_newer(resource_version, self._newest):
            self._newest = resource_version

    def forget_versions(self) -> None:
        """Take every object from the next list, even one of the version that is known.

        An object has the same resourceVersion in each API version of its kind.
        """
        self._known = {
            ref: evolve(known, resource_version="0") for ref, known in self._known.items()
        }
        self.forget_lists()

    def begin_list(self) -> None:
        """Remember the moment at which a list is sent; `replace` ends it."""
        self._since_list = set()
        self._newest_at_list = self._newest

    def replace(
        self, objects: Iterable[tuple[ObjectRef, Known]], resource_version: str
    ) -> list[CacheChange]:
        """Learn that at `resource_version` exactly `objects` existed."""
        listed = dict(objects)
        learned, self._since_list = self._since_list or set(), None
        if is_version(resource_version) and is_newer(self._newest_at_list, resource_version):
            return self._go_back(listed, resource_version, frozenset(learned))
        self.advance(resource_version)
        changes = [
            self._put(ref, new)
            for ref, new in listed.items()
            if self._is_news(ref, new.uid, new.resource_version)
        ]
        for ref, known in [*self._known.items()]:
            if ref not in listed and not is_newer(known.resource_version, resource_version):
                gone = self.remove(ref, uid=known.uid, resource_version=resource_version)
                changes += [] if gone is None else [gone]
        return changes

    def _go_back(
        self,
        listed: Mapping[ObjectRef, Known],
        resource_version: str,
        kept: frozenset[ObjectRef],
    ) -> list[CacheChange]:
        """Replace all but `kept`, the objects that were learned after the list was sent.

        Each object is announced, although uid and version may be as before: after a restore the
        server gives the same versions to other contents.
        """
        self._newest = resource_version
        self._gone = OrderedDict((ref, gone) for ref, gone in self._gone.items() if ref in kept)
        changes = []
        for ref in {**self._known, **listed}:
            if ref in kept:
                continue
            before, after = self._known.get(ref), listed.get(ref)
            if after is not None:
                self._known[ref] = after
            elif before is not None:
                del self._known[ref]
            changes.append(CacheChange(ref, before, after))
        self.changes += 1
        self.forget_lists()
        for ref in kept & self._known.keys():
            self.advance(self._known[ref].resource_version)
        return changes

    def _listings_of(self, ref: ObjectRef) -> Iterator[Listing]:
        for namespace in {None, ref.namespace} & self._listings.keys():
            yield self._listings[namespace]

    def _note(self, ref: ObjectRef) -> None:
        """Remember what is learned while a list is on its way, and only then."""
        if self._since_list is not None:
            self._since_list.add(ref)

    def _packed(self, obj: Mapping[str, JSON], before: Known | None) -> Known:
        """Pack what is kept of an object; an equal one keeps its packed form, which is cheap."""
        uid, resource_version = _identity(obj)
        content = _without_version(self._project(dict(obj)))
        text = marshalled(content)
        digest = _digest(text)
        if before is not None and before.digest == digest:
            return Known(uid, resource_version, before.packed, digest, before.essence)
        essence = b"" if self._essence is None else _digest(marshalled(self._essence(content)))
        return Known(uid, resource_version, self._packer.pack(text), digest, essence)

    def _is_news(self, ref: ObjectRef, uid: str, resource_version: str) -> bool:
        known = self._known.get(ref)
        gone = self._gone.get(ref)
        if known is not None and not is_newer(resource_version, known.resource_version):
            return False
        return gone is None or (
            uid != gone.uid and is_newer(resource_version, gone.resource_version)
        )

    def _put(self, ref: ObjectRef, new: Known) -> CacheChange:
        known = self._known.get(ref)
        self._gone.pop(ref, None)
        self._known[ref] = new
        for listing in self._listings_of(ref):
            listing.put(ref)
        self.changes += 1
        self._note(ref)
        self.advance(new.resource_version)
        return CacheChange(ref, known, new)

    def _bury(self, ref: ObjectRef, uid: str, resource_version: str) -> None:
        before = self._gone.pop(ref, None)
        if before is not None and is_newer(before.resource_version or "0", resource_version):
            self._gone[ref] = _Tombstone(
                uid if not resource_version else before.uid, before.resource_version
            )
        else:
            self._gone[ref] = _Tombstone(uid, resource_version)
        while len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()


def _without_version(obj: Object) -> Object:
    """Blank the resourceVersion, which is kept apart: it changes when nothing else does."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "resourceVersion" not in metadata:
        return obj
    return {**obj, "metadata": {**metadata, "resourceVersion": ""}}


def _identity(obj: Mapping[str, JSON]) -> tuple[str, str]:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return "", ""
    return str(metadata.get("uid") or ""), str(metadata.get("resourceVersion") or "")
