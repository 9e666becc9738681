"""`Policy.failing` is the one interval after a refused write: of decision, pass and retry."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from captep_core import ObjectRef, Policy, decide
from captep_memory import MemoryGateway, ObjectMatch, load
from captep_runtime import Loop
from tests.capt.driving import KEY, NOW, Run, run
from tests.capt.worlds import changed, ready
from tests.runtime.toys import Clock

MINUTE = timedelta(minutes=1)
LABELS = ("patch", ObjectRef("v1", "Secret", "fleet", "tokyo-ca"))
STATUS = ("patch", KEY)


def relabelled() -> list[dict[str, Any]]:
    """A Ready world whose CA Secret has lost its labels."""
    return changed(ready(), "Secret", "tokyo-ca", {"metadata": {"labels": None}})


def unreported() -> list[dict[str, Any]]:
    """A Ready world whose status has not been written yet."""
    return changed(ready(), "CAPTControlPlane", "tokyo", {"status": {"ready": False}})


WORLDS = {LABELS: relabelled, STATUS: unreported}


def refused_run(refused: tuple[str, ObjectRef], status: int, failing: timedelta) -> Run:
    """Run passes over a world that refuses one write for good."""
    return run(WORLDS[refused](), refuse={refused: status}, policy=Policy(failing=failing))


@pytest.mark.parametrize("refused", [LABELS, STATUS], ids=["a child", "the report"])
@pytest.mark.parametrize("status", [403, 409, 422, 429, 500, 504])
@pytest.mark.parametrize("failing", [timedelta(seconds=3), MINUTE])
def test_the_pass_that_meets_a_refusal_waits_as_long_as_those_that_know_of_it(
    refused: tuple[str, ObjectRef], status: int, failing: timedelta
) -> None:
    """The first pass of a refusal and every later one come back after `Policy.failing`."""
    passes = refused_run(refused, status, failing).passes
    knowing = [done for done in passes if done.state.refusals]
    assert knowing
    assert {done.requeue_after for done in knowing} == {failing}


@pytest.mark.parametrize("seconds", [3, 60])
def test_a_loop_retries_a_refused_write_at_the_interval_of_the_policy(seconds: int) -> None:
    """The loop sends it once per `Policy.failing`, although a watch wakes the key each second."""
    _, target = LABELS
    gateway = MemoryGateway(
        load(relabelled(), now=NOW),
        refuse={("patch", ObjectMatch("Secret", target.namespace, target.name)): 403},
    )
    policy, clock = Policy(failing=timedelta(seconds=seconds)), Clock()
    tries = list[float]()

    class Noting:
        read = gateway.read

        def send(self, action: Any) -> Any:  # noqa: ANN401 - handed through
            if action.target == target:
                tries.append((clock.time - NOW).total_seconds())
            return gateway.send(action)

    loop = Loop(partial(decide, policy=policy), Noting(), clock)
    clock.time = NOW
    loop.add(KEY)
    for second in range(2 * seconds + 1):
        clock.time = NOW + timedelta(seconds=second)
        loop.notify(KEY)
        loop.run_due(clock.time)
    assert tries == [0, seconds, 2 * seconds]
