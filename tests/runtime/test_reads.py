"""The index of reads against a slow and obvious model."""

from hypothesis import given
from hypothesis import strategies as st

from captep_core import ObjectRef
from captep_runtime._reads import ReadIndex
from tests.runtime.toys import KEY, child

KEYS = tuple(
    ObjectRef(KEY.api_version, KEY.kind, "fleet", name) for name in ("osaka", "sakai", "tokyo")
)
NAMES = ("a", "b", "c")
# A name: the key reads it. A set of names: a pass that read these ends.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KEYS), st.sampled_from(NAMES)),
        st.tuples(st.sampled_from(KEYS), st.sets(st.sampled_from(NAMES))),
    ),
    max_size=30,
)


@given(STEPS)
def test_the_index_has_the_readers_of_the_model(
    steps: list[tuple[ObjectRef, str | set[str]]],
) -> None:
    """They agree after any notes and ends of passes, and the index keeps nothing else."""
    index, model = ReadIndex(), {key: set[str]() for key in KEYS}
    for key, names in steps:
        if isinstance(names, str):
            index.note(key, child(names))
            model[key].add(names)
        else:
            kept = index.keep_only(key, [child(name) for name in sorted(names)])
            model[key] &= names
            assert kept == tuple(child(name) for name in sorted(model[key]))
        for name in NAMES:
            assert index.readers(child(name)) == {key for key in KEYS if name in model[key]}
    assert set(index._readers) == {child(name) for names in model.values() for name in names}
    assert set(index._read) == {key for key in KEYS if model[key]}


def test_the_index_keeps_one_of_equal_references_and_one_set_per_reader() -> None:
    """Later passes add no reference of their own, and all objects of one reader share its set."""
    index = ReadIndex()
    first = [child(name) for name in NAMES]
    for ref in first:
        index.note(KEY, ref)
    index.note(KEY, child("a"))
    assert index._read == {KEY: tuple(first)}
    kept = index.keep_only(KEY, [child(name) for name in NAMES])
    assert all(one is other for one, other in zip(kept, first, strict=True))
    assert len({id(index._readers[ref]) for ref in first}) == 1
