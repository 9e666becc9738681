"""Structural schemas as validation: the causes of a 422, worded and placed as the API server does
(rows A3, A4).

An update validates changed values only (ratcheting, on by default since Kubernetes 1.30). A write
that touches a rule without a model gets 501: CEL rules, embedded resources, rare formats, and
patterns that Python reads differently from Go.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from captep_memory._json import MISSING, Value, identical
from captep_memory._schema import Schema, child_schema, items_schema
from captep_memory._sound import EXACT, compiled, is_sound
from captep_memory._status import (
    Cause,
    duplicate,
    invalid_value,
    not_modelled,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)

__all__ = ["RULES", "validate"]

RULES = "x-kubernetes-validations"
"""The member of a schema that holds rules of CEL."""
_UNMODELLED = (RULES, "x-kubernetes-embedded-resource")
_JUNCTORS = frozenset({"allOf", "anyOf", "not", "oneOf"})
_EXACT_SCALARS: Mapping[str, type] = {"boolean": bool, "integer": int, "string": str}
# The parts of a schema that ask nothing of a value of its type.
_UNASKED = frozenset({"default", "description", "example", "nullable", "title", "type"})
_UNCHECKED_FORMATS = frozenset({"", "int32", "int64", "float", "double", "password"})
# Formats that the API server checks; it ignores all others.
_UNMODELLED_FORMATS = frozenset(
    {
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
    }
    | {
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "date",
        "duration",
        "datetime",
        "k8s-short-name",
        "k8s-long-name",
    }
)
# The largest integer n of which a float64 holds n and n + 1 apart.
_SAFE_INTEGER = (1 << 53) - 1
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def validate(value: Value, schema: Schema, path: str, old: Value = MISSING) -> Iterator[Cause]:
    """Yield the errors of `value`.

    Raises:
        RefusedError: 501, the answer depends on a rule without a model.
    """
    if old is not MISSING and identical(value, old):
        return
    if not path and is_sound(value, schema):
        # The root of most documents: the rest words what is wrong with the others.
        return
    if value is None and schema.get("nullable"):
        return
    is_exact = type(value) is EXACT.get(schema.get("type", ""))
    if is_exact and not schema.get("x-kubernetes-int-or-string"):
        yield from _validate_value(value, schema, path, old)
        return
    wrong = list(_validate_type(value, schema, path))
    yield from wrong
    if not wrong:
        yield from _validate_value(value, schema, path, old)
    elif isinstance(value, float) and schema.get("type") == "integer":
        yield from _validate_fraction(value, schema, path)


def _is_plainly_valid(value: Value, schema: Schema) -> bool:
    """Whether a scalar has the type that is all its schema asks of it."""
    return type(value) is _EXACT_SCALARS.get(schema.get("type", "")) and schema.keys() <= _UNASKED


def _validate_value(value: Value, schema: Schema, path: str, old: Value) -> Iterator[Cause]:
    found = list(_validate_enum(value, schema, path)) if "enum" in schema else []
    if isinstance(value, str):
        found += _validate_string(value, schema, path)
    elif isinstance(value, dict):
        found += _validate_object(value, schema, path, old)
    elif isinstance(value, list):
        found += _validate_list(value, schema, path, old)
    elif value is not None and not isinstance(value, bool):
        found += _validate_number(value, schema, path)
    if not _JUNCTORS.isdisjoint(schema):
        found += _validate_junctors(value, schema, path)
    if found:
        yield from found
        return
    for name in _UNMODELLED:
        if schema.get(name):
            raise not_modelled(f"{name} at {path or 'the root'}")


def _type_of(value: Value) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _validate_type(value: Value, schema: Schema, path: str) -> Iterator[Cause]:
    kind = _type_of(value)
    expected = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        allowed: tuple[str, ...] = ("integer", "string")
    elif expected:
        allowed = (expected, "integer") if expected == "number" else (expected,)
    else:
        return
    if kind in allowed or ("integer" in allowed and _is_whole(value)):
        return
    named = ",".join(allowed) if schema.get("x-kubernetes-int-or-string") else expected
    yield type_invalid(path, kind, f'{path} in body must be of type {named}: "{kind}"')


def _is_whole(value: Value) -> bool:
    """A float counts as an integer as far as a float holds every integer."""
    return isinstance(value, float) and value.is_integer() and abs(value) <= _SAFE_INTEGER


def _validate_enum(value: Value, schema: Schema, path: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed and not any(identical(value, item) for item in allowed):
        yield not_supported(path, value, allowed)


def _validate_string(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    least, most, pattern = schema.get("minLength"), schema.get("maxLength"), schema.get("pattern")
    if most is not None and len(value) > most:
        yield too_long(path, most)
    elif least is not None and len(value) < least:
        yield invalid_value(path, value, f"{path} in body should be at least {least} chars long")
    elif pattern and not compiled(pattern).search(value):
        yield invalid_value(path, value, f"{path} in body should match '{pattern}'")
    if "format" in schema:
        yield from _validate_format(value, str(schema["format"]), path)


def _validate_format(value: str, name: str, path: str) -> Iterator[Cause]:
    name = (
        name.replace("-", "")
        if name not in ("date-time", "k8s-short-name", "k8s-long-name")
        else name
    )
    if name in _UNMODELLED_FORMATS:
        raise not_modelled(f"the format {name} at {path}")
    if name == "date-time" and not _is_date_time(value):
        yield type_invalid(path, value, f'{path} in body must be of type date-time: "{value}"')


def _is_date_time(value: str) -> bool:
    if not _DATE_TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True


def _validate_number(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    most, least, factor = schema.get("maximum"), schema.get("minimum"), schema.get("multipleOf")
    if most is not None and (value > most or (value == most and schema.get("exclusiveMaximum"))):
        bound = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid_value(path, value, f"{path} in body should be {bound} {most}")
    if least is not None and (value < least or (value == least and schema.get("exclusiveMinimum"))):
        bound = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid_value(path, value, f"{path} in body should be {bound} {least}")
    if factor and value % factor:
        yield invalid_value(path, value, f"{path} in body should be a multiple of {factor}")


def _validate_fraction(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    """A float in place of an integer: the validation of numbers goes on."""
    if not value.is_integer() or abs(value) >= 1 << 63:
        detail = f"Checked value must be of type integer (default format) in {path}"
        yield invalid_value("<nil>", "", detail)
    yield from _validate_number(value, schema, path)


def _validate_object(
    value: dict[str, Any], schema: Schema, path: str, old: Value
) -> Iterator[Cause]:
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        yield invalid_value(
            path, len(value), f"{path} in body should have at least {least} properties"
        )
    if most is not None and len(value) > most:
        yield too_many(path, len(value), most)
    for name in schema.get("required", ()):
        if name not in value:
            yield required(f"{path}.{name}" if path else name)
    before = old if isinstance(old, dict) else {}
    for name, item in value.items():
        below = child_schema(schema, name)
        if below is None or _is_plainly_valid(item, below):
            continue
        known = before.get(name, MISSING)
        if known is not item:
            yield from validate(item, below, f"{path}.{name}" if path else name, known)


def _validate_list(value: list[Any], schema: Schema, path: str, old: Value) -> Iterator[Cause]:
    least, most, below = schema.get("minItems"), schema.get("maxItems"), items_schema(schema)
    if most is not None and len(value) > most:
        yield too_many(path, len(value), most)
    if least is not None and len(value) < least:
        yield invalid_value(path, len(value), f"{path} in body should have at least {least} items")
    keys = (
        schema.get("x-kubernetes-list-map-keys")
        if schema.get("x-kubernetes-list-type") == "map"
        else None
    )
    for index, item in enumerate(value):
        if below is not None and not _is_plainly_valid(item, below):
            yield from validate(item, below, f"{path}[{index}]", _counterpart(item, keys, old))
    if "x-kubernetes-list-type" in schema:
        yield from _validate_unique(value, schema, path)


def _identity(item: Value, keys: list[str]) -> list[Any]:
    return [item.get(key) if isinstance(item, dict) else None for key in keys]


def _counterpart(item: Value, keys: list[str] | None, old: Value) -> Value:
    """Return the item of the old list that an item continues; only lists of type map have one."""
    if not keys or not isinstance(old, list):
        return MISSING
    return next(
        (before for before in old if identical(_identity(before, keys), _identity(item, keys))),
        MISSING,
    )


def _validate_unique(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("map", "set"):
        return
    keys = schema.get("x-kubernetes-list-map-keys") or []
    seen: list[Any] = []
    for index, item in enumerate(value):
        identity = item if kind == "set" else _identity(item, keys)
        if any(identical(identity, before) for before in seen):
            shown = item if kind == "set" else dict(zip(keys, identity, strict=True))
            yield duplicate(f"{path}[{index}]", shown)
        seen.append(identity)


def _validate_junctors(value: Value, schema: Schema, path: str) -> Iterator[Cause]:
    if schema.get("x-kubernetes-int-or-string"):
        return

    def fits(item: Schema) -> bool:
        return not list(validate(value, item, path))

    if schema.get("anyOf") and not any(map(fits, schema["anyOf"])):
        yield invalid_value(path, "", f'"{path}" must validate at least one schema (anyOf)')
    if schema.get("oneOf") and sum(map(fits, schema["oneOf"])) != 1:
        yield invalid_value(path, "", f'"{path}" must validate one and only one schema (oneOf)')
    for item in schema.get("allOf", ()):
        yield from validate(value, item, path)
    if schema.get("not") and fits(schema["not"]):
        yield invalid_value(path, "", f'"{path}" must not validate the schema (not)')
