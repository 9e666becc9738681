"""Owners, finalizers, conditions: one implementation each."""

from datetime import UTC, datetime

import pytest
from attrs import evolve

from captep_core._objects import (
    Condition,
    ObjectMeta,
    Owner,
    OwnerReference,
    controller_of,
    find_condition,
    foreign_controller,
    is_controlled_by,
    is_foreign,
    with_condition,
    with_controller,
    with_finalizer,
    without_finalizer,
)

NOW = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
STAMP = "2026-01-01T09:30:00Z"
OWNER = Owner("v1", "Boss", ObjectMeta("boss", uid="u-boss"))
BOSS = OwnerReference("v1", "Boss", "boss", "u-boss", controller=True)
PLAIN = OwnerReference("v1", "Friend", "friend", "u-friend")


@pytest.mark.parametrize(
    ("references", "controller", "is_ours"),
    [((), None, False), ((PLAIN,), None, False), ((PLAIN, BOSS), BOSS, True)],
    ids=["no owner", "no controller", "a controller"],
)
def test_the_controller_is_the_one_owner_that_controls(
    references: tuple[OwnerReference, ...], controller: OwnerReference | None, is_ours: bool
) -> None:
    """A plain owner is no controller."""
    meta = ObjectMeta("a", owner_references=references)
    assert controller_of(meta) == controller
    assert is_controlled_by(meta, "u-boss") is is_ours
    assert not is_foreign(meta, "u-boss")


def test_another_controller_is_foreign_even_with_our_name() -> None:
    """An earlier owner of the same name has another uid."""
    earlier = evolve(BOSS, uid="u-earlier")
    meta = ObjectMeta("a", owner_references=(earlier,))
    assert foreign_controller(meta, "u-boss") == earlier
    assert is_foreign(meta, "u-boss")
    assert not is_controlled_by(meta, "u-boss")


def test_a_controller_reference_has_every_field_of_the_wire() -> None:
    """The API server wants all of them; blockOwnerDeletion serves foreground deletion."""
    reference = OWNER.reference()
    assert reference == BOSS
    assert reference.wire == {
        "apiVersion": "v1",
        "kind": "Boss",
        "name": "boss",
        "uid": "u-boss",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def test_adoption_keeps_the_references_of_others_and_replaces_our_own_plain_one() -> None:
    """There is one reference for one owner."""
    plain = evolve(BOSS, controller=False)
    assert with_controller((PLAIN, plain), OWNER) == (PLAIN, BOSS)


def test_nothing_changes_what_is_right_already() -> None:
    """The same tuple comes back, so that comparing it is cheap."""
    references = (PLAIN, BOSS)
    assert with_controller(references, OWNER) is references
    finalizers = ("theirs", "ours")
    assert with_finalizer(finalizers, "ours") is finalizers


def test_finalizers_of_others_keep_their_order() -> None:
    """Ours comes last and goes alone."""
    assert with_finalizer(("b", "a"), "ours") == ("b", "a", "ours")
    assert without_finalizer(("b", "ours", "a"), "ours") == ("b", "a")
    assert without_finalizer(("b",), "ours") == ("b",)


def test_a_new_condition_goes_to_the_end_with_the_time_of_now() -> None:
    """The conditions of others stay as they are."""
    other = Condition("Theirs", "True", last_transition_time="2020-01-01T00:00:00Z")
    wanted = Condition("Ready", "False", "Creating", "wait")
    added = evolve(wanted, last_transition_time=STAMP)
    assert with_condition((other,), wanted, now=NOW) == (other, added)
    assert find_condition((other, added), "Ready") == added
    assert find_condition((other,), "Ready") is None


@pytest.mark.parametrize(("status", "stamp"), [("True", "2020-01-01T00:00:00Z"), ("False", STAMP)])
def test_the_transition_time_moves_only_with_the_status(status: str, stamp: str) -> None:
    """A new reason or message alone is no transition."""
    before = Condition("Ready", "True", "Old", "old", "2020-01-01T00:00:00Z", wire={"theirs": 1})
    after = with_condition((before,), Condition("Ready", status, "New", "new"), now=NOW)
    assert after == (Condition("Ready", status, "New", "new", stamp),)
    assert after[0].wire == {"theirs": 1}


def test_a_condition_without_a_time_gets_one() -> None:
    """The CRD requires lastTransitionTime."""
    after = with_condition((Condition("Ready", "True"),), Condition("Ready", "True"), now=NOW)
    assert after == (Condition("Ready", "True", last_transition_time=STAMP),)


def test_a_condition_that_is_there_twice_is_there_once_afterwards() -> None:
    """The first one keeps its place."""
    other = Condition("Theirs", "True")
    twice = (Condition("Ready", "True", "A"), other, Condition("Ready", "False", "B"))
    after = with_condition(twice, Condition("Ready", "True", "C"), now=NOW)
    assert after == (Condition("Ready", "True", "C", last_transition_time=STAMP), other)
