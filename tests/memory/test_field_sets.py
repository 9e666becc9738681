"""Sets of field paths obey the laws of sets, and keep the form of fieldsV1."""

import json

from hypothesis import given
from hypothesis import strategies as st

from captep_memory._field_sets import (
    FieldSet,
    difference,
    intersection,
    key_element,
    paths,
    shown,
    union,
    value_element,
    without_paths,
)
from tests.properties.profile import examples, reaches

_ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"n":"x"}', "v:1"])
_PATHS = st.lists(_ELEMENTS, min_size=1, max_size=3).map(tuple)


def set_of(members: set[tuple[str, ...]]) -> FieldSet:
    """Build a set from its members, slowly."""
    fields: FieldSet = {}
    for path in members:
        node: FieldSet = {".": {}}
        for element in reversed(path):
            node = {element: node}
        fields = _joined(fields, node)
    return _leaves(fields)


def _joined(left: FieldSet, right: FieldSet) -> FieldSet:
    return {
        **left,
        **{key: _joined(left.get(key, {}), value) for key, value in right.items()},
    }


def _leaves(fields: FieldSet) -> FieldSet:
    return {key: {} if node == {".": {}} else _leaves(node) for key, node in fields.items()}


_SETS = st.sets(_PATHS, max_size=6)


@examples(100)
@given(_SETS, _SETS)
def test_operations_are_those_of_sets_of_paths(
    left: set[tuple[str, ...]], right: set[tuple[str, ...]]
) -> None:
    """Removing a path keeps those below it."""
    one, two = set_of(left), set_of(right)
    assert set(paths(one)) == left
    assert union(one, two) == set_of(left | right)
    assert intersection(one, two) == set_of(left & right)
    assert difference(one, two) == set_of(left - right)


@examples(100)
@given(_SETS, st.lists(_PATHS, max_size=2))
def test_resetting_a_path_takes_everything_below_it(
    members: set[tuple[str, ...]], removed: list[tuple[str, ...]]
) -> None:
    """The members that begin with a removed path go."""
    kept = {path for path in members if not any(path[: len(each)] == each for each in removed)}
    assert without_paths(set_of(members), removed) == set_of(kept)


def test_the_sets_have_members_above_members() -> None:
    """Otherwise the properties above would not meet the key `.`."""
    reaches(_SETS, lambda members: {("f:a",), ("f:a", "f:b")} <= members)


def test_elements_are_written_as_go_writes_them() -> None:
    """Keys are sorted, whole floats are integers, and <, > and & are escaped."""
    assert key_element({"protocol": "TCP", "containerPort": 80.0}) == (
        'k:{"containerPort":80,"protocol":"TCP"}'
    )
    assert value_element("a<b>&ü") == 'v:"a\\u003cb\\u003e\\u0026ü"'
    assert json.loads(value_element("a<b")[2:]) == "a<b"


def test_paths_are_shown_as_in_messages() -> None:
    """Fields with a dot, keys and values in brackets."""
    path = ("f:spec", "f:ports", 'k:{"name":"a","port":80}', "f:tags", 'v:"x"', "v:true")
    assert shown(path) == '.spec.ports[name="a",port=80].tags[="x"][=true]'
