"""Masks the values of Secrets: the output shows each value's length and fingerprint."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

__all__ = ["Show", "as_it_is", "masked"]

Show: TypeAlias = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""From kind and body to the body that the output shows."""

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the manifest, values included."""


def masked(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of `kind`, or a patch of one, with every value of a Secret masked."""
    shown = dict(body)
    if kind != "Secret":
        return shown
    for field, decode in (("data", _decoded), ("stringData", _encoded)):
        if field in shown:
            values = shown[field]
            shown[field] = (
                {key: _mask(value, decode) for key, value in values.items()}
                if isinstance(values, dict)
                else _mask(values, _encoded)
            )
    metadata = shown.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict) and _LAST_APPLIED in annotations:
        covered = {**annotations, _LAST_APPLIED: _mask(annotations[_LAST_APPLIED], _encoded)}
        shown["metadata"] = {**shown["metadata"], "annotations": covered}
    return shown


def as_it_is(_: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object, or a patch of one, unchanged: for --show-secrets."""
    return dict(body)


def _mask(value: object, decode: Callable[[str], bytes]) -> str | None:
    """Mask a value; null stays null, because in a patch it deletes the key."""
    if value is None:
        return None
    content = decode(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    return f"<{len(content)} bytes, sha256:{hashlib.sha256(content).hexdigest()[:8]}>"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return _encoded(text)
