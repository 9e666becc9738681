"""Answers of a real kube-apiserver, replayed against this server.

tests/cluster/test_conformance.py asks the real one again.
"""

from pathlib import Path

from captep_memory import load
from tests.memory.record import VERSION, Fake, lines, objects, replay
from tests.memory.support import NOW

_PINNED = Path(__file__).parents[1] / "apiserver" / "go.mod"


def test_every_recorded_answer_is_repeated() -> None:
    """In their order."""
    recorded = lines()
    assert len(recorded) > 150
    for line, now in replay(recorded, Fake(load(objects(), now=NOW))):
        assert now == line["answer"], line["request"]


def test_the_record_and_the_cluster_tests_use_one_version() -> None:
    """A new version needs a new record."""
    assert f"k8s.io/kubernetes v{VERSION}\n" in _PINNED.read_text("utf-8")
