"""A crash, a lost answer or a second delivery changes neither end nor safety (P12, P18, P23)."""

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
    """The worlds that a crash leaves, after every write of every pass."""
    return [
        Scene(collected(step.after), scene.blind)
        for step in run.all_steps
        if not isinstance(step.action, RecordEvent)
    ]


@examples(120)
@given(_ANY)
def test_p12_a_crash_after_any_write_changes_nothing_in_the_end(scene: Scene) -> None:
    """From every prefix of every decision an empty process comes to the same end, safely."""
    run = drive(scene)
    end = normalised(run.end)
    for crash in _crashes(run, scene):
        restarted = drive(crash)
        assert restarted.is_settled
        assert restarted.acting <= BOUND
        assert normalised(restarted.end) == end
        every_write_is_safe(restarted.all_steps)


def test_p12_some_decisions_have_several_prefixes() -> None:
    """Some passes have more than two writes to interrupt."""
    reaches(
        _ANY,
        lambda scene: (
            max(len([each for each in steps if each.is_effective]) for steps in drive(scene).steps)
            > 2
        ),
    )


def _once(fault: Fault, nth: int) -> Faults:
    """The fault affects the nth write only."""
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
    """The loop observes the landed write, and creates and deletes no object twice."""
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


def test_p12_lost_answers_include_creations_and_deletions() -> None:
    """There are objects that could be created or deleted twice."""
    reaches(_ANY, lambda scene: len({write.verb for write in _made_and_removed(drive(scene))}) == 2)


@examples(120)
@given(_ANY)
def test_p23_a_second_delivery_of_every_write_changes_nothing(scene: Scene) -> None:
    """The second delivery has no effect, or its precondition rejects it."""
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
    """The second delivery of a locked patch gets a conflict."""

    def is_rejected(scene: Scene) -> bool:
        twice = drive(
            scene, faults=lambda action: None if isinstance(action, RecordEvent) else Fault.TWICE
        )
        return any(step.is_effective and step.answer.status == 409 for step in twice.all_steps)

    reaches(_ANY, is_rejected)
