"""A crash after any write, a lost answer, a second delivery: the end is the same, and so is the safety (P12, P18, P23)."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from captep_core import Action, Create, Delete, RecordEvent, Write, write_of
from tests.properties.driving import (
    BOUND,
    Drive,
    Fault,
    Faults,
    Scene,
    Step,
    collected,
    drive,
    normalised,
)
from tests.properties.moves import reachable_worlds
from tests.properties.oracles import every_write_is_safe
from tests.properties.profile import examples, reaches
from tests.properties.strategies import arbitrary_worlds, live_worlds

_ANY = st.one_of(arbitrary_worlds(), live_worlds(), reachable_worlds())


def _crashes(run: Drive, scene: Scene) -> list[Scene]:
    """The worlds that a crash leaves: after every write of every pass, each of which may be the one whose answer was never read."""
    return [
        Scene(collected(step.after), scene.blind)
        for step in run.all_steps
        if not isinstance(step.action, RecordEvent)
    ]


@examples(120)
@given(_ANY)
def test_p12_a_crash_after_any_write_changes_nothing_in_the_end(scene: Scene) -> None:
    """Every prefix of every decision is a world from which a process that knows nothing comes to the same end, safely."""
    run = drive(scene)
    end = normalised(run.end)
    for crash in _crashes(run, scene):
        restarted = drive(crash)
        assert restarted.is_settled
        assert restarted.acting <= BOUND
        assert normalised(restarted.end) == end
        every_write_is_safe(restarted.all_steps)


def test_p12_some_decisions_have_several_prefixes() -> None:
    """There are passes with more than two writes to be interrupted."""
    reaches(
        _ANY,
        lambda scene: (
            max(len([each for each in steps if each.is_effective]) for steps in drive(scene).steps)
            > 2
        ),
    )


def _once(fault: Fault, nth: int) -> Faults:
    """The fault befalls the nth write only."""
    sent: list[Action] = []

    def befalls(action: Action) -> Fault | None:
        if isinstance(action, RecordEvent):
            return None
        sent.append(action)
        return fault if len(sent) == nth + 1 else None

    return befalls


@examples(120)
@given(_ANY)
def test_p12_a_lost_answer_changes_nothing_in_the_end(scene: Scene) -> None:
    """A write that landed although its answer got lost: the loop observes again, and no object is created or deleted twice."""
    run = drive(scene)
    writes = [step for step in run.all_steps if not isinstance(step.action, RecordEvent)]
    for nth in range(len(writes)):
        faulty = drive(scene, faults=_once(Fault.LOST_ANSWER, nth))
        assert faulty.is_settled
        assert faulty.acting <= BOUND + 1
        assert normalised(faulty.end) == normalised(run.end)
        assert _made_and_removed(faulty) == _made_and_removed(run)
        every_write_is_safe(faulty.all_steps)


def _made_and_removed(run: Drive) -> Counter[Write]:
    return Counter(
        write_of(step.action) for step in run.effective if isinstance(step.action, Create | Delete)
    )


def test_p12_some_answers_that_get_lost_are_of_creations_and_deletions() -> None:
    """There is something that could be created or deleted twice."""
    reaches(_ANY, lambda scene: len({write.verb for write in _made_and_removed(drive(scene))}) == 2)


@examples(120)
@given(_ANY)
def test_p23_a_second_delivery_of_every_write_changes_nothing(scene: Scene) -> None:
    """Each write delivered twice leaves the world as once does, or is rejected by its precondition."""
    run = drive(scene)
    twice = drive(
        scene, faults=lambda action: None if isinstance(action, RecordEvent) else Fault.TWICE
    )
    assert twice.is_settled
    assert normalised(twice.end) == normalised(run.end)
    assert Counter(_changes(step) for step in twice.effective) <= Counter({1: len(twice.effective)})


def _changes(step: Step) -> int:
    """How many times a step changed the world."""
    return step.after.resource_version - step.before.resource_version


def test_p23_some_second_deliveries_are_rejected() -> None:
    """A conflict is what the second delivery of a locked patch is answered with, and it is seen."""

    def is_rejected(scene: Scene) -> bool:
        twice = drive(
            scene, faults=lambda action: None if isinstance(action, RecordEvent) else Fault.TWICE
        )
        return any(step.is_effective and step.answer.status == 409 for step in twice.all_steps)

    reaches(_ANY, is_rejected)
