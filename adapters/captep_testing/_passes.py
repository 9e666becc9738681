"""One pass, whole or step by step, with the execution rules of `captep_runtime` and of nobody else."""

from collections.abc import Iterable
from datetime import datetime
from typing import NoReturn

from captep_core import Action, Decision, ObjectRef, ReconcileState, RecordEvent
from captep_core.ports import Answer, Decide
from captep_memory import MemoryGateway, World
from captep_runtime import Pass, run_pass
from captep_testing._kit import Kit
from captep_testing._report import Finding

__all__ = ["RaisedError", "advance", "look", "safe"]


class RaisedError(Exception):
    """The function under test raised (P5a)."""

    def __init__(self, finding: Finding) -> None:
        """Keep what to report."""
        super().__init__(finding.what)
        self.finding = finding


def safe(decide: Decide) -> Decide:
    """Return `decide` with whatever it raises translated.

    Raises:
        RaisedError: when called, and the function under test raised.
    """

    def called(key: ObjectRef, read: object, state: ReconcileState, *, now: datetime) -> Decision:
        try:
            return decide(key, read, state, now=now)  # type: ignore[arg-type]  # handed on as it came
        except Exception as error:
            # The text of the error may hold a Secret; its type and place are enough.
            raise RaisedError(
                Finding("P5a", f"raises {type(error).__name__} {_place(error)}")
            ) from error

    return called


def _place(error: Exception) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"in {last.tb_frame.f_code.co_name}, line {last.tb_lineno}" if last else ""


def look(kit: Kit, key: ObjectRef, world: World, state: ReconcileState) -> Decision:
    """Decide once for a world, and send nothing."""
    return safe(kit.decide)(key, MemoryGateway(world).read, state, now=world.now)


class _PendingError(Exception):
    def __init__(self, action: Action) -> None:
        self.action = action


class _Script:
    """A gateway that answers what is already known, and stops at the first write whose answer is not."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers = iter(answers)

    def read(self, ref: ObjectRef) -> NoReturn:
        raise AssertionError(f"a decision that is made reads nothing, asked for {ref}")

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
    """Return the next write of a pass that got these answers so far, or what became of it when none is left.

    Between passes so much time goes by that no write is held back any more.
    """
    try:
        return run_pass(lambda *_, **__: decision, _Script(answers), key, state, now=now)
    except _PendingError as pending:
        return pending.action
