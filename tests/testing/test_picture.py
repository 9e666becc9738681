"""The diagram of the verdicts in docs/operations.md comes from the code.

It shows each step from one verdict to another that moves of others bring about.
CAPTEP_PICTURE_MOVES widens the search: three moves in a row find no step that two do not find, and
take minutes.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from attrs import evolve, frozen

from captep_core import JSON, Action, ObjectRef, Observed, ReconcileState, Unreadable, decide
from captep_core.ports import Answer
from captep_memory import MemoryGateway, World
from captep_runtime import run_pass
from captep_testing import Move, moves
from tests.capt import worlds
from tests.capt.driving import NOW
from tests.testing.captep_domain import CLUSTER, KEY, MOVES, WORKSPACE, captep_worlds

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
# Fields that a server makes up: two worlds that differ in them alone have the same verdicts.
_MADE_UP = re.compile(
    r'"(uid|resourceVersion|generation|creationTimestamp|lastTransitionTime|deletionTimestamp)": '
    r'("[^"]*"|\d+)'
)
CONNECTION = ObjectRef("v1", "Secret", "fleet", "tokyo-eks-connection")
# Passes until rest; the longest way in the domain takes eight.
_MOST_PASSES = 20
MOVES_IN_A_ROW = int(os.environ.get("CAPTEP_PICTURE_MOVES", "2"))


def conditions_of_the_workspace(failure: str, *, ready: bool = True) -> Move:
    """Return the move by which the Workspace reports a failure, "" for none."""
    conditions = worlds.conditions(ready=ready, synced=failure)
    return moves.edit(WORKSPACE, {"status": {"conditions": conditions}}, subresource="status")


def endpoint(value: str) -> Move:
    """Return the move by which the Workspace shows another endpoint."""
    outputs = {"cluster_endpoint": value}
    patch = {"status": {"atProvider": {"outputs": outputs}}}
    return moves.edit(WORKSPACE, patch, subresource="status")


ALL_MOVES: Mapping[str, Move] = {
    **MOVES,
    "the Cluster goes": moves.delete(CLUSTER),
    "the Workspace goes": moves.delete(WORKSPACE),
    "the connection Secret goes": moves.delete(CONNECTION),
    "Terraform fails": conditions_of_the_workspace("quota exceeded"),
    "Terraform works again": conditions_of_the_workspace(""),
    "the Workspace is not ready": conditions_of_the_workspace("", ready=False),
    "the Workspace shows an endpoint": endpoint(worlds.ENDPOINT),
    "the Workspace shows no URL": endpoint("not a url"),
    "the foreign finalizer goes": moves.edit(KEY, {"metadata": {"finalizers": None}}),
}
OUT_OF_SIGHT = ("", "Cluster", "Workspace", "WorkspaceTemplateApply", "Secret")
"""The kinds of which the controller may lose sight, one at a time; "" for none."""


class Gateway:
    """A world of which one kind may be out of sight."""

    def __init__(self, world: World, *, unseen: str) -> None:
        """Serve `world` without the kind `unseen`."""
        self._gateway = MemoryGateway(world)
        self._unseen = unseen

    @property
    def world(self) -> World:
        """The world as it is now."""
        return self._gateway.world

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up."""
        if ref.kind == self._unseen:
            return Unreadable("Timeout")
        return self._gateway.read(ref)

    def send(self, action: Action) -> Answer:
        """Send one action."""
        return self._gateway.send(action)


@frozen
class Look:
    """One pass: its verdict and the interval after it."""

    verdict: str
    interval: str


def settled(world: World, *, unseen: str) -> tuple[World, list[Look]]:
    """Run passes until one changes nothing; return the world and the passes."""
    gateway = Gateway(world, unseen=unseen)
    state = ReconcileState()
    looks: list[Look] = []
    while True:
        done = run_pass(decide, gateway, KEY, state, now=NOW)
        state = done.state
        wait = done.decision.requeue_after
        interval = "no requeue" if wait is None else f"{wait.total_seconds():g} s"
        looks.append(Look(type(done.decision.verdict).__name__, interval))
        if not done.changed:
            return gateway.world, looks
        assert len(looks) < _MOST_PASSES


@frozen
class Situation:
    """A world, the kind that is out of sight, and the last verdict."""

    world: World
    unseen: str
    verdict: str

    def name(self) -> str:
        """Return a text that is equal for situations with equal futures."""
        objects = [obj for obj in self.world.objects() if obj["kind"] != "Event"]
        return _MADE_UP.sub("", json.dumps([objects, self.unseen, self.verdict]))

    def successors(self) -> Iterator["Situation"]:
        """Yield the situations after one move, or after the controller lost or regained sight of a
        kind.
        """
        for move in ALL_MOVES.values():
            after = move(self.world)
            if after is not None and after.resource_version != self.world.resource_version:
                yield evolve(self, world=after)
        for kind in OUT_OF_SIGHT:
            if kind != self.unseen:
                yield evolve(self, unseen=kind)


def starts() -> list[Situation]:
    """Return the moments from which the search starts.

    Two new control planes and five later moments.
    """
    moments = captep_worlds()
    later = [moments[name] for name in ("provided", "ready", "leaving")]
    for name, moment in (("Terraform fails", "ready"), ("the Cluster goes", "new")):
        after = ALL_MOVES[name](moments[moment])
        assert after is not None
        later.append(after)
    at_rest = [settled(world, unseen="") for world in later]
    return [
        *(Situation(moments[name], "", "[*]") for name in ("new", "held")),
        *(Situation(world, "", looks[-1].verdict) for world, looks in at_rest),
    ]


def steps() -> tuple[set[tuple[str, str]], set[Look]]:
    """Return every step from one verdict to another within the bound, and the intervals of each
    verdict.
    """
    edges: set[tuple[str, str]] = set()
    intervals: set[Look] = set()
    seen: set[str] = set()
    level = starts()
    for _ in range(MOVES_IN_A_ROW + 1):
        new = {name: each for each in level if (name := each.name()) not in seen}
        seen |= set(new)
        level = []
        for situation in new.values():
            world, looks = settled(situation.world, unseen=situation.unseen)
            intervals |= set(looks)
            verdicts = [situation.verdict, *(look.verdict for look in looks)]
            edges |= {(before, after) for before, after in pairwise(verdicts) if before != after}
            level += Situation(world, situation.unseen, verdicts[-1]).successors()
    return edges, intervals


def diagram() -> str:
    """Return the text of the Mermaid diagram.

    States with their intervals, and the steps between them.
    """
    edges, looks = steps()
    intervals: dict[str, list[str]] = {}
    for look in sorted(looks, key=lambda look: (look.verdict, len(look.interval), look.interval)):
        intervals.setdefault(look.verdict, []).append(look.interval)
    lines = ["stateDiagram-v2"]
    lines += [
        f"    {verdict} : {verdict}, {' or '.join(waits)}" for verdict, waits in intervals.items()
    ]
    lines += [f"    {before} --> {after}" for before, after in sorted(edges)]
    return "\n".join([*lines, ""])


def test_the_diagram_of_the_verdicts_comes_from_the_code() -> None:
    """The block in docs/operations.md equals the diagram that the search draws."""
    drawn = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert drawn == [diagram()]
