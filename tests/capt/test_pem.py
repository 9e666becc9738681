"""The certificate authority as PEM (RFC 7468): only certificate blocks leave their Secret."""

import base64
import contextlib
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from captep_core import Degraded, Invalid, Missing, Present
from captep_core.capt._credentials import parse_certificate
from captep_core.capt._verdict import Severity
from tests.capt.driving import look, run
from tests.capt.worlds import CA, Objects, base64_of, changed, find, provided, ready

Encode: TypeAlias = Callable[[str], str]

OTHER = CA.replace("c2VjcmV0", "b3RoZXI0")
BODY = CA.splitlines()[1]
KEY_BODY = "MIIEowIBAAKCAQEAcanaryCANARYcanaryCANARY0123456789abcdefghijklmn"


def _block(label: str, body: str = KEY_BODY) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def _blocks(value: object) -> list[str]:
    """The lines of a parsed certificate: how blocks are joined does not matter."""
    assert isinstance(value, Present)
    return bytes(value.value).decode().split("\n")


CLEAN = {
    "one block": CA,
    "a bundle": CA + OTHER,
    "no newline at the end": CA.removesuffix("\n"),
    "wrapped lines": CA.replace("MIIBszCC", "MIIB\nszCC"),
}


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("encode", [str, base64_of], ids=["in clear", "base64"])
def test_a_value_of_certificate_blocks_alone_is_copied_byte_for_byte(
    name: str, encode: Encode
) -> None:
    """Nothing reorders, joins or wraps the blocks."""
    assert parse_certificate(encode(CLEAN[name]).encode()) == Present(CLEAN[name].encode())


WITH_TEXT: dict[str, tuple[str, str]] = {
    "a comment before": (f"# canary: the CA of tokyo\n{CA}", CA),
    "a comment behind": (f"{CA}# canary\n", CA),
    "as openssl prints it": (
        f"subject=CN = canary\nissuer=CN = canary\n{CA}---\nServer certificate: canary\n",
        CA,
    ),
    "as openssl x509 -text prints it": (
        f"Certificate:\n    Data:\n        Version: 3 (0x2)\n        canary:\n  00:c0\n{CA}",
        CA,
    ),
    "between two blocks": (f"{CA}\ncanary\n{OTHER}", CA + OTHER),
    "blank lines": (f"\n\n{CA}\n\n\n{OTHER}\n\n", CA + OTHER),
    "a byte order mark": (f"\ufeff{CA}", CA),
    "other characters": (f"# 例え canary\n{CA}", CA),
    "dashes": (f"-----------\ncanary\n-----\n{CA}", CA),
    "Windows' line ends": (f"# canary\r\n{CA}", CA),
}


@pytest.mark.parametrize("name", WITH_TEXT)
@pytest.mark.parametrize("encode", [str, base64_of], ids=["in clear", "base64"])
def test_text_outside_of_the_blocks_is_allowed_and_not_copied(name: str, encode: Encode) -> None:
    """The blocks come out in their order, and nothing else does."""
    text, blocks = WITH_TEXT[name]
    lines = _blocks(parse_certificate(encode(text).encode()))
    assert [line for line in lines if line] == [line for line in blocks.split("\n") if line]


def test_text_outside_of_the_blocks_need_not_be_utf_8() -> None:
    """Certificates are ASCII; a comment in Latin-1 does not spoil them."""
    lines = _blocks(parse_certificate("# für canary\n".encode("latin-1") + CA.encode()))
    assert [line for line in lines if line] == [line for line in CA.split("\n") if line]


def test_the_line_ends_of_windows_are_allowed_inside_of_a_block() -> None:
    """The certificate is the same one."""
    lines = _blocks(parse_certificate(CA.replace("\n", "\r\n").encode()))
    assert [line.rstrip("\r") for line in lines if line.strip()] == CA.splitlines()


NO_CERTIFICATES = {
    "a private key behind": CA + _block("PRIVATE KEY"),
    "a private key before": _block("PRIVATE KEY") + CA,
    "a private key between": CA + _block("RSA PRIVATE KEY") + OTHER,
    "an EC key": CA + _block("EC PRIVATE KEY"),
    "EC parameters": CA + _block("EC PARAMETERS"),
    "an encrypted key": CA + _block("ENCRYPTED PRIVATE KEY"),
    "an OpenSSH key": CA + _block("OPENSSH PRIVATE KEY"),
    "a key alone": _block("PRIVATE KEY"),
    "a public key": CA + _block("PUBLIC KEY"),
    "a request": CA + _block("CERTIFICATE REQUEST"),
    "a revocation list": CA + _block("X509 CRL"),
    "a trusted certificate": CA + _block("TRUSTED CERTIFICATE"),
    "a trusted certificate alone": _block("TRUSTED CERTIFICATE", BODY),
    "an X509 certificate": _block("X509 CERTIFICATE", BODY),
    "another case": CA.replace("CERTIFICATE", "certificate"),
    "a key without its end": CA + "-----BEGIN PRIVATE KEY-----\n" + KEY_BODY,
    "a key without its beginning": CA + KEY_BODY + "\n-----END PRIVATE KEY-----\n",
    "no end": f"-----BEGIN CERTIFICATE-----\n{BODY}\n",
    "half a line": f"-----BEGIN CERTIFICATE-----\n{BODY[:30]}",
    "half an end": CA.removesuffix("-----\n"),
    "an end alone": f"{BODY}\n-----END CERTIFICATE-----\n",
    "a good block and a truncated one": CA + OTHER[:60],
    "a truncated block and a good one": CA[:60] + "\n" + OTHER,
    "an end behind a good block": CA + "-----END CERTIFICATE-----\n",
    "a beginning behind a good block": CA + "-----BEGIN CERTIFICATE-----\n",
    "a beginning inside": CA.replace(BODY, f"{BODY}\n-----BEGIN CERTIFICATE-----\n{BODY}"),
    "another end": CA.replace("END CERTIFICATE", "END PRIVATE KEY"),
    "a base64 that is cut": _block("CERTIFICATE", BODY.rstrip("=")[:-2]),
    "no base64": _block("CERTIFICATE", "*** no base64 ***"),
    "a base64 with a stray character": CA.replace("MIIB", "MI*B"),
    "padding inside": _block("CERTIFICATE", f"{BODY}\n{BODY}"),
    "an empty block": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    "a blank block": _block("CERTIFICATE", "\n \n"),
    "headers": _block("CERTIFICATE", f"Proc-Type: 4,ENCRYPTED\n\n{BODY}"),
    "text": "canary",
    "an error": "error: You must be logged in to the server (Unauthorized)",
    "HTML": "<!DOCTYPE html><html><body>canary</body></html>",
}


@pytest.mark.parametrize("name", NO_CERTIFICATES)
@pytest.mark.parametrize("encode", [str, base64_of], ids=["in clear", "base64"])
def test_any_other_block_or_a_damaged_one_makes_the_whole_value_invalid(
    name: str,
    encode: Encode,
) -> None:
    """Half of a value is not published: what else is in it is unknown."""
    found = parse_certificate(encode(NO_CERTIFICATES[name]).encode())
    assert isinstance(found, Invalid)
    assert "canary" not in repr(found)


def test_an_empty_value_is_missing() -> None:
    """Crossplane creates the connection Secret before Terraform fills it."""
    assert [parse_certificate(each) for each in (None, b"", b" \n")] == [Missing()] * 3


def test_a_value_without_an_end_is_decided_at_once() -> None:
    """No pattern backtracks over a megabyte of dashes, markers or base64."""
    for text in ("-" * 10**6, "-----BEGIN CERTIFICATE-----\n" * 10**4, "A" * 10**6, "\n" * 10**6):
        assert not isinstance(parse_certificate(text.encode()), Present)


def _holding(objects: Objects, text: str) -> Objects:
    return changed(
        objects,
        "Secret",
        "tokyo-eks-connection",
        {"data": {"cluster_certificate_authority_data": base64_of(text)}},
    )


def _sent(objects: Objects) -> str:
    """All bodies of a run, and the decoded values of Secrets and variables in them."""
    texts: list[str] = []

    def collect(value: Any) -> None:  # noqa: ANN401 - JSON of any shape
        if isinstance(value, dict):
            for each in value.values():
                collect(each)
        elif isinstance(value, list):
            for each in value:
                collect(each)
        elif isinstance(value, str):
            texts.append(value)
            with contextlib.suppress(ValueError):
                collect(base64.b64decode(value, validate=True).decode())

    for action in run(objects).writes:
        collect(action.body)
    return "\n".join(texts)


BAD = ["a private key behind", "a private key before", "a trusted certificate", "no end", "text"]


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("encode", [str, base64_of], ids=["in clear", "base64"])
def test_a_bad_authority_is_a_secret_error_and_reaches_no_object(name: str, encode: Encode) -> None:
    """Neither the CA Secret nor the variable of the kubeconfig's apply gets any of it."""
    text = encode(NO_CERTIFICATES[name])
    rotated = _holding(ready(), text)
    verdict = look(rotated).verdict
    assert isinstance(verdict, Degraded)
    assert (verdict.severity, verdict.reason) == (Severity.FAILURE, "SecretError")
    done = run(rotated)
    for kind, of in (
        ("Secret", "tokyo-ca"),
        ("WorkspaceTemplateApply", "tokyo-kubeconfig-apply"),
    ):
        assert done.find(kind, of) == find(ready(), kind, of)
    first = run(_holding(provided(), text))
    assert first.last.verdict.reason == "SecretError"
    assert not first.has("Secret", "tokyo-ca")
    assert not first.has("WorkspaceTemplateApply", "tokyo-kubeconfig-apply")
    for world in (_holding(ready(), text), _holding(provided(), text)):
        assert "canary" not in _sent(world)
        assert "PRIVATE KEY" not in _sent(world)


@pytest.mark.parametrize("encode", [str, base64_of], ids=["in clear", "base64"])
@pytest.mark.parametrize("name", ["a comment before", "as openssl prints it", "between two blocks"])
def test_the_variable_of_the_kubeconfig_has_the_blocks_alone(name: str, encode: Encode) -> None:
    """It holds the certificates, in clear or in base64 as the provider has them, and no text."""
    text, blocks = WITH_TEXT[name]
    done = run(_holding(provided(), encode(text)))
    apply = done.find("WorkspaceTemplateApply", "tokyo-kubeconfig-apply")
    variable = apply["spec"]["variables"]["cluster_certificate_authority_data"]
    plain = variable if "BEGIN" in variable else base64.b64decode(variable, validate=True).decode()
    assert plain.split() == blocks.split()
    held = done.find("Secret", "tokyo-ca")["data"]
    assert held["tls.crt"] == held["ca.crt"]
    assert base64.b64decode(held["tls.crt"]).decode().split() == blocks.split()
    assert "canary" not in _sent(_holding(provided(), encode(text)))


def test_a_clean_variable_stays_as_eks_gave_it() -> None:
    """The bytes of existing clusters do not change: no write."""
    assert look(ready()).actions == ()


@pytest.mark.parametrize(
    "spell",
    [
        lambda encoded: f"{encoded[:40]}\n{encoded[40:]}\n",
        lambda encoded: encoded.rstrip("="),
        lambda encoded: f" {encoded}",
    ],
    ids=["wrapped", "unpadded", "indented"],
)
def test_a_clean_variable_keeps_the_spelling_of_its_base64(spell: Encode) -> None:
    """An existing kubeconfig is not generated again because of line ends or padding."""
    text = spell(base64_of(CA + "\n"))
    key = "cluster_certificate_authority_data"
    objects = changed(
        ready(),
        "WorkspaceTemplateApply",
        "tokyo-kubeconfig-apply",
        {"spec": {"variables": {key: text}}},
    )
    done = run(_holding(objects, text))
    apply = done.find("WorkspaceTemplateApply", "tokyo-kubeconfig-apply")
    assert apply["spec"]["variables"][key] == text
    assert {str(each.target) for each in done.writes} == {"Secret fleet/tokyo-ca"}


def test_bytes_that_are_no_text_are_no_certificate() -> None:
    """A value that begins like JSON and is not UTF-8 is judged as it is."""
    assert isinstance(parse_certificate(b"0\xff"), Invalid)
