"""The picture of the verdicts in README is drawn from the code: every step from one to another that the moves of others bring about."""

import json
import re
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from captep_core import JSON, Action, ObjectRef, Observed, ReconcileState, Unreadable, decide
from captep_core.ports import Answer
from captep_memory import MemoryGateway, World
from captep_runtime import run_pass
from captep_testing import Move, moves
from tests.capt import worlds
from tests.capt.driving import NOW
from tests.testing.captep_domain import KEY, MOVES, WORKSPACE, captep_worlds

README = Path(__file__).resolve().parents[2] / "README.md"
_MADE_UP = re.compile(
    r'"(uid|resourceVersion|generation|creationTimestamp|lastTransitionTime|deletionTimestamp)": ("[^"]*"|\d+)'
)


def terraform(failure: str) -> Move:
    """Let Terraform fail, with "" work again."""
    return moves.edit(
        WORKSPACE,
        {"status": {"conditions": worlds.conditions(synced=failure)}},
        subresource="status",
    )


OTHERS: Mapping[str, Move] = {
    **{
        name: MOVES[name]
        for name in (
            "neighbours do their work",
            "user deletes the control plane",
            "Workspace loses its endpoint",
        )
    },
    "Terraform fails": terraform("quota exceeded"),
    "Terraform works again": terraform(""),
    "the other lets go": moves.edit(KEY, {"metadata": {"finalizers": None}}),
}


class Gateway:
    """A world, of which Workspaces may be out of sight."""

    def __init__(self, world: World, *, sees_workspaces: bool) -> None:
        self._gateway, self._sees_workspaces = MemoryGateway(world), sees_workspaces

    @property
    def world(self) -> World:
        """The world as it is now."""
        return self._gateway.world

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up."""
        return (
            self._gateway.read(ref)
            if self._sees_workspaces or ref.kind != "Workspace"
            else Unreadable("Timeout")
        )

    def send(self, action: Action) -> Answer:
        """Send one action."""
        return self._gateway.send(action)


def settled(world: World, *, sees_workspaces: bool) -> tuple[World, list[tuple[str, str]]]:
    """Run passes until one changes nothing; return the world and, of each pass, the verdict and how soon it looks again."""
    gateway, known, told = (
        Gateway(world, sees_workspaces=sees_workspaces),
        ReconcileState(),
        list[tuple[str, str]](),
    )
    while True:
        done = run_pass(decide, gateway, KEY, known, now=NOW)
        known, wait = done.state, done.decision.requeue_after
        told.append(
            (
                type(done.decision.verdict).__name__,
                "not again" if wait is None else f"{wait.total_seconds():g} s",
            )
        )
        if not done.changed:
            return gateway.world, told
        assert len(told) < 20


def steps() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return each step from one verdict to another, and each verdict with how soon it looks again; exhausted, not sampled."""
    edges, waits, seen = set[tuple[str, str]](), set[tuple[str, str]](), set[str]()
    queue = deque([(captep_worlds()[moment], True, "[*]") for moment in ("new", "held")])
    while queue:
        world, sees, before = queue.popleft()
        world, told = settled(world, sees_workspaces=sees)
        waits |= set(told)
        for verdict, _ in told:
            edges |= {(before, verdict)} if verdict != before else set()
            before = verdict
        objects = [obj for obj in world.objects() if obj["kind"] != "Event"]
        state = _MADE_UP.sub("", json.dumps([objects, sees, before]))
        if state not in seen:
            seen.add(state)
            queue += [
                (after, sees, before)
                for move in OTHERS.values()
                if (after := move(world)) is not None
            ]
            queue.append((world, not sees, before))
    return edges, waits


def test_the_picture_of_the_readme_is_drawn_from_the_code() -> None:
    """States with their intervals, and steps between them. Paused and an unreadable control plane, which may come any time, are left out."""
    edges, waits = steps()
    drawn = [
        "stateDiagram-v2",
        *(f"    {verdict} : {verdict}, {wait}" for verdict, wait in sorted(waits)),
        *(f"    {before} --> {after}" for before, after in sorted(edges)),
    ]
    picture = re.findall(r"```mermaid\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert picture == ["\n".join((*drawn, ""))]
