"""Which Events are recorded: repeated ones are counted, floods are cut."""

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from captep_core import ObjectRef, RecordEvent
from captep_kubernetes._events import EventBook

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = RecordEvent(ObjectRef("v1", "Secret", "ns", "one"), "Normal", "Ready", "m", "u")


def test_a_flood_is_cut_to_25_and_then_one_in_five_minutes() -> None:
    """25 of thirty pass at once, one more after five minutes; another object has its own 25."""
    book = EventBook()
    events = [book.record(evolve(RECORD, message=str(number)), NOW) for number in range(30)]
    assert [event is not None for event in events] == [True] * 25 + [False] * 5
    later = NOW + timedelta(minutes=5)
    assert [
        book.record(evolve(RECORD, message=f"later {number}"), later) is not None
        for number in range(2)
    ] == [True, False]
    assert book.record(evolve(RECORD, uid="other"), later) is not None


def test_a_clock_that_goes_back_refills_nothing() -> None:
    """An administrator may set the wall clock."""
    book = EventBook()
    for number in range(25):
        book.record(evolve(RECORD, message=str(number)), NOW)
    assert book.record(RECORD, NOW - timedelta(days=1)) is None


def test_a_repeated_event_keeps_its_name_and_raises_its_count() -> None:
    """The time of a repetition does not matter."""
    book = EventBook()
    first, again = (book.record(RECORD, NOW + timedelta(hours=hour)) for hour in range(2))
    assert first is not None
    assert again == evolve(first, count=2)


def test_a_forgotten_event_gets_another_name() -> None:
    """The old Event may still exist on the server."""
    book = EventBook()
    first = book.record(RECORD, NOW)
    book.forget(RECORD)
    again = book.record(RECORD, NOW + timedelta(seconds=1))
    assert first is not None
    assert again is not None
    assert (first.count, again.count, first.name == again.name) == (1, 1, False)


def test_two_processes_name_the_same_event_differently() -> None:
    """A restarted process does not meet the Event of the one before: 409 would lose it."""
    names = {
        event.name
        for second in range(2)
        if (event := EventBook().record(RECORD, NOW + timedelta(seconds=second))) is not None
    }
    assert len(names) == 2


def test_the_book_forgets_what_was_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more Events and objects than it remembers, the book keeps those used last."""
    monkeypatch.setattr("captep_kubernetes._events._REMEMBERED", 2)
    book = EventBook()
    records = [evolve(RECORD, target=ObjectRef("v1", "Secret", "ns", name)) for name in "abc"]

    def is_new(number: int) -> bool:
        event = book.record(records[number], NOW)
        assert event is not None
        return event.count == 1

    news = [is_new(number) for number in (0, 1, 0, 2, 0, 1)]
    assert news == [True, True, False, True, False, True]
    assert list(book._recorded) == [records[0], records[1]]
    assert list(book._allowances) == [(record.target, "u") for record in records[:2]]
