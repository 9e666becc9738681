"""A shelf of any size is what a dictionary would be, and no older one changes."""

import pickle
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captep_memory._shelf import Shelf, shelf_of, with_object, without_object

NAMES = st.integers(0, 100).map(lambda number: f"c{number}")
# Which of the versions so far is written, the name, and its object or None for its removal.
CHANGES = st.lists(st.tuples(st.integers(0, 80), NAMES, st.none() | st.integers(0, 3)), max_size=80)


def _made(size: int) -> Mapping[str, dict[str, Any]]:
    return shelf_of({f"c{number}": {"n": number} for number in range(size)})


@settings(max_examples=60, deadline=None)
@given(start=st.sampled_from((0, 60, 63, 64, 100)), changes=CHANGES)
def test_each_version_of_a_shelf_is_what_a_dictionary_would_be(
    start: int, changes: list[tuple[int, str, int | None]]
) -> None:
    """A write of any version makes the next one, and all versions keep what they had."""
    shelves = [_made(start)]
    models = [dict(shelves[0].items())]
    for version, name, value in changes:
        known = min(version, len(shelves) - 1)
        shelf, model = shelves[known], dict(models[known])
        if value is not None:
            shelf, model[name] = with_object(shelf, name, {"n": value}), {"n": value}
        elif name in model:
            shelf = without_object(shelf, name)
            del model[name]
        assert (shelf.get(name), name in shelf) == (model.get(name), name in model)
        shelves.append(shelf)
        models.append(model)
    for shelf, model in zip(shelves, models, strict=True):
        assert [shelf.get(f"c{number}") for number in range(101)] == [
            model.get(f"c{number}") for number in range(101)
        ]
        assert (dict(shelf.items()), sorted(shelf), len(shelf)) == (
            model,
            sorted(model),
            len(model),
        )
        assert shelf == model


@pytest.mark.parametrize(("size", "is_shared"), [(62, False), (63, True), (5000, True)])
def test_a_large_shelf_shares_one_dictionary(size: int, *, is_shared: bool) -> None:
    """Keeps the property from looking at plain dictionaries alone."""
    shelf = with_object({f"c{number}": {} for number in range(size)}, "last", {})
    assert isinstance(shelf, Shelf) == is_shared


def test_a_write_of_the_newest_version_copies_nothing() -> None:
    """The next version has the very dictionary, the one before a difference of one name."""
    before = _made(1000)
    assert isinstance(before, Shelf)
    objects = before._state
    after = before.changed("c7", {"new": 1})
    assert after._state is objects
    assert before._state == ("c7", {"n": 7}, after)


def test_a_distant_version_is_slow_once() -> None:
    """A version more than 32 writes away gets a dictionary, a nearer one stays as it is."""
    shelf = oldest = _made(1000)
    versions = [oldest]
    for number in range(40):
        shelf = with_object(shelf, f"c{number}", {"new": number})
        versions.append(shelf)
    near = versions[10]
    assert isinstance(oldest, Shelf)
    assert isinstance(near, Shelf)
    assert [each.get("c900") for each in (oldest, near)] == [{"n": 900}] * 2
    assert [type(each._state) for each in (oldest, near)] == [dict, tuple]


def test_a_shelf_with_many_later_versions_goes_away() -> None:
    """Neither its end nor its pickled form goes down the chain of differences recursively."""
    oldest = shelf = _made(100)
    for number in range(50_000):
        shelf = with_object(shelf, "c0", {"n": number})
    assert pickle.loads(pickle.dumps(oldest)) == _made(100)
    assert shelf["c0"] == {"n": 49_999}
    del oldest, shelf


def test_threads_share_the_versions_of_a_shelf() -> None:
    """While two threads write, each into versions of its own, an older version keeps its value."""
    base = _made(200)
    wrong: list[object] = []

    def write(mark: str) -> None:
        shelf = base
        for number in range(400):
            name = f"c{number % 200}"
            shelf = with_object(shelf, name, {mark: number})
            if shelf[name] != {mark: number} or base[name] != {"n": number % 200}:
                wrong.append(name)

    threads = [threading.Thread(target=write, args=(mark,)) for mark in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert base == _made(200)
