"""The kit and a server without a model: the end names the server, not the operator."""

from collections.abc import Callable

import pytest

from captep_core import JSON, Create, Decision, ObjectRef, ReconcileState
from captep_core.ports import Read
from captep_memory import NotModelledError, load
from captep_testing import Kit, converge, drive, explore, sweep
from tests.testing.toy import KEY, NOW, THING, Verdict

NODE = ObjectRef("v1", "Node", None, "n")


def create_a_node(key: ObjectRef, read: Read, state: ReconcileState, *, now: object) -> Decision:
    """Create an object of a kind that the in-memory server only reads."""
    del now, state
    read(key)
    body: dict[str, JSON] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    return Decision((Create(NODE, body, "create"),), None, Verdict("Working"))


def kit() -> Kit:
    """Return a kit for it."""
    world = load([THING], now=NOW)
    return Kit(create_a_node, (KEY,), (world,), matches=lambda world: True)


@pytest.mark.parametrize(
    "run",
    [
        converge,
        lambda kit: drive(kit, next(iter(kit.named_worlds()))[1]),
        explore,
        sweep,
    ],
    ids=["converge", "drive", "explore", "sweep"],
)
def test_a_write_without_a_model_ends_the_run(run: Callable[[Kit], object]) -> None:
    """No property failed: the fake does not model what the operator writes."""
    with pytest.raises(NotModelledError, match="does not model writes of Node"):
        run(kit())
