"""Decisions as text, and the same decisions in interpreters with other hash seeds."""

import base64
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from captep_core._actions import write_of
from captep_core._decision import Decision
from captep_core.ports import Decide
from captep_testing._passes import ViolationError, read_of, safe

__all__ = ["other_interpreters", "text_of"]

# Two seeds: a set of two strings has the same order under one of them with a chance of one half.
_SEEDS: Final = ("1", "2", "3")
# Importing an operator takes a second or two; a function that hangs must not hang the check.
_TIMEOUT_SECONDS: Final = 120
_CODE: Final = """
import base64, pickle, sys
sys.path[:0] = pickle.loads(base64.b64decode(sys.stdin.readline()))
from captep_testing._interpreters import _answer
_answer(sys.stdin.readline())
"""


def text_of(decision: Decision, *, sort: bool = False) -> str:
    """Return a decision as JSON text; with `sort`, without the order of lists."""
    actions = [
        [
            str(write_of(action)),
            action.body,
            action.preconditions.uid,
            action.preconditions.resource_version,
            action.reason,
        ]
        for action in decision.actions
    ]
    verdict = [decision.verdict.reason, decision.verdict.message]
    outstanding = [str(refusal) for refusal in decision.outstanding]
    due = [str(decision.requeue_after), str(decision.wakes_at)]
    content = [actions, due, verdict, outstanding]
    whole = json.loads(json.dumps(content, default=dict, sort_keys=True))
    return json.dumps(_sorted(whole) if sort else whole)


def _sorted(value: Any) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        return {name: _sorted(item) for name, item in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(item) for item in value), key=json.dumps)
    return value


def other_interpreters(decide: Decide, views: Sequence[Any]) -> Iterator[list[str]]:
    """Yield the texts of the decisions for these views, once for each of three other hash seeds.

    Yields nothing for a function that `pickle` cannot import by name.
    """
    if getattr(decide, "__module__", "__main__") == "__main__":
        return
    plain = [
        (view.key, dict(view.objects), dict(view.lists), view.state, view.now) for view in views
    ]
    try:
        question = pickle.dumps((decide, plain))
    except (AttributeError, pickle.PicklingError, TypeError):
        return
    lines = [pickle.dumps(sys.path), question]
    text = "".join(base64.b64encode(line).decode() + "\n" for line in lines)
    for seed in _SEEDS:
        done = subprocess.run(  # noqa: S603 - this interpreter, with code of this module
            [sys.executable, "-c", _CODE],
            input=text,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed},
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            answer: list[str] = json.loads(done.stdout)
            yield answer


def _answer(line: str) -> None:
    decide, views = pickle.loads(base64.b64decode(line))  # noqa: S301 - written by this module
    print(json.dumps([_decided(decide, *view) for view in views]))  # noqa: T201 - the answer


def _decided(
    decide: Decide,
    key: Any,  # noqa: ANN401 - unpickled
    objects: Any,  # noqa: ANN401
    lists: Any,  # noqa: ANN401
    state: Any,  # noqa: ANN401
    now: Any,  # noqa: ANN401
) -> str:
    try:
        decision = safe(decide)(key, read_of(objects, lists), state, now=now)
    except ViolationError as error:
        return error.violation.message
    return text_of(decision)
