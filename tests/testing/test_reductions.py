"""What a search leaves out is part of what it visits."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from attrs import evolve

from captep_core import Create, Patch
from captep_core._actions import Action, Preconditions
from captep_testing import TYPICAL_FAULTS, Kit, explore, moves, replay
from captep_testing._memo import memoised
from captep_testing._reductions import Budgets, implied, is_dead, without_lingering
from captep_testing._search import Search, Way
from captep_testing._system import System
from tests.testing.toy import CHILD, stored, toy, toy_worlds


def _searched(kit: Kit, *, reduces: bool) -> Search:
    fast, memo = memoised(kit)
    system = System(fast, TYPICAL_FAULTS, 1, memo, reduces=reduces)
    search = Search(fast, system, 1, "")
    start = system.start(kit.named_worlds()[0][1], faults=1, events=1, instances=1)
    assert search.reach(start, Way(0)) is None
    while search.todo:
        state, way = search.todo.popleft()
        for transition in system.transitions(state):
            further = Way(0, transition.label, way)
            assert not transition.violation
            assert search.reach(transition.state, further) is None
    return search


def test_a_search_heals_every_world_that_it_would_reach_without_reductions() -> None:
    """Fewer states, the same worlds with the same memories, each driven to rest."""
    kit = evolve(toy(), worlds=toy_worlds()[:1])
    whole = _searched(kit, reduces=False)
    reduced = _searched(kit, reduces=True)
    assert reduced.driven == whole.driven
    assert len(reduced.ways) < 0.9 * len(whole.ways)


@pytest.mark.parametrize(
    ("later", "is_covered"),
    [((1, 1, 0), True), ((0, 2, 0), True), ((2, 0, 0), False), ((1, 2, 1), False)],
)
def test_a_larger_budget_covers_a_smaller_one(
    later: tuple[int, int, int],
    is_covered: bool,
) -> None:
    """Faults, events and failed reads count each for itself."""
    budgets = Budgets()
    budgets.add(b"state", bytes((1, 2, 0)))
    assert budgets.covers(b"state", bytes(later)) is is_covered
    assert not budgets.covers(b"another state", bytes(later))


def _writes(metadata: Mapping[str, Any]) -> Iterator[tuple[Action, bool]]:
    body: Mapping[str, Any] = {"apiVersion": CHILD.api_version, "kind": CHILD.kind}
    named = {**body, "metadata": {"name": CHILD.name, "namespace": CHILD.namespace}}
    here = str(metadata["uid"])
    version = str(metadata["resourceVersion"])
    yield Create(CHILD, named, "made"), False
    for uid, seen, dead in (
        (None, None, False),
        (here, None, False),
        ("another", None, True),
        (None, version, False),
        (here, "1", True),
    ):
        wanted = Preconditions(uid, seen)
        yield Patch(CHILD, body, wanted, reason="changed"), dead


def test_a_write_in_flight_is_dead_once_its_precondition_is_past() -> None:
    """Uids do not recur and resourceVersions only grow; a creation may always come back."""
    world = next(each for each in toy_worlds() if stored(each, CHILD) is not None)
    child = stored(world, CHILD)
    assert child is not None
    gone = moves.delete(CHILD)(world)
    assert gone is not None
    for action, dead in _writes(child["metadata"]):
        assert is_dead(action, world) is dead
        assert is_dead(action, gone) is (action.preconditions != Preconditions())


def test_a_lost_request_is_a_late_write_that_never_arrives() -> None:
    """The search takes the late write for both, and a trace without an arrival says so."""
    assert {each.name: other.name for each, other in implied(TYPICAL_FAULTS).items()} == {
        "lost request": "late"
    }
    trace = ("observe", "patch Thing fleet/a (late)", "observe")
    plain = ("observe", "patch Thing fleet/a (lost request)", "observe")
    arrived = (*trace, "patch Thing fleet/a arrives late")
    assert without_lingering(trace, TYPICAL_FAULTS) == plain
    assert without_lingering(arrived, TYPICAL_FAULTS) == arrived
    assert "lost request" not in explore(toy(), faults=1, events=0).counts


def test_a_replay_leaves_nothing_out() -> None:
    """A trace of an earlier version, or of one's own, may take every step."""
    write = "patch Thing fleet/a"
    report = replay(toy(), ["observe", f"{write} (lost request)", "observe"])
    assert "no longer possible" not in str(report)


def test_a_waiver_declares_a_move_to_be_out_of_reach() -> None:
    """K1 then misses this move no longer, and the certificate shows the reason."""
    never = {**toy().moves, "nobody comes": lambda _: None}
    kit = evolve(toy(), moves=never)
    assert explore(kit, faults=0, events=1).missing == ("the move 'nobody comes'",)
    waived = evolve(kit, waive={"K1: nobody comes": "there is nobody"})
    report = explore(waived, faults=0, events=1).require()
    assert "waived K1: nobody comes: there is nobody" in report.certificate


def test_a_waiver_of_no_move_is_an_error() -> None:
    """A mistyped name would waive nothing, and nobody would see it."""
    kit = evolve(toy(), waive={"K1: nobody came": "mistyped"})
    with pytest.raises(ValueError, match="'K1: nobody came' names no move and no event"):
        explore(kit, faults=0, events=0)
