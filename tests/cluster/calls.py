"""Requests of the in-memory server as HTTP, for a real server.

The facade does the inverse: it reads a request from a URL.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPResponse, HTTPSConnection
from urllib.parse import quote, urlencode

from attrs import frozen

from captep_memory import JSON, Object, Request, Response, plural_of
from tests.cluster.apiserver import ApiServer

__all__ = ["Call", "Direct", "call_of"]

_METHODS: Mapping[str, str] = {
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


@frozen
class Call:
    """One HTTP request; `query` is not encoded yet."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: JSON
    content_type: str

    @property
    def url(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


def call_of(request: Request) -> Call:
    """Return a request as HTTP; the plural is the one that Kubernetes derives from the kind."""
    root = (
        f"/apis/{request.api_version}"
        if "/" in request.api_version
        else f"/api/{request.api_version}"
    )
    name = None if request.verb in ("create", "list") else request.name
    parts = [
        *(("namespaces", request.namespace) if request.namespace else ()),
        plural_of(request.kind),
        *((name,) if name else ()),
        *((request.subresource,) if request.subresource else ()),
    ]
    return Call(
        method=_METHODS.get(request.verb, "GET"),
        path="/".join([root, *(quote(part, safe=":") for part in parts)]),
        query=tuple(_query(request)),
        body=request.body,
        content_type=request.content_type if request.verb == "patch" else "application/json",
    )


def _query(request: Request) -> list[tuple[str, str]]:
    given = {
        "watch": "1" if request.verb == "watch" else "",
        "dryRun": "All" if request.dry_run else "",
        "fieldManager": request.field_manager,
        "fieldValidation": request.field_validation,
        "force": "" if request.force is None else _flag(request.force),
        "resourceVersion": request.resource_version,
        "resourceVersionMatch": request.resource_version_match,
        "labelSelector": request.label_selector,
        "fieldSelector": request.field_selector,
        "limit": str(request.limit) if request.limit else "",
        "continue": request.continue_token,
        "timeoutSeconds": "" if request.timeout_seconds is None else str(request.timeout_seconds),
        "allowWatchBookmarks": _flag(request.allow_bookmarks) if request.allow_bookmarks else "",
        "sendInitialEvents": ""
        if request.send_initial_events is None
        else _flag(request.send_initial_events),
    }
    return [(name, value) for name, value in given.items() if value]


def _flag(value: bool) -> str:
    return "true" if value else "false"


class Direct:
    """Asks a real API server as administrator on one connection, without the code under test."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._connection = server.connection()

    def __call__(self, request: Request) -> Response:
        """Send one request and return the answer as it is."""
        answer = self._send(self._connection, request)
        return Response(answer.status, json.loads(answer.read()))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def events_until(self, name: str, request: Request) -> list[Object]:
        """Watch until an object of this name appears; return the events before it."""
        events: list[Object] = []
        with closing(self._server.connection()) as connection:
            answer = self._send(connection, request)
            while (event := json.loads(answer.readline()))["object"]["metadata"]["name"] != name:
                events.append(event)
        return events

    def _send(self, connection: HTTPSConnection, request: Request) -> HTTPResponse:
        call = call_of(request)
        body = None if call.body is None else json.dumps(call.body).encode()
        connection.request(
            call.method,
            call.url,
            body,
            {**self._server.credentials(), "Content-Type": call.content_type},
        )
        return connection.getresponse()
