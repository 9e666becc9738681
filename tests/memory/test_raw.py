"""Broken HTTP gets the answer of a real kube-apiserver, and the server goes on."""

import socket

import pytest

from captep_memory import load
from captep_memory.http import HTTPFacade
from captep_memory.server import with_namespaces
from tests.memory.raw import CASES, answer_of, recorded
from tests.memory.support import NOW


@pytest.mark.parametrize("name", CASES)
def test_odd_bytes_are_answered_as_by_the_real_server(name: str) -> None:
    """Status, media type and plain text; the next request is served."""
    with HTTPFacade(load(with_namespaces([]), now=NOW)) as facade:
        port = int(facade.url.rpartition(":")[2])
        raw = CASES[name].replace(b"AUTH\r\n", b"").replace(b"AUTH\n", b"")
        answer = answer_of(socket.create_connection(("127.0.0.1", port), timeout=10), raw)
        assert answer == recorded()[name]
        ready = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
        again = answer_of(socket.create_connection(("127.0.0.1", port), timeout=10), ready)
        assert again[0] == 200
