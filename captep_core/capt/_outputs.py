"""The values that the provider publishes as text: the API endpoint and the certificate authority.
The only parsers.

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
    "parse_certificate",
    "parse_endpoint",
]

T = TypeVar("T")

_DEFAULT_PORT = 443
_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://")
_PORT = re.compile(r"0*([1-9][0-9]{0,4})")
_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
_PEM = re.compile(r"\s*-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


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


def parse_endpoint(text: str) -> Present[APIEndpoint] | Missing | Invalid:
    """Parse a URL, a host or `host:port`, in clear or as the base64 of a URL."""
    plain = text.strip()
    bare = _SCHEME.sub("", _decoded_url(plain) or plain)
    authority = re.split(r"[/?#]", bare)[0].rpartition("@")[2]
    if not authority:
        return Missing()
    host, port = _host_and_port(authority)
    if not _is_host(host):
        return Invalid("the host is neither a name nor an IP address")
    if not port:
        return Present(APIEndpoint(host, _DEFAULT_PORT))
    number = _PORT.fullmatch(port)
    if number is None or int(number[1]) > 65535:
        return Invalid("the port is not a number from 1 to 65535")
    return Present(APIEndpoint(host, int(number[1])))


def _decoded_url(text: str) -> str:
    """Return the URL that `text` strictly decodes to from base64, "" when it does not."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True).decode().strip()
    except ValueError:
        return ""
    return decoded if _SCHEME.match(decoded) and decoded.isprintable() else ""


def _host_and_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return (host, rest[1:]) if ":" in host and rest[:1] in ("", ":") else ("", "")
    if authority.count(":") > 1:
        return authority, ""
    host, _, port = authority.partition(":")
    return host, port


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    if ":" in host or labels[-1].isdigit():
        return _is_address(host)
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _is_address(host: str) -> bool:
    # EKS publishes names, so most processes never need the module, which is slow to import.
    from ipaddress import ip_address  # noqa: PLC0415

    try:
        ip_address(host)
    except ValueError:
        return False
    # A zone has a meaning on one machine only.
    return "%" not in host


def parse_certificate(value: bytes | None) -> Present[bytes] | Missing | Invalid:
    """Parse PEM, or the base64 of PEM as EKS gives it; None means that there is no such key.

    White space and missing padding in the base64 are forgiven.
    """
    if value is None or not value.strip():
        return Missing()
    pem = _pem(value) or _pem(_decoded(b"".join(value.split())))
    return (
        Present(pem)
        if pem
        else Invalid("it is not a PEM certificate, neither in clear nor in base64")
    )


def _decoded(compact: bytes) -> bytes:
    try:
        return binascii.a2b_base64(compact + b"=" * (-len(compact) % 4), strict_mode=True)
    except ValueError:
        return b""


def _pem(value: bytes) -> bytes:
    """Return `value` when it is a PEM certificate, b"" when it is not."""
    try:
        text = value.decode()
    except ValueError:
        return b""
    return value if _PEM.match(text) else b""
