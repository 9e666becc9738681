"""Requests as bytes: recorded answers of a real kube-apiserver, and broken framing."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from captep_memory import load
from captep_memory._bodies import BodyError, decode_json, decode_yaml, encode_json
from captep_memory._exchange import HTTPRequest, exchange
from captep_memory._routes import plurals_of
from captep_memory._typed import served_resources
from captep_memory.http import HTTPFacade
from tests.memory.support import CRD, NOW, Free, secret, thing
from tests.memory.wire import APPLIES, KINDS, WIRE, FakeWire, lines, objects, replay

SECRETS = "/api/v1/namespaces/fleet/secrets"


@pytest.mark.parametrize("record", [WIRE, KINDS, APPLIES], ids=lambda path: path.stem)
def test_every_recorded_http_answer_is_repeated(record: Path) -> None:
    """Odd media types, queries, paths and bodies; built-in kinds; in the order of the record."""
    recorded = lines(record)
    assert len(recorded) > (40 if record == APPLIES else 270)
    for line, now in replay(recorded, FakeWire(load(objects(), now=NOW))):
        assert now == line["answer"], line


@pytest.mark.parametrize(
    ("accept", "path"),
    [
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", f"{SECRETS}/s"),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", SECRETS),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", f"{SECRETS}?watch=1"),
    ],
)
def test_partial_metadata_shows_no_data_of_a_secret(accept: str, path: str) -> None:
    """Neither of one object, nor in a list, nor in a watch."""
    world = load([secret(metadata={"namespace": "fleet"}, data={"k": "Y2FuYXJ5"})], now=NOW)
    http = HTTPRequest("GET", path, {"accept": accept})
    _, answer = exchange(world, plurals_of(world, ()), http)
    assert answer.status == 200
    assert b'"name":"s"' in answer.body
    assert b"Y2FuYXJ5" not in answer.body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/namespaces//", 200),
        ("DELETE", "/api/v1/namespaces//", 405),
        ("GET", "/api/v1/namespaces/./secrets", 500),
        ("GET", "/api/v1/namespaces/../secrets/s", 500),
        ("DELETE", "/api/v1/namespaces/../secrets/s", 500),
        ("PATCH", "/api/v1/namespaces/../secrets", 405),
        ("PUT", "/apis/example.dev/v1/namespaces//things", 404),
        ("POST", "/api/v1/namespaces//pods", 501),
    ],
)
def test_paths_without_a_sound_namespace_have_an_answer(
    method: str, path: str, status: int
) -> None:
    """Those of a real kube-apiserver: the store takes `.` and `..` for steps in its keys."""
    world = load([CRD], now=NOW)
    body = b'{"kind":"Pod","apiVersion":"v1"}'
    http = HTTPRequest(method, path, {"content-type": "application/json"}, body)
    assert exchange(world, plurals_of(world, ()), http)[1].status == status


@pytest.mark.parametrize(
    ("accept", "path"),
    [
        ("application/vnd.kubernetes.protobuf", SECRETS),
        ("application/json;as=Table;g=meta.k8s.io;v=v1", "/api/v1/nodes"),
    ],
)
def test_a_form_without_a_model_is_501(accept: str, path: str) -> None:
    """Protobuf, and tables of most built-in kinds."""
    world = load([], now=NOW)
    http = HTTPRequest("GET", path, {"accept": accept})
    assert exchange(world, plurals_of(world, ()), http)[1].status == 501


@pytest.mark.parametrize(
    ("method", "path", "missing"),
    [
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            "selfsubjectaccessreviews in authorization.k8s.io/v1",
        ),
        ("GET", "/api/v1/persistentvolumes/a", "persistentvolumes in v1"),
        ("GET", "/apis/events.k8s.io/v1/events", "events in events.k8s.io/v1"),
        (
            "GET",
            "/apis/autoscaling/v1/namespaces/fleet/horizontalpodautoscalers/a",
            "horizontalpodautoscalers in autoscaling/v1",
        ),
        (
            "POST",
            "/api/v1/namespaces/fleet/serviceaccounts/a/token",
            "the subresource token of serviceaccounts",
        ),
    ],
)
def test_a_resource_of_the_real_server_without_a_model_is_501(
    method: str, path: str, missing: str
) -> None:
    """404 would say that no server has it; the body counts for nothing."""
    world = load([], now=NOW)
    headers = {"content-type": "application/vnd.kubernetes.protobuf"}
    answer = exchange(world, plurals_of(world, ()), HTTPRequest(method, path, headers, b"k8s"))[1]
    message = json.loads(answer.body)["message"]
    assert (answer.status, message) == (
        501,
        f"the in-memory API server does not model {missing}",
    )


def test_every_resource_of_the_real_server_has_a_model_or_is_501() -> None:
    """No list of one is 404, in any version that the real server serves."""
    world = load([], now=NOW)
    kinds = plurals_of(world, ())
    found = {}
    for version, plurals in served_resources().items():
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for plural in plurals:
            found[version, plural] = exchange(world, kinds, HTTPRequest("GET", f"{root}/{plural}"))
    statuses = {answer.status for _, answer in found.values()}
    assert (statuses, len(found) > 70) == ({200, 501}, True)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("subresource", ["status", "scale", "other"])
def test_a_definition_without_a_subresource_has_no_such_path(method: str, subresource: str) -> None:
    """404 with the name of the object, whatever the method and the body."""
    versions = [{**CRD["spec"]["versions"][0], "subresources": {}}]
    definition = {**CRD, "spec": {**CRD["spec"], "versions": versions}}
    world = load([definition, thing(metadata={"namespace": "fleet"})], now=NOW)
    path = f"/apis/example.dev/v1/namespaces/fleet/things/a/{subresource}"
    headers = {"content-type": "application/merge-patch+json" if method == "PATCH" else ""}
    after, answer = exchange(world, plurals_of(world, ()), HTTPRequest(method, path, headers, b"{"))
    assert (after, answer.status) == (world, 404)
    assert json.loads(answer.body)["message"] == 'things.example.dev "a" not found'


def test_a_client_that_accepts_protobuf_and_json_gets_json() -> None:
    """As client-go asks for built-in kinds."""
    world = load([], now=NOW)
    accept = "application/vnd.kubernetes.protobuf,application/json"
    http = HTTPRequest("GET", SECRETS, {"accept": accept})
    _, answer = exchange(world, plurals_of(world, ()), http)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"9223372036854775807", 9223372036854775807),
        (b"9223372036854775808", 9223372036854775808.0),
        (b"1" + b"0" * 300, 1e300),
        (b'"\xff\xe2\x82"', "\ufffd\ufffd\ufffd"),
        (b'"\\ud800a"', "\ufffda"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b" [] ", []),
    ],
)
def test_a_body_decodes_as_in_go(raw: bytes, value: Free) -> None:
    """Numbers beyond int64 are floats, broken text becomes U+FFFD."""
    decoded = decode_json(raw)
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e400",
        b"1" * 5000,
        b"\xef\xbb\xbf{}",
        b"1 2",
        b"[" * 100000,
    ],
)
def test_a_malformed_body_is_a_body_error(raw: bytes) -> None:
    """Whatever it is, it raises nothing else."""
    with pytest.raises(BodyError):
        decode_json(raw)


def test_yaml_bodies_have_the_types_of_json() -> None:
    """A date is a string; what JSON cannot hold is an error."""
    assert decode_yaml(b"a: 2020-01-01\nb: [1, true, null]\n") == {
        "a": "2020-01-01",
        "b": [1, True, None],
    }
    for raw in (b"a: [", b"&a [*a]", b"? {x: 1}\n: y\n", b"!!python/name:os.system x"):
        with pytest.raises(BodyError):
            decode_yaml(raw)


def test_whole_floats_are_written_as_in_go() -> None:
    """In full up to 1e21."""
    assert encode_json([2.0, 9.223372036854776e18, 1e21, 0.5]) == (
        b"[2,9223372036854776000,1e+21,0.5]\n"
    )


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a running facade."""
    with HTTPFacade(load([CRD], now=NOW)) as running:
        yield int(running.url.rpartition(":")[2])


BODY = json.dumps(secret("x")).encode()
POST = f"POST {SECRETS}?dryRun=All HTTP/1.1\r\nHost: x\r\n".encode()
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
FRAMES: list[tuple[bytes, int]] = [
    (POST + b"Content-Length: abc\r\n\r\n" + BODY, 400),
    (POST + b"Content-Length: -1\r\n\r\n" + BODY, 400),
    (POST + b"Content-Length: +5\r\n\r\n" + BODY, 400),
    (POST + b"Content-Length: \r\n\r\n" + BODY, 400),
    (POST + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY, 400),
    (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + BODY, 400),
    (POST + LENGTH + LENGTH + b"\r\n" + BODY, 201),
    (POST + b"Content-Length: 5\r\n\r\n" + BODY[:5], 400),
    (POST + b"Content-Length: 4000000\r\n\r\n", 413),
    (POST + CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n", 201),
    (POST + CHUNKED + b"zz\r\n" + BODY, 500),
    (POST + CHUNKED + b"3fffff\r\n", 413),
    (POST + b"Transfer-Encoding: gzip\r\n\r\n" + BODY, 501),
    (b"garbage\r\n\r\n", 400),
    (b"GET /healthz HTTP/2.5\r\nHost: x\r\n\r\n", 505),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_100_000 + b"\r\n\r\n", 431),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"FOO /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (f"GET /{SECRETS} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 404),
    (b"GET //apis HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET /healthz/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (f"FOO {SECRETS} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 405),
    (f"HEAD {SECRETS} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 405),
]


@pytest.mark.parametrize(("frame", "status"), FRAMES)
def test_broken_framing_gets_the_status_of_the_real_server(
    port: int, frame: bytes, status: int
) -> None:
    """Measured on kube-apiserver 1.37; the server keeps serving others."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(frame)
        first = connection.makefile("rb").readline()
    assert first.split()[:2] == [b"HTTP/1.1", str(status).encode()]
