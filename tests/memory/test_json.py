"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902) against the vectors of their appendices."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_memory import apply_json_patch, apply_merge_patch, identical
from captep_memory._json import PatchError, deep_equal
from tests.memory.support import Free

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, 1.5, "", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)

MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), MERGES)
def test_merge_patch_follows_the_vectors_of_rfc_7386(
    target: Free, patch: Free, result: Free
) -> None:
    """RFC 7386, appendix A."""
    assert apply_merge_patch(target, patch) == result


OPERATIONS: list[tuple[Any, list[Any], Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    (
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [
            {"op": "test", "path": "/baz", "value": "qux"},
            {"op": "test", "path": "/foo/1", "value": 2},
        ],
        None,
    ),
    (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], None),
    (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
    ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": [{"b": 1}]}, [{"op": "replace", "path": "/a/0/b", "value": 2}], {"a": [{"b": 2}]}),
]


@pytest.mark.parametrize(("target", "operations", "result"), OPERATIONS)
def test_json_patch_follows_the_vectors_of_rfc_6902(
    target: Free, operations: list[Any], result: Free
) -> None:
    """RFC 6902, appendix A; None stands for the unchanged target."""
    assert apply_json_patch(target, operations) == (target if result is None else result)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": "other"},
        {"op": "test", "path": "/a", "value": True},
        {"op": "add", "path": "/none/b", "value": 1},
        {"op": "add", "path": "/list/5", "value": 1},
        {"op": "add", "path": "/list/-3", "value": 1},
        {"op": "add", "path": "", "value": {}},
        {"op": "replace", "path": "", "value": 1},
        {"op": "test", "path": "/a", "value": 1.0},
        {"op": "test", "path": "/a"},
        {"op": "test", "path": "/none/b", "value": None},
        {"op": "remove", "path": "/none"},
        {"op": "remove", "path": ""},
        {"op": "remove", "path": "/a/b"},
        {"op": "move", "from": "/none", "path": "/b"},
        {"op": "add", "path": "no slash", "value": 1},
        {"op": "unknown", "path": "/a"},
        5,
    ],
)
def test_a_json_patch_that_does_not_apply_is_a_patch_error(operation: Free) -> None:
    """Appendix A.8, A.9, A.12, A.13, A.15 and other errors."""
    with pytest.raises(PatchError):
        apply_json_patch({"a": 1, "list": [1]}, [operation])


LENIENT: list[tuple[Any, list[Any], Any]] = [
    ({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
    ({"a": None}, [{"op": "test", "path": "/a"}], {"a": None}),
    ({"a": 1}, [{"op": "copy", "from": "/b", "path": "/c"}], {"a": 1, "c": None}),
    ({"a": 1}, [{"op": "add", "path": "/b"}], {"a": 1, "b": None}),
    ({"a": [1, 2]}, [{"op": "replace", "path": "/a/-1", "value": 3}], {"a": [1, 3]}),
    ({"a": [1, 2]}, [{"op": "add", "path": "/a/-1", "value": 3}], {"a": [1, 2, 3]}),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/01"}], {"a": [1]}),
    ({"a": 4.0}, [{"op": "test", "path": "/a", "value": 4}], {"a": 4.0}),
]


@pytest.mark.parametrize(("target", "operations", "result"), LENIENT)
def test_json_patch_is_as_lenient_as_the_library_of_the_api_server(
    target: Free, operations: list[Any], result: Free
) -> None:
    """An absent member is null there; an index may be negative or have leading zeros."""
    assert apply_json_patch(target, operations) == result


@given(VALUES, VALUES)
def test_merge_patch_returns_its_target_when_nothing_changes(target: Free, patch: Free) -> None:
    """`is` and a change of the encoding are the same question.

    A second application may drop the nulls of a list that replaced an object; a third does nothing.
    """
    merged = apply_merge_patch(target, patch)
    assert (
        (merged is target) or not deep_equal(merged, target) or not isinstance(target, dict | list)
    )
    settled = apply_merge_patch(merged, patch)
    assert apply_merge_patch(settled, patch) is settled


@given(VALUES, VALUES)
def test_identical_is_equality_of_the_encoding(left: Free, right: Free) -> None:
    """Numbers compare by value, booleans with booleans alone."""
    assert identical(left, left)
    assert identical(left, right) == (_tagged(left) == _tagged(right))


def _tagged(value: Free) -> Free:
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    return (
        [_tagged(item) for item in value]
        if isinstance(value, list)
        else (isinstance(value, bool), value)
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, [{"b": [None, {}]}]),
        ({"a": 1}, [{"b": [None, {}]}]),
        ({"a": [1]}, [{"b": [None, {}]}]),
        ({"a": {"b": 1}}, [{"b": [None, {"c": None}], "d": None}]),
    ],
)
def test_a_merge_patch_drops_the_nulls_in_objects_of_a_list(target: Free, expected: Free) -> None:
    """kube-apiserver does so, except where a list replaces an object; RFC 7386 keeps them."""
    patch = {"a": [{"b": [None, {"c": None}], "d": None}]}
    assert apply_merge_patch(target, patch) == {"a": expected}
