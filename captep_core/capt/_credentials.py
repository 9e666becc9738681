"""The certificate authority and the kubeconfig that the provider publishes. The only parsers.

Rules of this module:

1. Only certificate blocks leave the Secret of the certificate authority (RFC 7468). Text outside
   the blocks is allowed and not copied. Any other block, or a damaged one, makes the whole value
   invalid: a part of it could be a private key.
2. A kubeconfig is judged by its top level and copied byte for byte. The core has no YAML parser and
   needs none: a line that begins with the key is enough.
3. JSON text of a value that is no string is never a credential, and a quoted JSON string is the
   string inside (`captep_core.capt._outputs.json_text`).
"""

import binascii
import re
from collections.abc import Iterator

from attrs import field, frozen

from captep_core.capt._outputs import Invalid, Missing, Present, json_text, quoted_text

__all__ = ["Authority", "parse_authority", "parse_certificate", "parse_kubeconfig"]

# The first bytes of JSON text, white space before it included. Base64 of PEM has none of them.
_JSON_STARTS = b'"{ntf-0123456789 \t\r\n'
_BOM = b"\xef\xbb\xbf"
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"
_MARKERS = (b"-----BEGIN", b"-----END")
_NO_PEM = "it is not a PEM certificate, neither in clear nor in base64"

# Blocks as every tool writes them: the usual case, in one match.
_CANONICAL = re.compile(
    rb"""(?:
        -----BEGIN\ CERTIFICATE-----\n
        (?: [A-Za-z0-9+/]{64}\n )*
        (?: [A-Za-z0-9+/]{4} ){0,15}
        (?: [A-Za-z0-9+/]{2}== | [A-Za-z0-9+/]{3}= | [A-Za-z0-9+/]{4} )\n
        -----END\ CERTIFICATE-----\n?
    )++""",
    re.VERBOSE,
)
_KUBECONFIG_LINE = re.compile(
    rb"""^(?:
        (?: clusters | "clusters" | 'clusters' | users | "users" | 'users' )
        [ \t]* : (?=[ \t\r\n]|\Z)
      | (?: kind | "kind" | 'kind' ) [ \t]* : [ \t]+ (?: Config | "Config" | 'Config' )
        [ \t]* (?: [ \t]\#[^\n]* )? \r?$
    )""",
    re.MULTILINE | re.VERBOSE,
)


@frozen
class Authority:
    """A certificate authority: its blocks as PEM, and the same as the provider encoded them.

    The kubeconfig template wants what EKS publishes, which is base64. No repr shows either.
    """

    pem: bytes = field(repr=False)
    published: str = field(repr=False)


def parse_authority(value: bytes | None) -> Present[Authority] | Missing | Invalid:
    """Parse PEM, or the base64 of PEM as EKS gives it, into its certificate blocks.

    None means that there is no such key. White space and missing padding in the base64 are
    forgiven. A value that has no text outside its blocks comes back as it is.
    """
    text = _text_of(value)
    if not isinstance(text, bytes):
        return text
    if b"-----" in text:
        clear = _certificates(text)
        return Present(Authority(clear, clear.decode())) if clear else Invalid(_NO_PEM)
    decoded = _decoded(text)
    blocks = _certificates(decoded)
    if not blocks:
        return Invalid(_NO_PEM)
    if blocks == decoded:
        return Present(Authority(blocks, text.decode()))
    return Present(Authority(blocks, binascii.b2a_base64(blocks, newline=False).decode()))


def parse_certificate(value: bytes | None) -> Present[bytes] | Missing | Invalid:
    """Return the certificate blocks of an authority as PEM; see `parse_authority`."""
    found = parse_authority(value)
    return Present(found.value.pem) if isinstance(found, Present) else found


def _text_of(value: bytes | None) -> bytes | Missing | Invalid:
    """Unwrap JSON text; bytes that are not UTF-8 are no JSON."""
    if value is None or not value.strip():
        return Missing()
    if value[:1] not in _JSON_STARTS:
        return value
    try:
        held = json_text(value.decode())
    except ValueError:
        return value
    if not isinstance(held, Present):
        return held
    inside = held.value.encode(errors="replace")
    return inside if inside.strip() else Missing()


def _decoded(text: bytes) -> bytes:
    compact = b"".join(text.split())
    try:
        return binascii.a2b_base64(compact + b"=" * (-len(compact) % 4), strict_mode=True)
    except ValueError:
        return b""


def _certificates(value: bytes) -> bytes:
    """Return the certificate blocks of PEM; b"" without any, or when anything is damaged."""
    if _CANONICAL.fullmatch(value):
        return value
    lines = value.removeprefix(_BOM).splitlines(keepends=True)
    blocks: list[bytes] = []
    has_text = value.startswith(_BOM)
    rest = iter(lines)
    for line in rest:
        if line.strip() == _BEGIN:
            block = _block(line, rest)
            if not block:
                return b""
            blocks.append(block)
        elif any(marker in line for marker in _MARKERS):
            return b""
        elif line.strip():
            has_text = True
    return b"".join(blocks) if has_text or not blocks else value


def _block(first: bytes, rest: Iterator[bytes]) -> bytes:
    """Read one block to its end; b"" when it has none, or holds anything but base64."""
    lines = [first]
    body = bytearray()
    for line in rest:
        lines.append(line)
        if line.strip() == _END:
            is_sound = bool(body) and _is_base64(bytes(body))
            return _with_line_end(b"".join(lines)) if is_sound else b""
        body += b"".join(line.split())
    return b""


def _with_line_end(block: bytes) -> bytes:
    return block if block.endswith(b"\n") else block + b"\n"


def _is_base64(body: bytes) -> bool:
    try:
        binascii.a2b_base64(body, strict_mode=True)
    except ValueError:
        return False
    return True


def parse_kubeconfig(value: bytes) -> Present[bytes] | Missing | Invalid:
    """Return the bytes of a kubeconfig; Missing for nothing, Invalid for anything else.

    A kubeconfig has `clusters`, `users` or `kind: Config` at its top level, as a JSON object or as
    an unindented line; a byte order mark, CRLF and a document marker do not matter.
    """
    plain = value.strip()
    if plain.startswith(b'"'):
        plain = value = _unquoted(value)
    if not plain.strip() or plain == b"null":
        return Missing()
    if _is_kubeconfig(value.removeprefix(_BOM)):
        return Present(value)
    return Invalid("the value is no kubeconfig: expected clusters, users or kind: Config")


def _unquoted(value: bytes) -> bytes:
    """Return the string inside a quoted JSON string; YAML with a quoted key is itself."""
    try:
        inside = quoted_text(value.decode())
        return value if inside is None else inside.encode()
    except ValueError:
        return value


def _is_kubeconfig(plain: bytes) -> bool:
    first = plain.lstrip()[:1]
    if first == b"[":
        return False
    return _is_json_kubeconfig(plain) if first == b"{" else bool(_KUBECONFIG_LINE.search(plain))


def _is_json_kubeconfig(plain: bytes) -> bool:
    # JSON that begins with a brace is an object, or it is broken.
    from json import loads  # noqa: PLC0415 - most kubeconfigs are YAML

    try:
        config = loads(plain.decode())
    except (ValueError, RecursionError):
        return False
    return "clusters" in config or "users" in config or config.get("kind") == "Config"
