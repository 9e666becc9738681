"""Answers recorded from a real kube-apiserver, replayed against this server. tests/cluster/test_conformance.py asks the real one again."""

from pathlib import Path

from captep_memory import load
from tests.memory.record import VERSION, Fake, lines, objects, replay
from tests.memory.support import NOW

_PINNED = Path(__file__).parents[1] / "apiserver" / "go.mod"


def test_the_recorded_answers_are_given() -> None:
    """Every one, in their order."""
    recorded = lines()
    assert len(recorded) > 150
    for line, now in replay(recorded, Fake(load(objects(), now=NOW))):
        assert now == line["answer"], line["request"]


def test_the_record_is_of_the_version_that_the_cluster_tests_build() -> None:
    """Whoever raises one makes the record anew."""
    assert f"k8s.io/kubernetes v{VERSION}\n" in _PINNED.read_text("utf-8")
