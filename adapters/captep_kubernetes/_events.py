"""Which Events were recorded: a repeated one raises a count, no object floods the server."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final, TypeVar

from attrs import evolve, frozen

from captep_core._actions import RecordEvent
from captep_core._request import RecordedEvent, event_name

__all__ = ["EventBook"]

_K = TypeVar("_K")
_V = TypeVar("_V")

# client-go's spam filter (EventSourceObjectSpamFilter): 25 at once for one object, then one in five
# minutes.
_BURST: Final = 25
_REFILL: Final = timedelta(minutes=5)
# client-go's LRU cache size (maxLruCacheEntries): bounds the memory, and an Event that drops out of
# it is merely recorded as a new one.
_REMEMBERED: Final = 4096


@frozen
class _Allowance:
    tokens: float
    at: datetime


class EventBook:
    """The Events that this process recorded. Not safe to use from two threads at once."""

    def __init__(self) -> None:
        self._recorded: OrderedDict[RecordEvent, RecordedEvent] = OrderedDict()
        self._allowances: OrderedDict[object, _Allowance] = OrderedDict()

    def record(self, record: RecordEvent, now: datetime) -> RecordedEvent | None:
        """Return the Event to write for `record`, None when its object has had too many."""
        if not self._spend((record.target, record.uid), now):
            return None
        before = self._recorded.pop(record, None)
        if before is None:
            # Another process may have recorded the same within the hour that servers keep Events.
            current = RecordedEvent(event_name(record, series=now.isoformat()))
        else:
            current = evolve(before, count=before.count + 1)
        _remember(self._recorded, record, current)
        return current

    def forget(self, record: RecordEvent) -> None:
        """Record `record` as a new Event next time; servers delete Events after an hour."""
        self._recorded.pop(record, None)

    def _spend(self, key: object, now: datetime) -> bool:
        before = self._allowances.pop(key, _Allowance(_BURST, now))
        # A clock that goes back refills nothing.
        elapsed = max(now - before.at, timedelta(0))
        tokens = min(_BURST, before.tokens + elapsed / _REFILL)
        is_allowed = tokens >= 1
        _remember(self._allowances, key, _Allowance(tokens - 1 if is_allowed else tokens, now))
        return is_allowed


def _remember(book: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    book[key] = value
    while len(book) > _REMEMBERED:
        book.popitem(last=False)
