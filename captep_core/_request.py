"""How an action becomes one request to the API server, and what the server's answer means.

Every gateway uses this module, so that the in-memory server and the real one see the same requests.

Rules of this module:

1. One action is one request. The clock and the name of the writing component are arguments.
2. Preconditions travel where the API server compares them: in `metadata` of a merge patch, in
   `preconditions` of DeleteOptions.
3. Bodies stay out of every repr, as they do in `_actions`.
4. The text of a refusal is the server's, or a webhook's: it is redacted and bounded here, once. The
   refusal of a Secret has no text, because it may quote the content.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, assert_never

from attrs import field, frozen

from captep_core._actions import (
    JSON,
    Action,
    Apply,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
)
from captep_core._objects import rfc3339
from captep_core._redact import redacted
from captep_core._refusals import FIELD_MANAGER_CONFLICT
from captep_core.ports import Answer

__all__ = [
    "RawResponse",
    "RecordedEvent",
    "WriteRequest",
    "answer_of",
    "event_name",
    "event_request",
    "reason_of",
    "request_of",
    "retry_after_of",
]

WriteVerb: TypeAlias = Literal["create", "patch", "delete", "apply"]

# A name has at most 253 characters (RFC 1123 subdomain); a dot and 16 digits of a hash follow it.
_LONGEST_NAME: Final = 230
# The API server refuses an Event with a longer message (events.k8s.io/v1, `note`).
_LONGEST_MESSAGE: Final = 1024
# In bytes: a condition and an Event hold the whole text of a refusal and what stands before it.
_LONGEST_REFUSAL: Final = 1024
_LONGEST_REASON: Final = 64
# Events about cluster-scoped objects go where client-go's recorder puts them.
_NAMESPACE_OF_CLUSTER_SCOPED: Final = "default"
# An hour: a server that asks for more has a bug, and a deployed fix should be noticed.
_LONGEST_RETRY_AFTER: Final = 3600
# Numbers with more digits are no delay; Python refuses to parse one of 4,300 digits.
_LONGEST_NUMBER: Final = 9


@frozen
class WriteRequest:
    """One write as the API server takes it; of a RecordEvent, `target` is the Event.

    `body` is the manifest of a create and an apply, the merge patch (RFC 7386) of a patch and the
    DeleteOptions of a delete. `manager`: the field manager, "" for the gateway's own. `force`:
    whether an apply takes over the fields of others.
    """

    verb: WriteVerb
    target: ObjectRef
    body: Mapping[str, JSON] = field(repr=False)
    subresource: str | None = None
    manager: str = ""
    force: bool = False


@frozen
class RawResponse:
    """One answer of a server.

    `headers` have names in lower case; `body` is None when the answer was no JSON object.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: Mapping[str, JSON] | None = field(default=None, repr=False)


@frozen
class RecordedEvent:
    """One Event on the server: its name, and how often it was recorded (1 for a new one)."""

    name: str
    count: int = 1


def request_of(action: Action, *, now: datetime, component: str) -> WriteRequest:
    """Translate `action`; an Event becomes a new one, written by `component` at `now`."""
    match action:
        case Create():
            return WriteRequest("create", action.target, action.body)
        case Patch():
            body = _with_preconditions(action.body, action.preconditions)
            return WriteRequest("patch", action.target, body, action.subresource)
        case Delete():
            return WriteRequest("delete", action.target, _delete_options(action.preconditions))
        case Apply():
            return WriteRequest(
                "apply",
                action.target,
                _with_preconditions(action.body, action.preconditions),
                action.subresource,
                action.manager,
                action.force,
            )
        case RecordEvent():
            event = RecordedEvent(event_name(action))
            return event_request(action, event, now=now, component=component)
        case _ as unreachable:
            assert_never(unreachable)


def event_name(record: RecordEvent, series: str = "") -> str:
    """Name the Event of `record`: the same record in the same `series` gets the same name.

    A gateway that forgets what it recorded starts another series, so that a new Event never meets
    the name of an old one.
    """
    target = record.target
    parts = (
        target.api_version,
        target.kind,
        target.namespace or "",
        target.name,
        record.uid or "",
        record.type,
        record.reason,
        record.message,
        series,
    )
    identity = "\0".join(parts).encode("utf-8", "surrogatepass")
    # A part of a name must not end in a dot or a hyphen.
    readable = target.name[:_LONGEST_NAME].rstrip("-.")
    import hashlib  # noqa: PLC0415 - OpenSSL takes as long to load as the whole kit

    return f"{readable}.{hashlib.sha256(identity).hexdigest()[:16]}"


def event_request(
    record: RecordEvent, event: RecordedEvent, *, now: datetime, component: str
) -> WriteRequest:
    """Record `event` for the `event.count`-th time: a create for the first, else a patch."""
    namespace = record.target.namespace or _NAMESPACE_OF_CLUSTER_SCOPED
    target = ObjectRef("v1", "Event", namespace, event.name)
    if event.count > 1:
        again: dict[str, JSON] = {"count": event.count, "lastTimestamp": rfc3339(now)}
        return WriteRequest("patch", target, again)
    return WriteRequest("create", target, _new_event(record, target, rfc3339(now), component))


def answer_of(response: RawResponse, target: ObjectRef, *, changed: bool) -> Answer:
    """Say what `response` to a write of `target` means; `changed`: whether the server's state
    changed if it succeeded.

    The API server answers a merge patch with another uid by 422 and names `metadata.uid`. To a
    reconcile loop the object was replaced, which is a conflict: 409.
    """
    is_replaced = response.status == 422 and _causes(response) == ["metadata.uid"]
    status = 409 if is_replaced else response.status
    if status < 300:
        return Answer(status, changed, object=response.body)
    reason, message = _explanation(response, target)
    return Answer(
        status,
        changed=False,
        retry_after=retry_after_of(response),
        reason="Conflict" if is_replaced and reason else reason,
        message=message,
    )


def _explanation(response: RawResponse, target: ObjectRef) -> tuple[str, str]:
    """Return reason and message of the Status in `response`, fit for people."""
    status = response.body or {}
    conflicts = _manager_conflicts(response)
    if conflicts:
        return FIELD_MANAGER_CONFLICT, _one_line("; ".join(conflicts), _LONGEST_REFUSAL)
    if target.kind == "Secret" or status.get("kind") != "Status":
        return "", ""
    return (
        _one_line(status.get("reason"), _LONGEST_REASON),
        _one_line(status.get("message"), _LONGEST_REFUSAL),
    )


def _manager_conflicts(response: RawResponse) -> list[str]:
    """List the fields of others that an apply met, each with its manager and without any value."""
    causes = _details(response).get("causes")
    found = [each for each in causes if isinstance(each, dict)] if isinstance(causes, list) else []
    return [
        f"{each.get('message')}: {each.get('field')}"
        for each in found
        if response.status == 409 and each.get("reason") == FIELD_MANAGER_CONFLICT
    ]


def _one_line(text: JSON, longest: int) -> str:
    """Return `text` on one line, without control characters and credentials, in `longest` bytes."""
    if not isinstance(text, str):
        return ""
    printable = "".join(each if each.isprintable() else " " for each in text)
    whole = redacted(" ".join(printable.split()))
    return whole.encode()[:longest].decode(errors="ignore").rstrip()


def reason_of(response: RawResponse) -> str:
    """Return the Kubernetes reason of a refusal: the server's own, else that of the HTTP status."""
    reason = (response.body or {}).get("reason")
    if isinstance(reason, str) and reason:
        return reason
    return _REASONS.get(response.status, f"HTTP{response.status}")


def retry_after_of(response: RawResponse) -> timedelta | None:
    """Return how long the server asks to be left alone, at most an hour; None when it does not.

    The header goes before `details.retryAfterSeconds` of the Status. A date in the header (RFC 9110
    allows one, no API server sends one) counts as none.
    """
    if response.status < 400:
        return None
    header = response.headers.get("retry-after", "")
    seconds: JSON = _details(response).get("retryAfterSeconds")
    if header.isascii() and header.isdigit():
        seconds = int(header) if len(header) <= _LONGEST_NUMBER else _LONGEST_RETRY_AFTER
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        return None
    return timedelta(seconds=min(seconds, _LONGEST_RETRY_AFTER))


# apimachinery's reasons for answers without a Status, such as those of a proxy.
_REASONS: Final[Mapping[int, str]] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def _with_preconditions(
    body: Mapping[str, JSON], preconditions: Preconditions
) -> Mapping[str, JSON]:
    """Return a merge patch that the API server refuses when uid or resourceVersion differ."""
    locks = _preconditions(preconditions)
    if not locks:
        return body
    metadata = body.get("metadata")
    own = metadata if isinstance(metadata, dict) else {}
    return {**body, "metadata": {**own, **locks}}


def _delete_options(preconditions: Preconditions) -> dict[str, JSON]:
    options: dict[str, JSON] = {"apiVersion": "v1", "kind": "DeleteOptions"}
    locks = _preconditions(preconditions)
    return {**options, "preconditions": locks} if locks else options


def _preconditions(preconditions: Preconditions) -> dict[str, JSON]:
    """Name the preconditions as the API does, those that ask for nothing left out."""
    named = {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}
    return {name: value for name, value in named.items() if value is not None}


def _new_event(record: RecordEvent, target: ObjectRef, at: str, component: str) -> dict[str, JSON]:
    about = record.target
    involved = {
        "apiVersion": about.api_version,
        "kind": about.kind,
        "namespace": about.namespace,
        "name": about.name,
        "uid": record.uid,
    }
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {"name": target.name, "namespace": target.namespace},
        "involvedObject": {name: value for name, value in involved.items() if value},
        "type": record.type,
        "reason": record.reason,
        "message": record.message[:_LONGEST_MESSAGE],
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": component,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def _causes(response: RawResponse) -> list[JSON]:
    """Return the fields that a 422 complains of, each once; empty without a list of causes."""
    causes = _details(response).get("causes")
    if not isinstance(causes, list):
        return []
    fields = [cause.get("field") for cause in causes if isinstance(cause, dict)]
    return [name for number, name in enumerate(fields) if name not in fields[:number]]


def _details(response: RawResponse) -> Mapping[str, JSON]:
    details = (response.body or {}).get("details")
    return details if isinstance(details, dict) else {}
