"""`captep simulate`: the loop of one control plane, alone in its world."""

from datetime import datetime
from typing import Any

from attrs import frozen

from captep_cli._input_world import InputWorld, sorted_objects
from captep_core.ports import Decide
from captep_operator import simulated
from captep_operator.command._json import action_json, seconds, verdict_text
from captep_operator.command._mask import Show
from captep_runtime import Pass

__all__ = ["Simulation", "simulate", "simulation_json"]


@frozen
class Simulation:
    """The passes of a run, and the objects at its end.

    `settled_after` is the number of passes before the first one that changed nothing, None when
    every pass changed something.
    """

    passes: tuple[Pass, ...]
    settled_after: int | None
    objects: list[dict[str, Any]]


def simulate(world: InputWorld, now: datetime, further: int, decide: Decide) -> Simulation:
    """Run the loop until it settles, then `further` passes; see `captep_operator.simulated`."""
    run = simulated(decide, world.gateway, world.key, now, further=further)
    return Simulation(run.passes, run.settled_after, sorted_objects(run.world, world.malformed))


def simulation_json(simulation: Simulation, show: Show) -> dict[str, Any]:
    """Return the JSON output of `simulate`."""
    return {
        "settled": simulation.settled_after is not None,
        "settled_after": simulation.settled_after,
        "passes": [_pass_json(done, show) for done in simulation.passes],
        "objects": [show(obj["kind"], obj) for obj in simulation.objects],
    }


def _pass_json(done: Pass, show: Show) -> dict[str, Any]:
    return {
        "verdict": verdict_text(done.decision.verdict),
        "requeue_after": seconds(done.requeue_after),
        "actions": [action_json(action, show) for action, _ in done.sent],
        "responses": [answer.status for _, answer in done.sent],
        "effective_writes": done.effective_writes,
    }
