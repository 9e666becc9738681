"""Random traces: the correct toy survives them, and a mistake becomes a counterexample."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from captep_testing.stateful import state_machine
from tests.testing.museum import MUSEUM
from tests.testing.toy import toy

QUICK = settings(
    max_examples=8,
    stateful_step_count=10,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# Shrinking repeats the trace a hundred times, and Hypothesis tests that itself.
UNSHRUNK = settings(QUICK, phases=(Phase.generate,))


def test_the_correct_toy_survives_random_traces() -> None:
    """No trace with three faults and five events is a false alarm."""
    run_state_machine_as_test(state_machine(toy()), settings=QUICK)


def test_a_random_trace_that_fails_is_a_counterexample() -> None:
    """M1: the error names the property and the call that repeats the trace."""
    kit = next(piece.kit for piece in MUSEUM if piece.name.startswith("M1 "))
    with pytest.raises(AssertionError, match=r"P2: (.|\n)*replay: replay\(kit, \['"):
        run_state_machine_as_test(state_machine(kit), settings=UNSHRUNK)
