"""An HTTP server on loopback with the answers of a test."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from attrs import field, frozen
from kubernetes import client

from captep_kubernetes import KubernetesTransport
from captep_kubernetes._credentials import Access, FixedCredentials

__all__ = [
    "Asked",
    "Reply",
    "Scripted",
    "events",
    "hang",
    "raw",
    "refused_port",
    "replying",
    "reset",
    "serving",
    "transport_to",
]


@frozen
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str] = field(eq=False)
    content: bytes
    lines: list[tuple[str, str]] = field(factory=list, eq=False, repr=False)
    """The headers in order, those of one name apart."""

    @property
    def verb(self) -> str:
        """LIST, WATCH or the HTTP method."""
        return (
            ("WATCH" if ("watch", "1") in self.query else "LIST")
            if self.method == "GET"
            else self.method
        )

    @property
    def json(self) -> Any:  # noqa: ANN401  # whatever was sent
        """The body, parsed."""
        return json.loads(self.content)


class Scripted(ThreadingHTTPServer):
    """`asked` has every request so far; `stopping` is set at the end, so that replies end."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, reply: "Reply") -> None:
        self.reply, self.asked, self.stopping = reply, list[Asked](), threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def verbs(self) -> list[str]:
        """Return LIST, WATCH or the HTTP method of each request so far."""
        return [asked.verb for asked in self.asked]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Scripted

    def _answer(self) -> None:
        split = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(
            self.command,
            split.path,
            tuple(parse_qsl(split.query, keep_blank_values=True)),
            headers,
            content,
            self.headers.items(),
        )
        self.server.asked.append(asked)
        self.server.reply(asked, self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  # the names that http.server looks for

    def log_message(self, *args: object) -> None:
        """Quiet."""


Reply: TypeAlias = Callable[[Asked, BaseHTTPRequestHandler], None]


def raw(status: int, content: bytes, **headers: str) -> Reply:
    """Answer with these bytes; an underscore in a header's name is a hyphen."""

    def reply(_: Asked, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            **headers,
            "Content-Length": str(len(content)),
        }.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def replying(status: int, body: object, **headers: str) -> Reply:
    """Answer with this JSON."""
    return raw(status, json.dumps(body).encode(), **headers)


def reset(_: Asked, handler: BaseHTTPRequestHandler) -> None:
    """Read the request and reset the connection without an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()


def hang(_: Asked, handler: BaseHTTPRequestHandler) -> None:
    """Read the request and never answer."""
    server = handler.server
    assert isinstance(server, Scripted)
    server.stopping.wait(30)
    handler.close_connection = True


def events(*lines: object, hold: bool = True) -> Reply:
    """Answer a watch with these events or bytes, then hold it open until the test ends, or close
    it.
    """

    def reply(_: Asked, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in lines:
            content = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
            handler.wfile.flush()
        assert isinstance(handler.server, Scripted)
        if hold:
            handler.server.stopping.wait(30)
        handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return reply


@contextmanager
def serving(reply: Reply) -> Iterator[Scripted]:
    """Serve until the block ends."""
    server = Scripted(reply)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def transport_to(url: str, authorization: str = "Bearer not-a-secret") -> KubernetesTransport:
    """Return the transport under test, with a token."""
    configuration = client.Configuration(host=url)
    return KubernetesTransport(configuration, FixedCredentials(Access(authorization)))


def refused_port() -> str:
    """Return the address of a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"
