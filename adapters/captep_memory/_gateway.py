"""A gateway over a world: what the core wants done, as requests to the in-memory API server."""

import hashlib
import threading
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Create,
    Delete,
    ObjectRef,
    Observed,
    Patch,
    Preconditions,
    RecordEvent,
    Unreadable,
    write_of,
)
from captep_core._objects import rfc3339
from captep_core.ports import Answer
from captep_memory._request import Request, Response, group_of
from captep_memory._serve import serve
from captep_memory._world import World

__all__ = ["MemoryGateway", "ObjectMatch"]

_FIELD_MANAGER: Final = "captep"


@frozen
class ObjectMatch:
    """One object by kind and name, in whatever version; `api_group` None means that kind in every group."""

    kind: str
    namespace: str | None
    name: str
    api_group: str | None = None

    def matches(self, ref: ObjectRef) -> bool:
        """Whether `ref` is this object."""
        named = (self.kind, self.namespace, self.name) == (ref.kind, ref.namespace, ref.name)
        return named and self.api_group in (None, group_of(ref.api_version))


_NOTHING_UNREADABLE: Final[Mapping[ObjectMatch, str]] = MappingProxyType({})
_NOTHING_REFUSED: Final[Mapping[tuple[str, ObjectMatch], int]] = MappingProxyType({})


class MemoryGateway:
    """A `Gateway` that holds a world; `world` may be replaced at any time, by whoever plays the neighbours or the clock."""

    def __init__(
        self,
        world: World,
        *,
        unreadable: Mapping[ObjectMatch, str] = _NOTHING_UNREADABLE,
        refuse: Mapping[tuple[str, ObjectMatch], int] = _NOTHING_REFUSED,
    ) -> None:
        """Serve `world`.

        Args:
            world: the server to begin with.
            unreadable: objects whose reads fail, with the Kubernetes reason.
            refuse: writes, by verb and object, its status included, that are answered with an HTTP status and change nothing.
        """
        self.world = world
        self._unreadable, self._refuse = unreadable, refuse
        self._lock = threading.Lock()

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up."""
        for match, reason in self._unreadable.items():
            if match.matches(ref):
                return Unreadable(reason)
        _, response = serve(
            self.world, Request("get", ref.api_version, ref.kind, ref.namespace, ref.name)
        )
        if response.ok:
            return response.body
        # A kind that is not served is answered with 404 as well, but says nothing about the object.
        if response.status == 404 and response.body.get("details", {}).get("name"):
            return ABSENT
        return Unreadable(response.reason, str(response.body["message"]))

    def send(self, action: Action) -> Answer:
        """Translate `action` to one request and serve it; an Event that is there already is counted up instead."""
        verb = write_of(action).verb
        for (refused, match), status in self._refuse.items():
            if refused == verb and match.matches(action.target):
                return Answer(status, changed=False)
        with self._lock:
            response, changed = self._serve(_request(action, self.world))
            if isinstance(action, RecordEvent) and response.status == 409:
                response, changed = self._serve(_one_more(action, self.world))
        retry_after = response.headers.get("Retry-After")
        return Answer(
            _status(response),
            changed,
            None if retry_after is None else timedelta(seconds=int(retry_after)),
        )

    def _serve(self, request: Request) -> tuple[Response, bool]:
        before = self.world
        self.world, response = serve(before, request)
        return response, self.world.resource_version != before.resource_version


def _request(action: Action, world: World) -> Request:
    ref = action.target
    match action:
        case Create():
            return Request(
                "create",
                ref.api_version,
                ref.kind,
                ref.namespace,
                body=dict(action.body),
                field_manager=_FIELD_MANAGER,
            )
        case Patch():
            body = _locked(action.body, action.preconditions)
            return Request(
                "patch",
                ref.api_version,
                ref.kind,
                ref.namespace,
                ref.name,
                action.subresource,
                body=body,
                field_manager=_FIELD_MANAGER,
            )
        case Delete():
            options: dict[str, Any] = {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": _wire(action.preconditions),
            }
            return Request(
                "delete", ref.api_version, ref.kind, ref.namespace, ref.name, body=options
            )
        case RecordEvent():
            event = _event(action, world)
            return Request(
                "create",
                "v1",
                "Event",
                event["metadata"]["namespace"],
                body=event,
                field_manager=_FIELD_MANAGER,
            )


def _wire(preconditions: Preconditions) -> dict[str, str]:
    wire = {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}
    return {name: value for name, value in wire.items() if value is not None}


def _locked(body: Mapping[str, JSON], preconditions: Preconditions) -> dict[str, Any]:
    """The API server compares uid and resourceVersion of a patch that carries them in its metadata."""
    metadata = body.get("metadata")
    locks = _wire(preconditions)
    return (
        {**body, "metadata": {**(metadata if isinstance(metadata, dict) else {}), **locks}}
        if locks
        else dict(body)
    )


def _event_name(action: RecordEvent) -> str:
    identity = "\0".join(
        (action.preconditions.uid or "", action.type, action.reason, action.message)
    )
    # A name may have 253 characters; the object's own is cut before the hash.
    return f"{action.target.name[:230]}.{hashlib.sha256(identity.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _event(action: RecordEvent, world: World) -> dict[str, Any]:
    ref, at = action.target, rfc3339(world.now)
    about = {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "name": ref.name,
        "uid": action.preconditions.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": _event_name(action), "namespace": ref.namespace or "default"},
        "involvedObject": {**about, **({"namespace": ref.namespace} if ref.namespace else {})},
        **action.body,
        "source": {"component": _FIELD_MANAGER},
        "reportingComponent": _FIELD_MANAGER,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def _one_more(action: RecordEvent, world: World) -> Request:
    namespace, name = action.target.namespace or "default", _event_name(action)
    _, found = serve(world, Request("get", "v1", "Event", namespace, name))
    body: dict[str, Any] = {
        "count": found.body.get("count", 0) + 1,
        "lastTimestamp": rfc3339(world.now),
    }
    return Request("patch", "v1", "Event", namespace, name, body=body, field_manager=_FIELD_MANAGER)


def _status(response: Response) -> int:
    """A patch that carries another uid is invalid to the API server; to us the object was merely replaced: a conflict."""
    causes = response.body.get("details", {}).get("causes", ()) if response.status == 422 else ()
    return 409 if [cause["field"] for cause in causes] == ["metadata.uid"] else response.status
