"""A shelf of any size is what a dictionary would be, and no older one changes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captep_memory._shelf import Shelf, with_object, without_object

NAMES = st.integers(0, 400).map(lambda number: f"c{number}")
CHANGES = st.lists(st.tuples(NAMES, st.none() | st.integers(0, 3)), max_size=60)


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 300), changes=CHANGES)
def test_a_shelf_is_what_a_dictionary_would_be(
    start: int, changes: list[tuple[str, int | None]]
) -> None:
    """After each change it has the same objects, and the shelf before has what it had."""
    shelf = {f"c{number}": {"n": number} for number in range(start)}
    model = dict(shelf)
    found = with_object(shelf, "c0", {"n": 0})
    model["c0"] = {"n": 0}
    for name, value in changes:
        before, known = found, dict(model)
        if value is not None:
            found, model[name] = with_object(found, name, {"n": value}), {"n": value}
        elif name in model:
            found = without_object(found, name)
            del model[name]
        assert (dict(found), len(found)) == (model, len(model))
        assert dict(before) == known
        assert (found.get(name), name in found) == (model.get(name), name in model)
    assert found == model


@pytest.mark.parametrize(("size", "is_tree"), [(63, False), (64, True), (5000, True)])
def test_a_large_shelf_is_a_tree(size: int, *, is_tree: bool) -> None:
    """Keeps the property from looking at dictionaries alone."""
    names = [f"c{number}" for number in range(size)]
    shelf = with_object({name: {} for name in names}, "last", {})
    assert isinstance(shelf, Shelf) == is_tree
    assert sorted(shelf) == sorted([*names, "last"])


def test_a_tree_copies_the_same_for_any_size() -> None:
    """A dictionary and four nodes at most, into 1,000 objects as into 50,000."""

    def new_parts(size: int) -> int:
        shelf = with_object({f"c{number}": {} for number in range(size)}, "x", {})
        after = with_object(shelf, "c7", {"new": 1})
        assert isinstance(shelf, Shelf)
        assert isinstance(after, Shelf)
        return _unshared(shelf._root, after._root)

    small, large = new_parts(1_000), new_parts(50_000)
    assert max(small, large) <= 64 + 4 * 16


def _unshared(before: object, after: object) -> int:
    """Count the entries of the parts that the two do not share."""
    if before is after:
        return 0
    if isinstance(before, tuple) and isinstance(after, tuple):
        return len(after) + sum(map(_unshared, before, after))
    assert isinstance(after, dict)
    return len(after)
