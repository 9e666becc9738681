"""The head of an HTTP/1 request, read as strictly as Go's net/http does, which kube-apiserver uses.

The parser of the standard library accepts what that one refuses: a missing Host, a method that is
no token, a header without a colon. The statuses and texts were measured on kube-apiserver 1.37.
"""

import re
from collections.abc import Callable
from http.client import HTTPMessage
from typing import Final
from urllib.parse import urlsplit

from attrs import field, frozen

__all__ = ["Head", "HeadError", "read_head"]

# DefaultMaxHeaderBytes of net/http, and its allowance for buffers.
_LIMIT: Final = (1 << 20) + 4096
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@frozen
class Head:
    """Method, path with query, and headers; `is_old` is whether the client speaks HTTP/1.0."""

    method: str
    target: str
    headers: HTTPMessage = field(eq=False, repr=False)
    is_old: bool


class HeadError(Exception):
    """The head is broken; `status` is that of the answer, the message its text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def read_head(readline: Callable[[int], bytes]) -> Head | None:
    """Return the head of the next request, None if the client has gone.

    Raises:
        HeadError: the client sent something else.
    """
    budget = _LIMIT
    line = readline(budget)
    if not line:
        return None
    method, target, version = _request_line(line)
    headers = HTTPMessage()
    budget -= len(line)
    while (line := readline(budget)) not in (b"\r\n", b"\n"):
        budget -= len(line)
        if budget <= 0 or not line.endswith(b"\n"):
            raise HeadError(431, "431 Request Header Fields Too Large")
        name, colon, value = line.partition(b":")
        if not colon or not name or line[:1] in b" \t":
            raise HeadError(400, "400 Bad Request")
        if not _TOKEN.fullmatch(name):
            raise HeadError(400, "400 Bad Request: invalid header name")
        shown = value.strip(b" \t\r\n")
        if _CONTROL.search(shown):
            raise HeadError(400, "400 Bad Request")
        headers.add_header(name.decode("latin-1"), shown.decode("latin-1"))
    _check_host(headers, version)
    return Head(method, target, headers, is_old=version == (1, 0))


def _request_line(line: bytes) -> tuple[str, str, tuple[int, int]]:
    method, _, rest = line.rstrip(b"\r\n").partition(b" ")
    target, _, proto = rest.partition(b" ")
    found = _VERSION.fullmatch(proto)
    if len(line) >= _LIMIT:
        raise HeadError(431, "431 Request Header Fields Too Large")
    if found is None or not _TOKEN.fullmatch(method):
        raise HeadError(400, "400 Bad Request")
    version = int(found[1]), int(found[2])
    path = _path(target.decode("latin-1"))
    if version[0] != 1:
        text = "505 HTTP Version Not Supported: unsupported protocol version"
        raise HeadError(505, text)
    return method.decode(), path, version


def _path(target: str) -> str:
    """Return path and query of a request target, which may be a whole URL."""
    if target == "*":
        return target
    if not target.startswith("/"):
        parts = urlsplit(target)
        if not parts.scheme or not parts.netloc:
            raise HeadError(400, "400 Bad Request")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if _BAD_ESCAPE.search(target.partition("?")[0]):
        raise HeadError(400, "400 Bad Request")
    return target


def _check_host(headers: HTTPMessage, version: tuple[int, int]) -> None:
    hosts = headers.get_all("Host", [])
    if len(hosts) > 1:
        raise HeadError(400, "400 Bad Request")
    if not hosts and version >= (1, 1):
        raise HeadError(400, "400 Bad Request: missing required Host header")
