"""`serve` over HTTP on loopback, for any client in any language.

No other part of this package has threads, sockets or a clock. One lock guards the world; every
request takes it once. A watch holds no lock while it waits: each change wakes it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self, TypeAlias

from attrs import evolve, field, frozen

from captep_memory._json import JSON, Object
from captep_memory._kinds import ServedKind
from captep_memory._read import bookmark
from captep_memory._request import Request, Response
from captep_memory._routes import plurals_of, request_of, route_of
from captep_memory._serve import serve, watch_events
from captep_memory._status import bad_request, expired
from captep_memory._world import World

__all__ = ["Disturb", "Disturbance", "HTTPFacade", "Logged"]

# A real server closes a watch without timeoutSeconds after 30 to 60 minutes.
_WATCH_SECONDS = 1800
# The bookmark frequency of the real watch cache.
_BOOKMARK_SECONDS = 60.0


@frozen
class Logged:
    """One request as the server saw it. `status` is 0 for a dropped connection."""

    verb: str
    path: str
    user_agent: str
    status: int


@frozen
class Disturbance:
    """What goes wrong with one request.

    The server drops the connection before or after it applies the request, delays the answer, sends
    `response` in its place, closes a watch after some events, or expires its resourceVersion.
    """

    drop_before: bool = False
    drop_after: bool = False
    delay_seconds: float = 0.0
    response: Response | None = None
    close_watch_after: int | None = None
    expire_watch: bool = False


Disturb: TypeAlias = Callable[[Request], Disturbance | None]
_UNDISTURBED = Disturbance()


class HTTPFacade:
    """An API server on a free port of 127.0.0.1, running while the `with` block does.

    `kinds` are (group, kind) of kinds with neither a definition nor an object in the world, for
    their URLs. `disturb` sees every request; a test may replace it at any time.
    """

    def __init__(
        self,
        world: World,
        *,
        kinds: Iterable[tuple[str, str]] = (),
        disturb: Disturb = lambda _: None,
    ) -> None:
        self._world = world
        self._changed = threading.Condition()
        self._kinds = plurals_of(world, kinds)
        self._log: list[Logged] = []
        self._closing = False
        self.disturb = disturb
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every watch and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def world(self) -> World:
        """The world as it is now."""
        with self._changed:
            return self._world

    @property
    def log(self) -> tuple[Logged, ...]:
        """Every request so far, in the order of their answers."""
        with self._changed:
            return tuple(self._log)

    def apply(self, change: Callable[[World], World]) -> World:
        """Change the world as another actor would, and wake the watches; return the new world."""
        with self._changed:
            self._world = change(self._world)
            self._changed.notify_all()
            return self._world

    def request(self, request: Request) -> Response:
        """Serve one request against the world."""
        with self._changed:
            before = self._world.resource_version
            self._world, response = serve(self._world, request)
            if self._world.resource_version != before:
                self._changed.notify_all()
            return response

    def kind_of(self, group: str, plural: str) -> str | None:
        """Return the kind behind a URL, None when nothing serves it."""
        return self._kinds.get((group, plural))

    def record(self, logged: Logged) -> None:
        """Append to the log."""
        with self._changed:
            self._log.append(logged)

    def wait_beyond(self, version: int, seconds: float) -> bool:
        """Wait for a write after `version`; return False on closing or timeout."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closing or self._world.resource_version > version, seconds
            )
            return not self._closing and self._world.resource_version > version

    @property
    def closing(self) -> bool:
        """Whether the server stops."""
        return self._closing


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    owner: HTTPFacade

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore connections that clients or disturbances broke."""


@frozen
class _Stream:
    """Where a watch stands."""

    request: Request
    resource: ServedKind
    until: float
    since: int = 0
    sent: int = 0
    bookmarked_at: float = field(factory=time.monotonic)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise each small answer waits 40 ms for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        """Answer any method."""
        self._answer()

    do_POST = do_GET  # noqa: N815  # as above
    do_PUT = do_GET  # noqa: N815
    do_PATCH = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Write nothing: the server keeps its own log."""

    def _answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        plain = {"/readyz": "ok", "/livez": "ok", "/healthz": "ok"}.get(self.path.partition("?")[0])
        if plain is not None:
            return self._send("get", 200, plain.encode(), "text/plain; charset=utf-8")
        if self.path == "/version":
            major, minor = self.server.owner.world.quirks.version
            version = {
                "major": str(major),
                "minor": str(minor),
                "gitVersion": f"v{major}.{minor}.0",
                "platform": "memory",
            }
            return self._send("get", 200, json.dumps(version).encode())
        route = route_of(self.path)
        kind = None if route is None else self.server.owner.kind_of(route.group, route.plural)
        if route is None or kind is None:
            # Plain text, not a Status, as the real server.
            return self._send("get", 404, b"404 page not found\n", "text/plain; charset=utf-8")
        content_type = (self.headers.get("Content-Type") or "").partition(";")[0].strip()
        try:
            body: JSON = json.loads(raw) if raw else None
        except (ValueError, RecursionError):
            return self._respond(
                "create", bad_request("the body of the request is not JSON").response
            )
        return self._serve(request_of(self.command, self.path, route, kind, body, content_type))

    def _serve(self, request: Request) -> None:
        disturbance = self.server.owner.disturb(request) or _UNDISTURBED
        if disturbance.delay_seconds:
            time.sleep(disturbance.delay_seconds)
        if disturbance.drop_before:
            return self._drop(request)
        if disturbance.response is not None:
            return self._respond(request.verb, disturbance.response)
        response = self.server.owner.request(request)
        if disturbance.drop_after:
            return self._drop(request)
        if request.verb == "watch" and response.ok:
            return self._stream(request, response, disturbance)
        return self._respond(request.verb, response)

    def _drop(self, request: Request) -> None:
        self._record(request.verb, 0)
        self.close_connection = True

    def _record(self, verb: str, status: int) -> None:
        self.server.owner.record(
            Logged(verb, self.path, self.headers.get("User-Agent", ""), status)
        )

    def _respond(self, verb: str, response: Response) -> None:
        self._send(
            verb,
            response.status,
            json.dumps(response.body).encode(),
            "application/json",
            dict(response.headers),
        )

    def _send(
        self,
        verb: str,
        status: int,
        content: bytes,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self._record(verb, status)
        self.send_response(status)
        for name, value in {
            "Content-Type": content_type,
            "Content-Length": str(len(content)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, request: Request, response: Response, disturbance: Disturbance) -> None:
        """Send a watch: the events so far, then every change until its time ends."""
        self._record("watch", 200)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        seconds = _WATCH_SECONDS if request.timeout_seconds is None else request.timeout_seconds
        resource = self.server.owner.world.catalog.resource(request.api_version, request.kind)
        stream = _Stream(request, resource, time.monotonic() + seconds)
        events: list[Object] = response.body["events"]
        if disturbance.expire_watch:
            newest = self.server.owner.world.resource_version
            message = f"too old resource version: {request.resource_version or 0} ({newest})"
            events = [{"type": "ERROR", "object": expired(message).response.body}]
        self._follow(
            stream, events, int(response.body["resourceVersion"]), disturbance.close_watch_after
        )
        self.wfile.write(b"0\r\n\r\n")

    def _follow(self, stream: _Stream, events: list[Object], since: int, most: int | None) -> None:
        while True:
            for event in events:
                if most is not None and stream.sent >= most:
                    return
                self._chunk(event)
                stream = evolve(stream, sent=stream.sent + 1)
                if event["type"] == "ERROR":
                    return
            if (most is not None and stream.sent >= most) or self.server.owner.closing:
                return
            remaining = stream.until - time.monotonic()
            if remaining <= 0:
                return
            stream = self._bookmark(stream, since)
            if self.server.owner.wait_beyond(since, min(remaining, _BOOKMARK_SECONDS)):
                world = self.server.owner.world
                events, since = self._news(world, stream, since), world.resource_version
            else:
                events = []

    def _news(self, world: World, stream: _Stream, since: int) -> list[Object]:
        news = evolve(
            stream.request,
            resource_version=str(since),
            send_initial_events=None,
            resource_version_match="",
        )
        events = watch_events(world, news)
        return [] if isinstance(events, Response) else list(events)

    def _bookmark(self, stream: _Stream, since: int) -> _Stream:
        """Once a minute, send a bookmark to a client that allows them."""
        if (
            not stream.request.allow_bookmarks
            or time.monotonic() - stream.bookmarked_at < _BOOKMARK_SECONDS
        ):
            return stream
        self._chunk(bookmark(stream.resource, since))
        return evolve(stream, bookmarked_at=time.monotonic())

    def _chunk(self, event: Object) -> None:
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
