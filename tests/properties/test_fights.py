"""Another writer undoes our writes (P20): bounded writes, a report that names it, and a good end.

The clock is virtual. Every change wakes the loop at once, as a watch does; the other writer acts
some time after each of our writes.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, Final

import pytest
from attrs import frozen

from captep_core import JSON, Action, ObjectRef, Observed, Policy, RecordEvent, decide
from captep_core.ports import Answer
from captep_memory import Request, World, load, serve
from captep_runtime import Loop
from tests.capt import worlds as moments
from tests.properties.driving import (
    KEY,
    NOW,
    Scene,
    Server,
    Step,
    drive,
    normalised,
    storage_key,
    stored,
)
from tests.properties.strategies import ref_of

HOUR: Final = timedelta(hours=1)
WINDOW: Final = timedelta(minutes=15)
MANAGER: Final = "kubectl-edit"
MAIN: Final = "tokyo-eks-controlplane-apply"

DELAYS: Final = (0, 0.5, 5, 15, 40, 70)
"""Seconds from our write to the other writer's: at once, and around 10, 30 and 60 s."""

MOST_ROUNDS: Final = 20
"""Of a fight in an hour: three at once, six within ten minutes, then one in five minutes."""

MOST_WRITES: Final = 3 * MOST_ROUNDS
"""A round may change `secretsReady`, or the Cluster's copy of the status, there and back."""

Change = Callable[[World], World]


@frozen
class Fight:
    """What the other writer does to one object: a merge patch, or a delete when it is None."""

    kind: str
    name: str
    revert: Mapping[str, Any] | None
    field: str = ""

    @property
    def sets_a_value(self) -> bool:
        """Whether the server notes the other writer; it forgets one that removed a field."""
        return self.revert is not None and "None" not in str(self.revert)

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.field or 'delete'}"


FIGHTS: Final = (
    Fight(
        "CAPTControlPlane",
        "tokyo",
        {"metadata": {"finalizers": ["example.com/mine"]}},
        "metadata.finalizers",
    ),
    Fight(
        "CAPTControlPlane",
        "tokyo",
        {"metadata": {"ownerReferences": None}},
        "metadata.ownerReferences",
    ),
    Fight(
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"workspaceTemplateApplyName": None}},
        "spec.workspaceTemplateApplyName",
    ),
    Fight(
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"controlPlaneEndpoint": {"host": "mine.example.com", "port": 1}}},
        "spec.controlPlaneEndpoint",
    ),
    Fight("CAPTControlPlane", "tokyo", {"status": {"ready": False}}, "status.ready"),
    Fight("CAPTControlPlane", "tokyo", {"status": {"conditions": None}}, "status.conditions"),
    Fight(
        "Cluster",
        "tokyo",
        {"spec": {"controlPlaneEndpoint": {"host": "mine.example.com", "port": 1}}},
        "spec.controlPlaneEndpoint",
    ),
    Fight("Cluster", "tokyo", {"status": {"controlPlaneReady": False}}, "status.controlPlaneReady"),
    Fight(
        "WorkspaceTemplateApply",
        MAIN,
        {"spec": {"variables": {"region": "us-east-1"}}},
        "spec.variables.region",
    ),
    Fight(
        "WorkspaceTemplateApply",
        MAIN,
        {"spec": {"variables": {"mine": "1"}}},
        "spec.variables.mine",
    ),
    Fight(
        "WorkspaceTemplateApply",
        MAIN,
        {"spec": {"waitForWorkspaces": [{"name": "mine"}]}},
        "spec.waitForWorkspaces",
    ),
    Fight(
        "WorkspaceTemplateApply",
        "tokyo-kubeconfig-apply",
        {"spec": {"templateRef": {"name": "mine"}}},
        "spec.templateRef.name",
    ),
    Fight(
        "WorkspaceTemplateApply",
        "tokyo-spot-role-check",
        {"metadata": {"ownerReferences": None}},
        "metadata.ownerReferences",
    ),
    Fight("Secret", "tokyo-ca", {"data": {"tls.crt": "eA=="}}, "data.tls.crt"),
    Fight("Secret", "tokyo-ca", {"metadata": {"labels": None}}, "metadata.labels"),
    Fight("Secret", "tokyo-ca", None),
    Fight("Secret", "tokyo-kubeconfig", {"data": {"value": "eA=="}}, "data.value"),
    Fight(
        "Secret",
        "tokyo-kubeconfig",
        {"metadata": {"ownerReferences": None}},
        "metadata.ownerReferences",
    ),
    Fight("Secret", "tokyo-kubeconfig", None),
)


class Clock:
    """A clock that the arena moves."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        """Return the time."""
        return self.time


class Arena(Server):
    """A server on which another writer undoes our writes to one object, `delay` after each."""

    def __init__(self, fight: Fight, delay: float) -> None:
        self.undo = undoing(fight)
        super().__init__(Scene(self.undo(load(moments.ready(), now=NOW))))
        self.fight = fight
        self.clock = Clock()
        self.writes: list[Step] = []
        self.events: list[RecordEvent] = []
        self.undo_at: list[datetime] = []
        self.looks: list[tuple[datetime, Mapping[str, Any]]] = []
        self._delay = timedelta(seconds=delay)
        self._target = target_of(fight)
        # Keeping the refused write in backoff no longer than a fight grows is the policy's default.
        self._loop = Loop(partial(decide, policy=Policy()), self, self.clock)
        self._loop.add(KEY)

    def send(self, action: Action) -> Answer:
        """Serve the action, and have the other writer undo it some time later."""
        answer = super().send(action)
        if isinstance(action, RecordEvent):
            self.events.append(action)
            return answer
        self.writes.append(self.steps[-1])
        self._loop.notify(action.target)
        if action.target == self._target:
            self.undo_at.append(self.clock.time + self._delay)
            if not self._delay:
                self._undo_now()
        return answer

    def read_live(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Return the object with the other writer as the manager of its fields."""
        found = super().read(ref)
        if not isinstance(found, dict):
            return found
        metadata: Any = found["metadata"]
        entry: JSON = {"manager": MANAGER, "fieldsV1": fields_v1(self.fight)}
        return {**found, "metadata": {**metadata, "managedFields": [entry]}}

    def live(self, until: timedelta) -> None:
        """Go from wake-up to wake-up, and look at the reported status after each."""
        end = NOW + until
        while True:
            due = self._loop.run_due(self.clock.time)
            status = (stored(self.world, KEY) or {}).get("status") or {}
            self.looks.append((self.clock.time, {**status, "secrets": self._has_secrets()}))
            following = min([end, *self.undo_at, *([due] if due else [])])
            if following >= end:
                return
            self.clock.time = max(following, self.clock.time)
            self.world = self.world.at(self.clock.time)
            if self.undo_at and self.undo_at[0] <= self.clock.time:
                self._undo_now()

    def stop_fighting(self) -> None:
        """End the other writer."""
        self.undo = lambda world: world

    def _undo_now(self) -> None:
        self.undo_at.pop(0)
        before = self.world
        self.world = self.undo(before)
        if self.world.resource_version != before.resource_version:
            self._loop.notify(self._target)

    def _has_secrets(self) -> bool:
        """Whether both Secrets are there and hold what they should."""
        return all(
            (stored(self.world, ref) or {}).get("data") == data for ref, data in PUBLISHED.items()
        )


def ref_named(kind: str, name: str) -> ObjectRef:
    """Refer to an object of the Ready world."""
    return next(
        ref_of(obj)
        for obj in moments.ready()
        if (obj["kind"], obj["metadata"]["name"]) == (kind, name)
    )


PUBLISHED: Final = {
    ref_of(obj): obj["data"]
    for obj in moments.ready()
    if obj["kind"] == "Secret" and obj["metadata"]["name"] in ("tokyo-ca", "tokyo-kubeconfig")
}


def target_of(fight: Fight) -> ObjectRef:
    """Refer to the object of a fight."""
    return ref_named(fight.kind, fight.name)


def undoing(fight: Fight) -> Change:
    """Return the other writer's write."""
    ref = target_of(fight)
    if fight.revert is None:
        gone = Request("delete", ref.api_version, ref.kind, ref.namespace, ref.name, body={})
        return lambda world: serve(world, gone)[0]
    subresource = "status" if "status" in fight.revert else None
    patch = Request(
        "patch",
        ref.api_version,
        ref.kind,
        ref.namespace,
        ref.name,
        subresource,
        dict(fight.revert),
    )
    return lambda world: serve(world, patch)[0]


def fields_v1(fight: Fight) -> JSON:
    """Return the fields of the revert as `metadata.managedFields` names them.

    The server keeps no trace of a manager that removed a field.
    """

    def owned(value: object) -> JSON:
        inner = value if isinstance(value, dict) else {}
        return {f"f:{key}": owned(item) for key, item in inner.items() if item is not None}

    return owned(fight.revert)


def ready_condition(status: Mapping[str, Any]) -> tuple[str, str]:
    """Return status and message of the Ready condition."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready":
            return str(condition["status"]), str(condition["message"])
    return "", ""


def without_events(world: World) -> list[Any]:
    """Return what the world holds, Events left out."""
    return [obj for obj in normalised(world) if storage_key(ref_of(obj)).kind != "Event"]


PAIRS: Final = tuple(
    (fight, delay) for number, fight in enumerate(FIGHTS) for delay in DELAYS[number % 2 :: 2]
)
"""Each fight with three delays; neighbours in FIGHTS share an object and alternate the delays."""


@pytest.mark.parametrize(("fight", "delay"), PAIRS, ids=str)
def test_p20_a_fight_is_bounded_and_reported_and_ends_well(fight: Fight, delay: float) -> None:
    """Writes get rare, the condition names object, field and manager, and the end is as ever."""
    arena = Arena(fight, delay)
    arena.live(HOUR)
    effective = [step for step in arena.writes if step.is_effective]
    assert len(effective) <= MOST_WRITES
    assert len(arena.writes) <= MOST_WRITES

    on_target = [step for step in effective if is_over(step, fight)]
    declared = on_target[2].before.now
    reported_from = declared + timedelta(seconds=1)
    # The report of a fight over the conditions is part of the fight.
    if "conditions" not in fight.field:
        assert len(on_target) <= MOST_ROUNDS
        looks = [status for at, status in arena.looks if at >= reported_from]
        messages = {ready_condition(status)[1] for status in looks}
        assert len(messages) == 1
        (message,) = messages
        assert f"{fight.kind} fleet/{fight.name}" in message
        assert fight.field in message
        assert (MANAGER in message) is fight.sets_a_value
        recorded = [event for event in arena.events if event.message == message]
        assert len(recorded) == 1
        assert recorded[0].type == "Warning"
    assert all(status["secretsReady"] == status["secrets"] for _, status in arena.looks)

    arena.stop_fighting()
    arena.live(HOUR + 2 * WINDOW)
    assert ready_condition(arena.looks[-1][1])[0] == "True"
    expected = drive(Scene(undoing(fight)(load(moments.ready(), now=NOW)))).end
    assert without_events(arena.world) == without_events(expected)


@pytest.mark.parametrize("delay", DELAYS)
def test_p20_the_first_repairs_are_immediate_and_later_ones_get_rare(delay: float) -> None:
    """The third effect shows the fight; from then on the waits grow from 10 s to 5 minutes."""
    arena = Arena(Fight("Secret", "tokyo-kubeconfig", None), delay)
    arena.live(HOUR)
    times = [(step.before.now - NOW).total_seconds() for step in arena.writes if is_create(step)]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[:2] == [delay, delay]
    grown = [10, 20, 40, 80, 160, *[300] * 20]
    least = [max(delay, wait) for wait in grown[: len(waits) - 2]]
    # A pass comes every 10 s, lengthened by its jitter.
    assert all(low <= wait <= low + 1 for low, wait in zip(least, waits[2:], strict=True))
    assert times[-1] > HOUR.total_seconds() - 302


def is_over(step: Step, fight: Fight) -> bool:
    """Whether a step writes the object of a fight, in the part that is fought over."""
    is_status = step.action.subresource == "status"
    return step.action.target == target_of(fight) and is_status == (
        "status" in (fight.revert or {})
    )


def is_create(step: Step) -> bool:
    """Whether a step creates a Secret."""
    return step.action.target.kind == "Secret" and step.is_effective


def test_p20_repairs_more_than_a_window_apart_are_no_fight() -> None:
    """Somebody who deletes a Secret every eight minutes meets an immediate repair each time."""
    arena = Arena(Fight("Secret", "tokyo-kubeconfig", None), 8 * 60)
    arena.live(2 * HOUR)
    creates = [step for step in arena.writes if is_create(step)]
    assert len(creates) == 15
    assert {ready_condition(status)[0] for _, status in arena.looks} == {"True"}
    assert "does not last" not in " ".join(event.message for event in arena.events)
