"""Objects that exist although the selectors of a watch do not show them.

A create that is refused because its name is taken is the only sign. Without this memory the object
would be absent to each decision, and the create would be refused for ever.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from captep_core._actions import ObjectRef

__all__ = ["HiddenObjects"]

_SECONDS: Final = 10.0
"""A decision that waits for an object looks again as often; no request comes sooner."""
_MOST: Final = 4096
"""An object that drops out is found again by the next refused create."""


class HiddenObjects:
    """The suspects, and when each was looked up. Safe to use from many threads.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at: OrderedDict[ObjectRef, float] = OrderedDict()

    def suspect(self, ref: ObjectRef) -> None:
        """Remember an object whose name is taken; it is due at once."""
        with self._lock:
            self._looked_at.setdefault(ref, float("-inf"))
            self._looked_at.move_to_end(ref)
            while len(self._looked_at) > _MOST:
                self._looked_at.popitem(last=False)

    def is_suspect(self, ref: ObjectRef) -> bool:
        """Whether a create of this name was refused."""
        return ref in self._looked_at

    def is_due(self, ref: ObjectRef) -> bool:
        """Whether to look the object up now; the answer is True once in ten seconds."""
        with self._lock:
            now = self._clock()
            is_due = now >= self._looked_at.get(ref, now) + _SECONDS
            if is_due:
                self._looked_at[ref] = now
            return is_due

    def forget(self, ref: ObjectRef) -> None:
        """Forget an object that does not exist any more."""
        with self._lock:
            self._looked_at.pop(ref, None)
