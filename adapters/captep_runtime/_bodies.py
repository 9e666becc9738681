"""What a decision must be, checked before anything of it is sent."""

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final, get_args

from captep_core._actions import Action, RecordEvent, write_of
from captep_core._decision import Decision
from captep_core.errors import DecisionError

__all__ = ["named", "require_decision"]

_DEEPEST: Final = 200
"""Far deeper than any manifest; a body that contains itself has no end."""
_PLAIN_DEPTH: Final = 20
# A body that contains itself twice doubles at each level.
_PLAIN_ITEMS: Final = 20_000
_SCALARS: Final = frozenset({str, int, bool, type(None)})


def require_decision(decision: object) -> None:
    """Check a decision and the bodies of its actions.

    Raises:
        DecisionError: it is no Decision, its deadline has no time zone, or a body is no JSON. The
            message has the path and the type of the value, and never the value.
    """
    if not isinstance(decision, Decision):
        raise DecisionError(f"decide returned {named(decision)}, expected a Decision")
    _require_types(decision.actions, decision.requeue_after)
    _require_verdict(decision.verdict)
    if decision.wakes_at is not None and decision.wakes_at.utcoffset() is None:
        raise DecisionError("wakes_at has no time zone, expected an aware time")
    for action in decision.actions:
        if isinstance(action, RecordEvent) or action.body is None:
            continue
        problem = "" if _is_plain(action.body) else _problem(action.body)
        if problem:
            raise DecisionError(f"{write_of(action)}: the body is no JSON: {problem}")


def _require_types(actions: object, requeue_after: object) -> None:
    """Check what a caller without a type checker may have put into a decision."""
    if not isinstance(actions, tuple):
        raise DecisionError(f"the actions of a decision are {named(actions)}, expected a tuple")
    for action in actions:
        if action is None:
            raise DecisionError(
                "an action of a decision is None: difference returns None where nothing differs,"
                " which belongs in no decision"
            )
        if not isinstance(action, Action):
            raise DecisionError(
                f"an action of a decision is {named(action)},"
                f" expected {', '.join(each.__name__ for each in get_args(Action))}"
            )
    if not isinstance(requeue_after, timedelta | None):
        raise DecisionError(
            f"requeue_after of a decision is {named(requeue_after)}, expected a timedelta or None"
        )


def _is_plain(body: object) -> bool:
    """Whether a body is surely JSON, at an eighth of the time of `_problem`, which finds a fault.

    False says nothing: the body is deep or large, or holds other types than `json.loads` makes.
    """
    level: list[object] = [body]
    for _ in range(_PLAIN_DEPTH):
        inner: list[object] = []
        for value in level:
            kind = type(value)
            if kind is dict or kind is MappingProxyType:
                if not all(type(key) is str for key in value):  # type: ignore[attr-defined]  # a dict
                    return False
                inner += value.values()  # type: ignore[attr-defined]  # a dict
            elif kind is list or kind is tuple:
                inner += value  # type: ignore[arg-type]  # a list
            elif kind not in _SCALARS:
                return False
        if not inner:
            return True
        if len(inner) > _PLAIN_ITEMS:
            return False
        level = inner
    return False


def _require_verdict(verdict: object) -> None:
    for name in ("reason", "message"):
        text = getattr(verdict, name, None)
        if not isinstance(text, str):
            found = (
                f"its {name} is {named(text)}" if hasattr(verdict, name) else f"it has no {name}"
            )
            raise DecisionError(
                f"the verdict of a decision is {named(verdict)}, and {found}:"
                " expected an object whose reason and message are texts"
            )


def _problem(body: object) -> str:
    """Return the first problem of a body with its path, "" when the body is JSON."""
    pending: list[tuple[str, int, object]] = [("$", 0, body)]
    while pending:
        path, depth, value = pending.pop()
        if depth > _DEEPEST:
            return f"{path[:60]}... is nested deeper than {_DEEPEST} levels"
        problem = _problem_here(path, value)
        if problem:
            return problem
        pending.extend((inner, depth + 1, item) for inner, item in _items(path, value))
    return ""


def _problem_here(path: str, value: object) -> str:
    match value:
        case None | int() | str() | list() | tuple():
            return ""
        case float():
            return "" if math.isfinite(value) else f"{path} is {value}"
        case Mapping():
            others = [key for key in value if not isinstance(key, str)]
            return f"{path} has {named(others[0])} as a key" if others else ""
        case _:
            return f"{path} is {named(value)}"


def _items(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{path}.{key}", item
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield f"{path}[{number}]", item


def named(value: object) -> str:
    """Return the type of a value with its article, as messages have it."""
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
