"""The default calls on an operator unlike the toy.

Silence on the correct one, a finding for every mistake.
"""

import pytest
from attrs import evolve

from captep_testing import Kit, check, converge, explore, sweep
from tests.testing.broker import BUGS, broker, broker_worlds


def found(kit: Kit) -> frozenset[str]:
    """Return the properties that the first level with a finding finds."""
    for level in (check, converge, sweep, explore):
        if properties := level(kit).properties:
            return properties
    return frozenset()


def test_the_correct_broker_passes_every_level() -> None:
    """No level raises a false alarm, and the search covers more than three thousand states."""
    assert check(broker()).require().states >= 16
    assert converge(broker()).require().states == 3
    assert sweep(broker()).require().states >= 200
    assert explore(broker()).require().states >= 2700


@pytest.mark.parametrize("bug", BUGS)
def test_the_default_calls_find_the_mistake(bug: str) -> None:
    """Each seeded mistake is found by a call with default arguments."""
    assert found(broker(bug))


@pytest.mark.parametrize("bug", ["patches a foreign config", "patches foreign nodes"])
def test_an_object_of_another_author_has_other_content(bug: str) -> None:
    """A correction of what differs is found without a move that makes a difference."""
    new = {"new": broker_worlds()["new"]}
    assert "P9a" in check(evolve(broker(bug), worlds=new, moves={})).properties
    assert "P9a" not in check(evolve(broker(), worlds=new, moves={})).properties
