"""Protobuf bodies of built-in kinds as JSON, by the field numbers of the recorded Go types.

Go clients such as controller-runtime's send built-in objects in this form, and accept JSON as an
answer. The envelope is `k8s\\0` and a runtime.Unknown: type and raw bytes of the message.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from captep_memory._bodies import BodyError, decode_json
from captep_memory._json import JSON, Object, Value
from captep_memory._typed import go_type, typed_kind

__all__ = ["decode_protobuf"]

_MAGIC: Final = b"k8s\x00"
_META: Final = "apimachinery.pkg.apis.meta.v1"
_INTEGERS: Final = frozenset({"int32", "int64", "int"})


def decode_protobuf(raw: bytes) -> JSON:
    """Return the object of a body.

    Raises:
        BodyError: the bytes are no such body, or hold a kind without a recorded type.
    """
    if not raw.startswith(_MAGIC):
        raise BodyError("provided data does not appear to be a protobuf message")
    try:
        envelope = dict(_fields(raw[len(_MAGIC) :]))
        type_meta = {number: _text(value) for number, value in _fields(envelope.get(1, b""))}
        api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
        name = _type_of(api_version, kind)
        obj = _struct(envelope.get(2, b""), name)
    except (IndexError, TypeError, ValueError, AttributeError) as error:
        raise BodyError("proto: illegal wireType or length") from error
    return {**obj, "apiVersion": api_version, "kind": kind}


def _type_of(api_version: str, kind: str) -> str:
    recorded = typed_kind(api_version, kind)
    if recorded is not None:
        return str(recorded["type"])
    if kind == "DeleteOptions":
        return f"{_META}.DeleteOptions"
    if (api_version, kind) == ("autoscaling/v1", "Scale"):
        return "api.autoscaling.v1.Scale"
    raise BodyError(f'no kind "{kind}" is registered for version "{api_version}"')


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field: an integer or bytes."""
    position = 0
    while position < len(raw):
        tag, position = _varint(raw, position)
        match tag & 7:
            case 0:
                value, position = _varint(raw, position)
                yield tag >> 3, value
            case 2:
                length, position = _varint(raw, position)
                if position + length > len(raw):
                    raise ValueError("a length beyond the message")
                yield tag >> 3, raw[position : position + length]
                position += length
            case _:
                raise ValueError("an unknown wire type")


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError("a number beyond 64 bits")


@lru_cache(maxsize=512)
def _numbers(name: str) -> Mapping[tuple[int, int], tuple[str, Mapping[str, Any]]]:
    """Return the fields of a type by (number of the embedded struct or 0, number)."""
    return {
        (field.get("via", 0), field["proto"]): (field_name, field)
        for field_name, field in go_type(name).items()
        if field.get("proto")
    }


def _struct(raw: bytes, name: str) -> Object:
    numbers = _numbers(name)
    embedded = {via for via, _ in numbers if via}
    decoded: Object = {}
    for number, value in _fields(raw):
        if number in embedded:
            for inner, below in _fields(value):
                _put(decoded, numbers.get((number, inner)), below)
        else:
            _put(decoded, numbers.get((0, number)), value)
    return decoded


def _put(decoded: Object, found: tuple[str, Mapping[str, Any]] | None, value: Value) -> None:
    if found is None:
        return
    name, field = found
    if "items" in field:
        decoded.setdefault(name, []).append(_value(value, field["items"]))
    elif "map" in field:
        pair = dict(_fields(value))
        item = pair.get(2, b"" if field["map"].get("type") not in _INTEGERS else 0)
        decoded.setdefault(name, {})[_text(pair.get(1, b""))] = _value(item, field["map"])
    else:
        decoded[name] = _value(value, field)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _value(value: Value, field: Mapping[str, Any]) -> Value:
    if "ref" in field:
        return _struct(value, field["ref"])
    kind = field["type"]
    decode = _SCALARS.get(kind)
    if decode is None:
        raise BodyError(f"values of the type {kind} in protobuf")
    return decode(value)


def _int_or_string(value: bytes) -> int | str:
    parts = dict(_fields(value))
    return _text(parts.get(3, b"")) if parts.get(1) else _signed(parts.get(2, 0))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _moment(parts: Mapping[int, int], kind: str) -> str | None:
    if not parts:
        return None
    moment = datetime.fromtimestamp(_signed(parts.get(1, 0)), UTC)
    if kind == "MicroTime":
        moment = moment.replace(microsecond=parts.get(2, 0) // 1000)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


_SCALARS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "string": _text,
    "bool": bool,
    **dict.fromkeys(_INTEGERS, _signed),
    "bytes": lambda value: base64.b64encode(value).decode(),
    "Quantity": lambda value: _text(dict(_fields(value)).get(1, b"0")),
    "IntOrString": _int_or_string,
    "Time": lambda value: _moment(dict(_fields(value)), "Time"),
    "MicroTime": lambda value: _moment(dict(_fields(value)), "MicroTime"),
    "ObjectMeta": lambda value: _struct(value, f"{_META}.ObjectMeta"),
    "Raw": lambda value: decode_json(dict(_fields(value)).get(1, b"null")),
}
