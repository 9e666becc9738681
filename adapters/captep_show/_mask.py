"""Masks the values of Secrets: the output shows each value's length and fingerprint.

Rules of this module:

1. Every value of a Secret is masked, wherever the Secret is: as an object, as an item of a list, or
   as a manifest inside a field or an annotation of another object.
2. An annotation that holds a whole manifest of a Secret is masked as a whole. Tools keep one there:
   kubectl, kapp, Rancher.
3. Credentials outside of Secrets are masked where their form gives them away: a private key in PEM,
   plain or in base64, and the user info of a URL.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

__all__ = ["Show", "as_it_is", "masked"]

Show: TypeAlias = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""From kind and body to the body that the output shows."""

_MANIFEST: Final = re.compile(
    r"""^\s*"?[\[{]|(?:^|\n)\s*["']?(?:apiVersion|kind|data|stringData)["']?\s*:"""
)
"""JSON, or a line of YAML that only a manifest has."""
_SECRET: Final = re.compile(r"""["']?kind["']?\s*:\s*["']?Secret(?:List)?["']?\s*(?:[,}\n#]|\Z)""")
_GZIP: Final = "H4sI"
"""The first bytes of gzip in base64: Rancher packs the manifest into an annotation."""
_LEAST: Final = 6
"""Shorter values of a Secret stand in annotations by chance."""
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_USER_INFO: Final = re.compile(
    r"""(?<=https://)[^/?#@\s"]+(?=@)|(?<=http://)[^/?#@\s"]+(?=@)"""
    r"""|(?<=://)[^/?#@:\s"]*:[^/?#@\s"]+(?=@)"""
)
"""A token alone is a credential in http; in ssh a user without a password is not."""


def masked(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of `kind`, or a patch of one, with every value of a Secret masked."""
    if kind == "Secret":
        return _masked_secret(body)
    items_kind = kind.removesuffix("List") if kind.endswith("List") else ""
    shown: dict[str, Any] = {}
    for name, value in body.items():
        if name == "items" and items_kind and isinstance(value, list):
            shown[name] = [_masked_item(items_kind, item) for item in value]
        else:
            shown[name] = _masked_value(value)
    return shown


def as_it_is(_: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object, or a patch of one, unchanged: for --show-secrets."""
    return dict(body)


def _masked_item(kind: str, item: object) -> object:
    if not isinstance(item, dict):
        return _masked_value(item)
    own = item.get("kind")
    return masked(own if isinstance(own, str) else kind, item)


def _masked_value(value: object) -> object:
    """Return a value of an object that is no Secret: only manifests and credentials are masked."""
    match value:
        case dict():
            kind = value.get("kind")
            return masked(kind if isinstance(kind, str) else "", value)
        case list():
            return [_masked_value(item) for item in value]
        case str():
            return _masked_text(value)
        case _:
            return value


def _masked_text(text: str) -> str:
    # JSON inside JSON has its quotes escaped.
    if _is_manifest(text) and _SECRET.search(text.replace("\\", "")):
        return _mask(text)
    if _PRIVATE_KEY.search(_text_of(text)) and not _PRIVATE_KEY.search(text):
        return _mask(text)
    text = _PRIVATE_KEY.sub(lambda found: _mask(found[0]), text)
    return _USER_INFO.sub(lambda found: _mask(found[0]), text)


def _masked_secret(body: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(body)
    for name, decode in (("data", _decoded), ("stringData", _encoded)):
        if name not in shown:
            continue
        values = shown[name]
        if isinstance(values, dict):
            shown[name] = {key: _masked_entry(value, decode) for key, value in values.items()}
        else:
            shown[name] = _masked_entry(values, _encoded)
    metadata = shown.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(annotations, dict):
        values = _values(body)
        covered = {key: _masked_annotation(value, values) for key, value in annotations.items()}
        shown["metadata"] = {**metadata, "annotations": covered}
    return shown


def _masked_annotation(value: object, values: frozenset[str]) -> object:
    """Mask an annotation of a Secret that holds a manifest or one of the Secret's values."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    holds_content = _is_manifest(text) or any(each in text for each in values)
    return _mask(text) if holds_content else _masked_value(value)


def _is_manifest(text: str) -> bool:
    return text.startswith(_GZIP) or _MANIFEST.search(text) is not None


def _values(secret: Mapping[str, Any]) -> frozenset[str]:
    """Return the values of a Secret as texts, plain and encoded."""
    found: set[str] = set()
    for name in ("data", "stringData"):
        entries = secret.get(name)
        for value in entries.values() if isinstance(entries, dict) else ():
            if isinstance(value, str):
                found |= {value, _text_of(value), base64.b64encode(_encoded(value)).decode()}
    return frozenset(text for text in map(str.strip, found) if len(text) >= _LEAST)


def _text_of(value: str) -> str:
    """Return the text that base64 encodes, or the value itself."""
    return _decoded(value).decode("utf-8", "replace")


def _masked_entry(value: object, decode: Callable[[str], bytes]) -> str | None:
    """Mask a value; null stays null, because in a patch it deletes the key."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return _mask_bytes(decode(text))


def _mask(text: str) -> str:
    return _mask_bytes(_encoded(text))


def _mask_bytes(content: bytes) -> str:
    return f"<{len(content)} bytes, sha256:{hashlib.sha256(content).hexdigest()[:8]}>"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return _encoded(text)
