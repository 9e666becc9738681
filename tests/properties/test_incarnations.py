"""A stale view hits no other incarnation (P8); a deletion ends once the Workspace goes (P11)."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from captep_core import FINALIZER, Delete, Patch
from captep_memory import World
from tests.capt.worlds import Object
from tests.properties.driving import (
    BOUND,
    KEY,
    Fault,
    Scene,
    Server,
    Step,
    collected,
    drive,
    look,
    stored,
)
from tests.properties.moves import MOVES, Move, destroy, reachable_worlds, request
from tests.properties.oracles import bound_to_its_incarnation, every_write_is_safe
from tests.properties.profile import examples, reaches
from tests.properties.strategies import arbitrary_worlds, live_worlds

_ANY = st.one_of(live_worlds(), reachable_worlds(), arbitrary_worlds())


def _replaced(kind: str, name: str) -> Move:
    """Somebody deletes an object and creates it again: the same name and content, another uid."""

    def move(world: World) -> World:
        before = {
            obj["metadata"]["name"]: obj for obj in world.objects() if obj["kind"] == kind
        }.get(name)
        if before is None:
            return world
        world = request("patch", kind, name, {"metadata": {"finalizers": None}})(world)
        return _created(before, request("delete", kind, name)(world))

    return move


def _created(obj: Object, world: World) -> World:
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key in ("name", "namespace", "labels", "ownerReferences")
    }
    return request("create", obj["kind"], obj["metadata"]["name"], {**obj, "metadata": metadata})(
        world
    )


_REPLACED = (
    _replaced("CAPTControlPlane", "tokyo"),
    _replaced("Cluster", "tokyo"),
    _replaced("Secret", "tokyo-ca"),
    _replaced("Secret", "tokyo-kubeconfig"),
    _replaced("WorkspaceTemplateApply", "tokyo-eks-controlplane-apply"),
    _replaced("WorkspaceTemplateApply", "tokyo-kubeconfig-apply"),
    _replaced("WorkspaceTemplateApply", "tokyo-spot-role-check"),
)
_MEANWHILE = st.lists(
    st.one_of(st.sampled_from(_REPLACED), st.sampled_from(MOVES)), min_size=1, max_size=3
)


def _late(scene: Scene, meanwhile: Sequence[Move]) -> list[Step]:
    """Send a decision after other requests have changed the world."""
    decision = look(scene)
    world = scene.world
    for move in meanwhile:
        world = move(world)
    server = Server(Scene(world))
    for action in decision.actions:
        server.send(action)
    return server.steps


@examples(220)
@given(_ANY, _MEANWHILE)
def test_p8_a_late_write_hits_the_incarnation_it_was_computed_from(
    scene: Scene, meanwhile: Sequence[Move]
) -> None:
    """A late write hits the object of its observation or nothing; foreign objects stay."""
    for step in _late(scene, meanwhile):
        bound_to_its_incarnation(step)
        if isinstance(step.action, Delete | Patch) and step.is_effective:
            seen = stored(scene.world, step.action.target)
            hit = stored(step.before, step.action.target)
            assert seen is not None
            assert hit is not None
            assert seen["metadata"]["uid"] == hit["metadata"]["uid"]


@pytest.mark.parametrize("kind", [Delete, Patch])
def test_p8_late_writes_meet_another_incarnation(kind: type) -> None:
    """A late deletion and a late patch of a replaced object get a conflict."""

    def is_rejected(case: tuple[Scene, list[Move]]) -> bool:
        return any(
            isinstance(step.action, kind) and step.answer.status == 409
            for step in _late(*case)
            if _is_replaced(case[0], step)
        )

    reaches(st.tuples(_ANY, _MEANWHILE), is_rejected)


def _is_replaced(scene: Scene, step: Step) -> bool:
    seen = stored(scene.world, step.action.target)
    hit = stored(step.before, step.action.target)
    return (
        seen is not None and hit is not None and seen["metadata"]["uid"] != hit["metadata"]["uid"]
    )


def test_p8_late_writes_take_effect_too() -> None:
    """The server accepts some late writes."""
    reaches(
        st.tuples(_ANY, _MEANWHILE), lambda case: any(step.is_effective for step in _late(*case))
    )


@examples(180)
@given(_ANY, st.booleans())
def test_p11_a_deletion_ends_when_the_workspace_goes(scene: Scene, is_faulty: bool) -> None:
    """After the user's delete and Terraform's destroy, a bounded number of passes release it.

    `is_faulty`: every answer gets lost until Terraform acts. A pause and hidden objects are lifted
    first, because they stop a deletion on purpose.
    """
    assume(stored(scene.world, KEY) is not None)
    world = request("delete", "CAPTControlPlane", "tokyo")(_seen_and_unpaused(scene.world))
    if is_faulty:
        world = drive(Scene(world), faults=lambda _: Fault.LOST_ANSWER).end
    for _ in range(3):
        run = drive(Scene(world))
        assert run.is_settled
        assert run.acting <= BOUND
        every_write_is_safe(run.all_steps)
        world = collected(destroy(run.end))
    control_plane = stored(world, KEY)
    assert control_plane is None or FINALIZER not in control_plane["metadata"].get("finalizers", [])
    assert drive(Scene(world)).last.requeue_after is None


def _seen_and_unpaused(world: World) -> World:
    world = request(
        "patch",
        "CAPTControlPlane",
        "tokyo",
        {"metadata": {"annotations": {"cluster.x-k8s.io/paused": None}}},
    )(world)
    world = request("patch", "Cluster", "tokyo", {"spec": {"paused": False}})(world)
    apply = stored(world, KEY) or {}
    main = (apply.get("spec") or {}).get(
        "workspaceTemplateApplyName"
    ) or "tokyo-eks-controlplane-apply"
    for obj in [
        each
        for each in world.objects()
        if each["kind"] == "WorkspaceTemplateApply" and each["metadata"]["name"] == main
    ]:
        # A foreign finalizer or owner may keep an apply for ever; its Workspace goes all the same.
        named = (obj.get("status") or {}).get("workspaceName")
        if named and (obj.get("spec") or {}).get("retainWorkspaceOnDelete") is not True:
            world = (
                world
                if obj["metadata"].get("deletionTimestamp") is None
                else request("delete", "Workspace", named)(world)
            )
    return world


def test_p11_some_deletions_wait() -> None:
    """Some deletions wait for Terraform's work."""

    def waits(scene: Scene) -> bool:
        world = request("delete", "CAPTControlPlane", "tokyo")(scene.world)
        return drive(Scene(world)).last.decision.verdict.reason == "AwaitingWorkspaceDeletion"

    reaches(_ANY, waits)


def test_p11_a_deletion_that_waits_looks_again() -> None:
    """While the Workspace exists, the interval is 30 s."""
    scene = reaches(
        reachable_worlds(),
        lambda scene: drive(scene).last.decision.verdict.reason == "AwaitingWorkspaceDeletion",
    )
    assert drive(scene).last.requeue_after == timedelta(seconds=30)
