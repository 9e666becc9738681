"""Events: aggregated, limited, and with names that the API server takes."""

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from captep_core import ObjectRef, RecordEvent
from captep_kubernetes._events import EventBook, EventWrite

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = RecordEvent(ObjectRef("v1", "Secret", "ns", "one"), "Normal", "Ready", "m", "u")


def test_a_flood_is_cut_to_25_and_then_one_in_five_minutes() -> None:
    """Thirty at once: 25 get through; after five minutes one more; another object is not concerned."""
    book = EventBook()
    writes = [book.write(evolve(RECORD, message=str(number)), NOW) for number in range(30)]
    assert [write is not None for write in writes] == [True] * 25 + [False] * 5
    later = NOW + timedelta(minutes=5)
    assert [
        book.write(evolve(RECORD, message=f"later {number}"), later) is not None
        for number in range(2)
    ] == [True, False]
    assert book.write(evolve(RECORD, uid="other"), later) is not None


def test_a_clock_that_goes_back_refills_nothing() -> None:
    """The wall clock may be set."""
    book = EventBook()
    for number in range(25):
        book.write(evolve(RECORD, message=str(number)), NOW)
    assert book.write(RECORD, NOW - timedelta(days=1)) is None


def test_a_forgotten_event_is_new_again() -> None:
    """With another name, since the old one may still be there."""
    book = EventBook()
    first = book.write(RECORD, NOW)
    book.forget(RECORD)
    again = book.write(RECORD, NOW + timedelta(seconds=1))
    assert isinstance(first, EventWrite)
    assert isinstance(again, EventWrite)
    assert (first.is_new, again.is_new, first.name == again.name) == (True, True, False)


def test_names_and_messages_stay_within_bounds() -> None:
    """A name of 253 characters, a dot where it is cut, a message without end; a cluster-scoped object's Event is in `default`."""
    target = ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, "a" * 229 + "." + "b" * 23)
    write = EventBook().write(RecordEvent(target, "Warning", "Failed", "m" * 5000, None), NOW)
    assert write is not None
    assert (write.namespace, write.name[:230]) == ("default", "a" * 229 + ".")
    assert len(write.name) <= 253
    assert ".." not in write.name
    assert write.body["message"] == "m" * 1024
    assert write.body["involvedObject"] == {
        "apiVersion": "tf.upbound.io/v1beta1",
        "kind": "Workspace",
        "name": target.name,
    }


def test_each_event_has_a_name_of_its_own() -> None:
    """What differs in the object, its incarnation, the type, the reason, the message or the time is another Event."""
    there = ObjectRef("v1", "Secret", "elsewhere", "one")
    others = [
        evolve(RECORD, target=there),
        evolve(RECORD, uid="v"),
        evolve(RECORD, type="Warning"),
        evolve(RECORD, reason="Failed"),
        evolve(RECORD, message="other"),
    ]
    writes = [EventBook().write(record, NOW) for record in (RECORD, *others)]
    writes.append(EventBook().write(RECORD, NOW + timedelta(seconds=1)))
    assert len({write.name for write in writes if write is not None}) == 7


def test_what_is_remembered_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more Events, and of more objects, than are remembered those that were last used stay."""
    monkeypatch.setattr("captep_kubernetes._events._REMEMBERED", 2)
    book, records = (
        EventBook(),
        [evolve(RECORD, target=ObjectRef("v1", "Secret", "ns", name)) for name in "abc"],
    )

    def is_new(number: int) -> bool:
        write = book.write(records[number], NOW)
        assert write is not None
        return write.is_new

    assert [is_new(number) for number in (0, 1, 0, 2, 0, 1)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]
    assert (list(book._recorded), list(book._allowances)) == (
        [records[0], records[1]],
        [(record.target, "u") for record in records[:2]],
    )
