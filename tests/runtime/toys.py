"""A server and a reconcile function so small that the runtime's part shows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from attrs import frozen

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Create,
    Decision,
    Delete,
    ObjectRef,
    Observed,
    Patch,
    Preconditions,
    ReconcileState,
    RecordEvent,
    write_of,
)
from captep_core.ports import Answer, Read
from tests.objects import manifest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ObjectRef("example.org/v1", "Toy", "fleet", "tokyo")
UID = "u1"
OK = Answer(200, changed=True)
NO_OP = Answer(200, changed=False)


@frozen
class Said:
    """A verdict."""

    reason: str = "Waiting"
    message: str = ""


def child(name: str) -> ObjectRef:
    """Refer to an object that belongs to the toy."""
    return ObjectRef("v1", "ConfigMap", "fleet", name)


def create(name: str, body: Mapping[str, JSON] | None = None) -> Create:
    """Create a child."""
    own = body or {"data": {"name": name}}
    return Create(child(name), {**manifest(child(name)), **own}, f"want {name}")


def patch(name: str, body: Mapping[str, JSON] | None = None, version: str | None = None) -> Patch:
    """Patch a child."""
    return Patch(
        child(name),
        body or {"data": {"name": name}},
        Preconditions("u1", version),
        f"correct {name}",
    )


def delete(name: str) -> Delete:
    """Delete a child."""
    return Delete(child(name), Preconditions(UID), f"{name} is not wanted")


def event(reason: str = "Waiting", kind: str = "Normal") -> RecordEvent:
    """Record an Event about the toy."""
    return RecordEvent(KEY, kind, reason, "so it is", UID)


class ToyServer:
    """Answers actions with `answers` in turn, then with `usual`, and keeps them in `sent`."""

    def __init__(self, *answers: Answer, usual: Answer = OK) -> None:
        self.answers, self.usual = list(answers), usual
        self.sent: list[Action] = []
        self.objects: dict[ObjectRef, dict[str, JSON]] = {}

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Return the stored object."""
        return self.objects.get(ref, ABSENT)

    def send(self, action: Action) -> Answer:
        """Answer without any effect."""
        self.sent.append(action)
        return self.answers.pop(0) if self.answers else self.usual


def wants(
    *actions: Action,
    reason: str = "Waiting",
    after: float | None = 5,
    after_refusal: float | None = None,
) -> Callable[..., Decision]:
    """Return a Decide that always wants the same and retries refused writes last."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        wanted = {write_of(action): action for action in actions}
        outstanding = tuple(refusal for refusal in state.refusals if refusal.write in wanted)
        stuck = {refusal.write for refusal in outstanding}
        free = tuple(action for action in actions if write_of(action) not in stuck)
        retries = tuple(wanted[refusal.write] for refusal in outstanding)
        return Decision(
            free or retries,
            None if after is None else timedelta(seconds=after),
            Said(reason),
            outstanding,
            None if after_refusal is None else timedelta(seconds=after_refusal),
        )

    return decide


class Clock:
    """A clock that stands still until a test sets `time`."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        """Return the time."""
        return self.time
