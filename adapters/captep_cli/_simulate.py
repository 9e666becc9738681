"""`captep simulate`: the loop of one control plane in a world where nobody else acts."""

from datetime import datetime, timedelta
from typing import Any, Final

from attrs import frozen

from captep_cli._input_world import Given, is_event, sorted_objects
from captep_cli._json import action_json, seconds, verdict_text
from captep_cli._mask import Show
from captep_core import ReconcileState, decide
from captep_memory import World, collect_all, departed
from captep_runtime import Pass, WriteHistory, run_pass

__all__ = ["Simulation", "simulate", "simulation_json"]

_PASSES: Final = 20


@frozen
class Simulation:
    """A run: its passes, and how many of them came before the first that left everything as it was (None: none did)."""

    passes: tuple[Pass, ...]
    settled_after: int | None
    objects: list[dict[str, Any]]


def simulate(given: Given, now: datetime, further: int) -> Simulation:
    """Run passes until one leaves world and refusals as they were, at most 20, then `further` ones with the clock going on."""
    run = _Run(given, now)
    settled_after = next((number for number in range(_PASSES) if not run.one_pass()), None)
    for _ in range(further):
        run.wait()
        run.one_pass()
    return Simulation(
        tuple(run.passes), settled_after, sorted_objects(given.gateway.world, given.malformed)
    )


class _Run:
    """The loop between two passes: what is remembered, and the time."""

    def __init__(self, given: Given, now: datetime) -> None:
        self._given, self._now = given, now
        self._recollection, self._attempts = ReconcileState(), WriteHistory()
        self.passes: list[Pass] = []

    def one_pass(self) -> bool:
        """Run a pass, and what the garbage collector does after it; return whether anything changed."""
        gateway = self._given.gateway
        before = gateway.world
        done = run_pass(
            decide,
            gateway,
            self._given.key,
            self._recollection,
            now=self._now,
            history=self._attempts,
        )
        gateway.world = collect_all(gateway.world, known_owner=departed(gateway.world))
        self._recollection, self._attempts = done.state, done.history
        self.passes.append(done)
        return done.changed or _is_changed(before, gateway.world)

    def wait(self) -> None:
        """Let the time pass that the last pass asked for."""
        self._now += self.passes[-1].requeue_after or timedelta(0)
        self._given.gateway.world = self._given.gateway.world.at(self._now)


def _is_changed(before: World, after: World) -> bool:
    return any(
        not is_event(change.object) for change in after.changes(since=before.resource_version)
    )


def simulation_json(simulation: Simulation, show: Show) -> dict[str, Any]:
    """Return what `simulate` prints."""
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
