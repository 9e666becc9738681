"""One pass, whole or step by step, with the execution rules of `captep_runtime` and no others."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NoReturn, TypeAlias

from captep_core._actions import JSON, Action, ObjectRef, RecordEvent, write_of
from captep_core._decision import Decision
from captep_core._observation import (
    ABSENT,
    Listed,
    Observed,
    ReconcileState,
    Selection,
    Unreadable,
)
from captep_core.ports import Answer, Decide, Read, Reads, select
from captep_runtime import Pass, run_pass
from captep_testing._kit import Kit
from captep_testing._report import Violation

__all__ = ["Members", "Target", "ViolationError", "advance", "look", "look_up", "read_of", "safe"]

Target: TypeAlias = ObjectRef | Selection
"""One read of a pass: of an object, or of a list."""
Members: TypeAlias = Mapping[Selection, tuple[ObjectRef, ...] | Unreadable]
"""The objects of each list, by name, or why the list failed."""


def read_of(objects: Mapping[ObjectRef, Observed[dict[str, JSON]]], lists: Members) -> Read:
    """Return a view of these objects. A list with an unreadable object is unreadable."""

    def find(selection: Selection) -> Listed:
        refs = lists.get(selection, ())
        if isinstance(refs, Unreadable):
            return refs
        found = [objects.get(ref, ABSENT) for ref in refs]
        failed = [each for each in found if isinstance(each, Unreadable)]
        return failed[0] if failed else tuple(each for each in found if isinstance(each, dict))

    return Reads(lambda ref: objects.get(ref, ABSENT), find)


class ViolationError(Exception):
    """A violation that ends a run at once, such as an exception of the function (P5a)."""

    def __init__(self, violation: Violation) -> None:
        """Keep the violation for the report."""
        super().__init__(violation.message)
        self.violation = violation


def safe(decide: Decide) -> Decide:
    """Return `decide` with its exceptions translated.

    Raises:
        ViolationError: when called, if the function under test raises.
    """

    def called(key: ObjectRef, read: object, state: ReconcileState, *, now: datetime) -> Decision:
        try:
            decision = decide(key, read, state, now=now)  # type: ignore[arg-type]  # passed on
        except Exception as error:
            # The text of the error may hold a Secret; its type and place are enough.
            violation = Violation("P5a", f"raises {type(error).__name__} {_place(error)}")
            raise ViolationError(violation) from error
        for action in decision.actions:
            for path, problem in _no_json(action.body, ""):
                raise ViolationError(Violation("P5b", f"{write_of(action)}: {path} {problem}"))
        return decision

    return called


def _no_json(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a body that are not JSON, each with its path."""
    match value:
        case None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(value):
                yield path or "body", f"is {value}, and JSON has no such number"
        case Mapping():
            for name, item in value.items():
                if isinstance(name, str):
                    yield from _no_json(item, f"{path}.{name}" if path else name)
                else:
                    yield path or "body", f"has a key of the type {type(name).__name__}"
        case list():
            for place, item in enumerate(value):
                yield from _no_json(item, f"{path}[{place}]")
        case _:
            yield path or "body", f"is a {type(value).__name__}, expected JSON"


def _place(error: Exception) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return ""
    code = last.tb_frame.f_code
    file = Path(code.co_filename)
    # The last three parts name the module, wherever the project lies.
    return f"in {code.co_name}, {'/'.join(file.parts[-3:])}:{last.tb_lineno}"


def look(kit: Kit, key: ObjectRef, read: Read, state: ReconcileState, now: datetime) -> Decision:
    """Decide once, and send nothing."""
    return safe(kit.decide)(key, read, state, now=now)


def look_up(read: Read, target: Target) -> object:
    """Read an object or a list."""
    return select(read, target) if isinstance(target, Selection) else read(target)


class _PendingError(Exception):
    def __init__(self, action: Action) -> None:
        self.action = action


class _Script:
    """A gateway with the known answers; it stops the pass at the first write that has none."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers = iter(answers)

    def read(self, ref: ObjectRef) -> NoReturn:
        raise AssertionError(f"the decision is made and reads nothing more, but asked for {ref}")

    def send(self, action: Action) -> Answer:
        if isinstance(action, RecordEvent):
            return Answer(201, changed=True)
        answer = next(self._answers, None)
        if answer is None:
            raise _PendingError(action)
        return answer


def advance(
    decision: Decision,
    key: ObjectRef,
    state: ReconcileState,
    answers: Iterable[Answer],
    *,
    now: datetime,
) -> Action | Pass:
    """Return the next write of a pass that got these answers so far, or the whole pass once no
    write is left.

    The time between two passes exceeds every backoff.
    """
    try:
        return run_pass(lambda *_, **__: decision, _Script(answers), key, state, now=now)
    except _PendingError as pending:
        return pending.action
