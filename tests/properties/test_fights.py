"""Another writer reverts our writes (P20): few writes, a report in the condition, and an end.

The clock is virtual, and every change wakes the loop at once, as watches do.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from captep_core import Action, RecordEvent, decide
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

_HOUR = timedelta(hours=1)
_TOLERATED = 20
"""Writes on top of one in ten seconds: the first ones, before the loop knows of the fight, and the
reports."""

Revert = Mapping[str, Any]
_MAIN = "tokyo-eks-controlplane-apply"
_REVERTED: list[tuple[str, str, Revert]] = [
    ("CAPTControlPlane", "tokyo", {"metadata": {"finalizers": ["example.com/mine"]}}),
    ("CAPTControlPlane", "tokyo", {"metadata": {"ownerReferences": None}}),
    ("CAPTControlPlane", "tokyo", {"spec": {"workspaceTemplateApplyName": None}}),
    (
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"controlPlaneEndpoint": {"host": "mine.example.com", "port": 1}}},
    ),
    ("CAPTControlPlane", "tokyo", {"status": {"ready": False}}),
    ("CAPTControlPlane", "tokyo", {"status": {"conditions": None}}),
    (
        "Cluster",
        "tokyo",
        {"spec": {"controlPlaneEndpoint": {"host": "mine.example.com", "port": 1}}},
    ),
    ("Cluster", "tokyo", {"status": {"controlPlaneReady": False}}),
    ("WorkspaceTemplateApply", _MAIN, {"spec": {"variables": {"region": "us-east-1"}}}),
    ("WorkspaceTemplateApply", _MAIN, {"spec": {"variables": {"mine": "1"}}}),
    ("WorkspaceTemplateApply", _MAIN, {"spec": {"waitForWorkspaces": [{"name": "mine"}]}}),
    (
        "WorkspaceTemplateApply",
        "tokyo-kubeconfig-apply",
        {"spec": {"templateRef": {"name": "mine"}}},
    ),
    ("WorkspaceTemplateApply", "tokyo-spot-role-check", {"metadata": {"ownerReferences": None}}),
    ("Secret", "tokyo-ca", {"data": {"tls.crt": "eA=="}}),
    ("Secret", "tokyo-ca", {"metadata": {"labels": None}}),
    ("Secret", "tokyo-kubeconfig", {"data": {"value": "eA=="}}),
    ("Secret", "tokyo-kubeconfig", {"metadata": {"ownerReferences": None}}),
]


class _Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class _Arena(Server):
    """A server: somebody undoes each write to one object, and every change wakes the loop."""

    def __init__(
        self, scene: Scene, undo: Callable[[World], World], woken: Callable[[Step], None]
    ) -> None:
        super().__init__(scene)
        self._undo = undo
        self._woken = woken
        self.writes: list[Step] = []

    def send(self, action: Action) -> Answer:
        """Serve the action, undo it, and wake the loop."""
        answer = super().send(action)
        if not isinstance(action, RecordEvent):
            self.writes.append(self.steps[-1])
            self.world = self._undo(self.world)
            self._woken(self.steps[-1])
        return answer


def _undoing(kind: str, name: str, revert: Revert) -> Callable[[World], World]:
    ref = next(
        ref_of(obj)
        for obj in moments.ready()
        if (obj["kind"], obj["metadata"]["name"]) == (kind, name)
    )
    subresource = "status" if "status" in revert else None
    request = Request(
        "patch", ref.api_version, kind, ref.namespace, name, subresource, dict(revert)
    )
    return lambda world: serve(world, request)[0]


def _fought(undo: Callable[[World], World]) -> tuple[_Arena, list[Step]]:
    clock = _Clock()
    loop: Loop
    arena = _Arena(
        Scene(undo(load(moments.ready(), now=NOW))),
        undo,
        lambda step: loop.notify(step.action.target),
    )
    loop = Loop(decide, arena, clock)
    loop.add(KEY)
    while clock.time < NOW + _HOUR:
        due_at = loop.run_due(clock.time)
        assert due_at is not None
        clock.time = max(due_at, clock.time + timedelta(seconds=1))
        arena.world = arena.world.at(clock.time)
    return arena, arena.writes


@pytest.mark.parametrize(("kind", "name", "revert"), _REVERTED)
def test_p20_a_fight_is_bounded_reported_and_over_when_it_stops(
    kind: str, name: str, revert: Revert
) -> None:
    """About one write in ten seconds; the condition names the object; the end is as without it."""
    undo = _undoing(kind, name, revert)
    arena, writes = _fought(undo)
    assert (
        len([step for step in writes if step.is_effective])
        <= _HOUR / timedelta(seconds=10) + _TOLERATED
    )
    assert len(writes) <= _HOUR / timedelta(seconds=10) + _TOLERATED
    if "status" not in revert:
        assert f"{kind} fleet/{name}" in _reported(arena.world)
    after = drive(Scene(arena.world))
    assert after.is_settled
    expected = drive(Scene(undo(load(moments.ready(), now=NOW)))).end
    assert _without_events(after.end) == _without_events(expected)


def _reported(world: World) -> str:
    entries = ((stored(world, KEY) or {}).get("status") or {}).get("conditions") or []
    return next((str(entry["message"]) for entry in entries if entry["type"] == "Ready"), "")


def _without_events(world: World) -> list[Any]:
    return [obj for obj in normalised(world) if storage_key(ref_of(obj)).kind != "Event"]


def test_p20_the_loop_does_not_give_up_a_fight() -> None:
    """The loop rewrites a reverted field all through the hour."""
    writes = _fought(_undoing("Secret", "tokyo-kubeconfig", {"data": {"value": "eA=="}}))[1]
    times = [step.before.now for step in writes]
    assert len(writes) > 300
    assert times[-1] > NOW + _HOUR - timedelta(seconds=30)
