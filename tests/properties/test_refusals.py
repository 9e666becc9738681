"""A refused write is reported once, retried every 10 s, stops no other, and is forgotten (P16)."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import event, given
from hypothesis import strategies as st

from captep_core import Action, RecordEvent, Unknown, Write, write_of
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
from tests.properties.oracles import every_write_is_safe
from tests.properties.profile import examples, reaches
from tests.properties.strategies import arbitrary_worlds, live_worlds

_STATUSES = (403, 409, 422, 429, 500, 503, 504)
_RETRY = timedelta(seconds=10)


@frozen(repr=False)
class Case:
    """A world, what becomes of it, and one write on the way that is refused."""

    scene: Scene
    healthy: Drive
    write: Write
    status: int

    def _repr_pretty_(self, printer: Any, _: object) -> None:  # noqa: ANN401 - Hypothesis' own
        printer.text(f"{self.write} answered with {self.status} in {self.scene!r}")

    def refuses(self, action: Action) -> int | None:
        """The answer to an action while the fault lasts."""
        return self.status if write_of(action) == self.write else None


@frozen(repr=False)
class Life:
    """A world and what becomes of it without a fault."""

    scene: Scene
    healthy: Drive

    def _repr_pretty_(self, printer: Any, _: object) -> None:  # noqa: ANN401 - Hypothesis' own
        printer.text(repr(self.scene))

    @property
    def writes(self) -> list[Write]:
        """Each write that has an effect, once."""
        return list(dict.fromkeys(write_of(step.action) for step in self.healthy.effective))

    @property
    def has_writes(self) -> bool:
        """Whether there is a write to refuse, and none that the server refuses by itself."""
        return bool(self.writes) and not self.healthy.last.state.refusals

    def cases(self) -> st.SearchStrategy[Case]:
        """Refuse any write with any status."""
        return st.builds(
            Case,
            st.just(self.scene),
            st.just(self.healthy),
            st.sampled_from(self.writes),
            st.sampled_from(_STATUSES),
        )


_WORLDS = st.one_of(live_worlds(), live_worlds(), reachable_worlds(), arbitrary_worlds())
_LIVES = _WORLDS.map(lambda scene: Life(scene, drive(scene))).filter(lambda life: life.has_writes)
_CASES = _LIVES.flatmap(Life.cases)


@examples(130)
@given(_CASES)
def test_p16_a_refused_write_is_reported_once_and_retried_every_ten_seconds(case: Case) -> None:
    """At most one report; after the fault the world is as it would have been without it."""
    event(f"{case.write.verb} {case.write.target.kind}/{case.write.subresource}")
    run = drive(case.scene, faults=case.refuses)
    assert run.is_settled
    assert run.acting <= BOUND + 2
    assert len([step for step in run.effective if _is_report(step)]) <= 1
    every_write_is_safe(run.all_steps)
    world = _retried(case, run)
    healed = drive(
        with_clock(Scene(world, case.scene.blind), world.now + _RETRY),
        state=run.last.state,
        history=run.last.history,
    )
    assert healed.is_settled
    assert healed.acting <= BOUND
    assert _end(healed, case) == _end(case.healthy, case)
    assert case.write not in {refusal.write for refusal in healed.last.state.refusals}


def _end(run: Drive, case: Case) -> list[Any]:
    """The world at the end, without the part of a report that may stay.

    During a deletion, and while an object is unreadable, the report of a refusal stays. An absent
    `secretsReady` is no reason to write; it comes with the next report, if there is one.
    """
    kept = ((stored(case.scene.world, KEY) or {}).get("status") or {}).get(
        "secretsReady"
    ) is not None
    end = normalised(run.end)
    is_kept = _is_leaving(case.scene.world) or isinstance(run.last.decision.verdict, Unknown)
    for obj in end:
        if obj["kind"] in ("CAPTControlPlane", "Cluster") and is_kept:
            obj.pop("status", None)
        elif obj["kind"] == "CAPTControlPlane" and not kept:
            obj["status"].pop("secretsReady", None)
    return end


def _is_report(step: Step) -> bool:
    return step.action.target == KEY and step.action.subresource == "status"


def _retried(case: Case, run: Drive) -> World:
    """Two more passes, 10 s apart: the write is retried in its turn, and nothing changes."""
    state = run.last.state
    history = run.last.history
    world = run.end
    tried = set[Write]()
    for _ in range(max(2, len(state.refusals))):
        assert run.last.requeue_after == _RETRY
        again = drive(
            with_clock(Scene(world, case.scene.blind), world.now + _RETRY),
            faults=case.refuses,
            state=state,
            history=history,
            limit=1,
        )
        assert not again.effective
        tried |= {
            write_of(step.action)
            for step in again.all_steps
            if not isinstance(step.action, RecordEvent)
        }
        state = again.last.state
        history = again.last.history
        world = again.end
        assert again.last.requeue_after == _RETRY
        assert again.last.decision.requeue_after == _RETRY
    assert case.write in tried
    return world


def _is_alone(case: Case) -> bool:
    """Whether no other write depends on the refused one.

    Everything depends on those of the control plane, and what is published on the adoption of the
    main apply: until then its Workspace may be anybody's.
    """
    target = case.write.target
    if target == KEY or _is_leaving(case.scene.world):
        return False
    found = stored(case.scene.world, target)
    owners = (found or {}).get("metadata", {}).get("ownerReferences") or []
    is_adopted = found is None or any(each.get("controller") for each in owners)
    return is_adopted or not target.name.endswith("-eks-controlplane-apply")


def test_p16_an_adoption_that_holds_others_back_is_refused() -> None:
    """The exception of the next property is reached: nothing is published until then."""

    def holds_back(case: Case) -> bool:
        if _is_alone(case) or case.write.target == KEY or _is_leaving(case.scene.world):
            return False
        run = drive(case.scene, faults=case.refuses)
        return _rest_of(run.end, case) != _rest_of(case.healthy.end, case)

    reaches(_CASES, holds_back)


@examples(130)
@given(_CASES.filter(_is_alone))
def test_p16_the_other_writes_go_on(case: Case) -> None:
    """All other objects come out as without the fault."""
    run = drive(case.scene, faults=case.refuses)
    assert _rest_of(run.end, case) == _rest_of(case.healthy.end, case)


def _is_leaving(world: World) -> bool:
    control_plane = stored(world, KEY)
    return control_plane is None or "deletionTimestamp" in control_plane["metadata"]


def _rest_of(world: World, case: Case) -> list[dict[str, Any]]:
    """All objects but the refused one; of control plane and Cluster all but the report."""
    objects = normalised(world, but=case.write.target.name)
    return [{key: value for key, value in obj.items() if key != "status"} for obj in objects]


@pytest.mark.parametrize("status", _STATUSES)
def test_p16_each_status_meets_a_report(status: int) -> None:
    """Every HTTP status occurs on another object; 409 is never reported, 429 after 30 s."""

    def is_reported(case: Case) -> bool:
        run = drive(case.scene, faults=case.refuses)
        control_plane = stored(run.end, KEY) or {}
        entries = control_plane.get("status", {}).get("conditions", [])
        return str(case.write) in str(entries) and str(status) in str(entries)

    cases = _CASES.map(lambda case: evolve(case, status=status)).filter(
        lambda case: case.write.subresource is None
    )
    if status in (409, 429):
        # The clock stands still here.
        assert not is_reported(reaches(cases, lambda case: not is_reported(case)))
    else:
        reaches(cases, is_reported)


@pytest.mark.parametrize("verb", ["create", "patch", "delete"])
@pytest.mark.parametrize(
    "kind", ["CAPTControlPlane", "Cluster", "Secret", "WorkspaceTemplateApply"]
)
def test_p16_each_write_is_refused(verb: str, kind: str) -> None:
    """Every verb on every kind that the loop writes is refused in some case."""
    if (verb, kind) in {
        ("create", "CAPTControlPlane"),
        ("delete", "CAPTControlPlane"),
        ("create", "Cluster"),
        ("delete", "Cluster"),
    }:
        return
    # A case refuses any write of its life, so a life that holds the write is enough.
    reaches(
        _LIVES,
        lambda life: (verb, kind) in {(write.verb, write.target.kind) for write in life.writes},
    )
