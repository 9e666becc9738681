"""Protobuf bodies, as Go clients send built-in objects."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from captep_memory import load
from captep_memory._bodies import BodyError
from captep_memory._exchange import HTTPRequest, exchange
from captep_memory._protobuf import decode_protobuf
from captep_memory._routes import plurals_of
from captep_memory._typed import go_type, typed_kinds
from tests.memory.kinds import MANIFESTS, manifest_of
from tests.memory.support import NOW

META = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
MEDIA = {"content-type": "application/vnd.kubernetes.protobuf", "accept": "application/json"}


def varint(value: int) -> bytes:
    """Encode an integer in groups of seven bits."""
    value %= 1 << 64
    groups = []
    while True:
        value, group = value >> 7, value & 127
        groups.append(group | (128 if value else 0))
        if not value:
            return bytes(groups)


def chunk(number: int, content: bytes) -> bytes:
    """Encode a field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(obj: Mapping[str, Any], name: str) -> bytes:
    """Encode an object of a Go type; embedded structs are messages of their own."""
    parts: dict[int, bytes] = {0: b""}
    for field_name, value in obj.items():
        field = go_type(name).get(field_name, {})
        if field.get("proto"):
            via = field.get("via", 0)
            parts[via] = parts.get(via, b"") + b"".join(encoded(value, field, field["proto"]))
    own = parts.pop(0)
    return own + b"".join(chunk(via, content) for via, content in parts.items())


def encoded(value: Any, field: Mapping[str, Any], number: int) -> Iterator[bytes]:  # noqa: ANN401
    """Yield the encoding of a field, one for each item of a list or a map."""
    if "items" in field:
        for item in value:
            yield from encoded(item, field["items"], number)
    elif "map" in field:
        for key, item in value.items():
            pair = chunk(1, key.encode()) + b"".join(encoded(item, field["map"], 2))
            yield chunk(number, pair)
    elif "ref" in field:
        yield chunk(number, message(value, field["ref"]))
    elif field["type"] == "ObjectMeta":
        yield chunk(number, message(value, META))
    elif field["type"] == "Quantity":
        yield chunk(number, chunk(1, value.encode()))
    elif field["type"] == "IntOrString":
        is_text = isinstance(value, str)
        inner = b"\x08\x01" + chunk(3, value.encode()) if is_text else b"\x10" + varint(value)
        yield chunk(number, inner)
    elif isinstance(value, str):
        yield chunk(number, value.encode())
    else:
        yield varint(number << 3) + varint(int(value))


def body(manifest: Mapping[str, Any]) -> bytes:
    """Encode an object with its envelope."""
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    name = typed_kinds()[f"{api_version}/{kind}"]["type"]
    meta = chunk(1, api_version.encode()) + chunk(2, kind.encode())
    return b"k8s\x00" + chunk(1, meta) + chunk(2, message(manifest, name))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: each["kind"])
def test_an_object_is_the_same_in_both_forms(manifest: dict[str, Any]) -> None:
    """Numbers, flags, lists, maps, quantities, embedded structs."""
    obj = {**manifest, "metadata": {"name": "a", "labels": {"x": "1"}, "generation": -1}}
    assert decode_protobuf(body(obj)) == obj


def test_a_server_takes_protobuf_and_answers_with_json() -> None:
    """As for kubectl, which accepts both."""
    world = load([], now=NOW)
    manifest = {**manifest_of("Service"), "metadata": {"name": "a"}}
    http = HTTPRequest("POST", "/api/v1/namespaces/fleet/services", MEDIA, body(manifest))
    _, answer = exchange(world, plurals_of(world, ()), http)
    assert answer.status == 201
    assert json.loads(answer.body)["spec"]["ports"][0]["targetPort"] == 80


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"k8s\x00",
        b"k8s\x00\x0a\xff",
        body({**manifest_of("Job"), "metadata": {"name": "a"}})[:-3],
        b"k8s\x00" + chunk(1, chunk(1, b"v1") + chunk(2, b"Unknown")),
        b"k8s\x00" + chunk(1, b"\x0d\x00"),
        b"k8s\x00" + chunk(1, b"\xff" * 12),
    ],
)
def test_other_bytes_are_no_document(raw: bytes) -> None:
    """400, whatever is wrong with them."""
    with pytest.raises(BodyError):
        decode_protobuf(raw)
    world = load([], now=NOW)
    http = HTTPRequest("POST", "/api/v1/namespaces/fleet/services", MEDIA, raw)
    _, answer = exchange(world, plurals_of(world, ()), http)
    assert answer.status in (400, 415) or raw == b""
