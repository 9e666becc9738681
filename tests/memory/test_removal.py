"""What an apply removes is what the whole rule of structured-merge-diff removes."""

from hypothesis import given
from hypothesis import strategies as st

from captep_memory import Object
from captep_memory._field_sets import FieldSet, difference, intersection, union
from captep_memory._fields import fields_of, with_named_fields
from captep_memory._json import Value
from captep_memory._merge import merge, remove
from captep_memory._merge_types import MergeType, custom_type
from captep_memory._removal import without_abandoned
from tests.properties.profile import examples, reaches

_TEXT = {"type": "string"}
_ITEMS = {"type": "object", "properties": {"name": _TEXT, "to": _TEXT}}
_SCHEMA = {
    "type": "object",
    "properties": {
        "a": _TEXT,
        "atomic": {"type": "object", "x-kubernetes-map-type": "atomic"},
        "labels": {"type": "object", "additionalProperties": _TEXT},
        "inner": {
            "type": "object",
            "properties": {
                "b": _TEXT,
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": _TEXT},
                "map": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": _ITEMS,
                },
            },
        },
    },
}
_TYPE = custom_type({"type": "object", "properties": {"spec": _SCHEMA}})
_WORDS = st.sampled_from(["x", "y"])
_ITEMS_BY_NAME = st.dictionaries(
    _WORDS, st.fixed_dictionaries({}, optional={"to": _WORDS}), max_size=2
)
_INNER = st.fixed_dictionaries(
    {},
    optional={
        "b": _WORDS,
        "set": st.lists(_WORDS, unique=True, max_size=2),
        "map": _ITEMS_BY_NAME.map(
            lambda items: [{"name": name, **item} for name, item in items.items()]
        ),
    },
)
_CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "a": _WORDS,
        "atomic": st.dictionaries(_WORDS, _WORDS, max_size=2),
        "labels": st.dictionaries(_WORDS, _WORDS, max_size=2),
        "inner": _INNER | st.none(),
    },
).map(lambda spec: {"spec": spec})


def fields(value: Value) -> FieldSet:
    """Return the fields of a value."""
    return fields_of(value, _TYPE, [])


def whole_rule(merged: Object, last: FieldSet, owned: FieldSet, type_: MergeType) -> Object:
    """Return what `prune` of structured-merge-diff leaves, step by step over the whole object."""
    applied = with_named_fields(last, type_)
    everything = with_named_fields(fields(merged), type_)
    pruned = with_named_fields(fields(remove(merged, applied, type_)), type_)
    kept = union(pruned, with_named_fields(owned, type_))
    left = remove(merged, difference(everything, kept), type_)
    gone = intersection(
        difference(everything, with_named_fields(fields(left), type_)),
        applied,
    )
    return remove(merged, gone, type_) or {}


@examples(60)
@given(_CONFIGS, _CONFIGS, _CONFIGS)
def test_an_apply_removes_what_the_whole_rule_removes(
    before: Object, theirs: Object, config: Object
) -> None:
    """Whatever the manager applied before, another manager owns, and the manager applies now."""
    live = merge(merge(before, theirs, _TYPE), config, _TYPE)
    last, mine, others = fields(before), fields(config), fields(theirs)
    assert without_abandoned(live, last, mine, [others], _TYPE) == whole_rule(
        live, last, union(mine, others), _TYPE
    )


def test_the_configurations_remove_and_keep_fields() -> None:
    """The property is not vacuous."""

    def removes(configs: tuple[Object, Object, Object]) -> bool:
        before, theirs, config = configs
        live = merge(merge(before, theirs, _TYPE), config, _TYPE)
        left = without_abandoned(live, fields(before), fields(config), [fields(theirs)], _TYPE)
        return left != live and bool((left.get("spec") or {}).get("inner"))

    assert reaches(st.tuples(_CONFIGS, _CONFIGS, _CONFIGS), removes)
