"""Decisions as JSON in the format of the command's contract (tests/cli/schema.json)."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from captep_core._actions import Action, purpose_of, write_of
from captep_core._decision import Decision, VerdictLike
from captep_operator._simulation import Simulation
from captep_runtime import Pass
from captep_show import Show

__all__ = ["decision_json", "seconds", "simulation_json", "verdict_text"]


def verdict_text(verdict: VerdictLike) -> str:
    """Return `reason: message`, or the reason alone."""
    return f"{verdict.reason}: {verdict.message}" if verdict.message else verdict.reason


def seconds(delay: timedelta | None) -> int | float | None:
    """Return a delay in seconds: an int when it is whole, None when no pass is due."""
    if delay is None:
        return None
    total = delay.total_seconds()
    return int(total) if total.is_integer() else total


def decision_json(decision: Decision, show: Show, *, now: datetime) -> dict[str, Any]:
    """Return the JSON output of a `plan` made at `now`."""
    return {
        "verdict": verdict_text(decision.verdict),
        "requeue_after": seconds(decision.wait(now=now)),
        "actions": [_action_json(action, show) for action in decision.actions],
    }


def _action_json(action: Action, show: Show) -> dict[str, Any]:
    """Return one action; `show` masks the values of Secrets in its body."""
    ref = action.target
    locks = {
        "uid": action.preconditions.uid,
        "resourceVersion": action.preconditions.resource_version,
    }
    body: Mapping[str, Any] | None = action.body
    return {
        "verb": write_of(action).verb,
        "target": {
            "apiVersion": ref.api_version,
            "kind": ref.kind,
            "namespace": ref.namespace,
            "name": ref.name,
        },
        "subresource": action.subresource,
        "body": None if body is None else show(ref.kind, body),
        "preconditions": {name: value for name, value in locks.items() if value is not None},
        "reason": purpose_of(action),
    }


def simulation_json(
    run: Simulation, objects: Iterable[Mapping[str, Any]], show: Show
) -> dict[str, Any]:
    """Return the JSON output of `simulate`, with the objects at its end."""
    return {
        "settled": run.settled_after is not None,
        "settled_after": run.settled_after,
        "passes": [_pass_json(done, show) for done in run.passes],
        "objects": [show(obj["kind"], obj) for obj in objects],
    }


def _pass_json(done: Pass, show: Show) -> dict[str, Any]:
    return {
        "verdict": verdict_text(done.decision.verdict),
        "requeue_after": seconds(done.requeue_after),
        "actions": [_action_json(action, show) for action, _ in done.sent],
        "responses": [answer.status for _, answer in done.sent],
        "effective_writes": done.effective_writes,
    }
