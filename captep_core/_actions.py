"""The parts of a decision: actions for one server, generic, so that any operator can use the same
adapters.

Rules of this module:

1. An action is one request. Adapters translate it and contain no `if` about the domain.
2. `Delete` and `Patch` carry the uid that they were computed from. A patch that replaces a list, or
   the status, carries the resourceVersion as well: the API server does not compare the uid of a
   status patch.
3. Bodies are JSON and stay out of every repr, because they may hold the content of a Secret. A
   reason never does.
4. Refusals are equal without their messages: webhooks write durations and request ids into their
   texts, and a changed text alone is no news.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar, assert_never

from attrs import field, frozen

from captep_core.errors import DecisionError

__all__ = [
    "FIELD_MANAGER_CONFLICT",
    "JSON",
    "Action",
    "Apply",
    "Conflicted",
    "Create",
    "Decision",
    "Delete",
    "Manifest",
    "ObjectRef",
    "Patch",
    "Preconditions",
    "RecordEvent",
    "Refusal",
    "Refused",
    "Reverted",
    "Throttled",
    "VerdictLike",
    "Write",
    "purpose_of",
    "refusal_of",
    "require_same",
    "worded",
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


@frozen
class Refused:
    """The server did not take the write when it was last tried; `status` is the HTTP status of its
    answer, 400 to 599.

    `reason` and `message`: as in `captep_core.ports.Answer`. The first message stays while the
    server refuses the write with this status and reason.
    """

    write: Write
    status: int
    reason: str = ""
    message: str = field(default="", eq=False)

    def __str__(self) -> str:
        return _refused(self, self.status)


@frozen
class Conflicted:
    """The object was newer than what the decision had seen (HTTP 409). It is retried and never
    reported. `reason` and `message`: as in `Refused`.
    """

    write: Write
    reason: str = ""
    message: str = field(default="", eq=False)

    def __str__(self) -> str:
        return _refused(self, 409)


@frozen
class Throttled:
    """The server has been too busy for the write (HTTP 429), and not for long: it is retried and
    not reported yet. `reason` and `message`: as in `Refused`.
    """

    write: Write
    reason: str = ""
    message: str = field(default="", eq=False)

    def __str__(self) -> str:
        return _refused(self, 429)


def _refused(refusal: Refused | Conflicted | Throttled, status: int) -> str:
    cause = f"HTTP {status} {refusal.reason}" if refusal.reason else f"HTTP {status}"
    text = f"{refusal.write} is refused: {cause}"
    return f"{text}: {refusal.message}" if refusal.message else text


@frozen
class Reverted:
    """The server accepts the write, and it does not last: another writer undoes it, or the server
    drops it.

    It stays known until the write has stood for a while, whether or not a pass wants the write.
    `fields`: the JSON paths that the write sets, empty for a create and a delete. `manager`: the
    field manager of the other writer, "" when it is unknown. `reason` and `message` are empty where
    the server accepted the write.
    """

    write: Write
    fields: tuple[str, ...] = ()
    manager: str = ""
    reason: str = ""
    message: str = field(default="", eq=False)

    def __str__(self) -> str:
        return f"{self.write} is accepted but does not last{self._cause()}"

    def _cause(self) -> str:
        other = self.manager or "another writer"
        match self.write.verb:
            case "create":
                return f": {other} deletes it"
            case "delete":
                return f": {other} creates it again"
            case _:
                return f": {other} changes {_listed(self.fields)}" if self.fields else ""


def _listed(fields: tuple[str, ...]) -> str:
    more = len(fields) - _LISTED_FIELDS
    shown = ", ".join(fields[:_LISTED_FIELDS])
    return f"{shown} and {more} more" if more > 0 else shown


# A message for people: three paths say where to look.
_LISTED_FIELDS = 3


Refusal: TypeAlias = Refused | Conflicted | Throttled | Reverted
"""A write that did not go through when it was last tried: an observation of the passes that follow.
"""


def refusal_of(write: Write, status: int, reason: str = "", message: str = "") -> Refusal:
    """Name the refusal of `write` that was answered with the HTTP status `status`; below 300 it
    does not last.
    """
    if status < 300:
        return Reverted(write)
    # A retry meets the same owner of the field, so this one is reported and paced.
    if status == 409 and reason != FIELD_MANAGER_CONFLICT:
        return Conflicted(write, reason, message)
    return Refused(write, status, reason, message)


def worded(refusal: Refusal, before: str = "") -> str:
    """Say `refusal` in words, which are those of `before` as long as they differ in the server's
    message alone.

    With the message of the reported condition as `before`, a controller that starts again does not
    rewrite the condition because a webhook's text holds a duration.

    >>> write = Write("create", ObjectRef("v1", "Service", "team", "db"))
    >>> slow = Refused(write, 403, "Forbidden", "over quota (took 12 ms)")
    >>> worded(Refused(write, 403, "Forbidden", "over quota (took 9 ms)"), str(slow))
    'create Service team/db is refused: HTTP 403 Forbidden: over quota (took 12 ms)'
    """
    text = str(refusal)
    is_same = refusal.message and before.startswith(text.removesuffix(refusal.message))
    return before if is_same else text


FIELD_MANAGER_CONFLICT: Final = "FieldManagerConflict"
"""The reason of an apply that meets fields of another manager (apimachinery, CauseType)."""


class VerdictLike(Protocol):
    """What every verdict has: a reason in CamelCase and a message for people, without any Secret's
    content.
    """

    @property
    def reason(self) -> str: ...

    @property
    def message(self) -> str: ...


if TYPE_CHECKING:
    # A default (PEP 696) lets an operator that has no union of verdicts write plain `Decision`.
    # `typing` has it from Python 3.13 on; type checkers know it for every version.
    from typing_extensions import TypeVar as TypeVarWithDefault

    V_co = TypeVarWithDefault("V_co", bound=VerdictLike, covariant=True, default=VerdictLike)
else:
    V_co = TypeVar("V_co", bound=VerdictLike, covariant=True)


@frozen
class Decision(Generic[V_co]):
    """What a pass decided, with a verdict of the type `V_co`.

    `actions` are to be sent in order; any prefix of them may be all that happens. `requeue_after`
    is when to look again (positive), None when there is nothing to come back for. `outstanding` are
    the known refusals whose writes are still wanted; the executor forgets all others.
    `requeue_after_refusal` (positive) replaces `requeue_after` while a refusal is known after the
    pass, and the refused write stays in backoff as long; None leaves that to the executor.
    `wakes_at` is a deadline, aware and in the future: the next pass begins then at the latest, also
    when nothing has changed. An interval is for what nobody announces, a deadline for what time
    alone changes, such as the end of a certificate.
    """

    actions: tuple[Action, ...]
    requeue_after: timedelta | None
    verdict: V_co
    outstanding: tuple[Refusal, ...] = ()
    requeue_after_refusal: timedelta | None = None
    wakes_at: datetime | None = None

    def wait(self, *, now: datetime) -> timedelta | None:
        """Return how long after `now` the next look is due, None for never by itself.

        A deadline that has passed does not count.
        """
        if self.wakes_at is None or self.wakes_at <= now:
            return self.requeue_after
        left = self.wakes_at - now
        return left if self.requeue_after is None else min(left, self.requeue_after)
