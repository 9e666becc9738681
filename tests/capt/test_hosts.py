"""Hosts of an API endpoint: one table of texts, by what DNS can hold after IDNA."""

import pytest

from captep_core import APIEndpoint, Invalid, Missing, Present, parse_endpoint
from captep_core.capt._outputs import public_url
from tests.capt.driving import look, run
from tests.capt.worlds import HOST, base64_of, changed, find, ready

_63 = "a" * 63
_253 = ".".join([_63] * 3) + "." + "a" * 61
_MANY_SHORT = ".".join("a" * 127)

HOSTS = [
    # A name as EKS publishes it: the case stays.
    ("0A1B2C.gr7.ap-northeast-1.eks.amazonaws.com", "0A1B2C.gr7.ap-northeast-1.eks.amazonaws.com"),
    ("localhost", "localhost"),
    ("a", "a"),
    ("1password.example", "1password.example"),
    ("xn--r8jz45g.jp", "xn--r8jz45g.jp"),
    ("例え.jp", "例え.jp"),
    ("bücher.example", "bücher.example"),
    ("BÜCHER.example", "BÜCHER.example"),
    ("a--b.example", "a--b.example"),
    (f"{_63}.example", f"{_63}.example"),
    (_253, _253),
    (_MANY_SHORT, _MANY_SHORT),
    # The root's dot is no part of a host: Go's x509 does not find it in a certificate.
    ("X.example.", "X.example"),
    ("X.", "X"),
    ("例え.jp.", "例え.jp"),
    (f"{_253}.", _253),
    ("10.0.0.1", "10.0.0.1"),
    ("255.255.255.255", "255.255.255.255"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
]
NO_HOSTS = [
    # Labels and lengths.
    ".",
    "..",
    ".example",
    "a..b",
    "a.example..",
    "-a.example",
    "a-.example",
    "a.-b",
    "a.b-",
    "-",
    f"{_63}a",
    f"{_63}a.example",
    f"a.{_63}a.example",
    f"a.{_253}",
    f"{_MANY_SHORT}.a",
    # Each is short enough as text and too long as DNS holds it.
    "例" * 60,
    "é" * 63,
    ".".join(["例え"] * 30),
    f"{'例' * 60}.example",
    # Letters that IDNA turns into a dot or a bracket.
    "a\u2488b.example",
    "a\u2474.example",
    # No part of a name.
    "*.example",
    "a!b",
    "a,b",
    "a;b",
    "a|b",
    "a&b",
    "a=b",
    "a'b",
    'a"b',
    "a`b",
    "a$b",
    "${host}",
    "{{ .host }}",
    "<html>",
    "a<b",
    "a%2eb",
    "a%20b",
    "a\\b",
    "(known after apply)",
    "a\x00b",
    "a\x7fb",
    "a\x1b[31m",
    "a\u2028b",
    "a\u202eb",
    "a\u00a0b",
    "a\u3000b",
    "\ufffd",
    # White space inside, and a second address behind the first.
    "a b",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "a.example b.example",
    "a.example,b.example",
    "a.example, b.example",
    "a.example;b.example",
    "a.example\nb.example",
    "10.0.0.1 10.0.0.2",
    "10.0.0.1,10.0.0.2",
    "10.0.0.1\n10.0.0.2",
    "[2001:db8::1],[2001:db8::2]",
    "[2001:db8::1] [2001:db8::2]",
    "2001:db8::1 2001:db8::2",
    # Almost addresses, which no parser may accept.
    "256.1.1.1",
    "10.0.0",
    "10.0.0.0.1",
    "010.0.0.1",
    "10.0.0.1a.2",
    "12345",
    "0",
    "0x7f.1",
    "١٠.٠.٠.١",
    "1:2:3",
    ":::1",
    "[::g]",
    "[]",
    "[10.0.0.1]",
    "[example]",
    "[::1",
    "::1]",
    "fe80::1%eth0",
    "[fe80::1%25eth0]",
]


def _around(host: str) -> list[str]:
    """The forms in which a provider publishes a host without a port."""
    forms = [host, f"https://{host}", f"https://{host}/", f" https://{host}/api?a=b#c\n"]
    return [*forms, base64_of(f"https://{host}")] if host.isprintable() else forms


@pytest.mark.parametrize(("text", "host"), HOSTS)
def test_a_host_is_a_name_that_dns_can_hold_or_an_address(text: str, host: str) -> None:
    """Every form gives the bare host, the case kept, the root's dot taken off."""
    assert {form: parse_endpoint(form) for form in _around(text)} == {
        form: Present(APIEndpoint(host, 443)) for form in _around(text)
    }
    assert parse_endpoint(f"https://{text}:6443") == Present(APIEndpoint(host, 6443))
    assert parse_endpoint(f"https://user:pw@{text}:1/") == Present(APIEndpoint(host, 1))


@pytest.mark.parametrize("text", NO_HOSTS)
def test_a_text_that_dns_cannot_hold_is_no_host(text: str) -> None:
    """No form of it is an endpoint, with or without a port, and the answer does not quote it."""
    for form in (*_around(text), f"https://{text}:6443"):
        found = parse_endpoint(form)
        assert isinstance(found, Invalid), form
        assert text not in repr(found) or len(text) < 3


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example:443,https://b.example:443",
        "https://a.example https://b.example",
        "https://a.example:443 b.example:443",
        "https://a.example/ https://b.example/",
        "https://a.example/,https://b.example/",
        "https://a.example/api\nb.example",
        "https://a.example/?next=https://b.example",
        "a.example:443,b.example:443",
        "a.example:443 b.example",
        "10.0.0.1:6443,10.0.0.2:6443",
        "a.example:443:443",
        "[2001:db8::1]:443,[2001:db8::2]:443",
        "a.example :443",
        "a.example: 443",
        "a.example:4 43",
        "a.example:+443",
        "a.example:443x",
        "a.example:0x1bb",
        "a.example:443.0",
        "a.example:1e2",
        "a.example:_443",
        "a.example:4_4",
        "a.example:https",
    ],
)
def test_a_second_address_or_an_odd_port_makes_the_whole_invalid(text: str) -> None:
    """Nothing is published of a text that is only half an endpoint."""
    assert isinstance(parse_endpoint(text), Invalid)


@pytest.mark.parametrize("text", ["", " \n", "https://", "https:///api", "https://user@/"])
def test_a_text_without_any_host_is_missing(text: str) -> None:
    """The provider has not published it yet."""
    assert parse_endpoint(text) == Missing()


def test_a_host_without_an_end_is_decided_at_once() -> None:
    """A megabyte of anything is no host; no pattern backtracks over it."""
    for text in ("a" * 10**6, "a." * 10**6, "-" * 10**6, "例" * 10**5, "[" * 10**6, "%" * 10**6):
        assert isinstance(parse_endpoint(f"https://{text}"), Invalid)


def test_the_root_dot_is_published_on_neither_object() -> None:
    """Go's side of the contract compares the host with the names in a certificate."""
    outputs = {"status": {"atProvider": {"outputs": {"cluster_endpoint": f"https://{HOST}."}}}}
    objects = changed(ready(), "Workspace", "tokyo-eks-controlplane", outputs)
    done = run(objects)
    for kind in ("CAPTControlPlane", "Cluster"):
        published = done.find(kind, "tokyo")["spec"]["controlPlaneEndpoint"]
        assert published == {"host": HOST, "port": 443}
    assert [each for each in done.writes if each.target.kind == "Cluster"] == []


@pytest.mark.parametrize(
    "text", ["https://a.example https://b.example", "a" * 64, "a..b", "é" * 63]
)
def test_an_impossible_host_overwrites_no_endpoint(text: str) -> None:
    """The verdict is EndpointUpdateFailed, and both objects keep the good one."""
    outputs = {"status": {"atProvider": {"outputs": {"cluster_endpoint": text}}}}
    objects = changed(ready(), "Workspace", "tokyo-eks-controlplane", outputs)
    assert look(objects).verdict.reason == "EndpointUpdateFailed"
    done = run(objects)
    for kind in ("CAPTControlPlane", "Cluster"):
        assert done.find(kind, "tokyo")["spec"] == find(ready(), kind, "tokyo")["spec"]


@pytest.mark.parametrize("text", ["null", " {} "])
def test_a_text_that_is_no_string_has_no_url_to_make_public(text: str) -> None:
    """Nothing is published of it, so that nothing is taken out of it."""
    assert public_url(text) == text
