"""A part of a fleet: which keys a process owns when several share the work.

The rule is stable, so that any program in any language can compute it: take the SHA-256 of the
UTF-8 text NAMESPACE/NAME (/NAME for a cluster-scoped object), read its first eight bytes as a
big-endian number, and divide it by the number of shards: the remainder plus one is the shard.
Neither the API version nor the uid counts: an object that is created again stays where it was.
"""

import hashlib
import re
from typing import Final

from attrs import field, frozen

from captep_core._actions import ObjectRef

__all__ = ["Shard"]

_FORM: Final = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


@frozen
class Shard:
    """Shard `index` of `count`, from 1 to `count`; `Shard(1, 1)` is the whole fleet.

    Raises:
        ValueError: not 1 <= index <= count <= 9999.
    """

    index: int
    count: int = field()

    @count.validator
    def _is_in_range(self, _attribute: object, count: int) -> None:
        if not 1 <= self.index <= count <= 9999:
            raise ValueError(
                f"expected a shard I/N with I from 1 to N and N up to 9999,"
                f" found {self.index}/{count}"
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read I/N.

        Raises:
            ValueError: the text has another form, or I is above N.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(
                f"expected a shard I/N with I from 1 to N and N up to 9999, found {text!r}"
            )
        return cls(int(match[1]), int(match[2]))

    def owns(self, key: ObjectRef) -> bool:
        """Whether `key` is of this shard; see the rule of this module."""
        text = f"{key.namespace or ''}/{key.name}"
        digest = hashlib.sha256(text.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def lease_name(self, fleet: str) -> str:
        """Return the name of the shard's Lease; `fleet` is the name of the fleet's."""
        return fleet if self.count == 1 else f"{fleet}-shard-{self.index}"

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
