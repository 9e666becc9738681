"""Text output: the verdict, the actions with their reasons, and the fields that they change."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, assert_never

from captep_core._actions import (
    Action,
    Apply,
    Create,
    Delete,
    ObjectRef,
    Patch,
    RecordEvent,
    purpose_of,
    write_of,
)
from captep_core._decision import Decision
from captep_core.ports import Read
from captep_operator._simulation import Simulation
from captep_operator.command._errors import printable
from captep_operator.command._json import seconds, verdict_text
from captep_runtime import Pass
from captep_show import Show

__all__ = ["decision_text", "simulation_text"]

_SIGNS: Final[Mapping[str, str]] = {
    "create": "+",
    "patch": "~",
    "apply": "~",
    "delete": "-",
    "event": "!",
}


def decision_text(
    key: ObjectRef, decision: Decision, read: Read, show: Show, *, now: datetime
) -> str:
    """Return a decision as text: each action with its reason and the fields that it changes.

    `read` returns the objects as they are at `now`, when the decision was made.
    """
    lines = [
        str(key),
        f"  verdict     {verdict_text(decision.verdict)}",
        f"  looks again {_again(seconds(decision.wait(now=now)))}",
        f"  actions     {len(decision.actions) or 'none: nothing differs, or it has to wait'}",
    ]
    for action in decision.actions:
        lines += ["", *_action(action, read, show)]
    return _page(lines)


def simulation_text(
    key: ObjectRef, simulation: Simulation, objects: Sequence[Mapping[str, Any]]
) -> str:
    """Return a run as text: each pass with its writes and their answers, then the objects."""
    lines = [str(key), ""]
    for number, done in enumerate(simulation.passes):
        lines += _pass(number, done, is_settled=number == simulation.settled_after)
    lines += [
        "",
        _conclusion(simulation),
        "",
        f"{len(objects)} objects are in the server:",
    ]
    width = max((len(obj["kind"]) for obj in objects), default=0)
    for obj in objects:
        namespace = obj["metadata"].get("namespace")
        place = f"{namespace}/" if namespace else ""
        lines.append(f"  {obj['kind']:<{width}}  {place}{obj['metadata']['name']}")
    return _page(lines)


def _conclusion(simulation: Simulation) -> str:
    if simulation.settled_after is None:
        return "not settled: every pass changed something, up to the limit of 20"
    writes = sum(done.effective_writes for done in simulation.passes)
    passes = _count(simulation.settled_after, "pass", "passes")
    return f"settled after {passes}, with {_count(writes, 'effective write')}"


def _pass(number: int, done: Pass, *, is_settled: bool) -> Iterator[str]:
    what = "settled" if is_settled else "nothing changed"
    if done.effective_writes:
        what = _count(done.effective_writes, "effective write")
    yield f"pass {number + 1}: {what}, looks again {_again(seconds(done.requeue_after))}"
    yield f"    {verdict_text(done.decision.verdict)}"
    for action, answer in done.sent:
        write = write_of(action)
        yield f"    {_SIGNS[write.verb]} {answer.status} {write}: {purpose_of(action)}"
        if answer.is_refusal and answer.message:
            yield f"        {answer.reason}: {answer.message}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _again(delay: float | None) -> str:
    return "when something changes" if delay is None else f"after {delay:g} s"


def _action(action: Action, read: Read, show: Show) -> Iterator[str]:
    yield f"{_SIGNS[write_of(action).verb]} {write_of(action)}"
    yield f"    why: {purpose_of(action)}"
    match action:
        case Create() | Apply():
            yield from (
                f"    + {path}: {_value(value)}"
                for path, value in _leaves(show(action.target.kind, action.body))
            )
        case Patch():
            yield from _changes(action, read, show)
        case Delete():
            yield f"    only if its uid is {action.preconditions.uid}"
        case RecordEvent():
            yield f"    {action.type} {action.reason}: {action.message}"
        case _ as unreachable:
            assert_never(unreachable)


def _changes(action: Patch, read: Read, show: Show) -> Iterator[str]:
    """Yield each field that a patch changes: its present value (-) and its new one (+)."""
    found = read(action.target)
    before = show(action.target.kind, found) if isinstance(found, dict) else {}
    for path, value in _leaves(show(action.target.kind, action.body)):
        known, old = _at(before, path)
        if known and old == value:
            continue
        if known:
            yield f"    - {path}: {_value(old)}"
        if value is not None:
            yield f"    + {path}: {_value(value)}"


def _leaves(
    value: Mapping[str, Any], parents: "Path | None" = None
) -> Iterator[tuple["Path", Any]]:
    """Yield the leaves of a JSON object with their paths; an empty object is a leaf."""
    for key, item in sorted(value.items()):
        path = Path((*(parents or ()), key))
        if isinstance(item, dict) and item:
            yield from _leaves(item, path)
        else:
            yield path, item


class Path(tuple[str, ...]):
    """The keys that lead to a field, joined by dots; keys with dots or slashes are quoted."""

    __slots__ = ()

    def __str__(self) -> str:
        return ".".join(json.dumps(key) if "." in key or "/" in key else key for key in self)


def _at(obj: Any, path: Path) -> tuple[bool, Any]:  # noqa: ANN401 - JSON
    for key in path:
        if not isinstance(obj, dict) or key not in obj:
            return False, None
        obj = obj[key]
    return True, obj


def _value(value: Any) -> str:  # noqa: ANN401 - JSON
    # A masked value has brackets of its own and needs no quotes.
    if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
        return value
    return json.dumps(value, ensure_ascii=False)


def _page(lines: list[str]) -> str:
    """Join lines, each safe for a terminal: files from any source may hold escape sequences."""
    return "".join(f"{printable(line)}\n" for line in lines)
