"""Faults at the request level, named by their rows (F3 lost request, F4 lost response, ...).

A fault is a pure wrapper around the server with a condition. `serve_with(faults)` wraps `serve`;
the first fault that matches a request strikes it. A client of a broken connection sees `Broken`:
it cannot know whether its request landed.
"""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from attrs import evolve, field, frozen

from captep_memory._admission import webhook_down
from captep_memory._json import Object
from captep_memory._request import Key, Request, Response, Verb, group_of
from captep_memory._serve import serve
from captep_memory._status import MODIFIED
from captep_memory._world import World

__all__ = [
    "Broken",
    "Match",
    "Outcome",
    "RequestFault",
    "Serve",
    "conflict",
    "duplicate",
    "lost_request",
    "lost_response",
    "mutate",
    "on",
    "prune",
    "serve_with",
    "terminal",
    "transient",
    "webhook_unreachable",
]


@frozen
class Broken:
    """The connection broke before the answer: the outcome is unknown."""

    reason: Literal["timeout", "eof"] = "eof"


Outcome: TypeAlias = Response | Broken
Serve: TypeAlias = Callable[[World, Request], tuple[World, Outcome]]
Match: TypeAlias = Callable[[Request], bool]


@frozen
class RequestFault:
    """One fault: `strikes` chooses the requests, `around` answers them in place of its server."""

    id: str
    strikes: Match
    around: Callable[[Serve, World, Request], tuple[World, Outcome]] = field(eq=False, repr=False)


def on(
    *verbs: Verb,
    kind: str = "",
    name: str = "",
    namespace: str | None = None,
    subresource: str | None = None,
) -> Match:
    """Return a match by verb, kind, name, namespace and subresource; each is optional."""

    def matches(request: Request) -> bool:
        return (
            (not verbs or request.verb in verbs)
            and kind in ("", request.kind)
            and name in ("", request.name or _name_in(request))
            and namespace in (None, request.namespace)
            and subresource in (None, request.subresource)
        )

    return matches


def _name_in(request: Request) -> object:
    metadata = request.body.get("metadata") if isinstance(request.body, dict) else None
    return metadata.get("name") if isinstance(metadata, dict) else None


def serve_with(*faults: RequestFault, server: Serve = serve) -> Serve:
    """Return a server in which the first fault that matches a request strikes it."""

    def faulty(world: World, request: Request) -> tuple[World, Outcome]:
        for fault in faults:
            if fault.strikes(request):
                return fault.around(server, world, request)
        return server(world, request)

    return faulty


def lost_request(strikes: Match, *, reason: Literal["timeout", "eof"] = "eof") -> RequestFault:
    """F3: the request does not arrive."""
    return RequestFault("F3", strikes, lambda _, world, __: (world, Broken(reason)))


def lost_response(strikes: Match, *, reason: Literal["timeout", "eof"] = "eof") -> RequestFault:
    """F4: the server applies the request, and its answer does not arrive."""
    return RequestFault(
        "F4", strikes, lambda server, world, request: (server(world, request)[0], Broken(reason))
    )


def duplicate(strikes: Match, *, deliveries: int = 2) -> RequestFault:
    """F5: the server applies the request several times; the last answer arrives."""
    if deliveries < 2:
        raise ValueError(f"deliveries of a duplicate must be at least 2, got {deliveries}")

    def around(server: Serve, world: World, request: Request) -> tuple[World, Outcome]:
        for _ in range(deliveries - 1):
            world, _ = server(world, request)
        return server(world, request)

    return RequestFault("F5", strikes, around)


def conflict(strikes: Match) -> RequestFault:
    """F7: another actor touches the target just before the request arrives."""

    def around(server: Serve, world: World, request: Request) -> tuple[World, Outcome]:
        return server(_touch(world, request), request)

    return RequestFault("F7", strikes, around)


def _touch(world: World, request: Request) -> World:
    """Bump the target of a request: a foreign annotation counts up."""
    key = Key(group_of(request.api_version), request.kind, request.namespace, request.name or "")
    stored = world.get(key)
    if stored is None:
        return world
    annotations: Mapping[str, str] = stored["metadata"].get("annotations", {})
    counted = {
        **annotations,
        "example.com/touched": str(int(annotations.get("example.com/touched", "0")) + 1),
    }
    return world.put(key, {**stored, "metadata": {**stored["metadata"], "annotations": counted}})[0]


def mutate(strikes: Match, change: Callable[[Object], Object]) -> RequestFault:
    """F16: an admission webhook changes the body of a write. `change` returns a new body."""

    def around(server: Serve, world: World, request: Request) -> tuple[World, Outcome]:
        if isinstance(request.body, dict) and request.verb in ("create", "update", "patch"):
            return server(world, evolve(request, body=change(request.body)))
        return server(world, request)

    return RequestFault("F16", strikes, around)


def prune(strikes: Match, *path: str) -> RequestFault:
    """F16: the server drops a field of the body, as it prunes a field outside of its schema."""
    return mutate(strikes, lambda body: _without_path(body, path))


def _without_path(body: Object, path: tuple[str, ...]) -> Object:
    if not path or path[0] not in body:
        return body
    if len(path) == 1:
        return {name: value for name, value in body.items() if name != path[0]}
    below = body[path[0]]
    return {**body, path[0]: _without_path(below, path[1:])} if isinstance(below, dict) else body


def webhook_unreachable(strikes: Match, webhook: str = "validation.example.com") -> RequestFault:
    """F16: an admission webhook with failurePolicy Fail is unreachable."""
    return RequestFault("F16", strikes, lambda _, world, __: (world, webhook_down(webhook)))


_TRANSIENT: Mapping[int, tuple[str, str]] = {
    429: (
        "TooManyRequests",
        "The server has received too many requests and has asked us to try again later",
    ),
    500: ("InternalError", "Internal error occurred: etcdserver: leader changed"),
    503: ("ServiceUnavailable", "The server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within the allotted timeout"),
}


def transient(
    strikes: Match, status: int, *, applied: bool = False, retry_after_seconds: int = 0
) -> RequestFault:
    """F17: the server answers 429, 500, 503 or 504, and has `applied` the request or not."""
    reason, message = _TRANSIENT[status]
    answer = _failure(status, reason, message, retry_after_seconds)

    def around(server: Serve, world: World, request: Request) -> tuple[World, Outcome]:
        return (server(world, request)[0] if applied else world), answer

    return RequestFault("F17", strikes, around)


_TERMINAL: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "the request is malformed"),
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "the request is forbidden"),
    404: ("NotFound", "the server could not find the requested resource"),
    405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
    409: ("Conflict", MODIFIED),
    410: ("Gone", "the resource is gone"),
    413: ("RequestEntityTooLarge", "etcdserver: request is too large"),
    415: ("UnsupportedMediaType", "the body of the request was in an unknown format"),
    422: ("Invalid", "the object is invalid"),
}


def terminal(strikes: Match, status: int) -> RequestFault:
    """F18: the server refuses with a status of 400 to 599, for as long as the fault lasts."""
    if not 400 <= status <= 599:
        raise ValueError(f"the status of a refusal must be from 400 to 599, got {status}")
    known = {**_TRANSIENT, **_TERMINAL}
    reason, message = known.get(status, ("", f"refused with {status}"))
    return RequestFault(
        "F18", strikes, lambda _, world, __: (world, _failure(status, reason, message, 0))
    )


def _failure(status: int, reason: str, message: str, retry_after_seconds: int) -> Response:
    body: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
    }
    if reason:
        body["reason"] = reason
    if retry_after_seconds:
        body["details"] = {"retryAfterSeconds": retry_after_seconds}
    return Response(
        status,
        {**body, "code": status},
        {"Retry-After": str(retry_after_seconds)} if retry_after_seconds else {},
    )
