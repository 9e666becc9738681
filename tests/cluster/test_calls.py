"""Requests as HTTP, read back as the facade reads them."""

import json

from attrs import evolve

from captep_memory import Request, load
from captep_memory._exchange import Asked, HTTPRequest, asked_of
from captep_memory._routes import plurals_of
from tests.cluster.calls import call_of
from tests.memory.record import lines, objects
from tests.memory.support import NOW

WORLD = load(objects(), now=NOW)


def read_back(request: Request) -> Request | int:
    """Return what the facade reads off a request as HTTP, or the status of its refusal."""
    call = call_of(request)
    body = b"" if call.body is None else json.dumps(call.body).encode()
    http = HTTPRequest(call.method, call.url, {"content-type": call.content_type}, body)
    asked = asked_of(WORLD, plurals_of(WORLD, ()), http)
    return asked.request if isinstance(asked, Asked) else asked.status


def test_a_call_carries_exactly_its_request() -> None:
    """Each recorded request is read back as it was, but for fields that HTTP has no place for."""
    for line in lines():
        asked = Request(**line["request"])
        # A create has its name in the body alone, and only a patch chooses its content type.
        name = None if asked.verb == "create" else asked.name
        assert read_back(asked) in (evolve(asked, name=name), line["answer"]["status"])
