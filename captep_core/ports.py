"""The ports of the pure side: adapters implement `Gateway`, operators `Decide`."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from captep_core._actions import JSON, Action, Decision, Manifest, ObjectRef
from captep_core._observation import Observed, ReconcileState

__all__ = ["Answer", "Clock", "Decide", "Gateway", "Read", "ReadsLive"]

Read: TypeAlias = Callable[[ObjectRef], Observed[Manifest]]
"""Look one object up: its JSON as on the wire, ABSENT, or Unreadable.

It raises for no answer of a server.
"""


@frozen
class Answer:
    """The answer to one action.

    `status`: the HTTP status. It is 504 also when no answer came, and the write may have landed or
    not. `changed`: whether the action is known to have changed the state of the server.
    `retry_after`: how long the server asked to be left alone (429 and 503), None when it did not
    ask. `object`: the object after an accepted create or patch, None when the answer had none.
    `reason`, `message`: of the Status that a refusal came with, "" without one. The message is one
    line of at most 1,024 bytes without credentials. Both are "" for a Secret, whose refusal may
    quote it.
    """

    status: int
    changed: bool
    retry_after: timedelta | None = None
    object: Mapping[str, JSON] | None = field(default=None, eq=False, repr=False)
    reason: str = ""
    message: str = field(default="", eq=False)

    @property
    def is_refusal(self) -> bool:
        """Whether the write did not go through."""
        return self.status >= 300


class Gateway(Protocol):
    """One API server as one controller sees it: own writes at once, and never back in time."""

    def read(self, ref: ObjectRef) -> Observed[Manifest]:
        """Look one object up; see `Read`."""
        ...

    def send(self, action: Action) -> Answer:
        """Translate `action` to one request and return the answer, a 404 for a delete included."""
        ...


@runtime_checkable
class ReadsLive(Protocol):
    """A gateway whose `read` answers from a cache and leaves out `metadata.managedFields`."""

    def read_live(self, ref: ObjectRef) -> Observed[Manifest]:
        """Ask the server itself for the whole object; see `Read`."""
        ...


class Clock(Protocol):
    """The time source of the impure side; virtual in tests and simulations."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ...


class Decide(Protocol):
    """A pure reconcile function with its observation: all that an operator author provides.

    `read` is the only way to look at the world. Every object that the function reads wakes its key
    when it changes.
    """

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Decide what the object `key` needs next. It raises for no JSON that `read` returns."""
        ...
