"""The project's own core under the kit.

Every world, every single fault, every interleaving within bounds. CAPTEP_EXPLORE_FAULTS and
CAPTEP_EXPLORE_EVENTS widen the bounds of the largest search. The numbers of states are lower
bounds: a search that became empty fails, a harmless change of the core does not.
"""

import os

import pytest

from captep_testing import check, converge, explore, replay, sweep
from tests.testing.captep_domain import captep

FAULTS, EVENTS = (
    int(os.environ.get("CAPTEP_EXPLORE_FAULTS", "1")),
    int(os.environ.get("CAPTEP_EXPLORE_EVENTS", "1")),
)
MOMENTS = {"created": 250, "leaving": 1900, "new": 1700, "provided": 2800, "ready": 350}
"""The moments from which the search starts, each with the least number of its states."""


def test_every_decision_is_pure_locked_and_discreet() -> None:
    """P5, P5a, P8, P15, P17, P-sym and F24 hold of every view between each moment and rest."""
    assert check(captep()).require().states >= 35


def test_every_moment_leads_to_rest_with_the_fewest_writes() -> None:
    """P1, P2, P2a, P3, P4a, P9, P13 and P14 hold without faults."""
    assert (report := converge(captep()).require()).states == 6
    assert report.edges >= 30


@pytest.mark.parametrize("moment", sorted(MOMENTS))
def test_no_single_fault_keeps_it_from_rest(moment: str) -> None:
    """P12, P16, P18 and P23 hold with one fault at every write, and with every sort of write
    refused.
    """
    assert sweep(captep(moment)).require().states >= 40


def test_one_event_at_any_time_does_no_harm() -> None:
    """P1, P2a, P3, P8, P9 and P13 hold when another actor acts once between any two writes."""
    assert explore(captep(), faults=0, events=1).require().states >= 400


def test_one_fault_at_any_time_does_no_harm() -> None:
    """P12 and P16 hold with every kind of fault, a late write included."""
    assert explore(captep(), faults=1, events=0).require().states >= 500


@pytest.mark.parametrize("moment", sorted(MOMENTS))
def test_one_fault_and_one_event_do_no_harm(moment: str) -> None:
    """The properties hold with both, in every order.

    The counts prove that each kind of step occurs.
    """
    kit = captep(moment, all_moves=EVENTS > 1)
    report = explore(kit, faults=FAULTS, events=EVENTS, limit=1_000_000).require()
    assert report.states >= MOMENTS[moment]
    assert (
        min(
            report.counts[kind]
            for kind in (
                "observe",
                "patch 200",
                "patch 409",
                "crash after",
                "lost response",
                "late",
                "collect",
            )
        )
        >= 1
    )


def test_stale_views_do_no_harm() -> None:
    """P19 holds with views that lag one change behind, and from a ready control plane with a fault
    too.
    """
    assert explore(captep(), faults=0, events=1, lag=1).require().states >= 700
    assert explore(captep("ready"), faults=1, events=1, lag=1).require().states >= 550


@pytest.mark.parametrize(
    ("moment", "states"), [("created", 12_000), ("leaving", 15_000), ("ready", 6000)]
)
def test_one_fault_two_events_and_stale_views_do_no_harm(moment: str, states: int) -> None:
    """From these moments, the whole real domain holds within these bounds.

    `make prove` has the other moments, and two faults; docs/certificates.md records all.
    """
    kit = captep(moment, all_moves=True)
    assert explore(kit, faults=1, events=2, lag=1).require().states >= states


def test_two_instances_do_no_harm() -> None:
    """P22 holds while a second instance has not noticed the loss of its lease and another actor
    acts once.
    """
    assert explore(captep("ready"), faults=0, events=1, instances=2).require().states >= 1000


def test_a_retry_does_not_run_into_its_own_conflict() -> None:
    """P2a holds after two refused writes of one object, the shortest trace that `explore` once
    found.
    """
    trace = [
        "observe",
        "patch CAPTControlPlane fleet/tokyo (lost request)",
        "observe",
        "user changes the version",
    ]
    last = "patch CAPTControlPlane fleet/tokyo/status"
    replay(captep("new"), [*trace, last]).require()
