"""Objects of one kind, kept small at rest and quick to read while they change.

A parsed object takes ten times the memory of its text, and a fleet's objects differ in little but
their names. So an object at rest is JSON, deflated against a few objects of the same kind: one of
1.5 KB takes about 70 bytes, and an unpacking 13 microseconds. An object that has just changed will
be read and will change again, and packing it takes 45: until others have changed since, it stays in
the form of marshal, which takes 4 to write, 5 to read and serves as input of its digest too.
"""

import json
import marshal
import zlib
from collections import deque
from typing import Final, TypeAlias, cast
from weakref import ref

from captep_core._actions import JSON

__all__ = ["Object", "Packed", "Packer", "marshalled"]

Object: TypeAlias = dict[str, JSON]

# Bytes of a dictionary: half of the 32 KB that deflate can look back.
_ROOM: Final = 1 << 14
# Neither header nor checksum: both would be longer than many a packed object.
_RAW: Final = -zlib.MAX_WBITS
# A text that packs to more than a quarter is unlike those of the dictionary.
_POOR: Final = 4
# Bytes of the objects of one kind that changed last: a thousand small ones, a hundred large ones.
_FRESH: Final = 1 << 20


def marshalled(content: Object) -> bytes:
    """Return bytes that are equal for equal contents.

    Version 2 of marshal has no references, so equal objects have equal bytes; it takes a tenth of
    the time of JSON.
    """
    return marshal.dumps(content, 2)


_EMPTY: Final = marshalled({})


class Packed:
    """One object, equal to another that unpacks to the same; its repr shows no content."""

    __slots__ = ("__weakref__", "_deflated", "_dictionary", "_fresh")

    def __init__(self, text: bytes) -> None:
        """Keep an object as `marshalled` returned it."""
        self._fresh: bytes | None = text
        self._dictionary = b""
        self._deflated = b""

    @property
    def is_empty(self) -> bool:
        """Whether the object is `{}`."""
        return self._fresh == _EMPTY

    @property
    def size(self) -> int:
        """The bytes that it takes, without the dictionary."""
        text = self._fresh
        return len(self._deflated if text is None else text)

    @property
    def dictionary(self) -> bytes:
        """The texts that it was deflated against, which others share; b"" while it is fresh."""
        return self._dictionary

    def unpacked(self) -> Object:
        """Return the object, a new one each time."""
        # Another thread may deflate it meanwhile.
        text = self._fresh
        if text is not None:
            return cast("Object", marshal.loads(text))  # noqa: S302  # of this process's own making
        inflating = zlib.decompressobj(_RAW, self._dictionary)
        return cast("Object", json.loads(inflating.decompress(self._deflated)))

    def deflate(self, dictionary: bytes) -> bytes:
        """Deflate the object against a dictionary; returns its text."""
        text = json.dumps(self.unpacked(), separators=(",", ":")).encode()
        deflating = zlib.compressobj(wbits=_RAW, zdict=dictionary)
        self._dictionary = dictionary
        self._deflated = deflating.compress(text) + deflating.flush()
        self._fresh = None
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed) and self.unpacked() == other.unpacked()

    __hash__ = None  # type: ignore[assignment]  # equality is by content, which would have to be unpacked


class Packer:
    """Packs objects of one kind. Not safe to use from two threads at once.

    The dictionary holds the first texts that were unlike those before them: it grows a few times
    and then stays.

    `room`: the bytes of objects that stay as they are; the oldest beyond it are deflated.
    """

    def __init__(self, room: int = _FRESH) -> None:
        self._dictionary = b""
        self._empty = Packed(_EMPTY)
        self._room = room
        # Weak, because an object that changed again need not be deflated.
        self._fresh: deque[tuple[ref[Packed], int]] = deque()
        self._used = 0

    def pack(self, text: bytes) -> Packed:
        """Pack one object, given as `marshalled` returned it."""
        if text == _EMPTY:
            return self._empty
        packed = Packed(text)
        self._fresh.append((ref(packed), len(text)))
        self._used += len(text)
        while self._used > self._room:
            oldest, size = self._fresh.popleft()
            self._used -= size
            self._deflate(oldest())
        return packed

    def _deflate(self, packed: Packed | None) -> None:
        if packed is None:
            return
        text = packed.deflate(self._dictionary)
        if packed.size * _POOR > len(text) and len(self._dictionary) + len(text) <= _ROOM:
            self._dictionary += text
