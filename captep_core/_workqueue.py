"""When is which key due: a work queue without clock, threads or sleep.

Rules of this module:

1. `now` is always an argument: seconds of any clock that does not go back.
2. A key waits at most once, and the earliest deadline wins; keys that are due come in the order of
   their deadlines.
3. A key never runs twice at once: what is added while it runs waits for the end of the run, and is
   not lost.
4. A run ends in `done` (which forgets earlier failures) or in `failed` (which comes back after an
   exponential backoff).
"""

import hashlib
import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from attrs import field, frozen
from attrs.validators import gt

__all__ = ["Backoff", "WorkQueue", "jittered"]

K = TypeVar("K", bound=Hashable)


@frozen
class Backoff:
    """How long to stay away after failures in a row: `base` seconds, doubled with each further one,
    never above `cap` seconds.
    """

    base: float = field(default=0.5, validator=gt(0))
    cap: float = field(default=300.0, validator=gt(0))

    def after(self, failures: int) -> float:
        """Return the seconds to wait after that many failures in a row (1 or more)."""
        if failures < 1:
            raise ValueError(f"failures must be 1 or more, not {failures}")
        # Beyond 2**64 every cap is reached; a shift without bound would overflow the float.
        return min(self.cap, self.base * (1 << min(failures - 1, 64)))


def jittered(delay: float, key: str, *, fraction: float = 0.1) -> float:
    """Return `delay` or up to `fraction` of it later, never earlier: an interval is a promise not
    to come back before.

    The same key gets the same share in every process, so that many keys that started together
    spread out and a run can be repeated.
    """
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return delay * (1 + fraction * int.from_bytes(digest) / 2**32)


class WorkQueue(Generic[K]):
    """Keys and when each is due. `len()` is the number of keys that wait, those of a running key's
    further runs included.
    """

    def __init__(self, backoff: Backoff = Backoff()) -> None:
        self._backoff = backoff
        self._due_at: dict[K, float] = {}
        self._running: set[K] = set()
        self._dismissed: set[K] = set()
        self._failures: dict[K, int] = {}
        # Entries are not removed when an earlier deadline wins or a key is forgotten: they are
        # stale once they disagree with _due_at.
        self._heap: list[tuple[float, int, K]] = []
        self._entries: dict[K, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._due_at)

    def __contains__(self, key: K) -> bool:
        return key in self._due_at or key in self._running

    def add(self, key: K, *, now: float, delay: float = 0.0) -> None:
        """Make `key` due `delay` seconds from now, unless it is due earlier anyway."""
        due_at = now + max(delay, 0.0)
        if key in self._due_at and self._due_at[key] <= due_at:
            return
        self._due_at[key] = due_at
        if key not in self._running:
            self._push(key)

    def pop(self, *, now: float) -> K | None:
        """Return the key that has been due the longest, now running; None when none is due."""
        due_at = self.next_wakeup()
        if due_at is None or due_at > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due_at[key], self._entries[key]
        self._running.add(key)
        return key

    def done(self, key: K, *, now: float, requeue_after: float | None = None) -> None:
        """End the run of `key`; it is due again after `requeue_after` seconds, or earlier if it was
        added while it ran.

        Raises:
            ValueError: `key` is not running.
        """
        self._failures.pop(key, None)
        self._end(key, now=now, requeue_after=requeue_after)

    def failed(self, key: K, *, now: float) -> float:
        """End the run of `key` as failed and return the backoff in seconds; it is due again then,
        or earlier if it was added meanwhile.

        Raises:
            ValueError: `key` is not running.
        """
        failures = self._failures.get(key, 0) + 1
        wait = self._backoff.after(failures)
        if key not in self._dismissed:
            self._failures[key] = failures
        self._end(key, now=now, requeue_after=wait)
        return wait

    def forget(self, key: K) -> None:
        """Drop `key` and what is known of it. A run that is under way ends without coming back,
        unless `key` is added again.
        """
        self._due_at.pop(key, None)
        self._entries.pop(key, None)
        self._failures.pop(key, None)
        if key in self._running:
            self._dismissed.add(key)

    def next_wakeup(self) -> float | None:
        """Return when the next key that does not run is due, in the past when it is overdue; None
        when none waits.
        """
        while self._heap and self._entries.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def depth(self, *, now: float) -> int:
        """Return how many keys are due and not running; it looks at every key."""
        return sum(
            due_at <= now and key not in self._running for key, due_at in self._due_at.items()
        )

    def _push(self, key: K) -> None:
        self._count += 1
        self._entries[key] = self._count
        heapq.heappush(self._heap, (self._due_at[key], self._count, key))

    def _end(self, key: K, *, now: float, requeue_after: float | None) -> None:
        if key not in self._running:
            raise ValueError(f"{key} is not running")
        dismissed = key in self._dismissed
        self._dismissed.discard(key)
        if requeue_after is not None and not dismissed:
            self.add(key, now=now, delay=requeue_after)
        self._running.discard(key)
        if key in self._due_at:
            self._push(key)
