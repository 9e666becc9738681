"""Fields that a server does not keep: the answer shows them, and later writes leave them out."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from captep_core import JSON, Create, ObjectRef, Patch, Preconditions
from captep_core._not_kept import digest_of, leaves, not_kept, without_not_kept
from captep_core._observation import NotKept

REF = ObjectRef("example.org/v1", "Toy", "fleet", "tokyo")


def patch(body: dict[str, JSON], subresource: str | None = None) -> Patch:
    """Return a patch of the toy."""
    return Patch(REF, body, Preconditions("u1"), "because", subresource)


def answer(fields: dict[str, Any], uid: str = "u1", generation: int = 2) -> dict[str, JSON]:
    """Return the toy on the server."""
    metadata = {**fields.get("metadata", {}), "uid": uid, "generation": generation}
    return {**fields, "metadata": metadata}


def paths(action: Create | Patch, found: dict[str, JSON]) -> list[str]:
    """Return the fields that the server did not keep, dotted."""
    return [".".join(record.path) for record in not_kept(action, found)]


@pytest.mark.parametrize(
    ("wanted", "found", "dropped"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {}, ["spec.a"]),
        ({"a": 1}, {"a": 2}, ["spec.a"]),
        ({"a": True}, {"a": 1}, ["spec.a"]),
        ({"a": {"b": "x", "c": "y"}}, {"a": {"b": "x"}}, ["spec.a.c"]),
        ({"a": {"b": "x"}}, {"a": "x"}, ["spec.a.b"]),
        ({"a": None}, {}, []),
        ({"a": None}, {"a": "x"}, ["spec.a"]),
        ({"a": "", "b": [], "c": {}, "d": False, "e": 0}, {}, []),
        ({"a": [1, 2]}, {"a": [1, 2]}, []),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["spec.a"]),
        ({"a": [1]}, {"a": [1, 2]}, ["spec.a"]),
        ({"a": [{"name": "x"}]}, {"a": [{"name": "x", "protocol": "TCP"}]}, []),
        ({"a": [{"name": "x", "gone": 1}]}, {"a": [{"name": "x"}]}, ["spec.a"]),
        ({"a": "2026-01-01T00:00:00.5Z"}, {"a": "2026-01-01T00:00:00Z"}, ["spec.a"]),
        ({"a": "2026-01-01T01:00:00+01:00"}, {"a": "2026-01-01T00:00:00Z"}, []),
    ],
)
def test_the_answer_shows_the_fields_that_the_server_does_not_keep(
    wanted: dict[str, JSON], found: dict[str, JSON], dropped: list[str]
) -> None:
    """Defaults, empty values and other spellings of a time are no loss."""
    assert paths(patch({"spec": wanted}), answer({"spec": found})) == dropped


def test_a_create_names_the_object_and_no_uid() -> None:
    """The next incarnation has another uid; names, kind and stringData are not compared."""
    body: dict[str, JSON] = {
        "apiVersion": "example.org/v1",
        "kind": "Toy",
        "metadata": {"name": "tokyo", "namespace": "fleet", "labels": {"a": "b"}},
        "stringData": {"token": "x"},
        "type": "mine",
    }
    found = answer({"type": "Opaque", "metadata": {"labels": {"a": "b"}}}, generation=0)
    (record,) = not_kept(Create(REF, body, "because"), found)
    assert record == NotKept(REF, None, ("type",), digest_of("mine"), digest_of("Opaque"))
    assert str(record) == "type of Toy fleet/tokyo"


def dropping(
    body: dict[str, JSON],
    observed: dict[str, JSON],
    record: NotKept,
    **options: Any,  # noqa: ANN401
) -> dict[str, JSON]:
    """Drop what the record says from the body of a patch."""
    known = {"target": REF, "uid": "u1", "generation": 2, **options}
    return without_not_kept(body, observed, [record], **known)


PRUNED = patch({"spec": {"pruned": {"x": 1}, "kept": 1}})
(RECORD,) = not_kept(PRUNED, answer({"spec": {"kept": 1}}))


def test_a_field_that_is_not_kept_is_not_wanted_again() -> None:
    """The rest of the patch stays; nothing remains of a patch without another field."""
    assert dropping({"spec": {"pruned": {"x": 1}, "kept": 2}}, {"spec": {"kept": 1}}, RECORD) == {
        "spec": {"kept": 2}
    }
    assert dropping({"spec": {"pruned": {"x": 1}}}, {"spec": {"kept": 1}}, RECORD) == {}


@pytest.mark.parametrize(
    ("body", "observed", "options"),
    [
        ({"spec": {"pruned": {"x": 2}}}, {}, {}),
        ({"spec": {"pruned": {"x": 1}}}, {"spec": {"pruned": {"x": 3}}}, {}),
        ({"spec": {"pruned": {"x": 1}}}, {}, {"generation": 3}),
        ({"spec": {"pruned": {"x": 1}}}, {}, {"uid": "u2"}),
        ({"spec": {"pruned": {"x": 1}}}, {}, {"subresource": "status"}),
        ({"spec": {"pruned": {"x": 1}}}, {}, {"target": evolve(REF, name="osaka")}),
    ],
    ids=["wanted value", "observed value", "generation", "uid", "subresource", "object"],
)
def test_a_change_makes_the_field_wanted_again(
    body: dict[str, JSON], observed: dict[str, JSON], options: dict[str, Any]
) -> None:
    """Each part of the record counts."""
    assert dropping(body, observed, RECORD, **options) == body


def test_an_altered_field_is_not_wanted_while_it_stays_as_altered() -> None:
    """A webhook that sets a value keeps it; a person who changes it is another matter."""
    (record,) = not_kept(patch({"spec": {"size": 3}}), answer({"spec": {"size": 5}}))
    body: dict[str, JSON] = {"spec": {"size": 3}}
    assert dropping(body, {"spec": {"size": 5}}, record) == {}
    assert dropping(body, {"spec": {"size": 4}}, record) == body


def test_times_do_not_make_another_wanted_value() -> None:
    """A condition that is set again has another lastTransitionTime."""

    def condition(at: str) -> dict[str, JSON]:
        return {"status": {"conditions": [{"type": "Ready", "lastTransitionTime": at}]}}

    first, second = condition("2026-01-01T00:00:00Z"), condition("2026-01-02T00:00:00Z")
    (record,) = not_kept(patch(first, "status"), answer({}))
    assert dropping(second, {}, record, subresource="status") == {}


def test_records_hold_no_values() -> None:
    """Neither the repr nor the text of a record shows anything of a Secret."""
    (record,) = not_kept(patch({"data": {"token": "canary"}}), answer({"data": {"token": "other"}}))
    assert "canary" not in repr(record)
    assert record.wanted not in repr(record)
    assert str(record) == "data.token of Toy fleet/tokyo"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=6,
)
BODIES = st.dictionaries(st.sampled_from("abc"), VALUES)


@given(body=BODIES, found=BODIES)
def test_every_field_that_is_not_kept_is_dropped_from_the_same_write(
    body: dict[str, JSON], found: dict[str, JSON]
) -> None:
    """The write repeated on what the server made of it holds exactly the fields that it kept."""
    server: dict[str, JSON] = {**found, "metadata": {"uid": "u1"}}
    records = not_kept(patch(body), server)
    again = without_not_kept(body, found, records, target=REF, uid="u1", generation=0)
    dropped = {record.path for record in records}
    assert dict(leaves(again)) == {
        path: value for path, value in leaves(body) if path not in dropped
    }
