"""The in-memory server gives the answers of a real kube-apiserver of the same version (K3).

The record in tests/memory/golden keeps the answers seen here, for tests without a cluster. To
record again, after adding lines (`"answer": null` will do) or for a new version, run this command
and read the difference:

    CAPTEP_RECORD=1 make test-cluster PYTEST_ADDOPTS="-k the_record"

For a long run with other sequences each time:

    CAPTEP_EXAMPLES_SCALE=20 make test-cluster PYTEST_ADDOPTS="-k any_sequence --timeout 0"
"""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from hypothesis import given

from captep_memory import (
    Object,
    Request,
    Response,
    StoreChange,
    World,
    load,
    watch_events,
)
from captep_memory._exchange import HTTPAnswer, HTTPRequest
from tests.cluster.apiserver import ApiServer
from tests.cluster.calls import Direct
from tests.cluster.sequences import BUILT_INS, SEQUENCES, VIEWS, WIRES
from tests.memory import wire
from tests.memory.record import RECORD, VERSION, Conversation, Fake, lines, objects, replay
from tests.memory.support import NOW
from tests.properties.profile import examples

pytestmark = pytest.mark.cluster
KINDS = (("ex.io/v1", "Thing"), ("v1", "Secret"))
DEFINITIONS = [each for each in objects() if each["kind"] == "CustomResourceDefinition"]
LAST = "last"
"""Name of the object that is created last: a watch that shows it has shown everything."""


@pytest.fixture(scope="module")
def real(apiserver: ApiServer) -> Iterator[Direct]:
    """The real server with the objects of the record; a server of another version skips."""
    version = apiserver.call("GET", "/version")[1]["gitVersion"]
    if version != f"v{VERSION}":
        pytest.skip(
            f"the in-memory server models kube-apiserver {VERSION}, and this server is {version}"
        )
    apiserver.install(DEFINITIONS)
    for namespace in (each for each in objects() if each["kind"] == "Namespace"):
        assert apiserver.call("POST", "/api/v1/namespaces", namespace)[0] in (201, 409)
    with closing(Direct(apiserver)) as direct:
        yield direct


def test_the_recorded_answers_are_those_of_this_version(real: Direct) -> None:
    """This server gives every recorded answer; with CAPTEP_RECORD set, its answers are recorded."""
    answers = list(replay(lines(), real))
    if "CAPTEP_RECORD" in os.environ:
        record = [{"objects": objects()}, *({**line, "answer": now} for line, now in answers)]
        RECORD.write_text("".join(f"{json.dumps(line)}\n" for line in record), "utf-8")
        return
    for line, now in answers:
        assert now == line["answer"], line["request"]


SOMETIMES = {
    "create 201",
    "create 201 dry run",
    "create 409 AlreadyExists",
    "create 409 AlreadyExists while deleting",
    "create 422 Invalid",
    "create 500",
    "update 200",
    "update 200 dry run",
    "update 200 without effect",
    "update 200 of a status",
    "update 200 ends a deletion",
    "update 404 NotFound",
    "update 409 Conflict by resourceVersion",
    "update 409 Conflict by uid",
    "update 422 Invalid",
    "update 422 Invalid by a finalizer while deleting",
    "patch 200",
    "patch 200 dry run",
    "patch 200 without effect",
    "patch 200 of a status",
    "patch 200 ends a deletion",
    "patch 404 NotFound",
    "patch 409 Conflict by resourceVersion",
    "patch 422 Invalid",
    "patch 422 Invalid by a finalizer while deleting",
    "delete 200",
    "delete 200 dry run",
    "delete 200 waits for finalizers",
    "delete 200 without effect",
    "delete 202",
    "delete 404 NotFound",
    "delete 409 Conflict by resourceVersion",
    "delete 409 Conflict by uid",
    "delete 422 Invalid",
    "delete of a collection 200",
    "delete of a collection 200 of several",
    "delete of a collection 400 BadRequest",
    "delete of a collection 409 Conflict",
    "get 200",
    "get 404 NotFound",
    "list 200",
    "list 200 with more to come",
    "list 200 of an earlier time",
    "list 400 BadRequest",
    "list 422 Invalid",
    "watched ADDED",
    "watched MODIFIED",
    "watched DELETED",
}
"""Outcomes that the sequences must reach for the property not to be vacuous (K1)."""


def named(request: Object, response: Response, changes: tuple[StoreChange, ...]) -> Iterator[str]:
    """Yield the names of the outcomes of a request."""
    name = f"{request['verb']} {response.status} {response.reason}".strip()
    if request["verb"] == "delete" and "name" not in request:
        name = f"delete of a collection {response.status} {response.reason}".strip()
        yield name
        if len(changes) > 1:
            yield f"{name} of several"
        return
    yield name
    message = response.body.get("message", "")
    metadata = response.body.get("metadata", {})
    is_dry = request.get("dry_run") or "dryRun" in (request.get("body") or {})
    is_write = (
        request["verb"] in ("create", "update", "patch", "delete") and response.ok and not is_dry
    )
    happened = {
        "dry run": is_dry,
        "while deleting": message.startswith("object is being deleted"),
        "without effect": is_write and not changes,
        "of a status": changes and request.get("subresource") == "status",
        "ends a deletion": request["verb"] != "delete"
        and any(change.type == "DELETED" for change in changes),
        "waits for finalizers": request["verb"] == "delete"
        and any(change.type == "MODIFIED" for change in changes),
        "by resourceVersion": "has been modified" in message
        or "might have been modified" in message,
        "by uid": "UID in" in message,
        "by a finalizer while deleting": "no new finalizers can be added" in message,
        "with more to come": metadata.get("continue"),
        "of an earlier time": response.ok and "before" in request.get("resource_version", ""),
    }
    yield from (f"{name} {what}" for what, is_so in happened.items() if is_so)


@define
class Agreement:
    """Sends sequences to both servers, each in a namespace of its own, and counts the outcomes.

    The real server does not get the requests that the fake does not model (501).
    """

    real: Direct
    seen: Counter[str] = field(factory=Counter)
    asked: int = 0
    unmodelled: int = 0
    _numbers: Iterator[int] = field(factory=itertools.count)
    _next: tuple[str, str] | None = None

    def of(self, sequence: list[Object], view: dict[str, Any]) -> None:
        """Fail at the first answer that differs, or at the end if a list or a watch differs."""
        namespace, version = self._namespace()
        fake = Fake(
            load(
                [
                    *DEFINITIONS,
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
                ],
                now=NOW,
            )
        )
        start = fake.world
        ours = Conversation(fake)
        theirs = Conversation(self.real)
        for template in [*sequence, *_ending()]:
            before = fake.world
            response, fake_answer = ours({**template, "namespace": namespace})
            if response.status == 501:
                self.unmodelled += 1
                continue
            _, real_answer = theirs({**template, "namespace": namespace})
            assert fake_answer == real_answer, template
            self.asked += 1
            self.seen.update(
                named(template, response, fake.world.changes(since=before.resource_version))
            )
        for api_version, kind in KINDS:
            watch = Request("watch", api_version, kind, namespace, **view)
            fake_events = ours.number(_events(fake.world, watch, start))
            real_events = theirs.number(
                self.real.events_until(LAST, evolve(watch, resource_version=version))
            )
            assert fake_events == real_events, watch
            self.seen.update(f"watched {event['type']}" for event in fake_events)

    def _namespace(self) -> tuple[str, str]:
        """Return a new namespace and its resourceVersion.

        It was created one sequence ahead, so that every cache of the server knows it.
        """
        ready = self._next or self._made()
        self._next = self._made()
        return ready

    def _made(self) -> tuple[str, str]:
        name = f"sequence-{next(self._numbers)}"
        response = self.real(
            Request("create", "v1", "Namespace", body={"metadata": {"name": name}})
        )
        assert response.status == 201, response
        return name, response.body["metadata"]["resourceVersion"]


def _ending() -> list[Object]:
    """List everything, and create the last objects."""
    asked: list[Object] = []
    for api_version, kind in KINDS:
        last = {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": LAST, "labels": {"x": "1"}},
        }
        asked += [{"verb": "list", "api_version": api_version, "kind": kind}]
        asked += [{"verb": "create", "api_version": api_version, "kind": kind, "body": last}]
    return asked


def _events(world: World, request: Request, start: World) -> list[Object]:
    events = watch_events(world, evolve(request, resource_version=str(start.resource_version)))
    assert not isinstance(events, Response)
    return list(
        itertools.takewhile(lambda event: event["object"]["metadata"]["name"] != LAST, events)
    )


@pytest.mark.timeout(1200)  # Hypothesis shrinks a failing sequence first
def test_any_sequence_of_requests_is_answered_as_by_the_real_server(real: Direct) -> None:
    """Answers (without headers), lists and watches agree, and every outcome occurs."""
    agreement = Agreement(real)

    @examples(400)
    @given(SEQUENCES, VIEWS)
    def agree(sequence: list[Object], view: dict[str, Any]) -> None:
        agreement.of(sequence, view)

    agree()
    assert agreement.unmodelled < agreement.asked / 50
    assert agreement.seen.keys() >= SOMETIMES, SOMETIMES - agreement.seen.keys()


@define
class RealWire:
    """Sends requests as bytes to the real server."""

    server: ApiServer

    def __call__(self, http: HTTPRequest) -> HTTPAnswer:
        """Exchange one request on a connection of its own."""
        headers = {**self.server.credentials(), **http.headers}
        with closing(self.server.connection()) as connection:
            connection.putrequest(http.method, http.target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(http.body)))
            connection.endheaders(http.body or None)
            answer = connection.getresponse()
            content_type = answer.getheader("Content-Type") or ""
            return HTTPAnswer(answer.status, {"Content-Type": content_type}, answer.read())

    def events_until(self, name: str, target: str) -> list[Object]:
        """Watch until an object of this name appears; return the events before it."""
        with closing(self.server.connection()) as connection:
            connection.request("GET", target, headers=self.server.credentials())
            answer = connection.getresponse()
            return list(_before(name, map(json.loads, iter(answer.readline, b""))))


def _before(name: str, events: Iterable[Object]) -> Iterator[Object]:
    return itertools.takewhile(
        lambda event: event["object"]["metadata"].get("name") != name, events
    )


@pytest.mark.parametrize(
    "record", [wire.WIRE, wire.KINDS, wire.APPLIES], ids=lambda path: path.stem
)
def test_the_http_record_is_what_this_version_answers(
    apiserver: ApiServer, real: Direct, record: Path
) -> None:
    """Every answer to bytes; with CAPTEP_RECORD they replace the recorded ones."""
    made = apiserver.call("POST", "/api/v1/namespaces", {"metadata": {"name": wire.NAMESPACE}})
    assert made[0] in (201, 409)
    answered = list(wire.replay(wire.lines(record), RealWire(apiserver)))
    if "CAPTEP_RECORD" in os.environ:
        recorded = (json.dumps({**line, "answer": now}) for line, now in answered)
        record.write_text("".join(f"{line}\n" for line in recorded), "utf-8")
        return
    for line, now in answered:
        assert now == line["answer"], line


@define
class WireAgreement:
    """Sends requests as bytes to both servers, each example in a namespace of its own."""

    server: ApiServer
    asked: Counter[int] = field(factory=Counter)
    watched: Counter[str] = field(factory=Counter)
    unmodelled: int = 0
    _numbers: Iterator[int] = field(factory=itertools.count)

    def of(self, prefix: str, requests: list[Object], last: Object | None = None) -> None:
        """Fail at the first answer that differs; an answer of 501 is not compared.

        `last` creates the last object, and the watch of its collection is compared too. Its name
        begins with that of the namespace if the kind has none: a watch shows other objects there.
        """
        namespace = f"{prefix}-{next(self._numbers)}"
        place = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        status, made = self.server.call("POST", "/api/v1/namespaces", place)
        assert status == 201
        if any(each["target"].endswith("/pods") for each in requests):
            # A controller makes this account in every namespace; the fake counts it as there.
            account = {"metadata": {"name": "default"}}
            self.server.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        fake = wire.FakeWire(load([*DEFINITIONS, place], now=NOW))
        start = fake.world.resource_version
        ours, theirs, send = wire.Compared(), wire.Compared(), RealWire(self.server)
        status = 0
        for template in requests if last is None else [*requests, last]:
            target = template["target"].replace("{}", namespace)
            body = template["body"].replace('"{}"', json.dumps(namespace))
            body = body.replace(f'"{{}}-{LAST}"', json.dumps(f"{namespace}-{LAST}"))
            line = {**template, "target": target, "body": body}
            http = wire.http_of(line)
            answer = fake(http)
            status = answer.status
            if status == 501:
                self.unmodelled += 1
                continue
            assert ours(http, answer) == theirs(http, send(http)), line
            self.asked[status] += 1
        if last is not None and status == 201:
            watch = f"{last['target'].replace('{}', namespace)}?watch=1&resourceVersion="
            lines = fake(HTTPRequest("GET", f"{watch}{start}")).body.splitlines()
            end = json.loads(last["body"])["metadata"]["name"].replace("{}", namespace)
            shown = ours.number(list(_before(end, map(json.loads, lines))))
            version = made["metadata"]["resourceVersion"]
            found = send.events_until(end, f"{watch}{version}")
            if "{}" not in last["target"]:
                found = [each for each in found if each["object"]["metadata"]["name"] == namespace]
            assert shown == theirs.number(found), requests
            self.watched.update(event["type"] for event in shown)


@pytest.mark.timeout(1200)  # a failure is made small first
def test_any_http_request_is_answered_as_by_the_real_server(
    apiserver: ApiServer, real: Direct
) -> None:
    """Odd headers, media types, query values and bodies."""
    agreement = WireAgreement(apiserver)

    @examples(200)
    @given(WIRES)
    def agree(requests: list[Object]) -> None:
        agreement.of("wire", [*_wire_opening(), *requests])

    agree()
    assert agreement.unmodelled < agreement.asked.total() / 10
    assert agreement.asked.keys() >= {200, 201, 400, 404, 405, 406, 415, 422}


@pytest.mark.timeout(1200)  # a failure is made small first
def test_any_built_in_object_is_answered_as_by_the_real_server(
    apiserver: ApiServer, real: Direct
) -> None:
    """Writes of the recorded kinds, with values replaced at random, and what a watch shows."""
    agreement = WireAgreement(apiserver)
    watched_of_cluster = Counter[str]()

    @examples(200)
    @given(BUILT_INS)
    def agree(requests: list[Object]) -> None:
        first = requests[0]
        name = LAST if "{}" in first["target"] else f"{{}}-{LAST}"
        last = {
            **first,
            "body": json.dumps({**json.loads(first["body"]), "metadata": {"name": name}}),
        }
        watched_before = agreement.watched.total()
        agreement.of("built-in", requests, last)
        if "{}" not in first["target"]:
            watched_of_cluster.update(["events"] * (agreement.watched.total() - watched_before))

    agree()
    assert agreement.watched.keys() == {"ADDED", "MODIFIED", "DELETED"}
    assert watched_of_cluster["events"] > 20
    assert agreement.unmodelled < agreement.asked.total() / 4
    assert agreement.asked.keys() >= {200, 201, 400, 404, 409, 422}


def _wire_opening() -> list[Object]:
    """Create a Secret and a Thing."""
    headers = {"Content-Type": "application/json"}
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}}
    thing = {"kind": "Thing", "apiVersion": "ex.io/v1", "metadata": {"name": "a"}}
    return [
        {"method": "POST", "target": target, "headers": headers, "body": json.dumps(body)}
        for target, body in (
            ("/api/v1/namespaces/{}/secrets", secret),
            ("/apis/ex.io/v1/namespaces/{}/things", {**thing, "spec": {"size": 1}}),
        )
    ]
