"""Laws of the smallest merge patch, against the algorithm that RFC 7386 prints."""

from collections.abc import Mapping
from copy import deepcopy

import pytest
from hypothesis import example, find, given
from hypothesis import strategies as st

from captep_core import JSON, merge_patch
from captep_core._diff import same_json, without_nulls

KEYS = st.sampled_from(["a", "b"])
LEAVES: st.SearchStrategy[JSON] = st.one_of(
    st.none(), st.booleans(), st.sampled_from([0, 1, 1.5, "", "x"])
)


def _json(leaves: st.SearchStrategy[JSON]) -> st.SearchStrategy[JSON]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
        max_leaves=8,
    )


def _is_storable(value: JSON) -> bool:
    return not isinstance(value, dict) or all(
        item is not None and _is_storable(item) for item in value.values()
    )


ANY = _json(LEAVES)
STORABLE: st.SearchStrategy[JSON] = st.one_of(st.booleans(), st.sampled_from([0, 1, "", "x"]))
OBJECTS = st.dictionaries(KEYS, _json(STORABLE), max_size=2)


def apply(target: JSON, patch: JSON) -> JSON:
    """MergePatch as RFC 7386 prints it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
@example({"a": {"b": 1}}, {"a": {}})
@example({"a": 1}, {"a": True})
@example({"a": [1]}, {"a": {"b": 1}})
def test_the_patch_turns_one_object_into_the_other(
    one: dict[str, JSON], other: dict[str, JSON]
) -> None:
    """Applying the difference gives the desired object."""
    assert same_json(apply(one, merge_patch(one, other)), other)


@given(OBJECTS, OBJECTS)
def test_the_patch_is_empty_exactly_when_nothing_differs(
    one: dict[str, JSON], other: dict[str, JSON]
) -> None:
    """Equal objects need no write."""
    assert (merge_patch(one, other) == {}) is same_json(one, other)
    assert merge_patch(one, deepcopy(one)) == {}


def _size(patch: JSON) -> int:
    return sum(_size(value) for value in patch.values()) if isinstance(patch, dict) and patch else 1


@given(OBJECTS, OBJECTS)
def test_no_part_of_the_patch_can_be_left_out(one: dict[str, JSON], other: dict[str, JSON]) -> None:
    """Without any one of its keys the result differs."""
    patch = merge_patch(one, other)
    for key in patch:
        assert not same_json(
            apply(one, {name: value for name, value in patch.items() if name != key}), other
        )
    assert _size(patch) <= _size(dict.fromkeys([*one, *other])) + _size(other)


@given(OBJECTS, OBJECTS)
def test_merge_patch_changes_neither_argument(one: dict[str, JSON], other: dict[str, JSON]) -> None:
    """Both arguments are the same after the call as before it."""
    before = deepcopy((one, other))
    merge_patch(one, other)
    assert before == (one, other)


@given(ANY)
def test_nulls_are_left_out_because_a_merge_patch_cannot_store_them(value: JSON) -> None:
    """Without nulls a value survives being written."""
    kept = without_nulls(value)
    assert _is_storable(kept)
    assert same_json(without_nulls(kept), kept)
    wrapped: Mapping[str, JSON] = {} if kept is None else {"at": kept}
    assert same_json(apply({}, merge_patch({}, wrapped)), dict(wrapped))


def test_the_examples_contain_objects_that_differ_inside() -> None:
    """The laws above hold for more than equal objects."""
    find(
        st.tuples(OBJECTS, OBJECTS),
        lambda pair: any(isinstance(value, dict) for value in merge_patch(*pair).values()),
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, True, False),
        (0, False, False),
        (1, 1.0, True),
        ("1", 1, False),
        (None, {}, False),
        ([], {}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 2], False),
        ([True], [1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": {"b": [1]}}, {"a": {"b": [True]}}, False),
    ],
)
def test_values_are_compared_as_json(one: JSON, other: JSON, same: bool) -> None:
    """True is not 1; the order of a list counts, the order of keys does not."""
    assert same_json(one, other) is same
    assert same_json(other, one) is same


@pytest.mark.parametrize(
    ("one", "other", "patch"),
    [
        ({}, {}, {}),
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": "b", "b": "c"}, {"b": "c"}),
        ({"a": "b"}, {}, {"a": None}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d"}}, {"a": {"b": "d"}}),
        ({"a": {"b": "c", "d": 1}}, {"a": {"b": "c"}}, {"a": {"d": None}}),
        ({"a": [1, 2]}, {"a": [2, 1]}, {"a": [2, 1]}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_patches_agree_with_the_table_of_the_rfc(
    one: dict[str, JSON], other: dict[str, JSON], patch: dict[str, JSON]
) -> None:
    """The table of RFC 7386, appendix A, read from result to patch."""
    assert merge_patch(one, other) == patch
