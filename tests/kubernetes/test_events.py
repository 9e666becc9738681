"""Events: aggregated, limited, and with names that the API server takes."""

from datetime import UTC, datetime, timedelta

from attrs import evolve

from captep_core import ObjectRef, Preconditions, Record
from captep_kubernetes._events import EventBook, EventWrite

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = Record(ObjectRef("v1", "Secret", "ns", "one"), "Normal", "Ready", "m", Preconditions("u"))


def test_a_flood_is_cut_to_25_and_then_one_in_five_minutes() -> None:
    """Thirty at once: 25 get through; after five minutes one more; another object is not concerned."""
    book = EventBook()
    writes = [book.write(evolve(RECORD, message=str(number)), NOW) for number in range(30)]
    assert [write is not None for write in writes] == [True] * 25 + [False] * 5
    later = NOW + timedelta(minutes=5)
    assert [book.write(evolve(RECORD, message=f"later {number}"), later) is not None for number in range(2)] == [True, False]
    assert book.write(evolve(RECORD, preconditions=Preconditions("other")), later) is not None


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
    write = EventBook().write(Record(target, "Warning", "Failed", "m" * 5000, Preconditions()), NOW)
    assert write is not None
    assert (write.namespace, write.name[:230]) == ("default", "a" * 229 + ".")
    assert len(write.name) <= 253
    assert ".." not in write.name
    assert write.body["message"] == "m" * 1024
    assert write.body["involvedObject"] == {"apiVersion": "tf.upbound.io/v1beta1", "kind": "Workspace", "name": target.name}
