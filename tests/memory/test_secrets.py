"""Rows S: Secrets and ConfigMaps."""

from typing import Any

import pytest

from captep_memory import Object
from tests.memory.support import Api, Free, api, causes, refusal, secret


def _with(**members: Free) -> Api:
    client = api()
    assert client.secret("create", body=secret(**members)).status == 201
    return client


def test_s1_the_type_is_opaque_by_default_and_never_changes() -> None:
    """An empty type means the one that is stored."""
    client = _with(data={"k": "dg=="})
    assert client.secret("get").body["type"] == "Opaque"
    before = client.world
    assert client.secret("patch", body={"type": None}).status == 200
    assert client.world == before
    response = client.secret("patch", body={"type": "other"})
    assert (response.status, causes(response)) == (422, [("type", "FieldValueInvalid")])


@pytest.mark.parametrize("data", [{"k": "not base64"}, {"k": 5}, 5, {"k": "dg="}])
def test_s2_data_that_cannot_be_decoded_is_a_bad_request(data: Free) -> None:
    """400, and the value is not in the message."""
    response = api().secret("create", body=secret(data=data))
    assert refusal(response) == (400, "BadRequest")
    assert "not base64" not in str(response.body)


@pytest.mark.parametrize("key", ["a b", ".", "..", "..a", "k" * 254, "ä", ""])
def test_s2_keys_have_a_charset_and_a_length(key: str) -> None:
    """422 on data[key]."""
    response = api().secret("create", body=secret(data={key: "dg=="}))
    assert refusal(response) == (422, "Invalid")
    assert {field for field, _ in causes(response)} == {f"data[{key}]"}


def test_s2_the_values_of_a_secret_fit_in_a_mebibyte() -> None:
    """Decoded bytes count: exactly 1 MiB passes, one byte more does not."""
    mebibyte = "A" * (1_398_104 - 4) + "AA=="
    response = api().secret("create", body=secret(data={"a": mebibyte, "b": "AA=="}))
    assert (response.status, causes(response)) == (422, [("data", "FieldValueTooLong")])
    assert api().secret("create", body=secret(data={"a": mebibyte[:-4] + "AA=="})).status == 201


def test_s3_string_data_goes_over_data_and_is_never_returned() -> None:
    """On create and on patch."""
    client = _with(data={"k": "dg==", "l": "bA=="}, stringData={"k": "w"})
    expected = {"k": "dw==", "l": "bA=="}
    assert (client.secret("get").body["data"], "stringData" in client.secret("get").body) == (
        expected,
        False,
    )
    before = client.world
    assert client.secret("patch", body={"stringData": {"k": "w"}}).status == 200
    assert client.world == before
    assert client.secret("patch", body={"stringData": {"k": "z"}}).body["data"] == {
        **expected,
        "k": "eg==",
    }


def test_s4_an_immutable_secret_keeps_its_data() -> None:
    """Data and the flag itself are fixed, metadata is not."""
    client = _with(data={"k": "dg=="}, immutable=True)
    response = client.secret("patch", body={"immutable": None, "data": {"k": "dw=="}})
    assert (response.status, causes(response)) == (
        422,
        [("immutable", "FieldValueForbidden"), ("data", "FieldValueForbidden")],
    )
    assert client.secret("patch", body={"stringData": {"k": "x"}}).status == 422
    assert client.secret("patch", body={"metadata": {"labels": {"a": "b"}}}).status == 200


@pytest.mark.parametrize(
    ("kind", "members", "fields"),
    [
        ("kubernetes.io/tls", {"data": {"tls.crt": ""}}, ["data[tls.key]"]),
        ("kubernetes.io/basic-auth", {}, ["data[username]", "data[password]"]),
        ("kubernetes.io/ssh-auth", {"data": {"ssh-privatekey": ""}}, ["data[ssh-privatekey]"]),
        (
            "kubernetes.io/dockerconfigjson",
            {"data": {".dockerconfigjson": "dg=="}},
            ["data[.dockerconfigjson]"],
        ),
        ("kubernetes.io/dockercfg", {}, ["data[.dockercfg]"]),
        (
            "kubernetes.io/service-account-token",
            {},
            ["metadata.annotations[kubernetes.io/service-account.name]"],
        ),
    ],
)
def test_s5_types_have_required_keys(kind: str, members: Object, fields: list[str]) -> None:
    """422 that names the missing key."""
    response = api().secret("create", body=secret(type=kind, **members))
    assert (response.status, [field for field, _ in causes(response)]) == (422, fields)


def test_s5_required_keys_may_be_empty() -> None:
    """kubernetes.io/tls asks for the keys, not for content."""
    assert (
        api()
        .secret(
            "create", body=secret(type="kubernetes.io/tls", data={"tls.crt": "", "tls.key": ""})
        )
        .status
        == 201
    )


def test_s6_empty_data_equals_absent_data() -> None:
    """Emptying and omitting are the same to the store; a Secret has no status."""
    client = _with(status={"x": 1}, junk=True)
    assert sorted(client.secret("get").body) == ["apiVersion", "kind", "metadata", "type"]
    before = client.world
    assert client.secret("patch", body={"data": {}}).status == 200
    assert client.world == before


def test_config_maps_keep_text_and_bytes_apart() -> None:
    """A key belongs to one of data and binaryData."""
    client = api()
    options: Any = {"kind": "ConfigMap", "api_version": "v1"}
    body = {"metadata": {"name": "m"}, "data": {"a": "b"}, "binaryData": {"a": "Yg=="}}
    response = client.do("create", "m", body=body, **options)
    assert (response.status, causes(response)) == (422, [("data[a]", "FieldValueInvalid")])
    assert (
        client.do("create", "m", body={**body, "binaryData": {"c": "Yg=="}}, **options).status
        == 201
    )


def test_an_event_lives_in_the_namespace_of_its_object() -> None:
    """Empty members are written as the real server writes them; another namespace is 422."""
    client = api()
    about = {"kind": "Thing", "namespace": "fleet", "name": "a"}
    body: Object = {
        "metadata": {"name": "e"},
        "involvedObject": about,
        "reason": "R",
        "type": "Normal",
        "count": 1,
    }
    event = client.do("create", "e", "Event", "v1", body=body).body
    assert (event["source"], event["eventTime"], event["reportingComponent"]) == ({}, None, "")
    assert client.do("patch", "e", "Event", "v1", body={"count": 2}).body["count"] == 2
    other = client.do(
        "create",
        "f",
        "Event",
        "v1",
        body={**body, "metadata": {"name": "f"}, "involvedObject": {**about, "namespace": "x"}},
    )
    assert (other.status, causes(other)) == (
        422,
        [("involvedObject.namespace", "FieldValueInvalid")],
    )


def test_no_repr_shows_the_content_of_a_secret() -> None:
    """Neither requests, responses, worlds nor changes show content in their repr."""
    client = _with(data={"k": "Y2FuYXJ5"})
    response = client.secret("get")
    shown = "".join(map(repr, (response, client.world, client.last_change())))
    assert "Y2FuYXJ5" not in shown
