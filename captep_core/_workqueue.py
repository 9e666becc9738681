"""When is which key due: a work queue without clock, threads or sleep.

Rules of this module:

1. `now` is always an argument: seconds of any clock that does not go back.
2. A key waits at most once, and the earliest deadline wins. Due keys come in the order of their
   deadlines.
3. A key never runs twice at once: the queue serves an `add` during a run after the run, and loses
   none.
4. A run ends in `done`, which forgets earlier failures, or in `failed`, which makes the key due
   after an exponential backoff.
"""

import heapq
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

from attrs import field, frozen
from attrs.validators import gt

__all__ = ["Backoff", "WorkQueue", "jittered"]

K = TypeVar("K", bound=Hashable)


@frozen
class Backoff:
    """The seconds to wait after failures in a row: `base`, doubled by each further one up to `cap`.

    The defaults see a short outage through and leave a broken key at most twelve passes an hour.
    """

    base: float = field(default=0.5, validator=gt(0))
    cap: float = field(default=300.0, validator=gt(0))

    def after(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row, 1 or more."""
        if failures < 1:
            raise ValueError(f"failures must be 1 or more, not {failures}")
        # 2**64 times any base is above every cap; a larger factor would overflow the float.
        return min(self.cap, self.base * (1 << min(failures - 1, 64)))


def jittered(delay: float, key: str, *, fraction: float = 0.1) -> float:
    """Lengthen `delay` by up to `fraction` of it, and never shorten it.

    The share depends on `key` alone: keys that started together spread out, and a run can be
    repeated.
    """
    import hashlib  # noqa: PLC0415 - OpenSSL takes as long to load as the whole kit

    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return delay * (1 + fraction * int.from_bytes(digest) / 2**32)


class WorkQueue(Generic[K]):
    """Keys and when each is due; `len()` counts all keys that wait, for a further run too."""

    def __init__(self, backoff: Backoff = Backoff()) -> None:
        self._backoff = backoff
        self._due_at: dict[K, float] = {}
        self._running: set[K] = set()
        self._forgotten: set[K] = set()
        self._failures: dict[K, int] = {}
        # An entry is stale unless `_entries` has its number. Removing it at once would cost a
        # search of the heap at each earlier deadline; `next_wakeup` drops it when it reaches the
        # top.
        self._heap: list[tuple[float, int, K]] = []
        self._entries: dict[K, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._due_at)

    def __contains__(self, key: K) -> bool:
        return key in self._due_at or key in self._running

    def is_due(self, key: K, *, now: float) -> bool:
        """Whether `key` waits and is due, so that an `add` would change nothing."""
        return self._due_at.get(key, math.inf) <= now

    def add(self, key: K, *, now: float, delay: float = 0.0) -> None:
        """Make `key` due `delay` seconds from now, unless it is due earlier anyway."""
        due_at = now + max(delay, 0.0)
        if key in self._due_at and self._due_at[key] <= due_at:
            return
        self._due_at[key] = due_at
        if key not in self._running:
            self._push(key)

    def pop(self, *, now: float) -> K | None:
        """Start a run of the key that has been due the longest; None when no key is due."""
        due_at = self.next_wakeup()
        if due_at is None or due_at > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due_at[key]
        del self._entries[key]
        self._running.add(key)
        return key

    def done(self, key: K, *, now: float, requeue_after: float | None = None) -> None:
        """End the run of `key`; it is due after `requeue_after` seconds, or earlier by an `add`.

        Raises:
            ValueError: `key` is not running.
        """
        self._require_running(key)
        self._failures.pop(key, None)
        self._end(key, now=now, requeue_after=requeue_after)

    def failed(self, key: K, *, now: float) -> float:
        """End the run of `key` as failed; return the seconds after which it is due again.

        Raises:
            ValueError: `key` is not running.
        """
        self._require_running(key)
        failures = self._failures.get(key, 0) + 1
        wait = self._backoff.after(failures)
        if key not in self._forgotten:
            self._failures[key] = failures
        self._end(key, now=now, requeue_after=wait)
        return wait

    def forget(self, key: K) -> None:
        """Drop `key` and its failures. A run under way ends without making it due again."""
        self._due_at.pop(key, None)
        self._entries.pop(key, None)
        self._failures.pop(key, None)
        if key in self._running:
            self._forgotten.add(key)

    def next_wakeup(self) -> float | None:
        """Return when the next key is due, perhaps in the past; None when no key waits."""
        while self._heap:
            due_at, number, key = self._heap[0]
            if self._entries.get(key) == number:
                return due_at
            heapq.heappop(self._heap)
        return None

    def depth(self, *, now: float) -> int:
        """Return how many keys are due and not running, at the cost of a look at every key."""
        return sum(
            due_at <= now and key not in self._running for key, due_at in self._due_at.items()
        )

    def _push(self, key: K) -> None:
        self._count += 1
        self._entries[key] = self._count
        heapq.heappush(self._heap, (self._due_at[key], self._count, key))

    def _require_running(self, key: K) -> None:
        if key not in self._running:
            raise ValueError(f"{key} is not running")

    def _end(self, key: K, *, now: float, requeue_after: float | None) -> None:
        forgotten = key in self._forgotten
        self._forgotten.discard(key)
        if requeue_after is not None and not forgotten:
            self.add(key, now=now, delay=requeue_after)
        self._running.discard(key)
        if key in self._due_at:
            self._push(key)
