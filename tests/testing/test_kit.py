"""The parts of the kit, one by one: names of states, differences, verdicts on single writes, reports and replays."""

from typing import Any

import pytest
from attrs import evolve

from captep_core import Delete, ObjectRef, Preconditions
from captep_memory import World, load
from captep_testing import (
    Kit,
    Move,
    Report,
    check,
    converge,
    drive,
    explore,
    moves,
    replay,
    views_of,
)
from captep_testing._canonical import Canonical
from captep_testing._changes import changed_paths, lower_bound, shown
from captep_testing._delivery import deliver
from tests.testing import museum
from tests.testing.toy import (
    CHILD,
    FINALIZER,
    KEY,
    LATCH,
    NOW,
    THING,
    keep,
    obj,
    stored,
    toy,
    toy_worlds,
)


def made() -> World:
    """A Thing with all that belongs to it."""
    return toy_worlds()[1]


def piece(name: str) -> Kit:
    """Return the kit of a piece of the museum."""
    return next(piece.kit for piece in museum.MUSEUM if piece.name.startswith(name))


def done(world: World, *steps: Move) -> World:
    """Return the world after moves, all of which must be possible."""
    for step in steps:
        after = step(world)
        assert after is not None
        world = after
    return world


def test_worlds_that_differ_in_made_up_numbers_have_one_name() -> None:
    """The uid of what was created anew, and how many writes there were before, do not tell worlds apart; a colour does."""
    canonical, edit = Canonical(), moves.edit(CHILD, {"data": {"colour": "green"}})
    once = done(made(), moves.recreate(LATCH))
    again = done(made(), moves.touch(KEY), moves.touch(KEY), moves.recreate(LATCH))
    assert (stored(once, LATCH) or {})["metadata"]["uid"] != (stored(again, LATCH) or {})[
        "metadata"
    ]["uid"]
    assert canonical.name([once]) == canonical.name([again])
    assert canonical.name([once]) != canonical.name([done(once, edit)])
    assert canonical.name([made(), once]) != canonical.name([once, made()])


def test_a_write_that_carries_an_old_version_tells_worlds_apart() -> None:
    """The rank of a resourceVersion counts among those of the same object."""
    canonical, old = Canonical(), (stored(made(), CHILD) or {})["metadata"]["resourceVersion"]
    write = Delete(CHILD, Preconditions(None, old), "")
    touched = done(made(), moves.touch(CHILD), moves.touch(CHILD))
    assert canonical.name([made()]) == canonical.name([touched])
    assert canonical.name([made()], [write]) != canonical.name([touched], [write])


def test_items_of_lists_are_named() -> None:
    """A finalizer by itself, a condition by its type; what only the server writes is no change."""
    before: dict[str, Any] = {
        "metadata": {"finalizers": ["a"], "resourceVersion": "1"},
        "status": {"conditions": [{"type": "Ready", "status": "False"}]},
    }
    after: dict[str, Any] = {
        "metadata": {"finalizers": ["a", "b"], "resourceVersion": "2"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert changed_paths(before, after) == [
        ("metadata", "finalizers", "b"),
        ("status", "conditions", "Ready", "status"),
    ]
    assert changed_paths(before, {**before, "data": {}}) == [("data",)]
    assert changed_paths({"x": [1, 2]}, {"x": [2, 1]}) == [("x",)]


def test_the_least_number_of_writes() -> None:
    """P3: one for each object and subresource; a deletion that a finalizer holds is two, one that has begun is one."""
    new, full, leaving = toy_worlds()
    held = done(full, moves.delete(KEY))
    assert lower_bound(new, new) == 0
    assert (
        lower_bound(
            full, done(full, moves.edit(CHILD, {"data": {"colour": "green"}}), moves.touch(CHILD))
        )
        == 1
    )
    assert (
        lower_bound(
            full,
            done(
                full,
                moves.edit(KEY, {"spec": {"colour": "red"}}),
                moves.edit(KEY, {"status": {"x": 1}}, subresource="status"),
            ),
        )
        == 2
    )
    assert lower_bound(full, done(full, moves.recreate(LATCH))) == 2
    assert lower_bound(full, held) == 1
    assert lower_bound(full, done(held, moves.edit(KEY, {"metadata": {"finalizers": None}}))) == 2
    assert lower_bound(held, done(held, moves.edit(KEY, {"metadata": {"finalizers": None}}))) == 1
    assert lower_bound(leaving, done(leaving, moves.delete(CHILD))) == 1


def test_what_is_shown_of_a_change_holds_no_value() -> None:
    """Fields only, cut where an object did not have them at all."""
    after = done(
        made(),
        moves.edit(
            LATCH,
            {"data": {"colour": "secret-canary"}, "metadata": {"labels": {"a": "secret-canary"}}},
        ),
    )
    assert shown(made(), after) == ["ConfigMap fleet/a-latch: data.colour, metadata.labels"]
    assert shown(made(), done(made(), moves.delete(LATCH), moves.delete(KEY))) == [
        "ConfigMap fleet/a-latch is gone",
        "Thing fleet/a: metadata.deletionTimestamp",
    ]


def test_a_delete_that_hits_another_incarnation_is_seen() -> None:
    """P8 in fact: without a uid the server deletes whatever has the name; with one it refuses, and nothing is wrong."""
    later = done(made(), moves.recreate(LATCH))
    planned = (stored(made(), LATCH) or {})["metadata"]["uid"]
    by_name, by_uid = (Delete(LATCH, Preconditions(uid), "") for uid in (None, planned))
    hit = deliver(toy(), later, by_name, planned, undisturbed=False).finding
    assert hit is not None
    assert (hit.property, hit.what) == (
        "P8",
        "delete ConfigMap fleet/a-latch hit another incarnation than the one that it was decided for",
    )
    assert deliver(toy(), later, by_uid, planned, undisturbed=False).finding is None
    assert (
        deliver(toy(), later, by_uid, planned, undisturbed=True).finding or hit
    ).property == "P2a"


def test_moves_that_are_not_possible_are_none() -> None:
    """What is there is not created again, what a finalizer holds is not another one, what is absent is not changed."""
    nobody = ObjectRef("v1", "ConfigMap", "fleet", "nobody")
    assert moves.create(THING)(made()) is None
    assert moves.recreate(KEY)(made()) is None
    assert [move(nobody)(made()) for move in (moves.delete, moves.recreate)] == [None, None]
    assert moves.edit(nobody, {"data": {}})(made()) is None
    assert moves.touch(nobody)(made()) == made()


def test_a_limit_is_told() -> None:
    """A search that is cut short does not hold."""
    report = explore(toy(), faults=1, events=1, limit=50)
    assert str(report).startswith("TRUNCATED ")
    assert (report.exhausted, report.holds, report.violations) == (False, False, ())
    with pytest.raises(AssertionError, match="TRUNCATED"):
        report.require()


def test_what_never_happens_fails_the_run() -> None:
    """K1: without the move that deletes the Thing, it is never gone."""
    kit = evolve(
        toy(), worlds=toy_worlds()[:1], moves={"somebody deletes the child": moves.delete(CHILD)}
    )
    report = explore(kit, faults=0, events=1)
    assert report.missing == ("the Thing is gone",)
    with pytest.raises(AssertionError, match=r"never happened \(K1\): the Thing is gone"):
        report.require()


def test_the_shortest_way_is_told_and_can_be_gone_again() -> None:
    """M4: the report is the counterexample, step by step, and the call that repeats it."""
    kit = piece("M4")
    report = explore(kit, faults=1, events=0)
    assert str(report.violations[0]).splitlines() == [
        "P1: at rest, and not as it should be: Thing fleet/a is Kept",
        "  in worlds[0]",
        "   1 observe",
        "   2 patch Thing fleet/a  200   Thing fleet/a: metadata.finalizers",
        "   3 create ConfigMap fleet/a-config  201   ConfigMap fleet/a-config appears",
        "  then, without faults:",
        "     patch Thing fleet/a/status  200   Thing fleet/a: status",
        "  replay: replay(kit, ['observe', 'patch Thing fleet/a', 'create ConfigMap fleet/a-config'])",
    ]
    labels = report.violations[0].labels
    assert replay(kit, labels) == evolve(
        report.violations[0], replay=f"replay(kit, {list(labels)}, lag=8)"
    )
    assert replay(toy(), labels) is None
    with pytest.raises(
        ValueError,
        match="'delete everything' is not possible here; possible: \\['Thing is another one'",
    ):
        replay(kit, ["delete everything"])


def test_counts_say_what_occurred() -> None:
    """Conflicts, late writes, crashes and collections all occur within small bounds."""
    counts = explore(toy(), faults=1, events=1).counts
    assert {
        "observe",
        "patch 200",
        "create 201",
        "delete 200",
        "patch 409",
        "create 409",
        "crash before",
        "late",
        "late 201",
        "collect",
    } <= set(counts)


def test_slack_lets_declared_writes_pass_and_is_told() -> None:
    """P3a: M20 writes its status too early, which costs one write more in one of the worlds, and two in another."""
    assert converge(piece("M20")).properties == {"P3"}
    assert str(converge(evolve(piece("M20"), slack=2)).require()).endswith(
        ", 2 more than needed allowed"
    )


def test_without_a_declaration_of_what_is_owned_p9_is_not_judged() -> None:
    """The same loop that clobbers labels passes."""
    clobbering = evolve(
        piece("M14"),
        worlds=(done(made(), moves.edit(LATCH, {"metadata": {"labels": {"a": "b"}}})),),
    )
    assert converge(clobbering).properties == {"P9"}
    assert converge(evolve(clobbering, owned=None)).holds


def test_a_run_ends_where_the_bound_says() -> None:
    """P1: two passes are not enough for a new Thing."""
    finding = drive(evolve(toy(), bound=2), toy_worlds()[0]).finding
    assert finding is not None
    assert (finding.property, finding.what) == (
        "P2",
        "not at rest after 2 passes, though all is as it should be",
    )
    assert drive(toy(), toy_worlds()[0]).finding is None


def test_neighbours_that_never_rest_are_a_mistake_of_the_kit() -> None:
    """It ends, and says so."""
    restless = evolve(toy(), neighbours=lambda world: moves.touch(KEY)(world) or world)
    with pytest.raises(ValueError, match="the neighbours do not come to rest"):
        drive(restless, made())


def test_views_are_those_of_the_way_to_rest() -> None:
    """A new Thing is looked at until nothing changes, and a few times more."""
    views = [view for view in views_of(evolve(toy(), worlds=toy_worlds()[:1])) if view.key == KEY]
    assert [len(keep(KEY, view.read, view.state, now=view.now).actions) for view in views] == [
        3,
        1,
        0,
        0,
        0,
        0,
    ]


def test_a_kit_without_anything_to_look_at_is_refused() -> None:
    """An empty kit would prove nothing."""
    with pytest.raises(ValueError, match="keys must not be empty"):
        evolve(toy(), keys=())
    with pytest.raises(ValueError, match="worlds must not be empty"):
        evolve(toy(), worlds=())


def test_contents_stay_out_of_every_repr() -> None:
    """P17 of the kit itself: neither canaries nor objects are shown."""
    kit = toy(canaries=("canary-8d1f",))
    assert "canary-8d1f" not in repr(kit)
    world = load([THING, obj(CHILD, "canary-8d1f")], now=NOW)
    assert "canary-8d1f" not in repr(views_of(evolve(kit, worlds=(world,)))) + str(
        converge(evolve(kit, worlds=(world,)))
    )


def test_a_report_without_anything_wrong_holds() -> None:
    """And `require` hands it back."""
    report = Report("nothing")
    assert report.require() is report
    assert check(toy()).properties == frozenset()
    assert FINALIZER in (stored(made(), KEY) or {})["metadata"]["finalizers"]
