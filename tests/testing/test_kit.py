"""The parts of the kit: names of states, differences, judgements of single writes, reports,
replays.
"""

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
    sweep,
    views_of,
)
from captep_testing._canonical import Canonical
from captep_testing._changes import changed_paths, lower_bound, shown
from captep_testing._delivery import deliver
from tests.testing import museum
from tests.testing.broker import broker
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
    """Return a complete Thing."""
    return toy_worlds()[1]


def piece(name: str) -> Kit:
    """Return the kit of a piece of the museum."""
    return next(piece.kit for piece in museum.MUSEUM if piece.name.startswith(name))


def done(world: World, *steps: Move) -> World:
    """Return the world after moves; each has to be possible."""
    for step in steps:
        after = step(world)
        assert after is not None
        world = after
    return world


def test_worlds_that_differ_in_uids_and_versions_alone_have_one_name() -> None:
    """New uids and earlier writes leave the name of a world as it is; a colour changes it."""
    canonical, edit = Canonical(), moves.edit(CHILD, {"data": {"colour": "green"}})
    once = done(made(), moves.recreate(LATCH))
    again = done(made(), moves.touch(KEY), moves.touch(KEY), moves.recreate(LATCH))
    assert (stored(once, LATCH) or {})["metadata"]["uid"] != (stored(again, LATCH) or {})[
        "metadata"
    ]["uid"]
    assert canonical.name([once]) == canonical.name([again])
    assert canonical.name([once]) != canonical.name([done(once, edit)])
    assert canonical.name([made(), once]) != canonical.name([once, made()])


def test_a_write_with_an_old_version_changes_the_name_of_a_state() -> None:
    """A name contains the rank of a resourceVersion among those of the same object."""
    canonical, old = Canonical(), (stored(made(), CHILD) or {})["metadata"]["resourceVersion"]
    write = Delete(CHILD, Preconditions(None, old), "")
    touched = done(made(), moves.touch(CHILD), moves.touch(CHILD))
    assert canonical.name([made()]) == canonical.name([touched])
    assert canonical.name([made()], [write]) != canonical.name([touched], [write])


def test_a_path_names_the_items_of_lists() -> None:
    """A finalizer goes by its text, a condition by its type; fields of the server are no change."""
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


def test_the_minimum_of_writes_counts_objects_and_subresources() -> None:
    """P3: a deletion that a finalizer holds counts two writes, one that has begun counts one."""
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


def test_the_description_of_a_change_holds_no_value() -> None:
    """It names fields, and stops at the first name that one side lacks."""
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


def test_a_delete_of_another_incarnation_is_a_violation() -> None:
    """P8 in fact: without a uid the server deletes by name; with a uid it refuses, and P8 holds."""
    later = done(made(), moves.recreate(LATCH))
    planned = (stored(made(), LATCH) or {})["metadata"]["uid"]
    by_name, by_uid = (Delete(LATCH, Preconditions(uid), "") for uid in (None, planned))
    hit = deliver(toy(), later, by_name, planned, undisturbed=False).violation
    assert hit is not None
    assert (hit.property, hit.message) == (
        "P8",
        "delete ConfigMap fleet/a-latch hits another incarnation than the one it was decided for",
    )
    assert deliver(toy(), later, by_uid, planned, undisturbed=False).violation is None
    assert (
        deliver(toy(), later, by_uid, planned, undisturbed=True).violation or hit
    ).property == "P2a"


def test_impossible_moves_return_none() -> None:
    """No move creates an existing object, recreates a held one, or changes an absent one."""
    nobody = ObjectRef("v1", "ConfigMap", "fleet", "nobody")
    assert moves.create(THING)(made()) is None
    assert moves.recreate(KEY)(made()) is None
    assert [move(nobody)(made()) for move in (moves.delete, moves.recreate)] == [None, None]
    assert moves.edit(nobody, {"data": {}})(made()) is None
    assert moves.touch(nobody)(made()) == made()


def test_a_report_names_a_limit() -> None:
    """A search that its limit ends proves nothing."""
    report = explore(toy(), faults=1, events=1, limit=50)
    assert str(report).startswith("TRUNCATED ")
    assert (report.exhausted, report.holds, report.counterexamples) == (False, False, ())
    with pytest.raises(AssertionError, match="TRUNCATED"):
        report.require()


def test_a_declared_event_that_never_occurs_fails_the_run() -> None:
    """K1: without the move that deletes the Thing, the Thing never disappears."""
    kit = evolve(
        toy(), worlds=toy_worlds()[:1], moves={"somebody deletes the child": moves.delete(CHILD)}
    )
    report = explore(kit, faults=0, events=1)
    assert report.missing == ("the Thing is gone",)
    with pytest.raises(AssertionError, match=r"never happened \(K1\): the Thing is gone"):
        report.require()


def test_a_counterexample_is_the_shortest_and_can_be_replayed() -> None:
    """M4: the report shows the trace step by step, and the call that repeats it."""
    kit = piece("M4")
    report = explore(kit, faults=1, events=0)
    assert str(report.counterexamples[0]).splitlines() == [
        "P1: at rest in a world that is not right: Thing fleet/a is Kept",
        "  in worlds[0]",
        "   1 observe",
        (
            "   2 patch Thing fleet/a  200   Thing fleet/a: metadata.finalizers"
            "   because: add the finalizer"
        ),
        (
            "   3 create ConfigMap fleet/a-config  201   ConfigMap fleet/a-config appears"
            "   because: it does not exist"
        ),
        "  then, without faults:",
        "     patch Thing fleet/a/status  200   Thing fleet/a: status   because: report",
        (
            "  replay: replay(kit, ['observe', 'patch Thing fleet/a',"
            " 'create ConfigMap fleet/a-config'])"
        ),
    ]
    labels = report.counterexamples[0].labels
    again = replay(kit, labels)
    assert again.counterexamples == (
        evolve(report.counterexamples[0], replay=f"replay(kit, {list(labels)}, lag=8)"),
    )
    replay(toy(), labels).require()


def test_a_replay_names_the_step_that_is_no_longer_possible() -> None:
    """A trace of an earlier version of an operator proves nothing, and raises nothing."""
    report = replay(toy(), ["observe", "delete everything"]).require()
    assert str(report) == (
        "exhausted a trace of 2 steps: step 2, 'delete everything', is no longer possible"
    )


def test_the_counts_show_every_kind_of_step() -> None:
    """Conflicts, late writes, crashes and collections occur within small bounds."""
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


def test_the_report_shows_the_slack_that_it_allows() -> None:
    """P3a: M20 writes its status too early, at the cost of one write in one world and two in
    another.
    """
    assert converge(piece("M20")).properties == {"P3"}
    assert str(converge(evolve(piece("M20"), slack=2)).require()).endswith(
        ", 2 above the minimum allowed"
    )


def test_p9_needs_a_declaration_of_owned_fields() -> None:
    """Without one, a loop that clobbers labels passes."""
    clobbering = evolve(
        piece("M14"),
        worlds=(done(made(), moves.edit(LATCH, {"metadata": {"labels": {"a": "b"}}})),),
    )
    assert converge(clobbering).properties == {"P9"}
    assert converge(evolve(clobbering, owned=None)).holds


def test_a_run_ends_at_its_bound() -> None:
    """P2: two passes are too few for a new Thing."""
    violation = drive(evolve(toy(), bound=2), toy_worlds()[0]).violation
    assert violation is not None
    assert (violation.property, violation.message) == (
        "P2",
        "not at rest after 2 passes, although the world is right",
    )
    assert drive(toy(), toy_worlds()[0]).violation is None


def test_restless_neighbours_raise_an_error() -> None:
    """The run ends, and the error blames the neighbours."""
    restless = evolve(toy(), neighbours=lambda world: moves.touch(KEY)(world) or world)
    with pytest.raises(ValueError, match="the neighbours never come to rest"):
        drive(restless, made())


def test_the_views_of_a_world_lead_to_rest() -> None:
    """The views of a new Thing end with a few looks that decide nothing."""
    views = [view for view in views_of(evolve(toy(), worlds=toy_worlds()[:1])) if view.key == KEY]
    assert [len(keep(KEY, view.read, view.state, now=view.now).actions) for view in views] == [
        3,
        1,
        0,
        0,
        0,
        0,
    ]


def test_a_kit_needs_keys_and_worlds() -> None:
    """An empty kit would prove nothing, so the constructor refuses it."""
    with pytest.raises(ValueError, match="keys must not be empty"):
        evolve(toy(), keys=())
    with pytest.raises(ValueError, match="worlds must not be empty"):
        evolve(toy(), worlds=())


def test_no_repr_holds_contents() -> None:
    """P17 of the kit itself: no repr shows a canary or an object."""
    kit = toy(canaries=("canary-8d1f",))
    assert "canary-8d1f" not in repr(kit)
    world = load([THING, obj(CHILD, "canary-8d1f")], now=NOW)
    assert "canary-8d1f" not in repr(views_of(evolve(kit, worlds=(world,)))) + str(
        converge(evolve(kit, worlds=(world,)))
    )


def test_a_report_without_violations_holds() -> None:
    """`require` returns such a report."""
    report = Report("nothing")
    assert report.require() is report
    assert check(toy()).properties == frozenset()
    assert FINALIZER in (stored(made(), KEY) or {})["metadata"]["finalizers"]


def test_a_body_that_is_not_json_is_a_violation_with_its_path() -> None:
    """P5b: the report names the write and the path, and nothing raises a TypeError."""
    found = check(broker("a datetime in a body")).counterexamples[0].violation
    assert found.property == "P5b"
    assert found.message == (
        "create ConfigMap mq/b-config: metadata.annotations.created is a datetime, expected JSON"
    )


def test_a_waiver_hides_its_property_and_shows_its_reason() -> None:
    """The certificate names the property that the operator breaks on purpose."""
    kit = evolve(broker("looks again after two days"), waive={"P15": "nothing ever changes"})
    report = check(kit).require()
    assert str(report).endswith("; waived P15: nothing ever changes")


def test_a_report_names_the_world_of_a_counterexample() -> None:
    """A kit may name its worlds."""
    report = converge(broker("releases before the drain"))
    assert "  in leaving" in str(report).splitlines()


def test_a_move_that_is_never_possible_fails_the_run() -> None:
    """K1: a mistyped kind makes a move impossible, and such a search proves nothing."""
    nobody = evolve(CHILD, kind="ConfigMapp")
    kit = evolve(toy(), moves={"user deletes": moves.delete(KEY), "typo": moves.delete(nobody)})
    assert explore(kit, faults=0, events=1).missing == ("the move 'typo'",)


def test_a_certificate_has_the_hash_of_the_code() -> None:
    """Only a report that holds has a certificate."""
    report = explore(toy(), faults=0, events=1)
    assert report.certificate.endswith(f"; code sha256:{report.code}")
    assert len(report.code) == 16
    assert explore(piece("M1 "), faults=0, events=0).certificate == ""


def test_a_sweep_from_several_worlds_covers_as_much_as_one_from_each() -> None:
    """A world on the way of another one keeps its own writes, and its own faults at them."""
    new, later, _ = toy_worlds()
    on_the_way = drive(toy(), new).world
    together = sweep(evolve(toy(), worlds=(new, on_the_way, later))).require().states
    apart = sum(sweep(evolve(toy(), worlds=(each,))).states for each in (new, on_the_way, later))
    assert together == apart
