"""Which part of an object is kept, and which change of it wakes anybody."""

import pytest

from captep_core import JSON, ObjectRef
from captep_kubernetes import CacheChange, Object, content_changed, keeping
from captep_kubernetes._store import Store
from tests.kubernetes.changes import change

REF = ObjectRef("v1", "Thing", "ns", "a")


def thing(version: str, **fields: JSON) -> Object:
    """An object with bookkeeping that differs from version to version."""
    metadata: dict[str, JSON] = {
        "name": "a",
        "uid": "u",
        "resourceVersion": version,
        "generation": int(version),
        "managedFields": [version],
    }
    return {"metadata": metadata, **fields}


def test_bookkeeping_alone_wakes_nobody() -> None:
    """Another resourceVersion, generation and managedFields of an equal object are no reason to
    look.
    """
    assert not content_changed(change(REF, thing("1", spec={"a": 1}), thing("2", spec={"a": 1})))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, thing("1")),
        (thing("1"), None),
        (thing("1", spec={"a": 1}), thing("2", spec={"a": 2})),
        (thing("1"), thing("2", status={})),
        ({}, {}),
        ({"metadata": "unsound"}, {"metadata": "unsound too"}),
    ],
)
def test_every_other_change_wakes(old: Object | None, new: Object | None) -> None:
    """A new or gone object, another spec or status, each version of a kind kept by identity."""
    assert content_changed(change(REF, old, new))


def test_only_the_named_fields_are_kept() -> None:
    """Metadata without managedFields and kubectl's copy of the manifest, and the named fields, at
    any depth.
    """
    annotations: JSON = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "cluster.x-k8s.io/paused": "",
    }
    metadata: JSON = {"name": "a", "managedFields": [], "annotations": annotations}
    whole: Object = {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": metadata,
        "spec": {"a": {"b": 1, "c": 2}, "d": 3},
        "status": {"conditions": [1]},
        "data": 1,
    }
    assert keeping({"spec": {"a": {"b": None}}, "status": None})(whole) == {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": {"name": "a", "annotations": {"cluster.x-k8s.io/paused": ""}},
        "spec": {"a": {"b": 1}},
        "status": {"conditions": [1]},
    }


@pytest.mark.parametrize("spec", [None, "text", 5, [1], {"a": "text"}, {"a": None}])
def test_a_malformed_value_stays_malformed(spec: JSON) -> None:
    """A value that is no object stays as it is: without its fields it would look sound."""
    assert keeping({"spec": {"a": {"b": None}}})({"metadata": {}, "spec": spec}) == {
        "metadata": {},
        "spec": spec,
    }


@pytest.mark.parametrize(
    "metadata", [None, "text", [1], {"annotations": None}, {"annotations": "text"}]
)
def test_malformed_metadata_stays_as_it_is(metadata: JSON) -> None:
    """Nothing is left out of them."""
    assert keeping({})({"metadata": metadata, "spec": 1}) == {"metadata": metadata}


def conditions(*pairs: tuple[str, str]) -> JSON:
    """Return a status with these conditions."""
    listed: list[JSON] = [{"type": kind, "status": status} for kind, status in pairs]
    return {"conditions": listed}


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        (
            conditions(("Ours", "True"), ("B", "True")),
            conditions(("Ours", "True"), ("B", "False")),
            False,
        ),
        (conditions(("Ours", "True"), ("B", "True")), conditions(("Ours", "True")), False),
        (
            conditions(("Ours", "True"), ("B", "True")),
            conditions(("Ours", "False"), ("B", "True")),
            True,
        ),
        (conditions(("Ours", "True")), conditions(), True),
        ({"conditions": [5]}, {"conditions": [{"type": 5}]}, False),
        ({"conditions": "a"}, {"conditions": "b"}, True),
        ("a", "b", True),
    ],
)
def test_a_condition_that_no_decision_reads_wakes_nobody(
    before: JSON, after: JSON, counts: bool
) -> None:
    """Neighbours that fight over a condition of theirs must not wake us at each of their writes."""
    news = change(REF, thing("1", status=before), thing("2", status=after))
    assert content_changed(news, ("Ours",)) is counts
    assert content_changed(news)


def test_an_equal_content_wakes_nobody_without_being_unpacked() -> None:
    """The digests say so; a kind of which nothing is kept wakes at every version."""
    store = Store(dict)
    for content, counts in ((thing("1", spec={"a": 1}), False), ({}, True)):
        known = store.known(content)
        assert content_changed(CacheChange(REF, known, known)) is counts
