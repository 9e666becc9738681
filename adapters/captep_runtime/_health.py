"""/healthz, /readyz and /metrics over the standard library's HTTP server."""

import errno
import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias

from attrs import frozen

from captep_runtime._certificate import Certificate
from captep_runtime._log import described

__all__ = [
    "Access",
    "Address",
    "Page",
    "PageServer",
    "Probe",
    "metrics_page",
    "parse_bind_address",
    "probe_page",
]

Page: TypeAlias = Callable[[], tuple[int, str, bytes]]
"""Returns the answer of a path: HTTP status, content type, body."""
Access: TypeAlias = Callable[[str, str, str | None], tuple[int, str] | None]
"""Decides on a request by method, path and Authorization header: None, or a status and a reason."""
Probe: TypeAlias = Callable[[], tuple[str, ...]]
"""Returns the present problems, one line each; none when all is well."""

_log = logging.getLogger("captep.health")
_TEXT: Final = "text/plain; charset=utf-8"
_SECONDS: Final = 10
"""A client that connects and sends nothing must not keep a thread for ever."""


@frozen
class Address:
    """The address of a server; an empty host is every interface, port 0 any free port."""

    host: str
    port: int


def parse_bind_address(text: str) -> Address | None:
    """Read `:8080`, `127.0.0.1:8080` or `[::1]:8080`.

    `0` switches the server off and gives None, as in controller-runtime.

    Raises:
        ValueError: the text has none of these forms.
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
    """Return the page of a probe: 200 and `ok`, or 503 and the problems, one per line."""

    def page() -> tuple[int, str, bytes]:
        problems = probe()
        if not problems:
            return 200, _TEXT, b"ok"
        body = "".join(f"{problem}\n" for problem in problems)
        return 503, _TEXT, body.encode()

    return page


def metrics_page(exposition: Callable[[], bytes]) -> Page:
    """Return the page that Prometheus scrapes."""
    return lambda: (200, "text/plain; version=0.0.4; charset=utf-8", exposition())


class PageServer:
    """Serves pages from threads of its own until `close`."""

    def __init__(
        self,
        address: Address,
        pages: Mapping[str, Page],
        *,
        certificate: Certificate | None = None,
        access: Access | None = None,
    ) -> None:
        """Listen on `address` and answer the paths of `pages`.

        With a `certificate` the server speaks HTTPS. `access` may refuse a request.

        Raises:
            OSError: another process has the address, or the host has no such address.
        """
        self._server = _server(address, _handler(pages, access))
        self._server.certificate = certificate
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            name="http",
            daemon=True,
            # `close` waits for one interval at most; half a second, the default, delays every exit.
            kwargs={"poll_interval": 0.05},
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port of the listening socket."""
        return self._server.server_port

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    certificate: Certificate | None = None
    daemon_threads = True
    # A client that does not read its answer must not delay the end of the process.
    block_on_close = False

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, with TLS where there is a certificate."""
        connection, client = super().get_request()
        if self.certificate is not None:
            connection = self.certificate.wrap(connection)
        return connection, client

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer a connection, in a thread of its own, where a slow handshake delays no other."""
        if isinstance(request, ssl.SSLSocket):
            request.settimeout(_SECONDS)
            try:
                request.do_handshake()
            except OSError:
                # The client speaks no TLS, does not trust the certificate, or went away.
                return
        super().finish_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the signature of the base class
        """Log the exception as the log does, without a traceback; skip clients that went away."""
        raised = sys.exception()
        if isinstance(raised, Exception) and not isinstance(raised, ConnectionError):
            _log.error("a page failed: %s", described(raised))


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _DualStackServer(_IPv6Server):
    """Listens on IPv6 and IPv4 at once: in an IPv6-only cluster, probes come over IPv6."""

    def server_bind(self) -> None:
        """Take IPv4 connections as well, whatever the default of the system is."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def _server(address: Address, handler: type[BaseHTTPRequestHandler]) -> _Server:
    where = (address.host, address.port)
    if address.host:
        family = _IPv6Server if ":" in address.host else _Server
        return family(where, handler)
    if socket.has_dualstack_ipv6():
        try:
            return _DualStackServer(("::", address.port), handler)
        except OSError as error:
            # A kernel may know IPv6 and have no address of it; another error is about the port.
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    return _Server(where, handler)


def _handler(pages: Mapping[str, Page], access: Access | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _SECONDS

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the base class
            """Write nothing: probes come every few seconds, and the log is for changes."""

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            page = pages.get(path)
            refusal = None
            if access is not None:
                refusal = access(self.command, path, self.headers.get("Authorization"))
            if refusal is not None:
                status, content_type, body = refusal[0], _TEXT, f"{refusal[1]}\n".encode()
            elif page is None:
                status, content_type, body = 404, _TEXT, b"not found\n"
            else:
                status, content_type, body = page()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    return Handler
