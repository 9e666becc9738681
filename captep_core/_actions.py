"""What a decision consists of: actions for one server, generic on purpose, so that any operator can use the same adapters.

Rules of this module:

1. An action is one request. Adapters translate it and hold no `if` about the domain.
2. `Delete` and `Patch` carry the uid they were computed from; a patch that replaces a list, or the status, carries the resourceVersion as
   well (of a status patch the API server does not compare the uid).
3. Bodies are JSON and stay out of every repr: they may hold the content of a Secret. `reason` never does.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol, TypeAlias

from attrs import field, frozen

__all__ = [
    "JSON",
    "Action",
    "Conclusion",
    "Create",
    "Decision",
    "Delete",
    "ObjectRef",
    "Patch",
    "Preconditions",
    "Record",
    "Refusal",
    "Write",
    "write_of",
]

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


@frozen(cache_hash=True, order=True)
class ObjectRef:
    """One object of the API, by name. `namespace` is None for a cluster-scoped kind."""

    api_version: str
    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@frozen
class Preconditions:
    """What must still be true of the object when the request arrives; None asks for nothing."""

    uid: str | None = None
    resource_version: str | None = None


@frozen
class Create:
    """Create an object; `body` is the whole manifest, apiVersion, kind and metadata included."""

    target: ObjectRef
    body: Mapping[str, JSON] = field(repr=False)
    reason: str
    subresource: None = field(default=None, init=False, repr=False)
    preconditions: Preconditions = field(default=Preconditions(), init=False, repr=False)


@frozen
class Patch:
    """Change an object by a JSON merge patch (RFC 7386); of the status subresource the body is `{"status": ...}`."""

    target: ObjectRef
    body: Mapping[str, JSON] = field(repr=False)
    preconditions: Preconditions
    reason: str
    subresource: str | None = None


@frozen
class Delete:
    """Delete an object, this incarnation of it and no other."""

    target: ObjectRef
    preconditions: Preconditions
    reason: str
    subresource: None = field(default=None, init=False, repr=False)
    body: None = field(default=None, init=False, repr=False)


@frozen
class Record:
    """Record an Event about `target`, whose uid is `preconditions.uid`. `type` is Normal or Warning, `event` its reason in CamelCase."""

    target: ObjectRef
    type: str
    event: str
    message: str
    preconditions: Preconditions
    subresource: None = field(default=None, init=False, repr=False)

    @property
    def reason(self) -> str:
        """Why the Event is recorded, for people."""
        return f"tell that the verdict is now {self.event}"

    @property
    def body(self) -> Mapping[str, JSON]:
        """`{type, reason, message}` of the Event."""
        return {"type": self.type, "reason": self.event, "message": self.message}


Action: TypeAlias = Create | Patch | Delete | Record


@frozen
class Write:
    """Which write an action is, whatever its body: verb (`create`, `patch`, `delete`, `event`), object, subresource."""

    verb: str
    target: ObjectRef
    subresource: str | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.target}{'/' + self.subresource if self.subresource else ''}"


_VERBS: Mapping[type, str] = {Create: "create", Patch: "patch", Delete: "delete", Record: "event"}


def write_of(action: Action) -> Write:
    """Name the write that `action` is."""
    return Write(_VERBS[type(action)], action.target, action.subresource)


@frozen
class Refusal:
    """A write that did not go through when it was last tried: an observation of the passes that follow.

    `status` is the HTTP status of the answer. 409 is a conflict (retried, never reported). Below 300 the write was accepted and yet is
    wanted again and again: somebody reverts or drops what it writes.
    """

    write: Write
    status: int

    @property
    def is_conflict(self) -> bool:
        """Whether the object was merely newer than what the decision had seen."""
        return self.status == 409

    def __str__(self) -> str:
        if self.status < 300:
            return f"{self.write} is accepted (HTTP {self.status}) but does not last"
        return f"{self.write} is refused: HTTP {self.status}"


class Conclusion(Protocol):
    """What every verdict has: a reason in CamelCase and a message for people, without any Secret's content."""

    @property
    def reason(self) -> str: ...

    @property
    def message(self) -> str: ...


@frozen
class Decision:
    """What a pass decided.

    `actions` are to be sent in order; any prefix of them may be all that happens.
    `requeue_after` is when to look again (positive), None when there is nothing to come back for.
    `standing` are the known refusals whose writes are still wanted; the executor forgets all others.
    """

    actions: tuple[Action, ...]
    requeue_after: timedelta | None
    verdict: Conclusion
    standing: tuple[Refusal, ...] = ()
