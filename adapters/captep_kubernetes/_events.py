"""Events: the same one again raises a count instead of making another, and nobody is flooded. No I/O."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from attrs import evolve, frozen

from captep_core import JSON, RecordEvent

_K = TypeVar("_K")
_V = TypeVar("_V")

__all__ = ["EventBook", "EventWrite"]

_COMPONENT = "captep"
_BURST = 25
_REFILL = timedelta(minutes=5)
_REMEMBERED = 4096
_LONGEST_MESSAGE = 1024
_LONGEST_NAME = 230


@frozen
class EventWrite:
    """The one request that records an Event: a POST of `body` when it is new, else a merge patch of the Event `name`."""

    namespace: str
    name: str
    is_new: bool
    body: Mapping[str, JSON]


@frozen
class _Recorded:
    name: str
    count: int


@frozen
class _Allowance:
    tokens: float
    at: datetime


class EventBook:
    """Which Events were recorded. The flood limit is client-go's: 25 for one object, then one in five minutes."""

    def __init__(self) -> None:
        self._recorded: OrderedDict[RecordEvent, _Recorded] = OrderedDict()
        self._allowances: OrderedDict[object, _Allowance] = OrderedDict()

    def write(self, record: RecordEvent, now: datetime) -> EventWrite | None:
        """Return the request that records `record` at `now`, None when its object has had too many."""
        if not self._spend((record.target, record.uid), now):
            return None
        before = self._recorded.pop(record, None)
        current = (
            evolve(before, count=before.count + 1) if before else _Recorded(_name(record, now), 1)
        )
        _remember(self._recorded, record, current)
        namespace = record.target.namespace or "default"
        body = _again(current, now) if before else _first(record, namespace, current.name, now)
        return EventWrite(namespace, current.name, before is None, body)

    def forget(self, record: RecordEvent) -> None:
        """The Event is gone (servers keep them for an hour): record it as a new one next time."""
        self._recorded.pop(record, None)

    def _spend(self, key: object, now: datetime) -> bool:
        before = self._allowances.pop(key, _Allowance(_BURST, now))
        tokens = min(_BURST, before.tokens + max(now - before.at, timedelta(0)) / _REFILL)
        _remember(self._allowances, key, _Allowance(tokens - 1 if tokens >= 1 else tokens, now))
        return tokens >= 1


def _remember(book: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    book[key] = value
    while len(book) > _REMEMBERED:
        book.popitem(last=False)


def _name(record: RecordEvent, now: datetime) -> str:
    told = repr(
        (record.target, record.uid, record.type, record.reason, record.message, now.timestamp())
    )
    return f"{record.target.name[:_LONGEST_NAME].rstrip('-.')}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _first(record: RecordEvent, namespace: str, name: str, now: datetime) -> dict[str, JSON]:
    target = record.target
    involved = {"apiVersion": target.api_version, "kind": target.kind, "name": target.name}
    optional = {"namespace": target.namespace, "uid": record.uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {**involved, **{key: value for key, value in optional.items() if value}},
        "type": record.type,
        "reason": record.reason,
        "message": record.message[:_LONGEST_MESSAGE],
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
        "reportingInstance": _COMPONENT,
        "firstTimestamp": _time(now),
        "lastTimestamp": _time(now),
        "count": 1,
    }


def _again(recorded: _Recorded, now: datetime) -> dict[str, JSON]:
    return {"count": recorded.count, "lastTimestamp": _time(now)}


def _time(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
