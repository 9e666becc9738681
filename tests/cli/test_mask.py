"""The output shows no value of a Secret and no credential, wherever it stands."""

import base64
import json
from typing import Any

import pytest

from captep_show import masked
from tests.cli.command import Command, new

CANARY = "canary-in-the-token"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "clusters"},
    "data": {"token": base64.b64encode(CANARY.encode()).decode()},
}
MANIFEST = json.dumps(SECRET)
YAML = f"apiVersion: v1\nkind: Secret\nstringData:\n  token: {CANARY}\n"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def hides(shown: object) -> bool:
    """Whether neither the canary nor its base64 is in an output."""
    text = json.dumps(shown)
    encoded = base64.b64encode(CANARY.encode()).decode()
    inner = base64.b64encode(MANIFEST.encode()).decode()
    return CANARY not in text and encoded not in text and inner[:80] not in text


@pytest.mark.parametrize(
    "annotation",
    [
        MANIFEST,
        f" \n{MANIFEST}",
        YAML,
        f"# a comment\n---\n{YAML}",
        json.dumps([SECRET]),
        json.dumps({"data": SECRET["data"]}),
        f"data:\n  token: {CANARY}",
        "H4sIAAAAAAAA/6tWUkqtKMgvKlGyUiorUNIBAA",
        CANARY,
        f"token={CANARY}",
        base64.b64encode(CANARY.encode()).decode(),
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.parametrize(
    "name",
    ["kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original", "example.org/x"],
)
def test_an_annotation_of_a_secret_with_content_is_masked(name: str, annotation: str) -> None:
    """The content is a manifest in JSON, YAML or gzip, or one of the Secret's values."""
    secret = {**SECRET, "metadata": {"name": "s", "annotations": {name: annotation, "plain": "x"}}}
    shown = masked("Secret", secret)
    annotations = shown["metadata"]["annotations"]
    assert annotations[name].startswith(f"<{len(annotation)} bytes, sha256:")
    assert annotations["plain"] == "x"
    assert hides(shown)


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "SecretList", "items": [{"metadata": {"name": "s"}, "data": SECRET["data"]}]},
        {"kind": "List", "items": [SECRET]},
        {"kind": "List", "items": [{"kind": "SecretList", "items": [{"data": SECRET["data"]}]}]},
        {"kind": "Object", "spec": {"forProvider": {"manifest": SECRET}}},
        {"kind": "ConfigMap", "data": {"manifest.yaml": YAML}},
        {"kind": "Thing", "metadata": {"annotations": {"kapp.k14s.io/original": MANIFEST}}},
        {"kind": "Thing", "metadata": {"annotations": {"x/y": json.dumps(MANIFEST)}}},
        {"kind": "Thing", "metadata": {"annotations": {"x/y": YAML.replace("t\n", "t # ours\n")}}},
        {"kind": "Thing", "spec": {"list": [{"deep": [SECRET]}]}},
    ],
    ids=lambda body: body["kind"],
)
def test_a_secret_inside_another_object_is_masked(body: dict[str, Any]) -> None:
    """It may be an item of a list, a nested object or the text of a manifest."""
    assert hides(masked(body["kind"], body))


def test_the_item_of_a_list_shows_length_and_fingerprint() -> None:
    """It looks as the same Secret does alone."""
    items = masked("SecretList", {"items": [{"data": SECRET["data"]}]})["items"]
    assert items == [{"data": masked("Secret", SECRET)["data"]}]
    assert items[0]["data"]["token"].startswith("<19 bytes, sha256:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"https://user:{CANARY}@host/p", "https://<24 bytes, sha256:"),
        (f"https://{CANARY}@host", "https://<19 bytes, sha256:"),
        (f"postgres://user:{CANARY}@host", "postgres://<24 bytes, sha256:"),
        (CERTIFICATE + KEY, f"{CERTIFICATE}<81 bytes, sha256:"),
        (base64.b64encode((CERTIFICATE + KEY).encode()).decode(), "<"),
        (KEY[:60], "<"),
    ],
    ids=["password", "token", "any scheme", "key", "key in base64", "key without end"],
)
def test_a_credential_in_any_object_is_masked(text: str, expected: str) -> None:
    """A private key behind a certificate, and the user info of a URL."""
    shown = masked("WorkspaceTemplateApply", {"spec": {"variables": {"x": text}}})
    assert shown["spec"]["variables"]["x"].startswith(expected)
    assert hides(shown)


@pytest.mark.parametrize(
    "text",
    [
        "https://9F8E7D.gr7.ap-northeast-3.eks.amazonaws.com",
        "git::ssh://git@github.com/org/module.git?ref=v1",
        CERTIFICATE,
        base64.b64encode(CERTIFICATE.encode()).decode(),
        "user@example.org",
        "kind: Cluster",
        '{"kind": "Cluster"}',
        "the Secret kind: Secretary",
    ],
)
def test_other_text_of_an_object_is_shown(text: str) -> None:
    """No endpoint, certificate or manifest of another kind is masked."""
    body = {"spec": {"x": text}, "metadata": {"annotations": {"a": text}}}
    assert masked("Cluster", body) == body


def test_a_patch_that_deletes_a_key_shows_null() -> None:
    """A mask would look as if the key got a value."""
    patch = {"data": {"old": None}, "metadata": {"annotations": {"old": None}}}
    assert masked("Secret", patch) == patch


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("verb", ["plan", "simulate"])
def test_no_command_prints_a_value_of_a_list_of_secrets(
    captep: Command, verb: str, output: str
) -> None:
    """The Secrets of a SecretList are objects of the world, and masked as any other."""
    annotated = {**SECRET["metadata"], "annotations": {"kapp.k14s.io/original": MANIFEST}}  # type: ignore[dict-item]
    listed = {
        "apiVersion": "v1",
        "kind": "SecretList",
        "items": [{**SECRET, "metadata": annotated}],
    }
    ended = captep(verb, "-f", captep.file([*new(), listed]), "-o", output)
    assert ended.status == 0
    assert hides(ended.out + ended.err)
