"""The contents of objects that are fetched on demand, kept as the bytes of their JSON.

An object of a kind such as Secret is kept for as long as its version is current, and in bounded
number.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from captep_core._actions import JSON, ObjectRef
from captep_kubernetes._store import Object

__all__ = ["Payloads"]

# Four Secrets for each of a thousand control planes, a few kilobytes each.
_MOST: Final = 4096


class Payloads:
    """The latest contents, by object. Safe to use from many threads."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: OrderedDict[ObjectRef, tuple[tuple[str, str], bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, ref: ObjectRef, identity: tuple[str, str]) -> Object | None:
        """Return a new copy of an object with this uid and resourceVersion, None without one."""
        with self._lock:
            kept = self._kept.get(ref)
        if kept is None or kept[0] != identity:
            return None
        obj: Object = json.loads(kept[1])
        return obj

    def keep(self, ref: ObjectRef, identity: tuple[str, str], obj: Mapping[str, JSON]) -> None:
        """Keep an object with its uid and resourceVersion."""
        text = json.dumps(obj).encode()
        with self._lock:
            self._kept[ref] = (identity, text)
            self._kept.move_to_end(ref)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)

    def forget(self, ref: ObjectRef) -> None:
        """Drop an object that is gone."""
        with self._lock:
            self._kept.pop(ref, None)

    def refs(self) -> tuple[ObjectRef, ...]:
        """Return the objects that are kept, those that were kept longest first."""
        with self._lock:
            return tuple(self._kept)
