"""What the pure side asks of the impure one, as Protocols: adapters implement `Gateway`, operators
provide a `Decide`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from attrs import frozen

from captep_core._actions import JSON, Action, Decision, ObjectRef
from captep_core._observation import Observed, ReconcileState

__all__ = ["Answer", "Clock", "Decide", "Gateway", "Read"]

Read: TypeAlias = Callable[[ObjectRef], Observed[dict[str, JSON]]]
"""Look one object up; its JSON as on the wire, ABSENT, or Unreadable. Never raises for what a
server answers.
"""


@frozen
class Answer:
    """What came back for one action.

    `status`: the HTTP status; 504 as well when nothing came back and the write may or may not have
    landed. `changed`: whether the server's state is known to have changed by it. `retry_after`: how
    long the server asked to be left alone (429 and 503), None when it did not.
    """

    status: int
    changed: bool
    retry_after: timedelta | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether the write did not go through."""
        return self.status >= 300


class Gateway(Protocol):
    """One API server, seen by one controller. It sees its own writes at once and never goes back in
    time.
    """

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up; see `Read`."""
        ...

    def send(self, action: Action) -> Answer:
        """Translate `action` to one request and answer what came of it. A 404 for a delete is
        answered as it came.
        """
        ...


class Clock(Protocol):
    """Where the impure side gets the time from; virtual in tests and simulations."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ...


class Decide(Protocol):
    """A pure reconcile function with its observation: the one thing an operator author provides.

    `read` is the only way to look at the world; every object that it was asked for wakes this key
    when it changes.
    """

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Decide what the object `key` needs next. Never raises for any JSON that `read` returns."""
        ...
