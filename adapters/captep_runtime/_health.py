"""/healthz, /readyz and /metrics over the standard library's HTTP server."""

import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, TypeAlias

from attrs import frozen

from captep_runtime._log import described

__all__ = ["Address", "Page", "Probe", "Server", "metrics_page", "parse_bind_address", "probe_page"]

Page: TypeAlias = Callable[[], tuple[int, str, bytes]]
"""What a path answers: HTTP status, content type, body."""
Probe: TypeAlias = Callable[[], tuple[str, ...]]
"""What is wrong now; empty when nothing is."""

_log = logging.getLogger("captep.health")
_TEXT: Final = "text/plain; charset=utf-8"


@frozen
class Address:
    """Where to listen; an empty host is every interface, port 0 any free port."""

    host: str
    port: int


def parse_bind_address(text: str) -> Address | None:
    """Read `:8080`, `127.0.0.1:8080` or `[::1]:8080`; `0` switches the server off and gives None, as in controller-runtime.

    Raises:
        ValueError: it is none of these.
    """
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not colon
        or not (port.isascii() and port.isdigit())
        or int(port) > 65535
        or (":" in bare and bare == host)
    ):
        raise ValueError(f"expected HOST:PORT, :PORT or 0, not {text!r}")
    return Address(bare, int(port))


def probe_page(probe: Probe) -> Page:
    """Return the page of a probe: 200 and `ok`, or 503 and what is wrong, one per line."""

    def page() -> tuple[int, str, bytes]:
        problems = probe()
        return (
            (503, _TEXT, "\n".join((*problems, "")).encode()) if problems else (200, _TEXT, b"ok")
        )

    return page


def metrics_page(exposition: Callable[[], bytes]) -> Page:
    """Return the page that Prometheus scrapes."""
    return lambda: (200, "text/plain; version=0.0.4; charset=utf-8", exposition())


class Server:
    """Serves pages from threads of its own until it is closed."""

    def __init__(self, address: Address, pages: Mapping[str, Page]) -> None:
        """Listen on `address`, and answer for `pages` by path.

        Raises:
            OSError: the address cannot be bound.
        """
        family = _IPv6Server if ":" in address.host else _Server
        self._server = family((address.host, address.port), _handler(pages))
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            name="http",
            daemon=True,
            kwargs={"poll_interval": 0.05},
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A probe that is not read to its end must not hold up the end of the process.
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the signature of the base class
        """Tell what was raised as the log does, not as a traceback; whoever went away is no news."""
        raised = sys.exception()
        if isinstance(raised, Exception) and not isinstance(raised, ConnectionError):
            _log.error("a page failed: %s", described(raised))


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


def _handler(pages: Mapping[str, Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # A client that connects and says nothing must not keep a thread for ever.
        timeout = 10

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the base class
            """Leave the log to what changes."""

        def _answer(self, *, with_body: bool) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, content_type, body = page() if page else (404, _TEXT, b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    return Handler
