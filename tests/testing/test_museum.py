"""The kill matrix: the property by which each level of the kit finds each mistake.

The correct toy survives every level.
"""

import pytest
from attrs import evolve

from captep_testing import TYPICAL_FAULTS, check, converge, explore, sweep
from tests.testing.matrix import row
from tests.testing.museum import MUSEUM, Piece
from tests.testing.toy import released_at_the_end, toy

MATRIX = {
    # the piece: check, converge, sweep, explore
    "M1 own resourceVersion in status": ("P9a", "P2", "P2", "P2"),
    "M2 time of the pass in status": ("P9a", "P2", "P2", "P2"),
    "M3 delete by name": ("P8", "-", "-", "P8"),
    "M4 only a full pass is recognised": ("-", "-", "P1", "P1"),
    "M5 finalizer last": ("P10 P13", "P13", "P13", "P13"),
    "M6 let go before cleaning up": ("P13", "P13", "P13", "P13"),
    "M7 finalizer while terminating": ("-", "P2a", "P2a", "P2a"),
    "M8 two primaries, one child": ("P9a P9b", "P4a", "P4a", "P4a"),
    "M9 changes by delete and create": ("P13", "P13", "P13", "P13"),
    "M10 edge-triggered": ("-", "-", "P1", "P14"),
    "M11 compares defaults": ("P20 P9a", "-", "P16b", "-"),
    "M12 a pruned field": ("P9a", "P2a", "P2a", "P2a"),
    "M13 order of a list": ("P5 P9", "P9", "P9", "P9"),
    "M14 clobbers labels": ("P9c", "-", "P9", "P9"),
    "M15 unreadable is absent": ("F24", "-", "-", "-"),
    "M16 creates under fresh names": ("-", "-", "P16b P18 P2a", "P2a"),
    "M17 updates an immutable Secret": ("P9b", "P2a", "P2a", "P2a"),
    "M18 changes the type of a Secret": ("P9b", "P2a", "P2a", "P2a"),
    "M19 sleeps past a deadline": ("P15a P9b", "P2", "P2 P9a", "P2"),
    "M20 status with the writes": ("-", "P3", "P3", "P3"),
    "M21 status without resourceVersion": ("-", "-", "-", "P14"),
    "M22 a late write undoes a newer one": ("-", "-", "-", "P13"),
    "M23 adopts an earlier incarnation's": ("P9a P9b P9c", "P2a", "P9a", "P2a"),
    "M24 content in a message": ("P-sym P15b P17 P5", "-", "P16b", "P17"),
    "M25 refused, tried under another name": ("-", "-", "P16 P16b P18 P2a", "P2a"),
    "M26 believes an outdated status": ("P14b P9a", "-", "-", "-"),
    "M27 transition time with every write": ("P14 P9a", "-", "P2", "P2"),
    "M28 drops foreign conditions": ("P9a P9c", "-", "P2 P9c", "P2"),
    "M29 never corrects its child": ("-", "-", "P1", "-"),
    "M30 a password in a message": ("P17", "-", "-", "-"),
    "resourceVersion as a number": ("P-sym", "-", "-", "-"),
    "starts over after any refusal": ("-", "-", "P16 P18 P4a", "P4a"),
    "looks again at once": ("P15", "-", "P1", "P15"),
    "changes what it reads": ("P5", "-", "-", "-"),
    "raises for what is missing": ("P5a", "-", "P16b", "-"),
    "takes the child of any Thing": ("P9a", "-", "P9a", "-"),
    "counts from a recorded time": ("P15", "-", "-", "-"),
    "forgets what it has removed": ("P9a P9b", "-", "P1", "P1"),
}


@pytest.mark.parametrize("piece", MUSEUM, ids=lambda piece: piece.name)
def test_the_kit_finds_the_mistake(piece: Piece) -> None:
    """The property of each piece of the museum kills it; the matrix lists all others that do."""
    found = row(piece.kit)
    assert piece.killed_by in {each for cell in found for each in cell.split()}
    assert found == MATRIX[piece.name]


def test_the_matrix_has_a_row_for_every_piece_of_the_museum() -> None:
    """The matrix lists every piece once, in the order of the museum."""
    assert [piece.name for piece in MUSEUM] == list(MATRIX)


def test_the_correct_toy_survives_every_level() -> None:
    """No level raises a false alarm within bounds that it exhausts; a shrinking search fails."""
    assert check(toy()).require().states == 66
    assert str(converge(toy()).require()) == "exhausted 3 worlds, 14 runs, 26 writes"
    assert (
        str(sweep(toy()).require()) == "exhausted 206 runs from 3 worlds, 12 faults at each write"
    )
    size = "exhausted 1,811 states, 3,463 edges, 683 worlds driven to rest"
    expected = f"{size}; faults<=1 events<=1 lag<=0; sometimes 1/1"
    assert str(explore(toy(), faults=1, events=1).require()) == expected


def test_the_toy_survives_stale_views() -> None:
    """P19: every property of a write holds when its view is stale."""
    assert explore(toy(), faults=0, events=2, lag=1).require().states == 1374


def test_the_toy_survives_a_second_instance() -> None:
    """P22: two instances at once do no harm."""
    assert explore(toy(), faults=0, events=1, instances=2).require().states == 11122


def test_no_loop_can_fence_off_a_late_create() -> None:
    """A late create may arrive after the finalizer that guards it is gone.

    Without that fault none can.
    """
    kit = evolve(toy(), always={"latch before finalizer": released_at_the_end})
    found = explore(kit, faults=1, events=1)
    assert found.properties == {"P13"}
    assert "create ConfigMap fleet/a-latch arrives late" in [
        step.label for step in found.counterexamples[0].steps
    ]
    punctual = tuple(fault for fault in TYPICAL_FAULTS if not fault.lingers)
    assert explore(kit, faults=1, events=1, kinds=punctual).require().states > 1000
