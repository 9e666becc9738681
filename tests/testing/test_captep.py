"""The project's own core under the kit: every world, every single fault, and every interleaving within bounds.

CAPTEP_EXPLORE_FAULTS and CAPTEP_EXPLORE_EVENTS widen the bounds of the last test: 1 and 1 are for every run, 1 and 2 take many minutes.
The numbers of states are lower bounds, so that a search that became empty is noticed and a change of the core that is none is not.
"""

import os

import pytest

from captep_testing import check, converge, explore, replay, sweep
from tests.testing.captep_domain import captep

FAULTS, EVENTS = (
    int(os.environ.get("CAPTEP_EXPLORE_FAULTS", "1")),
    int(os.environ.get("CAPTEP_EXPLORE_EVENTS", "1")),
)
MOMENTS = {"created": 300, "leaving": 2000, "new": 1800, "provided": 3000, "ready": 400}
"""The moments from which every interleaving of one fault and one event is looked at, and how many states that takes at least."""


def test_every_decision_is_pure_locked_and_discreet() -> None:
    """P5, P5a, P8, P15, P17, P-sym and F24 for every view on the way from each moment to rest."""
    assert check(captep()).require().states >= 25


def test_every_moment_leads_to_rest_with_the_fewest_writes() -> None:
    """P1, P2, P2a, P3, P4a, P9, P13 and P14 without faults."""
    assert (report := converge(captep()).require()).states == 6
    assert report.edges >= 30


def test_no_single_fault_keeps_it_from_rest() -> None:
    """P12, P16, P18 and P23: one fault at every write, and every sort of write refused for good."""
    assert sweep(captep()).require().states >= 400


def test_one_event_at_any_time_does_no_harm() -> None:
    """P1, P2a, P3, P8, P9 and P13 whatever others do, once, between any two writes, from all moments."""
    assert explore(captep(), faults=0, events=1).require().states >= 400


def test_one_fault_at_any_time_does_no_harm() -> None:
    """P12 and P16 with every kind of fault, a write that arrives late included, from all moments."""
    assert explore(captep(), faults=1, events=0).require().states >= 500


@pytest.mark.parametrize("moment", sorted(MOMENTS))
def test_one_fault_and_one_event_do_no_harm(moment: str) -> None:
    """The same with both, in every order; all of it is looked at, and the counts say that what it is about occurs."""
    report = explore(captep(moment), faults=FAULTS, events=EVENTS, limit=1_000_000).require()
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
    """P19: one change of others that is not seen yet, for each kind by itself, from all moments; with a fault as well from a ready one."""
    assert explore(captep(), faults=0, events=1, lag=1).require().states >= 700
    assert explore(captep("ready"), faults=1, events=1, lag=1).require().states >= 600


def test_two_instances_do_no_harm() -> None:
    """P22: a second instance whose lease is gone and which does not know it yet, while somebody else acts once."""
    assert explore(captep("ready"), faults=0, events=1, instances=2).require().states >= 1000


def test_a_retry_does_not_run_into_its_own_conflict() -> None:
    """P2a: what `explore` once found from a new control plane, with one fault and one event: two refused writes of one object."""
    way = [
        "observe",
        "patch CAPTControlPlane fleet/tokyo (lost request)",
        "observe",
        "user wants another version",
    ]
    assert replay(captep("new"), [*way, "patch CAPTControlPlane fleet/tokyo/status"]) is None
