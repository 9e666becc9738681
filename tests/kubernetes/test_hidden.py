"""An object that a selector hides: absent, until a create shows that its name is taken."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from captep_core import ABSENT, JSON, Create, ObjectRef, Unreadable
from captep_core._resources import Representation, Resource, Watched
from captep_kubernetes import KubernetesGateway, Query, RawResponse
from captep_kubernetes._hidden import HiddenObjects
from tests.objects import manifest

TOYS = Resource("example.dev/v1", "Toy", "toys")
TOY = ObjectRef(TOYS.api_version, TOYS.kind, "ns", "one")
OTHER = ObjectRef(TOYS.api_version, TOYS.kind, "ns", "two")
ITEM = "/apis/example.dev/v1/namespaces/ns/toys/one"
CHOSEN = Watched(TOYS, selectors=(("labelSelector", "app=db"),))
CREATE = Create(TOY, manifest(TOY), "it does not exist")


def toy(ref: ObjectRef, version: int = 3) -> dict[str, JSON]:
    """Return a Toy as the server sends it."""
    metadata: dict[str, JSON] = {
        "name": ref.name,
        "namespace": ref.namespace,
        "uid": "u",
        "resourceVersion": str(version),
    }
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata}


class Server:
    """A server whose lists show nothing; `there` says whether TOY exists. `now`: seconds."""

    def __init__(self) -> None:
        self.there, self.now = True, 0.0
        self.asked: list[tuple[str, str]] = []
        self.queries: list[Query] = []

    def request(self, method: str, path: str, *, query: Query = (), **_: Any) -> RawResponse:  # noqa: ANN401 - options of Transport
        """Answer a list, a get or a create."""
        if method == "GET" and path.endswith("/toys"):
            self.queries.append(query)
            return RawResponse(200, {}, {"metadata": {"resourceVersion": "9"}, "items": []})
        self.asked.append((method, path))
        if method == "GET":
            missing = RawResponse(404, {}, {"kind": "Status", "reason": "NotFound"})
            return RawResponse(200, {}, toy(TOY)) if self.there else missing
        taken: dict[str, JSON] = {"kind": "Status", "reason": "AlreadyExists"}
        return RawResponse(409, {}, taken) if self.there else RawResponse(201, {}, toy(TOY))

    def stream(self, path: str, **_: Any) -> RawResponse:  # noqa: ANN401 - options of Transport
        """Nothing is watched."""
        raise NotImplementedError

    @contextmanager
    def gateway(self, watched: Watched) -> Iterator[KubernetesGateway]:
        """Yield a gateway that has listed."""
        made = KubernetesGateway(self, watched=[watched], clock=lambda: self.now)
        for informer in made.informers:
            informer._list()
        yield made


def test_the_watch_sends_its_selectors() -> None:
    """The server chooses, so that other objects never come into memory."""
    server = Server()
    with server.gateway(CHOSEN):
        assert ("labelSelector", "app=db") in server.queries[0]


def test_an_object_whose_name_is_taken_is_unreadable_and_not_absent() -> None:
    """Absent for ever, it would be created for ever."""
    server = Server()
    with server.gateway(CHOSEN) as made:
        assert made.read(TOY) is ABSENT
        assert made.send(CREATE).status == 409
        hidden = Unreadable(
            "Hidden", f"{TOY} exists, and the watch with labelSelector app=db does not show it"
        )
        assert [made.read(TOY), made.read(TOY), made.read(OTHER)] == [hidden, hidden, ABSENT]
        assert server.asked == [("POST", ITEM.removesuffix("/one")), ("GET", ITEM)]


def test_a_hidden_object_is_looked_up_every_ten_seconds_until_it_is_gone() -> None:
    """Then it is absent again, and costs no request."""
    server = Server()
    with server.gateway(CHOSEN) as made:
        made.send(CREATE)
        assert isinstance(made.read(TOY), Unreadable)
        server.there = False
        assert isinstance(made.read(TOY), Unreadable)
        server.now = 10.0
        assert [made.read(TOY), made.read(TOY)] == [ABSENT, ABSENT]
        assert [method for method, _ in server.asked] == ["POST", "GET", "GET"]


def test_a_hidden_object_that_comes_into_sight_is_read() -> None:
    """Somebody gave it the label."""
    server = Server()
    with server.gateway(CHOSEN) as made:
        made.send(CREATE)
        made.informers[0].observe_write(toy(TOY, 12))
        assert made.read(TOY) == toy(TOY, 12)


def test_an_object_on_demand_may_be_hidden_too() -> None:
    """The payload is fetched for objects in sight alone."""
    server = Server()
    with server.gateway(
        Watched(TOYS, Representation.ON_DEMAND, selectors=(("fieldSelector", "type=x"),))
    ) as made:
        made.send(CREATE)
        found = made.read(TOY)
        assert isinstance(found, Unreadable)
        assert found.reason == "Hidden"


def test_without_selectors_a_taken_name_is_a_conflict_like_any_other() -> None:
    """The watch brings the object within moments."""
    server = Server()
    with server.gateway(Watched(TOYS)) as made:
        made.send(CREATE)
        assert made.read(TOY) is ABSENT
        assert server.asked == [("POST", ITEM.removesuffix("/one"))]


def test_the_memory_of_hidden_objects_is_bounded() -> None:
    """The oldest goes; the next refused create finds it again."""
    hidden = HiddenObjects(lambda: 0.0)
    refs = [ObjectRef("v1", "ConfigMap", "ns", str(number)) for number in range(4097)]
    for ref in refs:
        hidden.suspect(ref)
    assert [hidden.is_suspect(ref) for ref in (refs[0], refs[1], refs[-1])] == [False, True, True]
