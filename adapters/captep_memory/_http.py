"""`serve` over HTTP on loopback, for any client in any language.

No other part of this package has threads, sockets or a clock. One lock guards the world; every
request takes it once. A watch holds no lock while it waits: each change wakes it.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self, TypeAlias

from attrs import evolve, field, frozen

from captep_memory._bodies import encode_json
from captep_memory._exchange import Asked, HTTPAnswer, HTTPRequest, answer, asked_of, event_line
from captep_memory._http_head import HeadError, read_head
from captep_memory._json import Object
from captep_memory._kinds import ServedKind
from captep_memory._read import bookmark
from captep_memory._request import Request, Response
from captep_memory._routes import plurals_of
from captep_memory._serve import serve, watch_events
from captep_memory._status import expired, failure
from captep_memory._world import World

__all__ = ["Disturb", "Disturbance", "HTTPFacade", "Logged"]

_PLAIN = "text/plain; charset=utf-8"
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
# MaxRequestBodyBytes of k8s.io/apiserver.
_BODY_LIMIT = 3 * 1024 * 1024
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
    """An API server on a port of 127.0.0.1, running while the `with` block does.

    `kinds` are (group, kind) of kinds with neither a definition nor an object in the world, for
    their URLs. `disturb` sees every request; a test may replace it at any time.
    """

    def __init__(
        self,
        world: World,
        *,
        kinds: Iterable[tuple[str, str]] = (),
        disturb: Disturb = lambda _: None,
        watch_seconds: float = _WATCH_SECONDS,
        port: int = 0,
    ) -> None:
        self._world = world
        self._changed = threading.Condition()
        self._kinds = plurals_of(world, kinds)
        self._log: list[Logged] = []
        self._closing = False
        self.disturb = disturb
        self.watch_seconds = watch_seconds
        self._http = _Http(("127.0.0.1", port), _Handler)
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

    def asked_of(self, http: HTTPRequest) -> Asked | HTTPAnswer:
        """Return what a request asks, or its answer when it never reaches the world."""
        return asked_of(self.world, self._kinds, http)

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

    asked: Asked
    resource: ServedKind
    until: float
    since: int = 0
    sent: int = 0
    bookmarked_at: float = field(factory=time.monotonic)


class _BodyError(Exception):
    """The framing of a body is broken; `answer` says how."""

    def __init__(self, answer: HTTPAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise each small answer waits 40 ms for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    # A client that sends nothing for so long holds its thread no longer.
    timeout = 60
    server: _Http

    def handle_one_request(self) -> None:
        """Read a head as Go does, and answer any method."""
        self.command = self.path = self.requestline = ""
        self.request_version = self.protocol_version = "HTTP/1.1"
        try:
            head = read_head(self.rfile.readline)
        except HeadError as error:
            self.close_connection = True
            return self._send("", _broken(error.status, str(error)))
        except TimeoutError:
            head = None
        if head is None:
            self.close_connection = True
            return None
        self.command, self.path, self.headers = head.method, head.target, head.headers
        if head.is_old:
            self.request_version = self.protocol_version = "HTTP/1.0"
        connection = self.headers.get("Connection", "").lower()
        keeps = "keep-alive" in connection if head.is_old else "close" not in connection
        self.close_connection = not keeps
        if head.target == "*":
            return self._send("", HTTPAnswer(200, {}, b""))
        expectation = self.headers.get("Expect", "").lower()
        if expectation not in ("", "100-continue"):
            self.close_connection = True
            return self._send("", HTTPAnswer(417, {"Connection": "close"}, b""))
        if expectation:
            self.send_response_only(100)
            self.end_headers()
        self._answer()
        self.wfile.flush()
        return None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Write nothing: the server keeps its own log."""

    def _answer(self) -> None:
        try:
            raw = self._read_body()
        except _BodyError as broken:
            self.close_connection = True
            return self._send("", broken.answer)
        headers = {name.lower(): value for name, value in self.headers.items()}
        http = HTTPRequest(self.command, self.path, headers, raw)
        asked = self.server.owner.asked_of(http)
        if isinstance(asked, HTTPAnswer):
            return self._send(self.command.lower(), asked)
        return self._serve(asked)

    def _read_body(self) -> bytes:
        codings = self.headers.get_all("Transfer-Encoding", [])
        if codings:
            if [coding.strip().lower() for coding in codings] != ["chunked"]:
                raise _BodyError(_broken(501, "Unsupported transfer encoding"))
            return self._read_chunks()
        lengths = set(self.headers.get_all("Content-Length", ["0"]))
        length = lengths.pop()
        if lengths or not (length.isascii() and length.isdigit()) or len(length) > 18:
            raise _BodyError(_broken(400))
        if int(length) > _BODY_LIMIT:
            raise _BodyError(_too_large())
        return self.rfile.read(int(length))

    def _read_chunks(self) -> bytes:
        body = b""
        while size := self._chunk_size():
            if len(body) + size > _BODY_LIMIT:
                raise _BodyError(_too_large())
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _chunk_size(self) -> int:
        digits = self.rfile.readline().partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(digits):
            answer = failure(500, "", "invalid byte in chunk length").response
            raise _BodyError(_closing(answer))
        return int(digits, 16)

    def _serve(self, asked: Asked) -> None:
        request = asked.request
        disturbance = self.server.owner.disturb(request) or _UNDISTURBED
        if disturbance.delay_seconds:
            time.sleep(disturbance.delay_seconds)
        if disturbance.drop_before:
            return self._drop(request)
        if disturbance.response is not None:
            return self._respond(asked, disturbance.response)
        response = self.server.owner.request(request)
        if disturbance.drop_after:
            return self._drop(request)
        if request.verb == "watch" and response.ok:
            return self._stream(asked, response, disturbance)
        return self._respond(asked, response)

    def _drop(self, request: Request) -> None:
        self._record(request.verb, 0)
        self.close_connection = True

    def _record(self, verb: str, status: int) -> None:
        self.server.owner.record(
            Logged(verb, self.path, self.headers.get("User-Agent", ""), status)
        )

    def _respond(self, asked: Asked, response: Response) -> None:
        self._send(asked.request.verb, answer(asked, response))

    def _send(self, verb: str, answer: HTTPAnswer) -> None:
        if verb:
            self._record(verb, answer.status)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _stream(self, asked: Asked, response: Response, disturbance: Disturbance) -> None:
        """Send a watch: the events so far, then every change until its time ends."""
        self._record("watch", 200)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        request = asked.request
        # A timeout of 0 counts as none.
        seconds = max(request.timeout_seconds or 0, 0) or self.server.owner.watch_seconds
        resource = self.server.owner.world.catalog.resource(request.api_version, request.kind)
        stream = _Stream(asked, resource, time.monotonic() + seconds)
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
                self._chunk(stream.asked, event, first=stream.sent == 0)
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
            stream.asked.request,
            resource_version=str(since),
            send_initial_events=None,
            resource_version_match="",
        )
        events = watch_events(world, news)
        return [] if isinstance(events, Response) else list(events)

    def _bookmark(self, stream: _Stream, since: int) -> _Stream:
        """Once a minute, send a bookmark to a client that allows them."""
        if (
            not stream.asked.request.allow_bookmarks
            or time.monotonic() - stream.bookmarked_at < _BOOKMARK_SECONDS
        ):
            return stream
        self._chunk(stream.asked, bookmark(stream.resource, since), first=False)
        return evolve(stream, bookmarked_at=time.monotonic())

    def _chunk(self, asked: Asked, event: Object, *, first: bool) -> None:
        line = event_line(asked, event, first=first)
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")


def _broken(code: int, text: str = "") -> HTTPAnswer:
    """The answer of Go's server to a request that it cannot read."""
    status = HTTPStatus(code)
    body = text or f"{code} {status.phrase}"
    return HTTPAnswer(code, {"Content-Type": _PLAIN, "Connection": "close"}, body.encode())


def _closing(response: Response) -> HTTPAnswer:
    headers = {"Content-Type": "application/json", "Connection": "close"}
    return HTTPAnswer(response.status, headers, encode_json(response.body))


def _too_large() -> HTTPAnswer:
    message = f"Request entity too large: limit is {_BODY_LIMIT}"
    return _closing(failure(413, "RequestEntityTooLarge", message).response)
