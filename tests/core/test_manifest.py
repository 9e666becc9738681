"""Objects as JSON: what the helpers read of them, and the one write that `difference` makes."""

import doctest
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_core import (
    ABSENT,
    JSON,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    ReconcileState,
    Refused,
    Unreadable,
    Write,
    _manifest,
    _refusals,
    _write,
    controller_reference,
    difference,
    is_controlled_by,
    is_deleting,
    outstanding,
    preconditions_of,
    ref_of,
    set_condition,
    with_finalizer,
    without_finalizer,
)
from captep_core._diff import without_nulls
from captep_core._not_kept import not_kept
from captep_core._objects import rfc3339
from captep_core.errors import DecisionError
from captep_memory import MemoryGateway, load
from tests.objects import manifest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
REF = ObjectRef("apps/v1", "StatefulSet", "team", "db")
BOSS: dict[str, Any] = manifest(ObjectRef("db.example.com/v1", "Database", "team", "db"))
BOSS["metadata"]["uid"] = "u-boss"
REFERENCE: dict[str, JSON] = {
    "apiVersion": "db.example.com/v1",
    "kind": "Database",
    "name": "db",
    "uid": "u-boss",
    "controller": True,
    "blockOwnerDeletion": True,
}
KEYS = {"spec.containers": "name", "spec.containers.ports": "name"}

_SCALARS = st.none() | st.booleans() | st.integers(-1, 1) | st.sampled_from(["", "a"])
_NAMES = st.sampled_from(["metadata", "name", "uid", "ownerReferences", "finalizers", "a"])
_JSON: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


def stored(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the StatefulSet as the server has it."""
    found: dict[str, Any] = manifest(REF)
    found["metadata"] |= {"uid": "u1", "resourceVersion": "7", **fields.pop("metadata", {})}
    return {**found, **fields}


@pytest.mark.parametrize("module", [_manifest, _refusals, _write])
def test_the_examples_of_the_docstrings_hold(module: Any) -> None:  # noqa: ANN401 - a module
    """Each module has some."""
    done = doctest.testmod(module)
    assert (done.failed, done.attempted > 0) == (0, True)


def test_the_name_of_an_object_is_the_reference_of_reads_and_actions() -> None:
    """A cluster-scoped object has no namespace."""
    node = ObjectRef("v1", "Node", None, "one")
    assert (ref_of(stored()), ref_of(manifest(node))) == (REF, node)


def test_a_controller_owns_this_incarnation_of_an_object_alone() -> None:
    """The uid decides: a namesake made later and an owner that was never stored control nothing."""
    child = stored(metadata={"ownerReferences": [controller_reference(BOSS)]})
    namesake = {**BOSS, "metadata": {**BOSS["metadata"], "uid": "u-other"}}
    nobody = {**BOSS, "metadata": {"name": "db"}}
    orphan = stored(metadata={"ownerReferences": [{**REFERENCE, "controller": False}]})
    assert controller_reference(BOSS) == REFERENCE
    assert is_controlled_by(child, BOSS)
    assert not any(is_controlled_by(child, each) for each in (namesake, nobody))
    assert not is_controlled_by(orphan, BOSS)
    assert not is_controlled_by(
        stored(metadata={"ownerReferences": [controller_reference(nobody)]}), nobody
    )


@pytest.mark.parametrize(
    ("held", "more", "less"),
    [
        (None, ["ours"], None),
        (["a", "ours", "b"], ["a", "ours", "b"], ["a", "b"]),
        (["a"], ["a", "ours"], ["a"]),
        (["ours"], ["ours"], []),
    ],
)
def test_a_finalizer_comes_and_goes_among_others(held: Any, more: Any, less: Any) -> None:  # noqa: ANN401
    """Those of others keep their order, and the object that is given stays as it is."""
    obj = stored(metadata={"finalizers": held} if held is not None else {})
    before = deepcopy(obj)
    assert with_finalizer(obj, "ours")["metadata"]["finalizers"] == more
    assert without_finalizer(obj, "ours")["metadata"].get("finalizers") == less
    assert obj == before


def test_a_finalizer_travels_in_one_bound_patch() -> None:
    """The list is replaced as a whole, so the write meets this version of it or nothing."""
    obj = stored(metadata={"finalizers": ["a"]}, spec={"big": True})
    patch = difference(with_finalizer(obj, "ours"), obj, "hold it")
    body: dict[str, JSON] = {"metadata": {"finalizers": ["a", "ours"]}}
    assert patch == Patch(REF, body, Preconditions("u1", "7"), "hold it")
    assert difference(without_finalizer(obj, "ours"), obj, "let go") is None


def test_an_object_says_whether_it_is_being_deleted_and_what_binds_a_write_to_it() -> None:
    """Both come from its metadata."""
    leaving = stored(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert (is_deleting(stored()), is_deleting(leaving)) == (False, True)
    assert preconditions_of(stored()) == Preconditions("u1", "7")
    assert preconditions_of({}) == Preconditions()


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    """Unknown fields and the conditions of others stay; observedGeneration follows the object."""
    other = {"type": "Other", "status": "True", "mine": 1}
    first = set_condition([other], "Ready", "False", "Waiting", now=NOW, generation=1)
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "Waiting",
        "message": "",
        "lastTransitionTime": rfc3339(NOW),
        "observedGeneration": 1,
    }
    assert first == [other, ready]
    held = [other, {**ready, "extra": 1}]
    second = set_condition(held, "Ready", "False", "Still", "since", now=LATER, generation=2)
    changed = {"reason": "Still", "message": "since", "observedGeneration": 2}
    assert second == [other, {**ready, "extra": 1, **changed}]
    third = set_condition(second, "Ready", "True", "Fine", now=LATER)
    assert third[1]["lastTransitionTime"] == rfc3339(LATER)
    assert set_condition(None, "Ready", "True", "Fine", now=NOW)[0]["status"] == "True"


def test_the_outstanding_refusals_are_those_of_wanted_writes() -> None:
    """In the order in which they were tried; bodies do not matter."""
    create = Create(REF, manifest(REF), "why")
    delete = Delete(REF, Preconditions(), "why")
    known = (
        Refused(Write("patch", REF), 422),
        Refused(Write("delete", REF), 403),
        Refused(Write("create", REF), 403),
    )
    assert outstanding(ReconcileState(known), [create, delete]) == known[1:]


@given(_JSON, _JSON)
def test_no_helper_raises_for_what_a_server_may_send(one: Any, other: Any) -> None:  # noqa: ANN401
    """Two objects with anything in the place of their metadata, owners, finalizers and conditions.

    Bounds: JSON of up to eight leaves under the names that the helpers read.
    """
    obj = {"apiVersion": one, "kind": "Toy", "metadata": other}
    before = deepcopy(obj)
    is_deleting(obj)
    preconditions_of(obj)
    is_controlled_by(obj, {"metadata": one})
    controller_reference(obj)
    with_finalizer(obj, "f")
    without_finalizer(obj, "f")
    set_condition(one, "Ready", "True", "Fine", now=NOW, generation=1)
    assert obj == before


def test_what_does_not_exist_is_created_whole() -> None:
    """Nulls ask for a field to go, so they are left out; a status is no part of a create."""
    desired = {**manifest(REF), "spec": {"a": None, "b": 1}, "status": {"x": 1}}
    assert difference(desired, ABSENT, "why") == Create(REF, manifest(REF, spec={"b": 1}), "why")
    assert difference(desired, ABSENT, "why", subresource="status") is None


def test_nothing_is_written_to_what_cannot_be_read() -> None:
    """Unreadable is not absent."""
    assert difference(manifest(REF, spec={"a": 1}), Unreadable("Timeout"), "why") is None


SPEC: dict[str, Any] = {
    "replicas": 1,
    "policy": "Default",
    "containers": [
        {"name": "sidecar", "image": "mesh:1"},
        {
            "name": "db",
            "image": "pg:1",
            "pullPolicy": "IfNotPresent",
            "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
        },
    ],
}


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        ({"replicas": 1, "containers": [{"name": "db", "image": "pg:1"}]}, None),
        ({"containers": [{"name": "db", "ports": [{"name": "sql", "port": 5432}]}]}, None),
        ({"replicas": 2}, {"replicas": 2}),
        ({"replicas": None, "absent": None}, {"replicas": None}),
        ({"template": {}, "data": {"old": {"a": None}}}, None),
        ({"policy": {}}, {"policy": {}}),
        (
            {"containers": [{"name": "sidecar", "volume": {}, "ports": [{"name": "x"}]}]},
            {
                "containers": [
                    {"name": "sidecar", "image": "mesh:1", "volume": {}, "ports": [{"name": "x"}]},
                    SPEC["containers"][1],
                ]
            },
        ),
        (
            {"containers": [{"name": "db", "image": "pg:2", "pullPolicy": None}]},
            {
                "containers": [
                    SPEC["containers"][0],
                    {"name": "db", "image": "pg:2", "ports": SPEC["containers"][1]["ports"]},
                ]
            },
        ),
        (
            {"containers": [{"name": "new", "a": None}]},
            {"containers": [*SPEC["containers"], {"name": "new"}]},
        ),
    ],
)
def test_a_patch_holds_the_owned_fields_that_differ(wanted: Any, body: Any) -> None:  # noqa: ANN401
    """Defaults of the server, other fields and the entries of others stay as they are."""
    desired = manifest(REF, spec=wanted)
    observed = stored(spec=SPEC)
    patch = difference(desired, observed, "why", keys=KEYS)
    if body is None:
        assert patch is None
        return
    version = "7" if "containers" in body else None
    assert patch == Patch(REF, {"spec": body}, Preconditions("u1", version), "why")


def test_a_list_without_a_key_is_owned_as_a_whole() -> None:
    """Its entries are compared exactly, and the patch replaces it."""
    wanted: list[JSON] = [{"name": "db", "image": "pg:1"}]
    patch = difference(manifest(REF, spec={"containers": wanted}), stored(spec=SPEC), "why")
    assert patch == Patch(REF, {"spec": {"containers": wanted}}, Preconditions("u1", "7"), "why")


@pytest.mark.parametrize("entries", [[{"image": "a"}], ["db"], [{"name": "a"}, {"name": "a"}]])
def test_an_entry_without_a_key_of_its_own_is_a_mistake(entries: list[JSON]) -> None:
    """It could not be found again, and would be added in every pass."""
    desired = manifest(REF, spec={"containers": entries})
    with pytest.raises(DecisionError, match=r"^spec\.containers: each entry needs a name of its"):
        difference(desired, stored(spec=SPEC), "why", keys=KEYS)


def test_entries_of_others_need_no_key() -> None:
    """They are what they are."""
    observed = stored(spec={"containers": ["odd", {"image": "x"}]})
    desired = manifest(REF, spec={"containers": [{"name": "db"}]})
    patch = difference(desired, observed, "why", keys=KEYS)
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"containers": ["odd", {"image": "x"}, {"name": "db"}]}}


def owned(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the StatefulSet as its owner wants it."""
    desired: dict[str, Any] = manifest(REF, **fields)
    desired["metadata"]["ownerReferences"] = [controller_reference(BOSS)]
    return desired


def test_an_orphan_is_adopted_and_other_owners_stay() -> None:
    """The reference of an owner has its uid as a key."""
    other = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u-node"}
    observed = stored(metadata={"ownerReferences": [other]}, spec={"a": 1})
    body: dict[str, Any] = {"metadata": {"ownerReferences": [other, REFERENCE]}}
    patch = difference(owned(spec={"a": 1}), observed, "adopt it")
    assert patch == Patch(REF, body, Preconditions("u1", "7"), "adopt it")


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": [{**REFERENCE, "uid": "u-other"}]},
        {"ownerReferences": [REFERENCE], "deletionTimestamp": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_dependent_out_of_reach_is_left_alone(metadata: Any) -> None:  # noqa: ANN401 - JSON
    """Another controller has it, or it is being deleted."""
    assert difference(owned(spec={"a": 2}), stored(metadata=metadata, spec={"a": 1}), "w") is None


def test_a_field_that_the_server_does_not_keep_is_not_wanted_again() -> None:
    """The answer to the first patch showed that the definition prunes it."""
    desired, observed = manifest(REF, spec={"pruned": 1, "kept": 1}), stored(spec={})
    patch = difference(desired, observed, "why")
    assert isinstance(patch, Patch)
    known = not_kept(patch, stored(spec={"kept": 1}))
    body: dict[str, JSON] = {"spec": {"kept": 1}}
    again = difference(desired, observed, "why", known=known)
    assert again == Patch(REF, body, Preconditions("u1"), "why")
    assert difference(desired, stored(spec={"kept": 1}), "why", known=known) is None


def test_a_status_is_a_write_of_its_own() -> None:
    """It is bound to the version, because the server compares no uid there."""
    observed = stored(spec={"a": 1}, status={"ready": False, "theirs": 1})
    desired = {**manifest(REF), "spec": {"a": 2}, "status": {"ready": True}}
    body: dict[str, JSON] = {"status": {"ready": True}}
    expected = Patch(REF, body, Preconditions("u1", "7"), "report", "status")
    assert difference(desired, observed, "report", subresource="status") == expected
    spec = Patch(REF, {"spec": {"a": 2}}, Preconditions("u1"), "why")
    assert difference(desired, observed, "why") == spec


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("kind", {**manifest(REF), "kind": "Deployment"}),
        ("metadata.name", manifest(ObjectRef("apps/v1", "StatefulSet", "team", "other"))),
        ("metadata.namespace", manifest(ObjectRef("apps/v1", "StatefulSet", "other", "db"))),
        ("metadata.name", {"apiVersion": "apps/v1", "kind": "StatefulSet"}),
    ],
)
def test_a_body_of_another_object_is_a_mistake(path: str, other: Any) -> None:  # noqa: ANN401
    """A create would make what nobody reads, and a difference would be that of two objects."""
    with pytest.raises(DecisionError, match=rf"^StatefulSet team/db: {path} of the body is "):
        Create(REF, other, "why")
    with pytest.raises(DecisionError, match=path):
        difference(manifest(REF), other, "why")


def test_a_body_of_another_version_is_no_body_for_a_create_alone() -> None:
    """The server may send an object in another version than the one that decisions speak."""
    other = {**stored(spec={"a": 1}), "apiVersion": "apps/v1beta2"}
    with pytest.raises(DecisionError, match="apiVersion of the body is 'apps/v1beta2', expected"):
        Create(REF, other, "why")
    assert difference(manifest(REF, spec={"a": 1}), other, "why") is None


def test_a_body_may_leave_the_namespace_to_the_target() -> None:
    """The server takes it from the URL."""
    body: dict[str, JSON] = {**manifest(REF), "metadata": {"name": "db"}}
    assert Create(REF, body, "why").body == body


_FIELDS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.integers(0, 1) | st.none(),
        lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        max_leaves=5,
    ),
    max_size=3,
)
_LISTED = st.fixed_dictionaries(
    {},
    optional={
        "list": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from("xyz")}, optional={"a": _FIELDS}),
            max_size=3,
            unique_by=lambda entry: str(entry["name"]),
        )
    },
)


@given(_FIELDS, _LISTED, _FIELDS, _LISTED)
def test_the_difference_makes_itself_go_away(
    fields: Any,  # noqa: ANN401 - JSON
    listed: Any,  # noqa: ANN401 - JSON
    others: Any,  # noqa: ANN401 - JSON
    held: Any,  # noqa: ANN401 - JSON
) -> None:
    """After the write there is no difference, and each field that nobody owns is as before.

    Bounds: specs of up to three fields and a list with a key of up to three entries, sent to the
    in-memory server.
    """
    ref = ObjectRef("example.org/v1", "Toy", "ns", "one")
    desired = manifest(ref, spec={**fields, **listed})
    spec = without_nulls({**others, **held})
    gateway = MemoryGateway(load([manifest(ref, spec=spec)], now=NOW))
    before: Any = gateway.read(ref)
    patch = difference(desired, before, "why", keys={"spec.list": "name"})
    if patch is not None:
        answer = gateway.send(patch)
        assert (answer.status, answer.changed) == (200, True)
    after: Any = gateway.read(ref)
    assert difference(desired, after, "why", keys={"spec.list": "name"}) is None
    unowned = before["spec"].keys() - {*fields, *listed}
    assert {name: after["spec"][name] for name in unowned} == {
        name: before["spec"][name] for name in unowned
    }
