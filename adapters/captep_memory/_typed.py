"""Built-in kinds by their recorded Go types: an object as its type decodes and encodes it.

The data file holds the fields of every type: which are pointers, and which are left out when
empty. A decoder is made of it once per type, so that a request costs what its fields cost.
`tests/memory/record_kinds.py` records the file.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, TypeAlias

from captep_memory._defaults import DEFAULTS, Default
from captep_memory._json import Object, Value
from captep_memory._metadata import METADATA_FIELDS, decode_metadata
from captep_memory._modelled import is_modelled
from captep_memory._quantities import canonical
from captep_memory._status import bad_request, not_modelled

__all__ = [
    "decode_typed",
    "empty_status",
    "go_type",
    "served_resources",
    "typed_kind",
    "typed_kinds",
    "unknown_fields",
    "versions_of",
    "zero_of",
]

_ROOT = ("apiVersion", "kind", "metadata")
_INTEGERS: Mapping[str, int] = {"int32": 1 << 31, "int64": 1 << 63, "int": 1 << 63}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_QUANTITY = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")
# Lists that get a default where they are absent, and an error where they are empty.
_KEPT_EMPTY = frozenset({"HPAScalingRules.policies"})
_ABSENT: Any = object()
_Decode: TypeAlias = Callable[[Value], Value]
_Field: TypeAlias = Mapping[str, Any]
_Member: TypeAlias = tuple[type | None, bool, _Decode]
_PLAIN: Mapping[str, type] = {"string": str, "bool": bool}


class _MistypedError(Exception):
    """A value has another type than its field; the message names the field."""


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    text = files("captep_memory").joinpath("kinds-1.37.json").read_text("utf-8")
    data: Mapping[str, Any] = json.loads(text)
    return data


def typed_kinds() -> Mapping[str, Mapping[str, Any]]:
    """Return the recorded kinds by `apiVersion/kind`: type, resource and subresources."""
    kinds: Mapping[str, Mapping[str, Any]] = _data()["kinds"]
    return kinds


def served_resources() -> Mapping[str, Sequence[str]]:
    """Return the resources of a real kube-apiserver by apiVersion, with or without a model here."""
    served: Mapping[str, Sequence[str]] = _data()["served"]
    return served


@cache
def versions_of(group: str) -> frozenset[str]:
    """Return the apiVersions of a group on a real kube-apiserver; empty for any other group."""
    return frozenset(each for each in served_resources() if each.rpartition("/")[0] == group)


def go_type(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the fields of a recorded Go type."""
    fields: Mapping[str, Mapping[str, Any]] = _data()["types"][name]
    return fields


def typed_kind(api_version: str, kind: str) -> Mapping[str, Any] | None:
    """Return a recorded kind, None for any other."""
    return typed_kinds().get(f"{api_version}/{kind}")


def decode_typed(obj: Object, known: Object | None = None) -> Object:
    """Return an object of a recorded kind as the server encodes it, with the defaults of its types.

    Parts that are the same object as in `known`, a decoded object, count as decoded.

    Raises:
        RefusedError: 400, a value has the wrong type; 501, a field has no model.
    """
    kind = obj["kind"]
    name = typed_kinds()[f"{obj['apiVersion']}/{kind}"]["type"]
    if known is not None and obj.keys() == known.keys() and _is_same(obj, known):
        return obj
    content = {each: value for each, value in obj.items() if each not in _ROOT}
    try:
        decoded: Object = _fields(name)(content)
    except _MistypedError as error:
        version = obj["apiVersion"].rpartition("/")[2]
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: '
            f"json: cannot unmarshal into Go struct field {error}"
        ) from error
    decoded |= {each: obj[each] for each in _ROOT}
    default = DEFAULTS.get(name)
    if default is not None:
        default(decoded)
    return decoded


def _is_same(obj: Object, known: Object) -> bool:
    return all(value is known[name] for name, value in obj.items())


def empty_status(api_version: str, kind: str) -> Object:
    """Return the status of a new object, as far as its type writes it."""
    name = typed_kinds()[f"{api_version}/{kind}"]["type"]
    return dict(_struct(_data()["types"][name]["status"]["ref"])({}))


def zero_of(api_version: str, kind: str) -> Object:
    """Return what a type writes of an object without any field, before defaults."""
    name = typed_kinds()[f"{api_version}/{kind}"]["type"]
    return {**_zero(name), "apiVersion": api_version, "kind": kind}


def _zero(name: str) -> Object:
    zero: Object = {}
    for field_name, field in _data()["types"][name].items():
        written = _written(field)
        if written is not None:
            is_struct = "ref" in field and not field.get("pointer")
            zero[field_name] = _zero(field["ref"]) if is_struct else written()
    return zero


def unknown_fields(obj: Object) -> Iterator[str]:
    """Yield the path of each field of an object that its type does not have."""
    name = typed_kinds()[f"{obj['apiVersion']}/{obj['kind']}"]["type"]
    yield from _unknown(obj, {"ref": name}, "")


def _unknown(value: Value, field: _Field, path: str) -> Iterator[str]:
    if "items" in field and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, field["items"], f"{path}[{index}]")
    elif "map" in field and isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown(item, field["map"], f"{path}.{key}" if path else key)
    elif field.get("type") == "ObjectMeta" and isinstance(value, dict) and path != "metadata":
        yield from (f"{path}.{each}" for each in value if each not in METADATA_FIELDS)
    elif "ref" in field and isinstance(value, dict):
        members = _data()["types"][field["ref"]]
        for key, item in value.items():
            below = f"{path}.{key}" if path else key
            if key in members:
                yield from _unknown(item, members[key], below)
            else:
                yield below


@lru_cache(maxsize=512)
def _struct(name: str) -> _Decode:
    """Return the decoder of a struct inside of an object, with the defaults of its type."""
    return _decoder(name, DEFAULTS.get(name))


@lru_cache(maxsize=512)
def _fields(name: str) -> _Decode:
    """Return the decoder of a struct without the defaults of its type."""
    return _decoder(name, None)


def _decoder(name: str, default: Default | None) -> _Decode:  # noqa: C901  # a call costs much
    """Return the decoder of a struct: it fills what the type always writes."""
    short = name.rpartition(".")[2]
    members, always = _members(name)

    def decode(value: Value) -> Object:
        if not isinstance(value, dict):
            raise _MistypedError(f"of type {short}")
        decoded: Object = {}
        for key, given in value.items():
            if given is None or key not in members:
                continue
            # Most fields are strings and flags: they need no call.
            plain, keeps, member = members[key]
            if plain is type(given):
                if given or keeps:
                    decoded[key] = given
                continue
            item = member(given)
            if item is not _ABSENT:
                decoded[key] = item
        for key, make in always:
            if key not in decoded:
                decoded[key] = make()
        if default is not None:
            default(decoded)
        return decoded

    return decode


def _members(name: str) -> tuple[dict[str, _Member], list[tuple[str, Callable[[], Value]]]]:
    """Return how to decode each field of a struct, and what makes those that are always there.

    A field of a plain type has the type, and whether it keeps a zero value.
    """
    short = name.rpartition(".")[2]
    members: dict[str, _Member] = {}
    always: list[tuple[str, Callable[[], Value]]] = []
    for field_name, field in _data()["types"][name].items():
        if not is_modelled(short, field_name):
            members[field_name] = (None, True, _unmodelled(field_name, short, field))
            continue
        keeps = bool(field.get("pointer")) or not field.get("omit")
        plain = _PLAIN.get(field.get("type", ""))
        members[field_name] = (plain, keeps, _member(field, f"{short}.{field_name}"))
        written = _written(field)
        if written is not None:
            always.append((field_name, written))
    return members, always


def _unmodelled(field_name: str, short: str, field: _Field) -> _Decode:
    """Refuse a value; an empty one counts as absent where the type drops it: protobuf sends all."""
    keeps = bool(field.get("pointer")) or "ref" in field

    def refuse(given: Value) -> Value:
        if not given and not keeps:
            return _ABSENT
        raise not_modelled(f"the field {field_name} of {short}")

    return refuse


def _member(field: _Field, path: str) -> _Decode:
    """Return the decoder of a field: _ABSENT for what the type leaves out."""
    decode = _value(field, path)
    is_always = field.get("pointer") or ("ref" in field and not field.get("omitzero"))
    if is_always or path in _KEPT_EMPTY:
        return decode
    if "items" in field or "map" in field or field.get("type") == "bytes":
        empty = _ABSENT if field.get("omit") else None

        def listed(given: Value) -> Value:
            return decode(given) or empty

        return listed
    if not field.get("omit"):
        return decode
    if field.get("type") in ("Time", "MicroTime", "Quantity", "IntOrString", "ObjectMeta"):
        # A struct to Go: omitempty does not leave it out.
        return decode

    def kept(given: Value) -> Value:
        return decode(given) or _ABSENT

    return kept


def _written(field: _Field) -> Callable[[], Value] | None:
    """Return what a field without a value becomes, None where it is left out."""
    scalar = field.get("type")
    if field.get("pointer"):
        return None if field.get("omit") else _null
    if "ref" in field:
        if field.get("omitzero"):
            return None
        name = field["ref"]
        return lambda: _struct(name)({})
    if scalar == "ObjectMeta":
        return dict
    if field.get("omit") and scalar not in ("Time", "MicroTime", "Quantity", "IntOrString"):
        return None
    if field.get("omitzero"):
        return None
    zeros: Mapping[str | None, Value] = {"string": "", "bool": False, "Quantity": "0"}
    zero = zeros.get(scalar, 0 if scalar in _INTEGERS or scalar == "IntOrString" else None)
    return lambda: zero


def _null() -> None:
    return None


def _value(field: _Field, path: str) -> _Decode:
    """Return the decoder of a value that is not null."""
    if "ref" in field:
        name = field["ref"]
        return _struct(name)
    if "items" in field:
        return _list(field["items"], path)
    if "map" in field:
        return _map(field["map"], path)
    kind = field["type"]
    if kind in _INTEGERS:
        return _integer(_INTEGERS[kind], path)
    if kind in ("string", "bool"):
        return _plain(_PLAIN[kind], path)
    decode = _SCALARS.get(kind)
    if decode is None:
        return _without_model(path)
    return lambda given: decode(given, path)


def _without_model(path: str) -> _Decode:
    def refuse(_: Value) -> Value:
        raise not_modelled(f"values of {path}")

    return refuse


def _list(item: _Field, path: str) -> _Decode:
    decode = _value(item, path)
    if item.get("type") == "string":
        return _string_list(path)
    null = _written({**item, "omit": 0})

    def decoded(given: Value) -> Value:
        if not isinstance(given, list):
            raise _MistypedError(path)
        return [decode(each) if each is not None else null and null() for each in given]

    return decoded


def _string_list(path: str) -> _Decode:
    def decoded(given: Value) -> Value:
        if not isinstance(given, list):
            raise _MistypedError(path)
        kinds = set(map(type, given))
        if kinds <= {str}:
            return given
        if not kinds <= {str, type(None)}:
            raise _MistypedError(path)
        return [each or "" for each in given]

    return decoded


def _map(item: _Field, path: str) -> _Decode:
    decode = _value(item, path)
    null = _written({**item, "omit": 0})

    def decoded(given: Value) -> Value:
        if not isinstance(given, dict):
            raise _MistypedError(path)
        return {
            key: decode(each) if each is not None else null and null()
            for key, each in given.items()
        }

    return decoded


def _plain(wanted: type, path: str) -> _Decode:
    def decoded(given: Value) -> Value:
        if type(given) is not wanted:
            raise _MistypedError(path)
        return given

    return decoded


def _integer(limit: int, path: str) -> _Decode:
    def decoded(given: Value) -> Value:
        if type(given) is not int or not -limit <= given < limit:
            raise _MistypedError(path)
        return given

    return decoded


def _int_or_string(given: Value, path: str) -> Value:
    if type(given) is str or (type(given) is int and -(1 << 31) <= given < 1 << 31):
        return given
    raise _MistypedError(path)


def _quantity(given: Value, path: str) -> str:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise _MistypedError(path)
    text = str(given)
    found = canonical(text)
    if found is None:
        if not _QUANTITY.fullmatch(text):
            raise _MistypedError(f"{path}: quantities must match a regular expression")
        raise not_modelled(f"the quantity {given} in {path}")
    return found


def _moment(given: Value, path: str) -> datetime:
    if not isinstance(given, str) or not _TIME.fullmatch(given):
        raise _MistypedError(path)
    try:
        return datetime.fromisoformat(given).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _MistypedError(path) from error


def _time(given: Value, path: str) -> str | None:
    if given == "":
        return None
    return _moment(given, path).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(given: Value, path: str) -> str | None:
    if given == "":
        return None
    return _moment(given, path).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _bytes(given: Value, path: str) -> str:
    if not isinstance(given, str):
        raise _MistypedError(path)
    try:
        plain = base64.b64decode(given.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _MistypedError(f"{path}: illegal base64 data") from error
    return base64.b64encode(plain).decode()


def _template_metadata(given: Value, path: str) -> Object:
    """The metadata of a template, as far as people set it."""
    decoded = decode_metadata(given)
    stray = decoded.keys() - {"name", "labels", "annotations", "finalizers"}
    if stray:
        raise not_modelled(f"{', '.join(sorted(stray))} in the metadata of {path}")
    return decoded


_SCALARS: Mapping[str, Callable[[Value, str], Value]] = {
    "IntOrString": _int_or_string,
    "Quantity": _quantity,
    "Time": _time,
    "MicroTime": _micro_time,
    "bytes": _bytes,
    "ObjectMeta": _template_metadata,
}
