"""Requests that no client library sends, as bytes, and what kube-apiserver answers.

tests/cluster/test_raw.py records the answers: status, media type, and the body of a plain text.
"""

import json
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.memory.record import VERSION

__all__ = ["CASES", "RECORD", "answer_of", "recorded"]

RECORD = Path(__file__).parent / "golden" / f"raw-{VERSION}.json"
_SECRETS = "/api/v1/namespaces/default/secrets"
_JSON = "Content-Type: application/json"
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")


def _asked(line: str, *headers: str, body: bytes = b"", host: str = "Host: x") -> bytes:
    """Return a request; `AUTH` stands for the header that identifies the user."""
    lines = [line, *([host] if host else []), "AUTH", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _posted(*headers: str, body: bytes = b"{}") -> bytes:
    return _asked(f"POST {_SECRETS} HTTP/1.1", _JSON, *headers, body=body)


def _chunked(body: bytes, *headers: str) -> bytes:
    return _posted("Transfer-Encoding: chunked", *headers, body=body)


_READY = "GET /readyz HTTP/1.1"
CASES: Mapping[str, bytes] = {
    "garbage": b"garbage\r\n\r\n",
    "an empty line": b"\r\n\r\n",
    "no version": f"GET {_SECRETS}\r\n\r\n".encode(),
    "another version": _asked("GET /readyz HTTP/9.9"),
    "an old version": _asked("GET /readyz HTTP/1.0"),
    "no host": _asked(_READY, host=""),
    "two hosts": _asked(_READY, "Host: y"),
    "a header without a colon": _asked(_READY, "bad"),
    "a header with a space": _asked(_READY, "bad header: x"),
    "a zero byte": _asked(_READY, "a: b\x00"),
    "a header of 1.1 MB": _asked(_READY, f"a: {'x' * 1_100_000}"),
    "a header of 70 kB": _asked(_READY, f"a: {'x' * 70_000}"),
    "300 headers": _asked(_READY, *(f"h{number}: x" for number in range(300))),
    "a query of 70 kB": _asked(f"GET {_SECRETS}?a={'x' * 70_000} HTTP/1.1"),
    "a space in the query": _asked(f"GET {_SECRETS}?a=b c HTTP/1.1"),
    "a bad escape": _asked(f"GET {_SECRETS}/%zz HTTP/1.1"),
    "a whole URL": _asked(f"GET http://x{_SECRETS}/none HTTP/1.1"),
    "no slash": _asked("GET readyz HTTP/1.1"),
    "a star": _asked("OPTIONS * HTTP/1.1"),
    "an unknown method": _asked(f"FOO {_SECRETS} HTTP/1.1"),
    "OPTIONS": _asked(f"OPTIONS {_SECRETS} HTTP/1.1"),
    "TRACE": _asked(f"TRACE {_SECRETS} HTTP/1.1"),
    "a method in lower case": _asked(f"get {_SECRETS}/none HTTP/1.1"),
    "a method that is no token": _asked(f"G@T {_SECRETS} HTTP/1.1"),
    "a negative length": _posted("Content-Length: -1"),
    "a length in words": _posted("Content-Length: x"),
    "two lengths": _posted("Content-Length: 2", "Content-Length: 3"),
    "one length twice": _posted("Content-Length: 2", "Content-Length: 2"),
    "a list of lengths": _posted("Content-Length: 2, 2"),
    "a signed length": _posted("Content-Length: +2"),
    "a body beyond the limit": _posted("Content-Length: 3145729", body=b"x" * 3_145_729),
    "an unknown coding": _posted("Transfer-Encoding: gzip"),
    "two codings": _chunked(b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a chunk without a size": _chunked(b"zz\r\n"),
    "chunks and a length": _chunked(b"2\r\n{}\r\n0\r\n\r\n", "Content-Length: 3"),
    "a chunk with an extension": _chunked(b"2;a=b\r\n{}\r\n0\r\n\r\n"),
    "a chunk without an end": _chunked(b"2\r\n{}XX0\r\n\r\n"),
    "a chunk beyond int64": _chunked(b"fffffffffffffffff\r\n"),
    "an unknown expectation": _posted("Expect: odd", "Content-Length: 2"),
    "an upgrade": _asked(_READY, "Connection: Upgrade", "Upgrade: websocket"),
    "no body": _asked(f"POST {_SECRETS} HTTP/1.1", _JSON),
    "lines without a carriage return": _asked(_READY).replace(b"\r", b""),
    "a deep body": _posted("Content-Length: 200000", body=b"[" * 200_000),
}


def recorded() -> dict[str, Any]:
    """Return the recorded answer of each case."""
    found: dict[str, Any] = json.loads(RECORD.read_text("utf-8"))
    return found


def answer_of(connection: socket.socket, raw: bytes) -> list[Any]:
    """Send bytes; return status, media type and, of plain text, the body."""
    data = b""
    with connection:
        # The server may answer and close before it has read everything.
        with suppress(ConnectionError):
            connection.sendall(raw)
        with suppress(ConnectionError):
            while not _is_whole(data) and (received := connection.recv(65536)):
                data += received
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    found = re.search(rb"(?i)content-type: ([^\r]*)", head)
    media_type = found[1].decode() if found else ""
    return [status, media_type, body.decode() if media_type.startswith("text") else ""]


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and length is not None and len(body) >= int(length[1])
