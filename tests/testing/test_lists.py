"""The kit and an operator that lists: it counts labelled ConfigMaps in one of its own."""

from datetime import datetime
from typing import Any

import pytest
from attrs import frozen

from captep_core import (
    ABSENT,
    JSON,
    Create,
    Decision,
    ObjectRef,
    Patch,
    ReconcileState,
    Unreadable,
)
from captep_core.ports import Read
from captep_memory import Key, MemoryGateway, Request, World, load, serve
from captep_testing import Kit, check, converge, explore, sweep
from tests.testing.toy import NOW, SOON, Verdict, concluded, this

KEY = ObjectRef("example.dev/v1", "Counter", "fleet", "one")
TOTAL = ObjectRef("v1", "ConfigMap", "fleet", "total")
LABELS = {"counted": "yes"}
THING: dict[str, Any] = {
    "apiVersion": KEY.api_version,
    "kind": KEY.kind,
    "metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": "u1"},
}


def member(name: str) -> dict[str, Any]:
    """A ConfigMap that counts."""
    metadata = {"name": name, "namespace": "fleet", "labels": LABELS}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@frozen
class Counting:
    """The reconcile function, with at most one mistake."""

    bug: str = ""

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Keep the total equal to the number of members."""
        listed = read.list("v1", "ConfigMap", "fleet", labels=LABELS)
        total: Any = read(TOTAL)
        if isinstance(total, Unreadable):
            return self.waits()
        if isinstance(listed, Unreadable):
            if self.bug == "raises":
                raise TypeError
            if self.bug != "a failed list is empty":
                return self.waits()
            listed = ()
        wanted: dict[str, JSON] = {"data": {"total": str(len(listed))}}
        if total is ABSENT:
            metadata: JSON = {"name": TOTAL.name, "namespace": TOTAL.namespace}
            body: dict[str, JSON] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            return concluded([Create(TOTAL, {**body, **wanted}, "count")], state, "Counted")
        if total.get("data") == wanted["data"] or "deletionTimestamp" in total["metadata"]:
            return concluded([], state, "Counted")
        return concluded([Patch(TOTAL, wanted, this(total), "count")], state, "Counted")

    def waits(self) -> Decision:
        """Look again soon, unless that is the mistake."""
        return Decision(
            (), None if self.bug == "never looks again" else SOON, Verdict("Unreadable")
        )


def is_right(world: World) -> bool:
    """Whether the total is the number of members."""
    members = MemoryGateway(world).read.list("v1", "ConfigMap", "fleet", labels=LABELS)
    total = world.get(Key("", "ConfigMap", "fleet", "total"))
    return isinstance(members, tuple) and (total or {}).get("data") == {"total": str(len(members))}


def joined(world: World) -> World:
    """A member appears."""
    return serve(world, Request("create", "v1", "ConfigMap", "fleet", body=member("late")))[0]


def kit(bug: str = "") -> Kit:
    """The kit of this operator."""
    return Kit(
        Counting(bug),
        (KEY,),
        {
            "none": load([THING], now=NOW),
            "two": load([THING, member("a"), member("b")], now=NOW),
        },
        is_right,
        moves={"a member joins": joined},
    )


def test_an_operator_that_lists_passes_the_kit() -> None:
    """Single calls, runs with each disturbance, and an exploration with a failing read."""
    made = kit()
    for report in (
        converge(made),
        check(made),
        sweep(made),
        explore(made, events=1, read_faults=1),
    ):
        assert report.holds, str(report)
        assert report.states


@pytest.mark.parametrize(
    ("bug", "found"),
    [("a failed list is empty", "F24"), ("never looks again", "P15b"), ("raises", "P5a")],
)
def test_a_mistake_about_a_failed_list_is_found(bug: str, found: str) -> None:
    """Empty is no answer of a list that failed, and the operator must look again."""
    report = check(kit(bug))
    assert found in report.properties, str(report)


def test_each_list_fails_once_in_a_sweep_and_in_an_exploration() -> None:
    """A function that cannot take it raises there."""
    assert sweep(kit("raises")).properties == {"P5a"}
    assert explore(kit("raises"), faults=0, events=0, read_faults=1).properties == {"P5a"}
