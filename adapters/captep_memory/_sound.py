"""A fast look at a value: whether a schema certainly has nothing to say against it.

`_validation` words what is wrong and takes its time. Most values are right, so a test is made of
each schema once. It holds only for what it can be sure of: anything else goes the long way.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from captep_memory._json import Same, Value
from captep_memory._schema import Schema, items_schema
from captep_memory._status import RefusedError, not_modelled

__all__ = ["EXACT", "compiled", "is_sound"]

_Test = Callable[[Value], bool]
# The values that need no other look at their type.
EXACT: Mapping[str, type] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "object": dict,
    "string": str,
}
# The parts of a schema that ask nothing of a value of its type, for each type.
_UNASKED = frozenset({"default", "description", "example", "nullable", "title", "type"})
_OF_OBJECTS = _UNASKED | {
    *("additionalProperties", "properties", "required", "x-kubernetes-map-type"),
}
_OF_STRINGS = frozenset({"enum", "maxLength", "minLength", "pattern"})
_OF_LISTS = _UNASKED | {"items", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}


def is_sound(value: Value, schema: Schema) -> bool:
    """Return whether a value certainly fits its schema; False does not mean that it is wrong."""
    return _test(Same(schema))(value)


@lru_cache(maxsize=256)
def _test(known: Same) -> _Test:
    return _made(known.value)


def _made(schema: Schema) -> _Test:
    kind = schema.get("type")
    asked = set(schema)
    if kind == "object" and asked <= _OF_OBJECTS:
        return _object_test(schema)
    if kind == "array" and asked <= _OF_LISTS:
        return _list_test(schema)
    if kind in ("boolean", "integer", "string"):
        return _scalar_test(schema, EXACT[kind], asked - _UNASKED)
    return _unsure


def _unsure(_: Value) -> bool:
    return False


def _scalar_test(schema: Schema, exact: type, asked: set[str]) -> _Test:
    if exact is int:
        # The server looks at the format of strings alone.
        asked = asked - {"format"}
    if not asked:
        return lambda value: type(value) is exact
    if exact is str and asked <= _OF_STRINGS:
        return _string_test(schema)
    if exact is int and asked == {"minimum"}:
        least = schema["minimum"]
        return lambda value: type(value) is int and value >= least
    return _unsure


def _string_test(schema: Schema) -> _Test:
    try:
        pattern = compiled(schema.get("pattern") or "")
    except RefusedError:
        return _unsure
    least, most, enum = (schema.get(name) for name in ("minLength", "maxLength", "enum"))
    allowed = frozenset(each for each in enum if isinstance(each, str)) if enum else None

    def test(value: Value) -> bool:
        return (
            type(value) is str
            and (allowed is None or value in allowed)
            and (least is None or len(value) >= least)
            and (most is None or len(value) <= most)
            and pattern.search(value) is not None
        )

    return test


def _object_test(schema: Schema) -> _Test:
    additional, wanted = schema.get("additionalProperties"), schema.get("required", ())
    other = _made(additional) if isinstance(additional, Mapping) else None
    plain: dict[str, type] = {}
    tests: dict[str, _Test] = {}
    for name, below in schema.get("properties", {}).items():
        exact = EXACT.get(below.get("type", ""))
        if exact in (bool, int, str) and below.keys() <= _UNASKED:
            plain[name] = exact
        else:
            tests[name] = _made(below)

    def test(value: Value) -> bool:
        if type(value) is not dict:
            return False
        for name, item in value.items():
            # Most members are plain: they need no call.
            if plain.get(name) is type(item):
                continue
            below = tests.get(name, other)
            if name in plain or (below is not None and not below(item)):
                return False
        return all(name in value for name in wanted) if wanted else True

    return test


def _list_test(schema: Schema) -> _Test:
    """Where items may not repeat, those of strings count and those with one string as key."""
    below = items_schema(schema)
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    test = None if below is None else _made(below)

    def fits(value: Value) -> bool:
        return type(value) is list and (test is None or all(map(test, value)))

    if kind == "set":
        return lambda value: fits(value) and _are_apart(value)
    if kind == "map":
        key = keys[0] if keys and len(keys) == 1 else None
        return lambda value: (
            key is not None and fits(value) and _are_apart([item.get(key) for item in value])
        )
    return fits


def _are_apart(values: list[Value]) -> bool:
    return set(map(type, values)) <= {str} and len(set(values)) == len(values)


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a Go regular expression; `$` of Python would also match before a final newline."""
    translated = re.sub(
        r"(\\.)|(\[(?:\\.|[^\]\\])+\])|\$", lambda match: match[1] or match[2] or r"\Z", pattern
    )
    try:
        return re.compile(translated, re.ASCII)
    except re.error as error:
        raise not_modelled(f"the pattern {pattern}") from error
