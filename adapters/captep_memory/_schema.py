"""Structural schemas on the way in: defaults, nulls and pruning (row A3).

Every function returns its argument itself when the schema changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from captep_memory._json import MISSING, Object, Value

__all__ = [
    "Schema",
    "child_schema",
    "coerce",
    "content_schema",
    "defaults_of",
    "fill",
    "items_schema",
    "normalise",
]

Schema: TypeAlias = Mapping[str, Any]
_ROOT = frozenset({"apiVersion", "kind", "metadata"})


def normalise(obj: Object, own: Schema, defaults: Schema | None) -> Object:
    """Return a custom resource as the server decodes it.

    Nulls are dropped, defaults filled, unknown fields pruned. `own` is the schema of its content,
    `defaults` what of it fills defaults.
    """
    content = {name: value for name, value in obj.items() if name not in _ROOT}
    plain = _drop_nulls(content, own)
    changed = _prune(plain if defaults is None else _default(plain, defaults), own)
    return _with_content(obj, content, changed)


def coerce(obj: Object, own: Schema) -> Object:
    """Return a custom resource as the server encodes it in another version."""
    content = {name: value for name, value in obj.items() if name not in _ROOT}
    return _with_content(obj, content, _prune(_drop_nulls(content, own), own))


def _with_content(obj: Object, content: Object, changed: Object) -> Object:
    if changed is content:
        return obj
    return {**{name: obj[name] for name in obj if name in _ROOT}, **changed}


def content_schema(schema: Schema) -> Schema:
    """Return the part of a schema that decides: it has no say in apiVersion, kind and metadata."""
    inner = {name: item for name, item in schema.get("properties", {}).items() if name not in _ROOT}
    return {**schema, "properties": inner}


def defaults_of(schema: Schema) -> Schema | None:
    """Return the part of a schema that fills defaults, for `fill`; None if nothing does."""
    return _defaults_of(content_schema(schema))


def _defaults_of(schema: Schema) -> Schema | None:
    parts = {name: _defaults_of(item) for name, item in schema.get("properties", {}).items()}
    found: Object = {name: schema[name] for name in ("default",) if schema.get(name) is not None}
    if any(parts.values()):
        found["properties"] = {name: part for name, part in parts.items() if part is not None}
    for name in ("items", "additionalProperties"):
        below = _defaults_of(schema[name]) if isinstance(schema.get(name), Mapping) else None
        found |= {} if below is None else {name: below}
    return {**found, "nullable": bool(schema.get("nullable"))} if found else None


def fill(obj: Object, defaults: Schema) -> Object:
    """Return a custom resource with its defaults; the object itself when it has them."""
    filled: Object = _default(obj, defaults)
    return filled


def child_schema(schema: Schema, name: str) -> Schema | None:
    """Return the schema of a member of an object, None if it has none."""
    properties = schema.get("properties", {})
    if name in properties:
        return properties[name]  # type: ignore[no-any-return]  # a schema is JSON
    additional = schema.get("additionalProperties")
    return additional if isinstance(additional, Mapping) else None


def items_schema(schema: Schema) -> Schema | None:
    """Return the schema of the items of a list, None if it has none."""
    items = schema.get("items")
    return items if isinstance(items, Mapping) else None


_Step: TypeAlias = Callable[[Any, Schema], Any]


def _descend(value: Value, schema: Schema, step: _Step) -> Value:
    """Apply `step` to the members of `value` that have a schema."""
    if isinstance(value, dict):
        changed = {}
        properties, additional = schema.get("properties", {}), schema.get("additionalProperties")
        other = additional if isinstance(additional, Mapping) else None
        for name, item in value.items():
            if not isinstance(item, dict | list):
                continue
            below = properties.get(name, other)
            new = item if below is None else step(item, below)
            if new is not item:
                changed[name] = new
        return {**value, **changed} if changed else value
    below = items_schema(schema)
    if isinstance(value, list) and below is not None:
        items = [step(item, below) for item in value]
        return value if all(new is item for new, item in zip(items, value, strict=True)) else items
    return value


def _is_stray_null(value: Value, schema: Schema | None) -> bool:
    return value is None and schema is not None and not schema.get("nullable")


def _drop_nulls(value: Value, schema: Schema) -> Value:
    """Drop nulls that the schema does not allow, unless a default takes their place."""
    if isinstance(value, dict) and None in value.values():
        stray = [
            name for name, item in value.items() if _is_stray_null(item, child_schema(schema, name))
        ]
        dropped = [name for name in stray if "default" not in (child_schema(schema, name) or {})]
        if dropped:
            value = {name: item for name, item in value.items() if name not in dropped}
    return _descend(value, schema, _drop_nulls)


def _default(value: Value, schema: Schema) -> Value:
    if isinstance(value, dict):
        missing = {
            name: item["default"]
            for name, item in schema.get("properties", {}).items()
            if item.get("default") is not None
            and (name not in value or _is_stray_null(value[name], item))
        }
        value = {**value, **missing} if missing else value
    return _descend(value, schema, _default)


def _prune(value: Value, schema: Schema) -> Value:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return _descend(value, schema, _prune)
    if (
        isinstance(value, dict)
        and not schema.get("additionalProperties")
        and not value.keys() <= schema.get("properties", {}).keys()
    ):
        kept = {name: item for name, item in value.items() if _is_known(schema, name)}
        value = value if len(kept) == len(value) else kept
    return _descend(value, schema, _prune)


def _is_known(schema: Schema, name: str) -> bool:
    embedded = schema.get("x-kubernetes-embedded-resource") and name in _ROOT
    return bool(embedded) or schema.get("properties", {}).get(name, MISSING) is not MISSING
