"""A wire that lies: plain HTTP on loopback in front of the API server.

A test decides on each request. Rules of this module:

1. A request without tampering is passed on unchanged, the token included; the lines of a watch are
   passed on as they come.
2. Each request is noted when it arrives, before the decision on it.
"""

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import urllib3
from attrs import field, frozen

from tests.cluster.apiserver import ApiServer

__all__ = ["GONE", "PASS", "Asked", "Tamper", "Tampering", "answered"]

GONE = (
    b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1",'
    b'"status":"Failure","reason":"Expired","code":410}}\n'
)
_OWN_HEADERS = ("host", "connection", "accept-encoding", "content-length")
_READ_SECONDS = 60.0


@frozen
class Asked:
    """A request as it arrived, `at` by the monotonic clock."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    content: bytes = field(repr=False)

    @property
    def verb(self) -> str:
        """The verb of RBAC: list, watch and get; or the method."""
        if self.method != "GET":
            return self.method
        names = self.path.split("/")[3 if self.path.startswith("/api/") else 4 :]
        of_one_namespace = names[:1] == ["namespaces"] and len(names) > 2
        if "watch" in self.query:
            return "watch"
        parts_of_a_list = 3 if of_one_namespace else 1
        return "list" if len(names) == parts_of_a_list else "get"


@frozen
class Tamper:
    """The treatment of a request.

    Attributes:
        before: seconds until the request is passed on.
        after: seconds until its answer is passed back.
        status: the status to answer instead.
        headers: the headers of that answer.
        drop: close the connection instead.
        query: parameters to replace.
        lines: changes the lines of a watch.
    """

    before: float = 0.0
    after: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(factory=dict)
    drop: bool = False
    query: Mapping[str, str] = field(factory=dict)
    lines: Callable[[Iterator[bytes]], Iterator[bytes]] = iter


PASS = Tamper()


def answered(status: int, **headers: str) -> Tamper:
    """Answer with a Status; an underscore in a header's name stands for a hyphen."""
    return Tamper(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


class Tampering(ThreadingHTTPServer):
    """A context manager that serves.

    `tamper` decides on each request that arrives from then on. `asked` has every request that
    arrived, `accepted` those that the server granted.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, server: ApiServer) -> None:
        self.tamper: Callable[[Asked], Tamper] = lambda _: PASS
        self.asked: list[Asked] = []
        self.accepted: list[Asked] = []
        self.ended = threading.Event()
        self.pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", server.port, maxsize=64, ca_certs=str(server.ca_file), retries=False
        )
        self.connections: set[socket.socket] = set()
        self.streams: dict[urllib3.BaseHTTPResponse, Asked] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()
        self.cut()
        self.pool.close()

    def cut(self) -> None:
        """Break every connection; new ones are accepted."""
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.end_watches()

    def end_watches(self, *, before: float = math.inf) -> None:
        """End every watch that was asked for before a moment, as a server does after a while.

        Other requests go on.
        """
        for stream, asked in tuple(self.streams.items()):
            if asked.at >= before:
                continue
            with suppress(OSError, ValueError, RuntimeError):
                stream.shutdown()

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients and servers go away in these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Tampering

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def _handle(self) -> None:
        split = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        if len(content) < length:
            self.close_connection = True
            return
        asked = Asked(
            time.monotonic(),
            self.command,
            split.path,
            dict(parse_qsl(split.query, keep_blank_values=True)),
            content,
        )
        self.server.asked.append(asked)
        tamper = self.server.tamper(asked)
        if self.server.ended.wait(tamper.before) or tamper.drop:
            self.close_connection = True
        elif tamper.status is not None:
            body = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": tamper.status,
            }
            self._reply(
                tamper.status,
                {"Content-Type": "application/json", **tamper.headers},
                json.dumps(body).encode(),
            )
        else:
            self._pass_on(asked, tamper)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815  # the names that http.server looks for

    def _pass_on(self, asked: Asked, tamper: Tamper) -> None:
        url = f"{asked.path}?{urlencode({**asked.query, **tamper.query})}"
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS
        }
        self.close_connection = True  # until the answer is passed back as a whole
        answer = self.server.pool.urlopen(
            asked.method,
            url,
            body=asked.content or None,
            headers=headers,
            preload_content=False,
            timeout=_READ_SECONDS,
        )
        if answer.status < 300:
            self.server.accepted.append(asked)
        answered_headers = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() in ("content-type", "retry-after")
        }
        try:
            if self.server.ended.wait(tamper.after):
                return
            if asked.verb != "watch" or answer.status != 200:
                self.close_connection = False
                self._reply(answer.status, answered_headers, answer.data)
                return
            self.server.streams[answer] = asked
            self._reply(200, {**answered_headers, "Transfer-Encoding": "chunked"})
            for line in tamper.lines(_lines(answer)):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        finally:
            self.server.streams.pop(answer, None)
            answer.close()

    def _reply(self, status: int, headers: Mapping[str, str], content: bytes | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if content is not None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *args: object) -> None:
        """Print nothing: `asked` has the requests."""


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    pending = b""
    while chunk := answer.read1(1 << 16):
        *complete, pending = (pending + chunk).split(b"\n")
        yield from (line + b"\n" for line in complete)
