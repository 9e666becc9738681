"""The endpoint that the provider publishes as text, and what is known of any value of that kind.

Rules of this module:

1. One value, one parser: no other code looks into these strings. Two parsers that disagreed were
   the hot loop behind CAPTEP-0016.
2. Missing and invalid are different answers. Neither is an exception, and neither carries the text,
   because it may come from a Secret.
3. A host is bare: no scheme, no user, no path, IPv6 without brackets. The port is the one given, or
   443.
4. A value is taken as it is, unless it strictly decodes from base64 to printable text with a
   scheme.
"""

import binascii
import re
from typing import Generic, TypeAlias, TypeVar

from attrs import field, frozen
from attrs.validators import and_, ge, le, min_len

from captep_core._observation import Unreadable

__all__ = [
    "APIEndpoint",
    "Endpoint",
    "Invalid",
    "Missing",
    "Output",
    "Present",
    "json_text",
    "parse_endpoint",
    "public_url",
    "quoted_text",
]

T = TypeVar("T")

_DEFAULT_PORT = 443
# DNS holds a name in at most 255 octets with its length bytes (RFC 1035).
_LONGEST_NAME = 253
# Greedy without nesting, so that a long text is matched in one run.
_JSON_SCALAR = re.compile(r"true|false|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_JSON_STARTS = '"{ntf-0123456789'
_AUTHORITY_END = re.compile(r"[/?#]")
_USER_INFO = re.compile(r"\A((?:[A-Za-z][A-Za-z0-9+.-]*://)?)[^/?#]*@")
_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://")
_PORT = re.compile(r"0*([1-9][0-9]{0,4})")
_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")


@frozen
class APIEndpoint:
    """Where the API server of a workload cluster listens: a bare host (name, IPv4 or IPv6) and a
    port from 1 to 65535.
    """

    host: str = field(validator=min_len(1))
    port: int = field(validator=and_(ge(1), le(65535)))


@frozen
class Present(Generic[T]):
    """A good value. No repr shows it, because it may come from a Secret."""

    value: T = field(repr=False)


@frozen
class Missing:
    """The provider has not published the value yet."""


@frozen
class Invalid:
    """The provider published something else; `problem` says what is wrong with it and never quotes
    it.
    """

    problem: str


Output: TypeAlias = Present[T] | Missing | Invalid | Unreadable
"""What is known of one value that the provider publishes."""

Endpoint: TypeAlias = Output[APIEndpoint]


def json_text(text: str) -> Present[str] | Missing | Invalid:
    """Return the text that a Terraform output holds.

    Crossplane writes an output that is no string as JSON text. `null` is Missing, a number, `true`
    or an object is Invalid, and a quoted JSON string is the string inside. Any other text is
    itself; a list is no host and no certificate.
    """
    plain = text.strip()
    if plain[:1] not in _JSON_STARTS:
        return Present(text)
    if plain == "null":
        return Missing()
    if plain.startswith("{") or _JSON_SCALAR.fullmatch(plain):
        return Invalid("the value is JSON but no string")
    if not plain.startswith('"'):
        return Present(text)
    inside = quoted_text(plain)
    return Invalid("the value is a broken JSON string") if inside is None else Present(inside)


def quoted_text(text: str) -> str | None:
    """Return the string inside a quoted JSON string, None when `text` is not one."""
    # Hardly any value is quoted, so most processes never need the module.
    from json import loads  # noqa: PLC0415

    try:
        inside = loads(text)
    except (ValueError, RecursionError):
        return None
    return inside if isinstance(inside, str) else None


def parse_endpoint(text: str) -> Present[APIEndpoint] | Missing | Invalid:
    """Parse a URL, a host or `host:port`, in clear or as the base64 of a URL."""
    held = json_text(text)
    if not isinstance(held, Present):
        return held
    plain = held.value.strip()
    bare = _SCHEME.sub("", _decoded_url(plain) or plain)
    authority = _AUTHORITY_END.split(bare, maxsplit=1)[0].rpartition("@")[2]
    if not authority:
        return Missing()
    host, port = _host_and_port(authority)
    host = host.removesuffix(".")
    if not _is_host(host):
        return Invalid("the host is neither a name nor an IP address")
    if "://" in bare or len(bare.split()) > 1:
        return Invalid("there is more than one address")
    if not port:
        return Present(APIEndpoint(host, _DEFAULT_PORT))
    number = _PORT.fullmatch(port)
    if number is None or int(number[1]) > 65535:
        return Invalid("the port is not a number from 1 to 65535")
    return Present(APIEndpoint(host, int(number[1])))


def public_url(text: str) -> str:
    """Return the endpoint as the provider wrote it, without a user and a password.

    The kubeconfig template wants the URL with its scheme; credentials never leave the Secret.
    """
    if "://" in text and "@" not in text and '"' not in text:
        return text
    held = json_text(text)
    if not isinstance(held, Present):
        return text
    plain = held.value.strip()
    for url in (_decoded_url(plain), plain):
        without_user = _USER_INFO.sub(r"\1", url)
        if url and without_user != url:
            return without_user
    return held.value


def _decoded_url(text: str) -> str:
    """Return the URL that `text` strictly decodes to from base64, "" when it does not."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True).decode().strip()
    except ValueError:
        return ""
    return decoded if _SCHEME.match(decoded) and decoded.isprintable() else ""


def _host_and_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        is_address = bool(bracket) and ":" in host and rest[:1] in ("", ":")
        return (host, rest[1:]) if is_address else ("", "")
    if authority.count(":") > 1:
        return authority, ""
    host, _, port = authority.partition(":")
    return host, port


def _is_host(host: str) -> bool:
    if ":" in host or host.rpartition(".")[2].isdigit():
        return _is_address(host)
    if len(host) > _LONGEST_NAME or not all(_LABEL.fullmatch(each) for each in host.split(".")):
        return False
    return host.isascii() or _fits_dns(host)


def _fits_dns(host: str) -> bool:
    """Whether DNS can hold a name with other letters than ASCII, after IDNA (RFC 3490)."""
    try:
        encoded = host.encode("idna").decode()
    except UnicodeError:
        return False
    # Some letters become a dot or a bracket, which a label cannot hold.
    labels = encoded.split(".")
    return (
        len(encoded) <= _LONGEST_NAME
        and len(labels) == host.count(".") + 1
        and all(map(_LABEL.fullmatch, labels))
    )


def _is_address(host: str) -> bool:
    # EKS publishes names, so most processes never need the module, which is slow to import.
    from ipaddress import ip_address  # noqa: PLC0415

    try:
        ip_address(host)
    except ValueError:
        return False
    # A zone has a meaning on one machine only.
    return "%" not in host
