"""The served version of a kind: chosen at the start, and again when it is no longer served."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from captep_core import JSON, ObjectRef, Patch, Preconditions
from captep_core._request import RawResponse
from captep_core._resources import Resource, Watched
from captep_kubernetes import (
    CacheChange,
    KubernetesGateway,
    Stream,
    UnansweredError,
    served_resource,
)
from tests.gateways import eventually
from tests.kubernetes.scripted import Asked, events, replying, serving, transport_to

TOYS = Resource("example.com/v1", "Toy", "toys")
V1, V2, V3 = (f"example.com/v{number}" for number in (1, 2, 3))
SPOKEN = Watched(TOYS, versions=(V2, V1))
ONE = ObjectRef(V1, "Toy", "ns", "one")


class ToyServer:
    """Serves toys in some versions, in no time."""

    def __init__(self, *versions: str, discovery: int = 200) -> None:
        self.versions = versions
        self.discovery = discovery
        self.asked: list[str] = []
        self.sent: list[str] = []

    def request(self, method: str, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
        """Answer discovery, lists and patches."""
        (self.asked if method == "GET" else self.sent).append(path)
        if path == "/apis/example.com":
            found: JSON = [{"groupVersion": version} for version in self.versions]
            return RawResponse(self.discovery, {}, {"versions": found})
        version = path.removeprefix("/apis/").partition("/toys")[0].partition("/namespaces")[0]
        if version not in self.versions:
            return RawResponse(404, {}, {})
        if path == f"/apis/{version}":
            return RawResponse(200, {}, {"resources": [{"name": "toys"}, {"name": "toys/status"}]})
        toy: dict[str, JSON] = {
            "metadata": {"name": "one", "namespace": "ns", "uid": "u", "resourceVersion": "5"}
        }
        if method == "PATCH":
            return RawResponse(200, {}, {"kind": "Toy", "apiVersion": version, **toy})
        return RawResponse(200, {}, {"metadata": {"resourceVersion": "9"}, "items": [toy]})

    def stream(self, path: str, **_: Any) -> Stream | RawResponse:  # noqa: ANN401
        """Refuse a watch of a version that is not served."""
        self.asked.append(path)
        is_served = path in [f"/apis/{version}/toys" for version in self.versions]
        return RawResponse(429) if is_served else RawResponse(404)


@pytest.mark.parametrize(
    ("served", "watched", "expected"),
    [
        ((V1,), SPOKEN, V1),
        ((V2,), SPOKEN, V2),
        ((V1, V2), SPOKEN, V2),
        ((V3, V2, V1), SPOKEN, V2),
        ((V3,), SPOKEN, V1),
        ((V2,), Watched(TOYS), V1),
        ((V2,), Watched(TOYS, versions=(V1,)), V1),
    ],
)
def test_the_newest_version_that_both_speak_is_chosen(
    served: tuple[str, ...], watched: Watched, expected: str
) -> None:
    """Without a common version the kind stays as described, and its watch names the problem."""
    server = ToyServer(*served)
    assert served_resource(server, watched) == Resource(expected, "Toy", "toys")
    assert bool(server.asked) is (len(watched.versions) > 1)


@pytest.mark.parametrize("discovery", [403, 404, 500])
def test_without_discovery_the_described_version_counts(discovery: int) -> None:
    """A role may not allow it, a proxy may not pass it."""
    assert served_resource(ToyServer(V2, discovery=discovery), SPOKEN) == TOYS


def test_a_silent_server_leaves_the_described_version() -> None:
    """The watches show that it is away."""

    class Silent(ToyServer):
        def request(self, method: str, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
            raise UnansweredError("refused", may_have_landed=False)

    assert served_resource(Silent(V2), SPOKEN) == TOYS


def test_a_group_without_the_kind_is_passed_over() -> None:
    """A version may serve other kinds of the group alone."""
    pets = Watched(Resource(V1, "Pet", "pets"), versions=(V2, V1))
    assert served_resource(ToyServer(V2), pets) == pets.resource


class Process:
    """A gateway in virtual time whose informer runs in the test's thread."""

    def __init__(self, server: ToyServer, turn: Callable[[], object] = lambda: None) -> None:
        self.now = 0.0
        self.changes: list[CacheChange] = []
        self.gateway = KubernetesGateway(
            server, watched=[SPOKEN], on_change=self.changes.append, clock=lambda: self.now
        )
        (self.informer,) = self.gateway.informers
        self.informer._clock = lambda: self.now
        self.informer._wait = self._wait
        self._turn = turn
        for key in self.gateway._kinds:
            self.gateway._discover(key)

    def _wait(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= 20:
            self._turn()
        if self.now >= 100:
            self.informer.stop()


def test_objects_keep_their_names_and_show_the_version_of_the_server() -> None:
    """Decisions name v1; the object says v2, and writes go to the path of v2."""
    server = ToyServer(V1, V2)
    process = Process(server)
    process.informer._run()
    found = process.gateway.read(ONE)
    assert isinstance(found, dict)
    assert found["apiVersion"] == V2
    assert process.gateway.read(ObjectRef(V2, "Toy", "ns", "one")) == found
    assert {change.ref for change in process.changes} == {ONE}
    process.gateway.send(Patch(ONE, {"spec": {}}, Preconditions(), "why"))
    assert server.sent == [f"/apis/{V2}/namespaces/ns/toys/one"]


def test_a_version_that_is_no_longer_served_is_changed_without_a_restart() -> None:
    """A watch answered with 404 leads to discovery, a list in the other version, and new
    announcements.
    """
    server = ToyServer(V1)

    def turn() -> None:
        server.versions = (V2,)

    process = Process(server, turn)
    process.informer._run()
    found = process.gateway.read(ONE)
    assert isinstance(found, dict)
    assert found["apiVersion"] == V2
    assert [change.old is None for change in process.changes] == [True, False]
    assert server.asked.count("/apis/example.com") == 2


class Definition:
    """A server whose definition of toys changes; it answers in real time."""

    def __init__(self, *, allowed: bool, away: int = 0) -> None:
        self.allowed = allowed
        self.away = away
        self.versions = [V1]
        self.generation = 1
        self.asked: list[str] = []
        self.changed = threading.Event()

    def __call__(self, asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        """Answer lists, discovery and one watch of the definition."""
        self.asked.append(asked.path)
        if "customresourcedefinitions" in asked.path:
            self._definition(asked, handler)
        elif asked.path == "/apis/example.com":
            found: JSON = [{"groupVersion": version} for version in self.versions]
            replying(200, {"versions": found})(asked, handler)
        elif asked.path in (f"/apis/{V1}", f"/apis/{V2}"):
            replying(200, {"resources": [{"name": "toys"}]})(asked, handler)
        elif ("watch", "1") in asked.query:
            events()(asked, handler)
        else:
            replying(200, {"metadata": {"resourceVersion": "9"}, "items": []})(asked, handler)

    def _definition(self, asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        assert ("fieldSelector", "metadata.name=toys.example.com") in asked.query
        if self.away:
            self.away -= 1
            replying(503, {"kind": "Status", "reason": "ServiceUnavailable"})(asked, handler)
        elif not self.allowed:
            replying(403, {"kind": "Status", "reason": "Forbidden"})(asked, handler)
        elif ("watch", "1") in asked.query and self.generation == 1:
            self.changed.wait(5)
            self.generation = 2
            events({"type": "MODIFIED", "object": self._object()})(asked, handler)
        elif ("watch", "1") in asked.query:
            events()(asked, handler)
        else:
            body: dict[str, JSON] = {
                "metadata": {"resourceVersion": "1"},
                "items": [self._object()],
            }
            replying(200, body)(asked, handler)

    def _object(self) -> dict[str, JSON]:
        version = str(self.generation)
        return {"metadata": {"name": "toys.example.com", "uid": "u", "resourceVersion": version}}


@pytest.mark.parametrize("away", [0, 1])
def test_a_version_that_the_definition_gains_is_taken_without_a_restart(away: int) -> None:
    """No 404 shows it: the version in use is still served.

    A server that is busy at the start does not end the watch of the definition.
    """
    definition = Definition(allowed=True, away=away)
    with serving(definition) as server:
        gateway = KubernetesGateway(transport_to(server.url), watched=[SPOKEN])
        gateway.start()
        try:
            (informer,) = gateway.informers
            assert informer.wait_synced(5)
            definition.versions.append(V2)
            definition.changed.set()
            eventually(lambda: f"/apis/{V2}/toys" in definition.asked, "the new version is listed")
        finally:
            gateway.stop()


def test_without_permission_the_definition_is_asked_for_once() -> None:
    """A role without CustomResourceDefinitions costs one request and no retry."""
    definition = Definition(allowed=False)
    with serving(definition) as server:
        gateway = KubernetesGateway(transport_to(server.url), watched=[SPOKEN])
        gateway.start()
        try:
            (informer,) = gateway.informers
            assert informer.wait_synced(5)
            eventually(lambda: definition.asked.count(f"/apis/{V1}/toys") > 1, "it is watched")
        finally:
            gateway.stop()
    assert sum("customresourcedefinitions" in path for path in definition.asked) == 1


def test_a_missing_kind_is_looked_up_twice_a_minute() -> None:
    """Not at each failing watch."""
    server = ToyServer(V3)
    Process(server).informer._run()
    assert 2 <= server.asked.count("/apis/example.com") <= 4
