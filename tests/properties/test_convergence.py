"""From every world the loop comes to rest soon, without a wasted write (P1 to P4a, P19a)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from captep_core import Create, Decision, Delete, Patch, RecordEvent
from captep_memory import World
from tests.properties.driving import (
    BOUND,
    KEY,
    Drive,
    Scene,
    Step,
    drive,
    normalised,
    stored,
    with_clock,
)
from tests.properties.moves import reachable_worlds
from tests.properties.oracles import every_write_is_safe, main_apply
from tests.properties.profile import examples, reaches
from tests.properties.strategies import arbitrary_worlds, live_worlds, settled_worlds

_ANY = st.one_of(arbitrary_worlds(), live_worlds(), reachable_worlds())


def _comes_to_rest(scene: Scene) -> Drive:
    run = drive(scene)
    assert run.is_settled, [each.decision.verdict for each in run.passes[-3:]]
    assert run.acting <= BOUND
    event(f"acting passes: {run.acting}")
    event(f"verdict: {run.last.decision.verdict.reason}")
    return run


@examples(250)
@given(reachable_worlds())
def test_p1_from_every_reachable_world_the_loop_comes_to_rest(scene: Scene) -> None:
    """At most six passes act, the next one changes nothing, and every write is safe."""
    every_write_is_safe(_comes_to_rest(scene).all_steps)


@examples(350)
@given(st.one_of(arbitrary_worlds(), live_worlds()))
def test_p1a_from_every_arbitrary_world_the_loop_comes_to_rest(scene: Scene) -> None:
    """The loop stabilises itself: no history needs to lead to the world."""
    every_write_is_safe(_comes_to_rest(scene).all_steps)


@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_p1_some_worlds_take_several_passes(passes: int) -> None:
    """The worlds of the property leave the loop something to do."""
    reaches(_ANY, lambda scene: drive(scene).acting == passes)


_VERDICTS = {
    "AwaitingWorkspaceDeletion",
    "ClusterUnreadable",
    "ControlPlaneUpdateFailed",
    "Creating",
    "Deleting",
    "EndpointUpdateFailed",
    "Gone",
    "KubeconfigGenerationFailed",
    "Paused",
    "Ready",
    "Released",
    "SecretError",
    "SecretReconciliationFailed",
    "SpotServiceLinkedRoleFailed",
    "WorkspaceError",
    "WorkspaceStatusUpdateFailed",
    "WorkspaceTemplateApplyFailed",
    "WorkspaceTemplateApplyUnreadable",
    "WorkspaceTemplateNotFound",
    "WorkspaceTemplateUnreadable",
}


def test_p1_every_verdict_is_among_the_worlds() -> None:
    """Each reason wins in some pass of some world."""
    seen = set[str]()

    @examples(800)
    @given(_ANY)
    def look_at(scene: Scene) -> None:
        seen.update(each.decision.verdict.reason for each in drive(scene).passes)

    look_at()
    assert seen >= _VERDICTS


@examples(150)
@given(settled_worlds(_ANY))
def test_p2_rest_stays_rest(scene: Scene) -> None:
    """Five further passes at their own intervals write nothing and change nothing."""
    run = drive(scene)
    state = run.last.state
    history = run.last.history
    now = run.end.now
    first = run.last.decision
    for _ in range(5):
        now += run.last.requeue_after or timedelta(0)
        again = drive(
            with_clock(Scene(run.end, scene.blind), now), state=state, history=history, limit=1
        )
        assert not again.effective
        assert again.is_settled
        assert _by_place(again.end) == _by_place(scene.world)
        assert _quiet(again.last.decision) == _quiet(first)
        state = again.last.state
        history = again.last.history


def _quiet(decision: Decision) -> Decision:
    """The decision without the Events of a new verdict."""
    writes = tuple(action for action in decision.actions if not isinstance(action, RecordEvent))
    return Decision(writes, decision.requeue_after, decision.verdict, decision.outstanding)


@examples(200)
@given(settled_worlds(_ANY))
def test_p2_a_restart_at_rest_writes_nothing(scene: Scene) -> None:
    """An empty state causes no write but the retry of a refused one."""
    run = drive(scene)
    assert not run.effective
    assert all(
        _is_refused(step) for step in run.all_steps if not isinstance(step.action, RecordEvent)
    )


def _is_refused(step: Step) -> bool:
    """Whether the server refused it; here only an immutable Secret is a reason."""
    obj = stored(step.before, step.action.target)
    return step.answer.status == 422 and obj is not None and bool(obj.get("immutable"))


@examples(250)
@given(_ANY)
def test_p2a_no_write_is_without_effect(scene: Scene) -> None:
    """Every sent write changes something, unless the server refuses it."""
    for step in drive(scene).all_steps:
        if not isinstance(step.action, RecordEvent):
            assert step.is_effective or _is_refused(step), step.action


def test_p2a_some_writes_are_refused_by_the_server_itself() -> None:
    """The exception of the property above is reached."""
    reaches(
        _ANY, lambda scene: any(_is_refused(step) for step in drive(scene).all_steps), within=5000
    )


@examples(250)
@given(_ANY)
def test_p3_the_number_of_writes_is_the_least_that_makes_the_difference(scene: Scene) -> None:
    """The first world and the last one alone give the number of effective writes between them.

    There is no slack, except where the server refuses a write for good: the report of the refusal
    may follow an earlier report, which is one write more.
    """
    run = drive(scene)
    slack = 1 if any(_is_refused(step) for step in run.all_steps) else 0
    least = sum(_least(scene.world, run.end))
    assert least <= len(run.effective) <= least + slack, [
        str(step.action) for step in run.effective
    ]


def _least(start: World, end: World) -> Iterator[int]:
    """Count the writes: one for each creation, deletion, changed resource and changed status."""
    before = _by_place(start)
    after = _by_place(end)
    control_plane = stored(start, KEY)
    is_over = control_plane is not None and stored(end, KEY) is None
    ordered = {main_apply(control_plane or {}), "tokyo-kubeconfig-apply"} if is_over else set()
    for place in {*before, *after}:
        old = before.get(place)
        new = after.get(place)
        if old is None or new is None:
            yield 1 if old is None or _is_taken_away(old, ordered) else 0
        elif old["metadata"]["uid"] != new["metadata"]["uid"]:
            yield 2
        elif is_over and place[0] in ("Secret", "WorkspaceTemplateApply"):
            yield (
                1
                if _is_taken_away(old, ordered) and new["metadata"].get("deletionTimestamp")
                else 0
            )
        else:
            yield (_main(old) != _main(new)) + (old.get("status") != new.get("status"))


def _is_taken_away(old: Mapping[str, Any], ordered: set[str]) -> bool:
    """Whether a write of ours removes it; `ordered`: the objects that a deletion removes itself."""
    if old["kind"] == "CAPTControlPlane":
        return True
    if ordered and not (
        old["kind"] == "WorkspaceTemplateApply" and old["metadata"]["name"] in ordered
    ):
        return False
    return not old["metadata"].get("deletionTimestamp")


def _by_place(world: World) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    objects = (obj for obj in world.objects() if obj["kind"] != "Event")
    return {
        (obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"]): obj
        for obj in objects
    }


def _main(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in ("resourceVersion", "generation", "managedFields")
    }
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def _has_several(steps: tuple[Step, ...], kind: type) -> bool:
    return len(steps) > 1 and any(isinstance(step.action, kind) for step in steps)


@pytest.mark.parametrize("kind", [Create, Delete, Patch])
def test_p3_every_kind_of_write_is_counted(kind: type) -> None:
    """Creations, deletions and patches occur, several of them in one run too."""
    reaches(_ANY, lambda scene: _has_several(drive(scene).effective, kind))


@examples(180)
@given(_ANY)
def test_p4a_no_world_occurs_twice(scene: Scene) -> None:
    """On the way to rest no world recurs, uids and times left out."""
    run = drive(scene)
    seen = [normalised(step.before) for step in run.effective] + [normalised(run.end)]
    assert all(one != other for index, one in enumerate(seen) for other in seen[:index])


@examples(180)
@given(_ANY)
def test_p19a_nothing_is_created_or_deleted_twice(scene: Scene) -> None:
    """At most one creation and one deletion of each object: the loop sees its own writes."""
    sent = [
        step.action for step in drive(scene).all_steps if isinstance(step.action, Create | Delete)
    ]
    assert all(
        count == 1 for count in Counter((type(action), action.target) for action in sent).values()
    )


def test_p2a_a_refusal_is_remembered_until_it_is_over() -> None:
    """The refusal of an immutable Secret is still known at rest."""
    scene = reaches(_ANY, lambda scene: bool(drive(scene).last.state.refusals), within=5000)
    assert {str(each).split(": HTTP ")[1] for each in drive(scene).last.state.refusals} == {"422"}
