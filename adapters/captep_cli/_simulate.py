"""`captep simulate`: the loop of one control plane, alone in its world."""

from datetime import datetime, timedelta
from typing import Any, Final

from attrs import frozen

from captep_cli._input_world import InputWorld, is_event, sorted_objects
from captep_cli._json import action_json, seconds, verdict_text
from captep_cli._mask import Show
from captep_core import ReconcileState
from captep_core.ports import Decide
from captep_memory import World, collect_all, departed
from captep_runtime import Pass, WriteHistory, run_pass

__all__ = ["Simulation", "simulate", "simulation_json"]

_PASSES: Final = 20
"""The limit of the command's contract; a new control plane settles within three."""


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
    """Run at most 20 passes until one changes neither world nor refusals, then `further` passes.

    The clock stands still in the first part, as the watch events of its own writes would run the
    loop at once, and advances by each pass's interval in the second.
    """
    run = _Run(world, now, decide)
    settled_after = next((number for number in range(_PASSES) if not run.one_pass()), None)
    for _ in range(further):
        run.wait()
        run.one_pass()
    return Simulation(
        tuple(run.passes), settled_after, sorted_objects(world.gateway.world, world.malformed)
    )


class _Run:
    """The loop: the state that it carries from one pass to the next, and the time."""

    def __init__(self, world: InputWorld, now: datetime, decide: Decide) -> None:
        self._key, self._gateway = world.key, world.gateway
        self._decide = decide
        self._now = now
        self._state = ReconcileState()
        self._history = WriteHistory()
        self.passes: list[Pass] = []

    def one_pass(self) -> bool:
        """Run a pass, then the garbage collector; return whether anything changed."""
        gateway = self._gateway
        before = gateway.world
        done = run_pass(
            self._decide, gateway, self._key, self._state, now=self._now, history=self._history
        )
        gateway.world = collect_all(gateway.world, known_owner=departed(gateway.world))
        self._state, self._history = done.state, done.history
        self.passes.append(done)
        return done.changed or _is_changed(before, gateway.world)

    def wait(self) -> None:
        """Advance the clock by the interval of the last pass."""
        self._now += self.passes[-1].requeue_after or timedelta(0)
        self._gateway.world = self._gateway.world.at(self._now)


def _is_changed(before: World, after: World) -> bool:
    return any(
        not is_event(change.object) for change in after.changes(since=before.resource_version)
    )


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
