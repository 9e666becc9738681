"""Requests as HTTP, read back as the facade reads them."""

from attrs import evolve

from captep_memory import Request
from captep_memory._routes import request_of, route_of
from tests.cluster.calls import call_of
from tests.memory.record import lines


def read_back(request: Request) -> Request:
    """Return what the facade makes of a request as HTTP."""
    call = call_of(request)
    route = route_of(call.path)
    assert route is not None
    return request_of(call.method, call.url, route, request.kind, call.body, call.content_type)


def test_a_call_carries_exactly_its_request() -> None:
    """Each recorded request is read back as it was, but for fields that HTTP has no place for."""
    for line in lines():
        asked = Request(**line["request"])
        # A create has its name in the body alone, and only a patch chooses its content type.
        name = None if asked.verb == "create" else asked.name
        content_type = asked.content_type if asked.verb == "patch" else "application/json"
        assert read_back(asked) == evolve(asked, name=name, content_type=content_type)
