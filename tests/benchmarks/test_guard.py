"""The regression guard: its counts are exact, and it marks what it should."""

import json

import pytest

from tests.benchmarks.guard import RECORDED, bytecodes, counted, paths, row


def work(times: int) -> list[int]:
    """Run a loop."""
    return [number * 2 for number in range(times)]


def test_the_count_of_bytecodes_is_exact() -> None:
    """Each further round costs the same, and a second count gives the same."""
    counts = [bytecodes(lambda times=times: work(times)) for times in (1, 2, 3, 3)]  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    assert counts[3] == counts[2]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0


def test_a_larger_list_needs_more_memory() -> None:
    """The count of bytes is the most that the call holds at once."""
    small, large = (counted(lambda size=size: work(size))["bytes"] for size in (100, 10_000))  # type: ignore[misc]
    assert large > 50 * small


@pytest.mark.parametrize(
    ("now", "shown"),
    [(1100, "+10.0%"), (1101, "+10.1% **"), (900, "-10.0%"), (899, "-10.1% **")],
)
def test_a_change_of_more_than_a_tenth_is_marked(now: int, shown: str) -> None:
    """Less is marked too: it is recorded, so that it cannot be lost unseen."""
    assert row("a", {"bytecodes": now}, {"bytecodes": 1000}) == f"| a | {now:,} | {shown} |"


def test_a_path_without_a_record_says_so() -> None:
    """As with another version of Python."""
    assert row("a", {"bytecodes": 7}, None) == "| a | 7 | not recorded |"


def test_every_central_path_is_recorded() -> None:
    """A new path is recorded with the change that adds it."""
    recorded = json.loads(RECORDED.read_text())
    assert {frozenset(each) for each in recorded.values()} == {frozenset(paths())}


def test_a_remembered_pass_executes_a_tenth_of_a_quiet_one() -> None:
    """It holds with every version of Python."""
    work = paths()
    remembered = counted(work["remembered quiet pass, by versions"])["bytecodes"]
    assert remembered * 10 < counted(work["quiet reconcile, from parsed observation"])["bytecodes"]
