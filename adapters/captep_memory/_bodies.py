"""Bytes of a request to JSON as the API server decodes them, and JSON back to bytes.

The facts were measured on kube-apiserver 1.37: NaN, Infinity and a byte order mark are no JSON; a
number beyond int64 is a float; an invalid UTF-8 byte and a lone surrogate become U+FFFD; of two
equal keys the last counts.
"""

import codecs
import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from captep_memory._json import JSON, Value

__all__ = ["BodyError", "decode_json", "decode_yaml", "encode_json"]

_INT64: Final = 1 << 63
# Longer literals are no int64; Python refuses to convert thousands of digits.
_INT64_DIGITS: Final = 20
# Go writes a float with an exponent from here on.
_GO_EXPONENT: Final = 1e21
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM: Final = b"\xef\xbb\xbf"


class BodyError(ValueError):
    """The bytes are no document; the message says why."""


def _replace_bytes(error: UnicodeError) -> tuple[str, int]:
    """Replace each invalid byte, as Go does; Python would replace a cut sequence as a whole."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\N{REPLACEMENT CHARACTER}" * (error.end - error.start), error.end


codecs.register_error("captep-memory-replace", _replace_bytes)


def decode_json(raw: bytes) -> JSON:
    """Return the JSON value of a body.

    Raises:
        BodyError: the bytes are no JSON document, or hold a number beyond float64.
    """
    if raw.startswith(_BOM):
        raise BodyError("invalid character 'ï' looking for beginning of value")
    text = raw.decode("utf-8", "captep-memory-replace")
    try:
        value = json.loads(text, parse_constant=_constant, parse_int=_integer, parse_float=_float)
    except RecursionError as error:
        raise BodyError("exceeded max depth") from error
    except json.JSONDecodeError as error:
        raise BodyError(_reason(error, text)) from error
    return _without_surrogates(value) if "\\u" in text else value  # type: ignore[no-any-return]  # JSON


def _reason(error: json.JSONDecodeError, text: str) -> str:
    if error.pos >= len(text.rstrip()):
        return "unexpected end of JSON input"
    return f"invalid character {text[error.pos]!r} looking for beginning of value"


def _constant(name: str) -> float:
    raise BodyError(f"invalid character {name[0]!r} looking for beginning of value")


def _integer(digits: str) -> int | float:
    if len(digits) > _INT64_DIGITS:
        return _float(digits)
    value = int(digits)
    return value if -_INT64 <= value < _INT64 else float(value)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise BodyError(f"json: cannot unmarshal number {digits} into Go value of type float64")
    return value


def _without_surrogates(value: Value) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def decode_yaml(raw: bytes) -> JSON:
    """Return the value of a YAML body, with the types that JSON has.

    Of several documents the first counts; the real server does not look at the others.

    Raises:
        BodyError: the bytes are no YAML document.
        ModuleNotFoundError: PyYAML, of the extra `cli`, is not installed.
    """
    import yaml  # noqa: PLC0415 - an optional dependency

    try:
        loader = _loader()(raw)  # a SafeLoader without timestamps
        value = loader.get_data() if loader.check_data() else None
        return decode_json(json.dumps(value).encode())
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else "not a document"
        raise BodyError(f"yaml: {first}") from error


def _loader() -> Any:  # noqa: ANN401 - a class of an optional dependency
    import yaml  # noqa: PLC0415 - as above

    class Loader(yaml.SafeLoader):
        """YAML as the API server reads it: a date is a string."""

    resolvers: dict[str, list[tuple[str, Any]]] = yaml.SafeLoader.yaml_implicit_resolvers
    Loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in pairs if not tag.endswith(":timestamp")]
        for first, pairs in resolvers.items()
    }
    return Loader


def encode_json(value: JSON, *, pretty: bool = False) -> bytes:
    """Return a body as bytes; numbers have the form that Go gives them."""
    shown = _as_go_writes(value)
    indent, separators = (2, None) if pretty else (None, (",", ":"))
    return json.dumps(shown, indent=indent, separators=separators).encode() + b"\n"


def _as_go_writes(value: Value) -> Any:  # noqa: ANN401 - JSON
    """Return a value with whole floats as integers: Go writes 9.2e+18 in full."""
    if isinstance(value, float):
        return int(Decimal(repr(value))) if _is_whole(value) else value
    if isinstance(value, list):
        return _mapped(value, _as_go_writes)
    if isinstance(value, dict):
        changed = {key: _as_go_writes(item) for key, item in value.items()}
        return changed if any(changed[key] is not value[key] for key in value) else value
    return value


def _is_whole(value: float) -> bool:
    return value.is_integer() and abs(value) < _GO_EXPONENT


def _mapped(items: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    changed = [change(item) for item in items]
    return (
        changed if any(new is not old for new, old in zip(changed, items, strict=True)) else items
    )
