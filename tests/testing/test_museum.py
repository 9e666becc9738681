"""The kill matrix: which level of the kit finds which mistake by which property; and the toy that makes none survives everything."""

import pytest
from attrs import evolve

from captep_testing import TYPICAL_FAULTS, Kit, check, converge, explore, sweep
from tests.testing.museum import MUSEUM, Piece
from tests.testing.toy import released_at_the_end, toy

MATRIX = {
    #                                          check    converge  sweep   explore
    "M1 own resourceVersion in status": ("-", "P2", "P2", "P2"),
    "M2 time of the pass in status": ("-", "P2", "P2", "P2"),
    "M3 delete by name": ("P8", "-", "-", "P8"),
    "M4 only a full pass is recognised": ("-", "-", "P1", "P1"),
    "M5 finalizer last": ("-", "P13", "P13", "P13"),
    "M6 let go before cleaning up": ("-", "P13", "P13", "P13"),
    "M7 finalizer while terminating": ("-", "-", "-", "P2a"),
    "M8 two primaries, one child": ("-", "P4a", "P4a", "P4a"),
    "M10 edge-triggered": ("-", "-", "P1", "P1"),
    "M12 a pruned field": ("-", "P2a", "P2a", "P2a"),
    "M13 order of a list": ("P5", "P9", "P9", "P9"),
    "M14 clobbers labels": ("-", "-", "-", "P9"),
    "M15 unreadable is absent": ("F24", "-", "-", "-"),
    "M20 status with the writes": ("-", "P3", "P3", "P3"),
    "M21 status without resourceVersion": ("-", "-", "-", "P14"),
    "M24 content in a message": ("P-sym P17 P5", "-", "P16", "P17"),
    "M25 refused, tried under another name": ("-", "-", "P16 P18 P2a", "P2a"),
    "resourceVersion as a number": ("P-sym", "-", "-", "-"),
    "starts over after any refusal": ("-", "-", "P16 P18 P4a", "P4a"),
    "looks again at once": ("P15", "-", "-", "P15"),
    "changes what it reads": ("P5", "-", "-", "-"),
    "raises for what is missing": ("P5a", "-", "P16", "-"),
}


def row(kit: Kit) -> tuple[str, str, str, str]:
    """Return the properties that each level finds not to hold."""
    reports = (check(kit), converge(kit), sweep(kit), explore(kit, faults=1, events=1))
    check_, converge_, sweep_, explore_ = (
        " ".join(sorted(report.properties)) or "-" for report in reports
    )
    return check_, converge_, sweep_, explore_


@pytest.mark.parametrize("piece", MUSEUM, ids=lambda piece: piece.name)
def test_the_kit_finds_the_mistake(piece: Piece) -> None:
    """Each piece of the museum is found by the property that is there for it, and by the others that the matrix shows."""
    found = row(piece.kit)
    assert piece.killed_by in {each for cell in found for each in cell.split()}
    assert found == MATRIX[piece.name]


def test_the_matrix_shows_the_museum() -> None:
    """No row without its piece, no piece twice."""
    assert [piece.name for piece in MUSEUM] == list(MATRIX)


def test_the_toy_without_a_mistake_survives() -> None:
    """No false alarm at any level, within bounds that are all looked at; a bound that shrinks is noticed."""
    assert check(toy()).require().states == 15
    assert str(converge(toy()).require()) == "exhausted 3 worlds, 8 writes"
    assert (
        str(sweep(toy()).require()) == "exhausted 108 runs from 3 worlds, 12 faults at each write"
    )
    told = "exhausted 2,424 states, 4,693 edges, 612 worlds driven to rest; faults<=1 events<=1 lag<=0; sometimes 1/1"
    assert str(explore(toy(), faults=1, events=1).require()) == told


def test_the_toy_survives_stale_views() -> None:
    """P19: what every write is judged by holds for it when its views are old, too."""
    assert explore(toy(), faults=0, events=2, lag=1).require().states == 1458


def test_the_toy_survives_a_second_instance() -> None:
    """P22: two instances at once do no harm."""
    assert explore(toy(), faults=0, events=1, instances=2).require().states == 8243


def test_what_no_loop_can_promise_is_found() -> None:
    """A create that arrives late cannot be fenced off: it may come after the finalizer that guards it. Without that fault it cannot."""
    kit = evolve(toy(), always={"latch before finalizer": released_at_the_end})
    found = explore(kit, faults=1, events=1)
    assert found.properties == {"P13"}
    assert "create ConfigMap fleet/a-latch arrives late" in [
        step.label for step in found.violations[0].steps
    ]
    punctual = tuple(fault for fault in TYPICAL_FAULTS if not fault.lingers)
    assert explore(kit, faults=1, events=1, kinds=punctual).require().states > 1000
