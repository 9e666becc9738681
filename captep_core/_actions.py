"""The actions of a decision: requests for one server, generic, so that any operator can use the
same adapters.

Rules of this module:

1. An action is one request. Adapters translate it and contain no `if` about the domain.
2. `Delete` and `Patch` carry the uid that they were computed from. A patch that replaces a list, or
   the status, carries the resourceVersion as well: the API server does not compare the uid of a
   status patch.
3. Bodies are JSON and stay out of every repr, because they may hold the content of a Secret. A
   reason never does.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, assert_never

from attrs import field, frozen

from captep_core.errors import DecisionError

__all__ = [
    "JSON",
    "Action",
    "Apply",
    "Create",
    "Delete",
    "Manifest",
    "ObjectRef",
    "Patch",
    "Preconditions",
    "RecordEvent",
    "Write",
    "purpose_of",
    "require_same",
    "write_of",
]

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

Manifest: TypeAlias = dict[str, Any]
"""One object as the API has it. Type checkers let its fields be indexed, however deep they are."""


@frozen(cache_hash=True, order=True)
class ObjectRef:
    """One object of the API, by name. `namespace` is None for a cluster-scoped kind."""

    api_version: str
    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.namespace}/{self.name}"
            if self.namespace
            else f"{self.kind} {self.name}"
        )


@frozen
class Preconditions:
    """Conditions on the object that the server checks when the request arrives; None asks for
    nothing.
    """

    uid: str | None = None
    resource_version: str | None = None


@frozen
class Create:
    """Create an object; `body` is the whole manifest, apiVersion, kind and metadata included.

    Raises:
        DecisionError: the body is that of another object than `target`.
    """

    target: ObjectRef
    body: Mapping[str, JSON] = field(repr=False)
    reason: str
    subresource: None = field(default=None, init=False, repr=False)
    preconditions: Preconditions = field(default=Preconditions(), init=False, repr=False)

    @body.validator
    def _names_the_target(self, _: object, body: Mapping[str, JSON]) -> None:
        require_same(self.target, body)


def require_same(target: ObjectRef, body: Mapping[str, JSON]) -> None:
    """Check that the manifest `body` is that of `target`; it may leave the namespace out.

    Raises:
        DecisionError: it is not; the message names the first field that differs.
    """
    found = body.get("metadata")
    metadata = found if isinstance(found, dict) else {}
    pairs = (
        ("apiVersion", body.get("apiVersion"), target.api_version),
        ("kind", body.get("kind"), target.kind),
        ("metadata.name", metadata.get("name"), target.name),
        ("metadata.namespace", metadata.get("namespace") or target.namespace, target.namespace),
    )
    for path, has, expected in pairs:
        if has != expected:
            raise DecisionError(f"{target}: {path} of the body is {has!r}, expected {expected!r}")


@frozen
class Patch:
    """Change an object by a JSON merge patch (RFC 7386); of the status subresource the body is
    `{"status": ...}`.
    """

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
class Apply:
    """Apply an object on the server (server-side apply, KEP-555): create it, or change its fields.

    The server remembers which manager owns which field, and removes the fields that `manager`
    applied before and no longer names. It does so for every apply, so compare first, with
    `captep_core.difference`: an apply that changes nothing is a write too many.

    `body`: apiVersion, kind and metadata with all fields that you want. `manager`: the field
    manager, "" for the operator's own. `force`: take fields over from other managers. Without it,
    the server answers 409, and the refusal (`Refused`, reason `FieldManagerConflict`) names them.
    `preconditions`: with a uid, nothing is created.

    Raises:
        DecisionError: the body is that of another object than `target`.
    """

    target: ObjectRef
    body: Mapping[str, JSON] = field(repr=False)
    reason: str
    manager: str = ""
    force: bool = False
    preconditions: Preconditions = Preconditions()
    subresource: str | None = None

    @body.validator
    def _names_the_target(self, _: object, body: Mapping[str, JSON]) -> None:
        require_same(self.target, body)


@frozen
class RecordEvent:
    """Record an Event about `target`, which has the uid `uid`.

    `type` is `Normal` or `Warning`; `reason` is the Event's reason, one word in CamelCase.
    """

    target: ObjectRef
    type: str
    reason: str
    message: str
    uid: str | None = None
    subresource: None = field(default=None, init=False, repr=False)

    @property
    def preconditions(self) -> Preconditions:
        """The incarnation of the object that the Event is about."""
        return Preconditions(self.uid)

    @property
    def body(self) -> Mapping[str, JSON]:
        """`{type, reason, message}` of the Event."""
        return {"type": self.type, "reason": self.reason, "message": self.message}


Action: TypeAlias = Create | Patch | Delete | Apply | RecordEvent


def purpose_of(action: Action) -> str:
    """Say in words why `action` is sent, without any content of a Secret."""
    if isinstance(action, RecordEvent):
        return f"record the Event {action.reason}"
    return action.reason


@frozen
class Write:
    """Which write an action is, whatever its body: verb (`create`, `patch`, `delete`, `apply`,
    `event`), object, subresource.
    """

    verb: str
    target: ObjectRef
    subresource: str | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.target}{'/' + self.subresource if self.subresource else ''}"


def write_of(action: Action) -> Write:
    """Name the write that `action` is."""
    return Write(_verb_of(action), action.target, action.subresource)


def _verb_of(action: Action) -> str:
    match action:
        case Create():
            return "create"
        case Patch():
            return "patch"
        case Delete():
            return "delete"
        case Apply():
            return "apply"
        case RecordEvent():
            return "event"
        case _ as unreachable:
            assert_never(unreachable)
