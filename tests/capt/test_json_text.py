"""JSON text of a value in a Secret's key, as a Terraform output that is no string leaves it."""

import json

import pytest

from captep_core import APIEndpoint, Degraded, Invalid, Missing, Present, parse_endpoint
from captep_core.capt._credentials import parse_certificate
from tests.capt.driving import look, run
from tests.capt.worlds import (
    CA,
    CA_OF_EKS,
    ENDPOINT,
    HOST,
    KUBECONFIG,
    Objects,
    base64_of,
    changed,
    find,
    provided,
    ready,
)

NULLS = ["null", " null\n", "\tnull", "null\r\n"]
VALUES = [
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "443",
    "1.5",
    "1e5",
    "1E400",
    "-1e-7",
    "12345678901234567890123",
    "9" * 5000,
    "[]",
    "{}",
    " {} ",
    "[null]",
    '["https://X"]',
    '{"host": "X"}',
    '{"cluster_endpoint": "https://X"}',
    "{\n}",
]
TOO_DEEP = ["[" * 10**5, '{"a":' * 10**5, "[" * 10**5 + "]" * 10**5, '"' + "\\" * 10**5]
BROKEN = ['"https://X', 'https://X"', '"https://X" "https://Y"', '"a\\qb"', "'https://X'", '"', "{"]


def _escaped(text: str) -> list[str]:
    """The spellings of one JSON string."""
    plain = json.dumps(text)
    everything = '"' + "".join(f"\\u{ord(letter):04x}" for letter in text) + '"'
    slashes = plain.replace("/", "\\/")
    return [plain, f" {plain}\n", slashes, everything]


@pytest.mark.parametrize("text", NULLS)
def test_null_is_a_value_that_is_not_there(text: str) -> None:
    """Neither an endpoint nor a certificate comes of it, and neither is an error yet."""
    assert parse_endpoint(text) == Missing()
    assert parse_certificate(text.encode()) == Missing()


@pytest.mark.parametrize("text", [*VALUES, *TOO_DEEP], ids=lambda text: text[:12])
def test_a_value_that_is_no_string_is_invalid(text: str) -> None:
    """A number or `true` could be the label of a host; nobody publishes such an endpoint."""
    assert isinstance(parse_endpoint(text), Invalid)
    assert isinstance(parse_certificate(text.encode()), Invalid)


@pytest.mark.parametrize("text", _escaped(f"{ENDPOINT}:6443"))
def test_a_quoted_endpoint_is_the_string_inside(text: str) -> None:
    """JSON's escapes are read."""
    assert parse_endpoint(text) == Present(APIEndpoint(HOST, 6443))


@pytest.mark.parametrize("authority", [CA, CA_OF_EKS], ids=["PEM", "base64"])
def test_a_quoted_certificate_is_the_string_inside(authority: str) -> None:
    """The line ends of PEM are escapes in JSON."""
    for text in _escaped(authority):
        assert parse_certificate(text.encode()) == Present(CA.encode())


@pytest.mark.parametrize("text", ['""', '" "', '"\\n"', ' "" '])
def test_a_quoted_empty_string_is_missing(text: str) -> None:
    """An empty string is an output that is not set."""
    assert parse_endpoint(text) == Missing()
    assert parse_certificate(text.encode()) == Missing()


@pytest.mark.parametrize("text", BROKEN)
def test_text_that_is_almost_a_json_string_is_invalid(text: str) -> None:
    """A quote is no part of a host and of no certificate."""
    assert isinstance(parse_endpoint(text), Invalid)
    assert isinstance(parse_certificate(text.encode()), Invalid)


@pytest.mark.parametrize("text", ["nullable.example", "null.example", "true.example", "truenas"])
def test_a_name_that_begins_like_json_is_a_name(text: str) -> None:
    """Only the whole text is JSON or is not."""
    assert parse_endpoint(f"https://{text}") == Present(APIEndpoint(text, 443))
    assert parse_endpoint(text) == Present(APIEndpoint(text, 443))


def _connected(objects: Objects, key: str, text: str) -> Objects:
    """The value in the connection Secret, and no output of the Workspace that hides it."""
    objects = changed(
        objects, "Workspace", "tokyo-eks-controlplane", {"status": {"atProvider": None}}
    )
    return changed(objects, "Secret", "tokyo-eks-connection", {"data": {key: base64_of(text)}})


@pytest.mark.parametrize("text", ["null", "true", "443", "1e5", "{}", "[]", '""'])
def test_no_json_value_is_published_as_an_endpoint(text: str) -> None:
    """`null:443` was: control plane and Cluster keep the good endpoint, Ready goes."""
    done = run(_connected(ready(), "cluster_endpoint", text))
    for kind in ("CAPTControlPlane", "Cluster"):
        assert done.find(kind, "tokyo")["spec"] == find(ready(), kind, "tokyo")["spec"]
    is_missing = text in ("null", '""')
    assert done.last.verdict.reason == ("Creating" if is_missing else "EndpointUpdateFailed")
    first = run(_connected(provided(), "cluster_endpoint", text))
    for kind in ("CAPTControlPlane", "Cluster"):
        assert "controlPlaneEndpoint" not in first.find(kind, "tokyo")["spec"]
    assert not first.has("WorkspaceTemplateApply", "tokyo-kubeconfig-apply")


def test_an_output_with_the_text_null_does_not_hide_the_connection_secret() -> None:
    """`null` is not there, so the second source counts."""
    outputs = {"status": {"atProvider": {"outputs": {"cluster_endpoint": "null"}}}}
    done = run(changed(provided(), "Workspace", "tokyo-eks-controlplane", outputs))
    published = done.find("CAPTControlPlane", "tokyo")["spec"]["controlPlaneEndpoint"]
    assert published == {"host": HOST, "port": 443}


def test_a_quoted_endpoint_reaches_the_kubeconfig_without_its_quotes() -> None:
    """The template of the kubeconfig gets the string inside."""
    done = run(_connected(provided(), "cluster_endpoint", json.dumps(ENDPOINT)))
    spec = done.find("WorkspaceTemplateApply", "tokyo-kubeconfig-apply")["spec"]
    assert spec["variables"]["cluster_endpoint"] == ENDPOINT


@pytest.mark.parametrize("authority", [CA, CA_OF_EKS], ids=["PEM", "base64"])
def test_a_quoted_certificate_reaches_the_kubeconfig_without_its_quotes(authority: str) -> None:
    """Neither a quote nor an escape is in the variable or in the CA Secret."""
    key = "cluster_certificate_authority_data"
    done = run(_connected(provided(), key, json.dumps(authority)))
    spec = done.find("WorkspaceTemplateApply", "tokyo-kubeconfig-apply")["spec"]
    assert spec["variables"][key] in (authority, CA_OF_EKS)
    assert done.find("Secret", "tokyo-ca")["data"] == {
        "tls.crt": base64_of(CA),
        "ca.crt": base64_of(CA),
    }


@pytest.mark.parametrize("text", ["null", "true", "1", "{}", "[]"])
def test_no_json_value_replaces_the_certificate(text: str) -> None:
    """The verdict is SecretError, and the good CA stays in its Secret and in the variable."""
    objects = _connected(ready(), "cluster_certificate_authority_data", text)
    verdict = look(objects).verdict
    assert isinstance(verdict, Degraded)
    assert verdict.reason == "SecretError"
    done = run(objects)
    for kind, name in (
        ("Secret", "tokyo-ca"),
        ("WorkspaceTemplateApply", "tokyo-kubeconfig-apply"),
    ):
        assert done.find(kind, name) == find(ready(), kind, name)
    assert done.find("CAPTControlPlane", "tokyo")["status"]["secretsReady"] is False


def _token(objects: Objects, text: str) -> Objects:
    data = {"data": {"kubeconfig": base64_of(text)}}
    return changed(objects, "Secret", "tokyo-outputs-kubeconfig", data)


@pytest.mark.parametrize("text", [*NULLS, *VALUES, '""', '" "', '"canary"'], ids=lambda t: t[:12])
def test_no_json_value_replaces_the_kubeconfig(text: str) -> None:
    """4 bytes of `null` did: the good one stays, the verdict is SecretError, secretsReady goes."""
    objects = _token(ready(), text)
    verdict = look(objects).verdict
    assert isinstance(verdict, Degraded)
    assert verdict.reason == "SecretError"
    done = run(objects)
    kept = find(ready(), "Secret", "tokyo-kubeconfig")
    assert done.find("Secret", "tokyo-kubeconfig") == kept
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["secretsReady"]) == (True, False)


def test_a_quoted_kubeconfig_is_copied_without_its_quotes() -> None:
    """The string inside is judged and copied byte for byte."""
    rotated = KUBECONFIG.replace("canary-token", "rotated-例え")
    for text in _escaped(rotated):
        done = run(_token(ready(), text))
        assert [each.body for each in done.writes] == [{"data": {"value": base64_of(rotated)}}]
        assert done.last.verdict.reason == "Ready"
