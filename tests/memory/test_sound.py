"""The fast look at a custom resource: what it lets through has nothing wrong with it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from captep_memory._json import Value
from captep_memory._sound import is_sound
from captep_memory._validation import validate
from tests.properties.profile import examples, reaches

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "additionalProperties": {"type": "string", "maxLength": 1},
    "properties": {
        "size": {"type": "integer", "format": "int32", "minimum": 1},
        "odd": {"type": "integer", "maximum": 1},
        "flag": {"type": "boolean", "default": True},
        "mode": {"type": "string", "enum": ["x", "yy"]},
        "word": {"type": "string", "pattern": "^[xy]*$", "minLength": 1},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["mode"],
            "items": {"type": "object", "properties": {"mode": {"type": "string"}}},
        },
        "any": {"x-kubernetes-preserve-unknown-fields": True},
    },
}
_LEAVES = st.sampled_from([None, True, 0, 1, 2, 1.0, "", "x", "yy", "z"])
_WORDS = st.sampled_from(["x", "yy", "z"])
_ITEMS = st.lists(st.fixed_dictionaries({"mode": _WORDS}) | _LEAVES, max_size=2)
_LIKELY = {
    "odd": st.integers(0, 2),
    "flag": st.booleans(),
    "mode": _WORDS,
    "word": _WORDS,
    "set": st.lists(_WORDS, max_size=2),
    "map": _ITEMS,
    "any": _LEAVES,
    "other": _WORDS,
}
_VALUES = st.fixed_dictionaries({"size": st.integers(0, 2)}, optional=_LIKELY) | (
    st.fixed_dictionaries({}, optional=dict.fromkeys(("size", *_LIKELY), _LEAVES | _ITEMS))
)


def is_right(value: Value) -> bool:
    """Return whether the validation that words errors finds none; a path takes it there."""
    return not list(validate(value, _SCHEMA, "spec"))


@examples(100)
@given(_VALUES)
def test_a_sound_value_has_no_error(value: Value) -> None:
    """The long way never finds what the fast look misses."""
    assert not is_sound(value, _SCHEMA) or is_right(value)


def test_the_values_are_sound_and_wrong() -> None:
    """The property is not vacuous: lists and strings are sound, and others are wrong."""
    assert reaches(_VALUES, lambda value: is_sound(value, _SCHEMA) and bool(value.get("set")))
    assert reaches(_VALUES, lambda value: is_sound(value, _SCHEMA) and bool(value.get("map")))
    assert reaches(_VALUES, lambda value: not is_right(value))
    assert reaches(_VALUES, lambda value: is_right(value) and not is_sound(value, _SCHEMA))


def test_a_rule_without_a_fast_look_goes_the_long_way() -> None:
    """A pattern that Python cannot read, and a rule of CEL."""
    assert not is_sound("x", {"type": "string", "pattern": "("})
    assert not is_sound({}, {"type": "object", "x-kubernetes-validations": [{"rule": "true"}]})
