"""What the provider publishes, as text, made into values: the API endpoint and the certificate authority. The only parsers.

Rules of this module:

1. One value, one parser: nobody else looks into these strings (CAPTEP-0016: two parsers that disagreed were the hot loop).
2. "Not there yet" and "nonsense" are different answers. Neither is an exception, and neither carries the text: it may come from a Secret.
3. A host is bare: no scheme, no user, no path, IPv6 without brackets. The port is the one given or 443.
4. A value is taken as it is, unless it strictly decodes from base64 to printable text with a scheme.
"""

import binascii
import re
from typing import TypeAlias

from attrs import field, frozen
from attrs.validators import and_, ge, le, min_len

__all__ = [
    "APIEndpoint",
    "Certificate",
    "CertificateInvalid",
    "CertificateMissing",
    "Endpoint",
    "EndpointInvalid",
    "EndpointMissing",
    "EndpointUnreadable",
    "parse_certificate",
    "parse_endpoint",
]

_DEFAULT_PORT = 443
_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://")
_PORT = re.compile(r"0*([1-9][0-9]{0,4})")
_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
_PEM = re.compile(r"\s*-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@frozen
class APIEndpoint:
    """Where the API server of a workload cluster listens: a bare host (name, IPv4 or IPv6) and a port from 1 to 65535."""

    host: str = field(validator=min_len(1))
    port: int = field(validator=and_(ge(1), le(65535)))


@frozen
class EndpointMissing:
    """The provider has not published an endpoint (yet)."""


@frozen
class EndpointInvalid:
    """The provider published something that is no endpoint; `problem` says in which way, without the text itself."""

    problem: str


@frozen
class EndpointUnreadable:
    """What the provider published could not be read: the endpoint is unknown, which is neither there nor gone."""


Endpoint: TypeAlias = APIEndpoint | EndpointMissing | EndpointInvalid | EndpointUnreadable


def parse_endpoint(text: str) -> APIEndpoint | EndpointMissing | EndpointInvalid:
    """Parse a URL, a host or `host:port`, in clear or as the base64 of a URL."""
    plain = text.strip()
    bare = _SCHEME.sub("", _decoded_url(plain) or plain)
    authority = re.split(r"[/?#]", bare)[0].rpartition("@")[2]
    if not authority:
        return EndpointMissing()
    host, port = _host_and_port(authority)
    if not _is_host(host):
        return EndpointInvalid("the host is neither a name nor an IP address")
    if not port:
        return APIEndpoint(host, _DEFAULT_PORT)
    number = _PORT.fullmatch(port)
    if number is None or int(number[1]) > 65535:
        return EndpointInvalid("the port is not a number from 1 to 65535")
    return APIEndpoint(host, int(number[1]))


def _decoded_url(text: str) -> str:
    """Return the URL that `text` is the strict base64 of, "" when it is none."""
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
    from ipaddress import ip_address  # noqa: PLC0415 - EKS gives names; who never sees an address does not wait for it

    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host  # a zone means something on one machine only


@frozen
class Certificate:
    """A certificate authority as PEM text."""

    pem: str = field(repr=False)


@frozen
class CertificateMissing:
    """There is no certificate (yet): no such key, or nothing in it."""


@frozen
class CertificateInvalid:
    """There is something, but it is no PEM certificate, neither in clear nor in base64."""


def parse_certificate(value: bytes | None) -> Certificate | CertificateMissing | CertificateInvalid:
    """Parse PEM, or the base64 of PEM as EKS gives it; white space and missing padding in the base64 are forgiven. None: no such key."""
    if value is None or not value.strip():
        return CertificateMissing()
    pem = _pem(value) or _pem(_decoded(b"".join(value.split())))
    return Certificate(pem) if pem else CertificateInvalid()


def _decoded(compact: bytes) -> bytes:
    try:
        return binascii.a2b_base64(compact + b"=" * (-len(compact) % 4), strict_mode=True)
    except ValueError:
        return b""


def _pem(value: bytes) -> str:
    """Return `value` as text when it is a PEM certificate, "" when it is not."""
    try:
        text = value.decode()
    except ValueError:
        return ""
    return text if _PEM.match(text) else ""
