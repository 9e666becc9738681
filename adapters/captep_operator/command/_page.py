"""A simulation as one HTML page."""

from itertools import pairwise

from captep_core._actions import ObjectRef, purpose_of, write_of
from captep_operator._simulation import Simulation
from captep_operator.command._json import seconds, verdict_text
from captep_runtime import Pass
from captep_show import Objects, Run, Sent, Show, Step, changes, named, page

__all__ = ["simulation_page"]


def simulation_page(key: ObjectRef, run: Simulation, show: Show) -> str:
    """Return the page; `show` masks the values of Secrets."""
    worlds = [named(world.objects(), show) for world in run.worlds]
    start = run.worlds[0].now
    steps = tuple(
        _step(done, f"{(world.now - start).total_seconds():g} s", before, after)
        for done, world, (before, after) in zip(
            run.passes, run.worlds[1:], pairwise(worlds), strict=True
        )
    )
    settled = "does not settle"
    if run.settled_after is not None:
        settled = f"settles after {run.settled_after} passes"
    return page(Run(str(key), f"{len(steps)} passes in memory; the loop {settled}", steps))


def _step(done: Pass, at: str, before: Objects, after: Objects) -> Step:
    wait = seconds(done.requeue_after)
    return Step(
        done.decision.verdict.reason,
        at,
        verdict_text(done.decision.verdict),
        "never by itself" if wait is None else f"in {wait} s",
        tuple(
            Sent(
                write_of(action).verb,
                str(write_of(action)).partition(" ")[2],
                answer.status,
                answer.changed,
                purpose_of(action),
            )
            for action, answer in done.sent
        ),
        changes(before, after),
    )
