"""Objects of one kind, kept small: each as JSON deflated against a few others of its kind, which look much like it.

A parsed object takes ten times the memory of its text, and a fleet's objects differ in little but names: packed, one of 1.5 KB takes about
70 bytes, for some 10 microseconds each way. What is packed keeps the dictionary that it was packed against.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Final, TypeAlias

from attrs import frozen

from captep_core import JSON

__all__ = ["Object", "Packed", "Packer"]

Object: TypeAlias = dict[str, JSON]

_ROOM: Final = 1 << 14  # bytes of a dictionary: half of what deflate can look back
_RAW: Final = -zlib.MAX_WBITS  # neither header nor checksum
_POOR: Final = 4  # packed to more than a quarter, a text is unlike those of the dictionary


@frozen(eq=False, repr=False)
class Packed:
    """One object; equal to another that unpacks to the same. Its repr says nothing."""

    dictionary: bytes
    deflated: bytes

    def unpacked(self) -> Object:
        """Return the object, a new one each time."""
        obj: Object = json.loads(
            zlib.decompressobj(_RAW, self.dictionary).decompress(self.deflated)
        )
        return obj

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed) and self.unpacked() == other.unpacked()

    __hash__ = None  # type: ignore[assignment]  # equality is by content, which is not at hand


class Packer:
    """Packs objects of one kind; not to be used by two threads at once.

    The dictionary is made of the first texts that were unlike those before them, so it grows a few times and then stays.
    """

    def __init__(self) -> None:
        self._dictionary = b""
        self._empty = _packed(b"{}", b"")

    def pack(self, obj: Mapping[str, JSON]) -> Packed:
        """Pack one object."""
        if not obj:
            return self._empty
        text = json.dumps(obj, separators=(",", ":")).encode()
        packed = _packed(text, self._dictionary)
        if len(packed.deflated) * _POOR > len(text) and len(self._dictionary) + len(text) <= _ROOM:
            self._dictionary += text
        return packed


def _packed(text: bytes, dictionary: bytes) -> Packed:
    deflating = zlib.compressobj(wbits=_RAW, zdict=dictionary)
    return Packed(dictionary, deflating.compress(text) + deflating.flush())
