"""The HTTP facade: real sockets on loopback, read with urllib and with the official client."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from kubernetes import client
from kubernetes.dynamic import DynamicClient

from captep_memory import Object, Request, Response, load, serve
from captep_memory.http import Disturbance, HTTPFacade, Logged
from tests.memory.support import CRD, NOW, Free, secret, thing

THINGS = "/apis/example.dev/v1/namespaces/fleet/things"
SECONDS = 10


@pytest.fixture
def server() -> Iterator[HTTPFacade]:
    """A server that knows Things and holds Thing fleet/a."""
    with HTTPFacade(load([CRD, thing(metadata={"namespace": "fleet"})], now=NOW)) as running:
        yield running


def call(
    server: HTTPFacade,
    method: str,
    path: str,
    body: Free = None,
    content_type: str = "application/json",
) -> tuple[int, Free]:
    """Send one request; return the status and the decoded body, or its text."""
    headers = {"Content-Type": content_type, "User-Agent": "test"}
    request = urllib.request.Request(
        server.url + path,
        None if body is None else json.dumps(body).encode(),
        headers,
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, _decoded(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _decoded(error.read())


def _decoded(content: bytes) -> Free:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()


def patch(server: HTTPFacade, body: Object, path: str = f"{THINGS}/a") -> tuple[int, Free]:
    """Send a merge patch."""
    return call(server, "PATCH", path, body, "application/merge-patch+json")


def watch(server: HTTPFacade, query: str) -> list[Object]:
    """Read a watch to its end."""
    with urllib.request.urlopen(
        f"{server.url}{THINGS}?watch=true&{query}", timeout=SECONDS
    ) as answer:
        return [json.loads(line) for line in answer]


def test_every_verb_reaches_serve(server: HTTPFacade) -> None:
    """The same answers as from `serve`, over the real paths."""
    _, expected = serve(server.world, Request("get", "example.dev/v1", "Thing", "fleet", "a"))
    assert call(server, "GET", f"{THINGS}/a") == (200, expected.body)
    assert call(server, "POST", THINGS, thing("b"))[0] == 201
    assert call(server, "PUT", f"{THINGS}/a", expected.body)[0] == 200
    assert patch(server, {"status": {"phase": "X"}}, f"{THINGS}/a/status")[1]["status"] == {
        "phase": "X"
    }
    assert [
        item["metadata"]["name"]
        for item in call(server, "GET", "/apis/example.dev/v1/things?limit=1")[1]["items"]
    ] == ["a"]
    assert call(server, "DELETE", f"{THINGS}/b", {"preconditions": {"uid": "other"}})[0] == 409
    assert call(server, "DELETE", f"{THINGS}/b")[1]["status"] == "Success"
    assert call(server, "POST", "/api/v1/namespaces/fleet/secrets", secret())[0] == 201
    assert call(server, "GET", "/api/v1/secrets")[1]["kind"] == "SecretList"
    assert call(server, "POST", f"{THINGS}?dryRun=All", thing("c"))[0] == 201
    assert call(server, "GET", f"{THINGS}/c")[0] == 404


def test_a_delete_with_a_body_ignores_the_query(server: HTTPFacade) -> None:
    """The real server ignores dryRun in the query of such a request; in the body it counts."""
    assert call(server, "DELETE", f"{THINGS}/a", {"dryRun": ["All"]})[0] == 200
    assert call(server, "DELETE", f"{THINGS}/a?dryRun=All")[0] == 200
    assert call(server, "GET", f"{THINGS}/a")[0] == 200
    assert call(server, "DELETE", f"{THINGS}/a?dryRun=All", {})[0] == 200
    assert call(server, "GET", f"{THINGS}/a")[0] == 404


def test_an_unserved_path_is_plain_text(server: HTTPFacade) -> None:
    """Not a Status: clients must survive that."""
    for path in ("/nonsense", "/apis/none.dev/v1/nothings", "/apis//v1/x", f"{THINGS}/a/b/c/d"):
        assert call(server, "GET", path) == (404, "404 page not found\n")


def test_a_kind_with_an_object_needs_no_definition() -> None:
    """Also where its scope is known without the object."""
    zone = {
        "apiVersion": "zone.example/v1",
        "kind": "Zone",
        "metadata": {"name": "one"},
    }
    with HTTPFacade(load([zone], now=NOW)) as server:
        assert call(server, "GET", "/apis/zone.example/v1/zones/one")[0] == 200


def test_the_server_serves_version_and_readyz(server: HTTPFacade) -> None:
    """As every API server does."""
    assert call(server, "GET", "/readyz") == (200, "ok")
    assert call(server, "GET", "/version")[1]["gitVersion"] == "v1.37.0"


def test_a_body_outside_of_json_is_a_bad_request(server: HTTPFacade) -> None:
    """400 with a Status."""
    request = urllib.request.Request(
        server.url + THINGS, b"{", {"Content-Type": "application/json"}, method="POST"
    )
    with (
        pytest.raises(urllib.error.HTTPError) as raised,
        closing(urllib.request.urlopen(request, timeout=SECONDS)),
    ):
        pass
    with raised.value as error:
        assert (error.code, json.loads(error.read())["reason"]) == (400, "BadRequest")


def test_requests_are_logged(server: HTTPFacade) -> None:
    """Verb, path, user agent and status, in the order of the answers."""
    call(server, "GET", f"{THINGS}/a")
    patch(server, {"metadata": {"uid": "x"}})
    assert server.log == (
        Logged("get", f"{THINGS}/a", "test", 200),
        Logged("patch", f"{THINGS}/a", "test", 422),
    )


def test_a_watch_shows_later_changes_and_ends_at_its_timeout(server: HTTPFacade) -> None:
    """The end is no error; a timeout of 0 counts as none."""
    server.watch_seconds = 0
    version = server.world.resource_version
    patch(server, {"spec": {"size": 2}})
    events = watch(server, f"resourceVersion={version}&timeoutSeconds=0")
    assert [(event["type"], event["object"]["spec"]["size"]) for event in events] == [
        ("MODIFIED", 2)
    ]
    assert [event["type"] for event in watch(server, "timeoutSeconds=0")] == ["ADDED"]


def test_an_open_watch_receives_changes(server: HTTPFacade) -> None:
    """Also of changes that another actor makes, and of nothing that is not selected."""
    version = server.world.resource_version
    with urllib.request.urlopen(
        f"{server.url}{THINGS}?watch=true&resourceVersion={version}", timeout=SECONDS
    ) as answer:
        patch(server, {"spec": {"size": 2}})
        assert json.loads(answer.readline())["object"]["spec"]["size"] == 2
        call(server, "POST", "/api/v1/namespaces/fleet/secrets", secret())
        server.apply(
            lambda world: serve(world, Request("delete", "example.dev/v1", "Thing", "fleet", "a"))[
                0
            ]
        )
        assert json.loads(answer.readline())["type"] == "DELETED"


def test_a_watch_of_a_compacted_version_receives_410(server: HTTPFacade) -> None:
    """Inside of the stream, which then ends."""
    version = server.world.resource_version
    patch(server, {"spec": {"size": 2}})
    server.apply(lambda world: world.compact(world.resource_version))
    (event,) = watch(server, f"resourceVersion={version}")
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_closing_the_server_ends_its_watches() -> None:
    """At once, with a proper end of the stream."""
    with HTTPFacade(load([CRD], now=NOW)) as running:
        answer = urllib.request.urlopen(f"{running.url}{THINGS}?watch=true", timeout=SECONDS)
    with answer:
        assert answer.read() == b""


@pytest.mark.parametrize(
    ("disturbance", "size"), [(Disturbance(drop_before=True), 1), (Disturbance(drop_after=True), 2)]
)
def test_a_connection_can_be_dropped_before_or_after_applying(
    server: HTTPFacade, disturbance: Disturbance, size: int
) -> None:
    """The client sees the same; the world shows the difference."""
    server.disturb = lambda request: disturbance if request.verb == "patch" else None
    with pytest.raises((OSError, urllib.error.URLError)):
        patch(server, {"spec": {"size": 2}})
    assert call(server, "GET", f"{THINGS}/a")[1]["spec"]["size"] == size
    assert [entry.status for entry in server.log] == [0, 200]


def test_a_disturbance_replaces_answers_and_cuts_watches(server: HTTPFacade) -> None:
    """Another response, a watch that ends after one event, an expired watch."""
    server.disturb = lambda _: Disturbance(
        response=Response(503, {"kind": "Status"}, {"Retry-After": "1"}), delay_seconds=0.001
    )
    assert call(server, "GET", f"{THINGS}/a") == (503, {"kind": "Status"})
    server.disturb = lambda _: Disturbance(close_watch_after=1)
    assert len(watch(server, "")) == 1
    server.disturb = lambda _: Disturbance(expire_watch=True)
    assert [event["object"]["code"] for event in watch(server, "resourceVersion=1")] == [410]


def test_concurrent_writers_are_served_one_after_the_other(server: HTTPFacade) -> None:
    """Every patch lands: as many versions as writes."""
    before = server.world.resource_version

    def write(index: int) -> int:
        return patch(server, {"metadata": {"annotations": {f"n{index}": "x"}}})[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(40))) == {200}
    assert server.world.resource_version == before + 40
    assert len(call(server, "GET", f"{THINGS}/a")[1]["metadata"]["annotations"]) == 40


def test_the_official_client_is_served(server: HTTPFacade) -> None:
    """Create, patch, list, conflict and watch through kubernetes' DynamicClient.request."""
    api = client.ApiClient(client.Configuration(host=server.url))
    # The test is about paths, not about discovery.
    dynamic: Any = DynamicClient.__new__(DynamicClient)
    dynamic.client = api
    dynamic.configuration = api.configuration

    def ask(method: str, path: str, **options: Free) -> Free:
        return json.loads(dynamic.request(method, path, serialize=False, **options).data)

    assert ask("post", THINGS, body=thing("b"))["metadata"]["generation"] == 1
    change: Any = {"content_type": "application/merge-patch+json"}
    assert ask("patch", f"{THINGS}/b", body={"spec": {"size": 3}}, **change)["spec"]["size"] == 3
    assert [item["metadata"]["name"] for item in ask("get", THINGS)["items"]] == ["a", "b"]
    with pytest.raises(client.ApiException) as raised:
        ask("patch", f"{THINGS}/b", body={"metadata": {"resourceVersion": "1"}}, **change)
    assert (raised.value.status, json.loads(str(raised.value.body))["reason"]) == (409, "Conflict")
    api.close()
    assert {entry.user_agent.partition("/")[0] for entry in server.log} == {"OpenAPI-Generator"}


def test_stopping_leaves_no_server_thread() -> None:
    """The thread that accepts connections has ended when the block has."""
    before = threading.active_count()
    with HTTPFacade(load([CRD], now=NOW)) as running:
        assert call(running, "GET", "/readyz")[0] == 200
    assert threading.active_count() <= before + 1
