"""The states of a search, and the steps between them, as values."""

from datetime import datetime
from typing import Any, NamedTuple

from attrs import fields, frozen, has

from captep_core._actions import Action, ObjectRef, RecordEvent
from captep_core._decision import Decision
from captep_core._observation import ReconcileState
from captep_core.ports import Answer
from captep_testing._interned import Interned
from captep_testing._report import Violation

__all__ = ["Actor", "Late", "State", "Transition", "text_of", "writes_of"]


@frozen(eq=False)
class Actor:
    """One instance of the loop for one key: idle, or in the middle of a pass.

    `older`: the worlds before the latest changes of others, newest first; its views may still show
    them.
    `planned`: for each write of the current pass, the uid for which it was decided. `undisturbed`:
    whether the view of the pass was fresh and no other actor has acted since.
    """

    key: ObjectRef
    label: str
    state: ReconcileState = ReconcileState()
    older: tuple[Interned, ...] = ()
    decision: Decision | None = None
    pending: Action | None = None
    planned: tuple[str | None, ...] = ()
    answers: tuple[Answer, ...] = ()
    undisturbed: bool = True

    @property
    def writes(self) -> list[Action]:
        """The writes of the current pass, those that are sent included."""
        return [] if self.decision is None else writes_of(self.decision)


@frozen(eq=False)
class Late:
    """A write in flight, with the uid for which it was decided, and when."""

    action: Action
    planned: str | None
    decided: datetime


class State(NamedTuple):
    """Everything at one moment.

    `late` are writes in flight. `ticks`: how often time may still pass.
    """

    world: Interned
    actors: tuple[Actor, ...]
    faults: int
    events: int
    read_faults: int = 0
    late: tuple[Late, ...] = ()
    ticks: int = 0


class Transition(NamedTuple):
    """One step: its label, the kind under which reports count it, the state after it, the answer,
    the violation.
    """

    label: str
    kind: str
    state: State
    status: int | None = None
    violation: Violation | None = None
    reason: str = ""


def text_of(value: object) -> str:
    """Return a text that is equal for equal values of attrs classes, in every process."""
    kind: type[Any] = type(value)
    if has(kind):
        named = (each.name for each in fields(kind) if each.eq)
        parts = ", ".join(f"{name}={text_of(getattr(value, name))}" for name in named)
        return f"{kind.__name__}({parts})"
    if isinstance(value, tuple):
        return f"({', '.join(map(text_of, value))})"
    return repr(value)


def writes_of(decision: Decision) -> list[Action]:
    return [action for action in decision.actions if not isinstance(action, RecordEvent)]
