"""The ports of the pure side: adapters implement `Gateway`, operators `Decide`."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from captep_core._actions import JSON, Action, Manifest, ObjectRef
from captep_core._decision import Decision
from captep_core._observation import Listed, Observed, ReconcileState, Selection, Unreadable

__all__ = [
    "NOT_LISTED",
    "Answer",
    "Clock",
    "Decide",
    "Gateway",
    "Read",
    "Reads",
    "ReadsLive",
    "as_read",
    "select",
]

NOT_LISTED: Final = "NotListed"
"""The reason of a list over a gateway that reads by name alone."""
_Get: TypeAlias = Callable[[ObjectRef], Observed[Manifest]]


@runtime_checkable
class Read(Protocol):
    """The view of the world that a decision gets. It raises for no answer of a server."""

    def __call__(self, ref: ObjectRef, /) -> Observed[Manifest]:
        """Look one object up: its JSON as on the wire, ABSENT, or Unreadable."""
        ...

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> Listed:
        """Look all objects of a kind up, in order of namespace and name.

        Other lists may share the objects: change a copy of one, never the object itself.

        Args:
            api_version: `v1` or `group/version`.
            kind: the kind.
            namespace: where to look; None for everywhere, and for a cluster-scoped kind.
            labels: only objects with each of these labels and exactly this value.
        """
        ...


@frozen
class Reads:
    """A `Read` made of two functions: `get` looks one object up, `find` the objects of a list."""

    get: _Get
    find: Callable[[Selection], Listed]

    def __call__(self, ref: ObjectRef, /) -> Observed[Manifest]:
        """Look one object up; see `Read`."""
        return self.get(ref)

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> Listed:
        """Look all objects of a kind up; see `Read`."""
        return self.find(Selection(api_version, kind, namespace, labels))


def select(read: Read, selection: Selection) -> Listed:
    """Read the list that `selection` describes."""
    labels = dict(selection.labels) or None
    return read.list(selection.api_version, selection.kind, selection.namespace, labels=labels)


def as_read(get: _Get) -> Read:
    """Return `get` as a `Read`. A function that has no `list` leaves every list unreadable."""
    return get if isinstance(get, Reads | Read) else Reads(get, _no_list)


def _no_list(selection: Selection) -> Unreadable:
    return Unreadable(NOT_LISTED, f"{selection}: this gateway reads by name alone")


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
    """One API server as one controller sees it: own writes at once, and never back in time.

    `read` is a method, or a `Read` for decisions that list.
    """

    @property
    def read(self) -> Callable[[ObjectRef], Observed[Manifest]]:
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
    when it changes, and every list when an object joins it, leaves it or changes in it.
    """

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Decide what the object `key` needs next. It raises for no JSON that `read` returns."""
        ...
