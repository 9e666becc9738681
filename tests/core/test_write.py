"""The one builder of writes: from an object, as it should be and as observed, to the difference."""

import ast
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve, frozen

import captep_core
from captep_core import ABSENT, JSON, Create, ObjectRef, Patch, Preconditions, Unreadable
from captep_core._objects import Condition, ObjectMeta, Owner, OwnerReference
from captep_core._typed_json import as_json, exact_json
from captep_core._write import Desired, dependent, shared, status

TARGET = ObjectRef("example.com/v1", "Thing", "fleet", "tokyo")
OWNER_META = ObjectMeta("boss", "fleet", uid="u-boss")
BOSS = Owner("example.com/v1", "Boss", OWNER_META)
OWNER = BOSS.reference()
OURS: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Boss",
    "name": "boss",
    "uid": "u-boss",
    "controller": True,
    "blockOwnerDeletion": True,
}
THEIRS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Other",
    "name": "other",
    "uid": "u-other",
    "extra": 1,
}
OTHER = OwnerReference("v1", "Other", "other", "u-other", wire=THEIRS)


@frozen
class Place:
    """A nested part of a spec."""

    name: str = ""
    count: int = 0


@frozen
class Spec:
    """A spec with a field of every kind that the conversion knows."""

    colour: str = ""
    is_public: bool | None = None
    tags: tuple[str, ...] = ()
    first_place: Place = Place()
    raw: JSON = exact_json()  # noqa: RUF009 - an attrs field


@frozen
class Thing:
    """A dependent."""

    metadata: ObjectMeta
    spec: Spec = Spec()


@frozen
class LaterSpec(Spec):
    """The spec with a field that somebody added later, in the class alone."""

    added_field: str = ""


@frozen
class LaterThing:
    """A dependent of the later model."""

    metadata: ObjectMeta
    spec: LaterSpec = LaterSpec()


@frozen
class Status:
    """A status."""

    ready: bool | None = None
    phase: str = ""
    conditions: tuple[Condition, ...] = ()


def meta(
    *references: OwnerReference, deleted: str = "", labels: dict[str, str] | None = None
) -> ObjectMeta:
    """Metadata of the dependent, as observed."""
    return ObjectMeta(
        "tokyo",
        "fleet",
        uid="u1",
        resource_version="7",
        deletion_timestamp=deleted,
        owner_references=references,
        labels=labels or {},
    )


def wanted(
    spec: Spec = Spec("red"),
    labels: Mapping[str, str] = MappingProxyType({}),
    fixed: Mapping[str, JSON] = MappingProxyType({}),
) -> Desired:
    """Return the thing as it should be."""
    return Desired(TARGET, {"spec": spec}, "paint it", labels, fixed)


def write(desired: Desired, observed: Thing | LaterThing) -> Create | Patch | None:
    """Return the write that makes `observed` as desired."""
    return dependent(desired, observed, {"spec": observed.spec}, BOSS)


def test_an_absent_dependent_is_created_with_labels_fixed_fields_and_its_owner() -> None:
    """The body of a Create is the whole manifest."""
    desired = wanted(labels={"app": "x"}, fixed={"type": "T"})
    body: dict[str, Any] = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {
            "name": "tokyo",
            "namespace": "fleet",
            "labels": {"app": "x"},
            "ownerReferences": [OURS],
        },
        "type": "T",
        "spec": {"colour": "red", "firstPlace": {"count": 0}},
    }
    assert dependent(desired, ABSENT, {}, BOSS) == Create(TARGET, body, "paint it")


def test_a_cluster_scoped_dependent_without_labels_has_neither_in_its_manifest() -> None:
    """Empty equals absent in a Create too."""
    target = evolve(TARGET, namespace=None)
    made = dependent(Desired(target, {"data": {"a": b"1"}}, "why"), ABSENT, {}, BOSS)
    assert made == Create(
        target,
        {
            "apiVersion": "example.com/v1",
            "kind": "Thing",
            "metadata": {"name": "tokyo", "ownerReferences": [OURS]},
            "data": {"a": "MQ=="},
        },
        "why",
    )


@pytest.mark.parametrize(
    "observed",
    [
        Unreadable("Timeout"),
        Thing(meta(OWNER, deleted="2026-01-01T00:00:00Z")),
        Thing(meta(evolve(OWNER, uid="u-earlier"))),
        Thing(meta(OWNER), Spec("red")),
    ],
    ids=["unreadable", "terminating", "controlled by another", "as it should be"],
)
def test_nothing_is_written_to_a_dependent_out_of_reach_or_without_difference(
    observed: Thing | Unreadable,
) -> None:
    """A dependent is written only when it is ours or an orphan, and differs."""
    owned = {"spec": observed.spec} if isinstance(observed, Thing) else {}
    assert dependent(wanted(), observed, owned, BOSS) is None


def test_a_dependent_that_differs_is_patched_in_the_owned_fields_alone() -> None:
    """The patch is minimal and carries the uid; it replaces no list, so it carries no version."""
    observed = Thing(meta(OWNER), Spec("blue", is_public=True))
    patch = write(wanted(Spec("red", is_public=False)), observed)
    body: dict[str, Any] = {"spec": {"colour": "red", "isPublic": False}}
    assert patch == Patch(TARGET, body, Preconditions("u1"), "paint it: its spec differs")


def test_an_orphan_is_adopted_in_the_write_that_corrects_it() -> None:
    """References of others stay; the list is replaced, so the patch carries the version."""
    observed = Thing(meta(OTHER), Spec("blue"))
    patch = write(wanted(labels={"app": "x"}), observed)
    body: dict[str, Any] = {
        "metadata": {
            "ownerReferences": [THEIRS, OURS],
            "labels": {"app": "x"},
        },
        "spec": {"colour": "red"},
    }
    reason = "paint it: adopt it, its label is missing, its spec differs"
    assert patch == Patch(TARGET, body, Preconditions("u1", "7"), reason)


def test_a_list_that_is_removed_needs_the_version_too() -> None:
    """A null in the place of a list removes the entries of others as well."""
    observed = Thing(meta(OWNER), Spec("red", tags=("a",)))
    patch = write(wanted(), observed)
    assert patch == Patch(
        TARGET, {"spec": {"tags": None}}, Preconditions("u1", "7"), "paint it: its spec differs"
    )


def test_a_field_that_is_added_to_the_model_alone_is_compared_and_written() -> None:
    """Comparison and JSON follow the class: no second list of fields can forget one (defect D6)."""
    observed = LaterThing(meta(OWNER), LaterSpec("red"))
    patch = write(wanted(LaterSpec("red", added_field="new")), observed)
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"addedField": "new"}}


def test_fields_that_are_not_owned_are_never_part_of_a_patch() -> None:
    """`owned` names the fields: whatever else the object has stays out of the comparison."""
    observed = Thing(meta(OWNER, labels={"theirs": "1"}), Spec("red"))
    assert write(wanted(), observed) is None


def test_a_shared_object_is_written_whatever_its_owners_and_its_deletion() -> None:
    """The caller decides when a shared object is written; only a difference is needed."""
    leaving = meta(evolve(OWNER, uid="u-other"), deleted="2026-01-01T00:00:00Z")
    patch = shared(TARGET, leaving, {"spec": {"a": 1}}, {"spec": {"a": 2}}, "correct it")
    assert patch == Patch(TARGET, {"spec": {"a": 2}}, Preconditions("u1"), "correct it")


@pytest.mark.parametrize("desired", [{"spec": {"a": 1}}, {"spec": {"a": 1, "b": None}}])
def test_a_shared_object_without_a_difference_is_not_written(desired: dict[str, object]) -> None:
    """Equal values, and values that are equal as JSON, give no patch."""
    assert shared(TARGET, meta(), {"spec": {"a": 1}}, desired, "why") is None


def test_an_object_without_uid_and_version_is_patched_without_preconditions() -> None:
    """Objects from a file may have neither; the empty string is no precondition."""
    patch = shared(TARGET, ObjectMeta("tokyo"), {"a": None}, {"a": (1,)}, "why")
    assert patch == Patch(TARGET, {"a": [1]}, Preconditions(), "why")


def test_a_status_patch_carries_the_version_and_names_its_fields() -> None:
    """The API server does not compare the uid of a status write, so the version protects it."""
    patch = status(TARGET, meta(), Status(), Status(ready=False, phase="New"))
    body: dict[str, Any] = {"status": {"ready": False, "phase": "New"}}
    reason = "report: phase, ready"
    assert patch == Patch(TARGET, body, Preconditions("u1", "7"), reason, "status")


def test_a_status_without_a_difference_is_not_written() -> None:
    """Neither equal instances nor instances that are equal as JSON give a patch."""
    assert status(TARGET, meta(), Status(phase="New"), Status(phase="New")) is None
    assert status(TARGET, meta(), Spec(raw={"a": 1}), Spec(raw={"a": 1, "b": None})) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Spec(), {"firstPlace": {"count": 0}}),
        (
            Spec("red", is_public=False),
            {"colour": "red", "isPublic": False, "firstPlace": {"count": 0}},
        ),
        (Spec(raw={}), {"firstPlace": {"count": 0}, "raw": {}}),
        (Spec(raw={"a": None, "b": ""}), {"firstPlace": {"count": 0}, "raw": {"b": ""}}),
        (Condition("Ready", "True"), {"type": "Ready", "status": "True"}),
        (
            Condition("Ready", "True", wire={"type": "Ready", "reason": "Old", "theirs": 1}),
            {"type": "Ready", "status": "True", "reason": "", "theirs": 1},
        ),
        ({"a": "", "b": None, "c": (b"x", "y")}, {"a": "", "c": ["eA==", "y"]}),
    ],
)
def test_typed_values_become_json_by_the_fields_of_their_class(
    value: object, expected: JSON
) -> None:
    """Empty equals absent in a class of the model, and in a plain mapping only None does."""
    assert as_json(value) == expected


def test_exact_json_is_compared_as_json() -> None:
    """True is not 1 in JSON, though it is in Python."""
    assert Spec(raw={"a": True}) == Spec(raw={"a": True})
    assert Spec(raw={"a": True}) != Spec(raw={"a": 1})


def _constructed(path: Path) -> set[str]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)} & {"Create", "Patch"}


def test_no_other_module_of_the_core_constructs_a_create_or_a_patch() -> None:
    """Every write is a difference, by structure."""
    core = Path(captep_core.__file__).parent
    found = {path.name for path in core.rglob("*.py") if _constructed(path)}
    assert found == {"_write.py"}


def test_the_repr_of_a_desired_object_shows_no_field() -> None:
    """The fields may be those of a Secret."""
    desired = Desired(TARGET, {"data": {"value": b"canary"}}, "why", fixed={"type": "T"})
    assert repr(desired) == "Desired(Thing fleet/tokyo)"
