"""Applies and strategic merge patches that a real kube-apiserver answered, replayed here.

tests/cluster/test_apply.py records them and asks the real server again.
"""

import pytest

from captep_memory import Quirks
from tests.memory.applies import NAMESPACE, Talk, fake_of, lines, replay, without_owners


@pytest.fixture(scope="module")
def recorded() -> list[list[dict[str, object]]]:
    """The recorded sequences."""
    return lines()


def test_every_recorded_apply_is_repeated_with_all_owners(
    recorded: list[list[dict[str, object]]],
) -> None:
    """A server that tracks managedFields from the first write shows what the real one does."""
    assert len(recorded) == 148
    for sequence in recorded:
        talk = Talk(fake_of(NAMESPACE, Quirks(managed_fields="always")))
        for line, now in replay(sequence, talk, NAMESPACE):
            assert now == line["answer"], line["request"]


def test_owners_that_are_derived_late_are_those_of_a_server_that_always_tracks(
    recorded: list[list[dict[str, object]]],
) -> None:
    """Until an apply needs them, answers lack managedFields and differ in nothing else."""
    shown = 0
    for sequence in recorded:
        talk = Talk(fake_of(NAMESPACE, Quirks()))
        always = Talk(fake_of(NAMESPACE, Quirks(managed_fields="always")))
        for line, now in replay(sequence, talk, NAMESPACE):
            always({**line["request"], "namespace": NAMESPACE})
            assert talk.wrote == always.wrote, line["request"]
            has_owners = "managedFields" in now["body"].get("metadata", {})
            shown += has_owners
            expected = line["answer"] if has_owners else without_owners(line["answer"])
            assert now == expected, line["request"]
    assert shown > 100
