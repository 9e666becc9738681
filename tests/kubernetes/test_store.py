"""The cache: against a model that is slow and obvious, for every order in which news can arrive."""

from collections.abc import Mapping

import pytest
from hypothesis import example, find, given
from hypothesis import strategies as st

from captep_core import JSON, ObjectRef
from captep_kubernetes._store import CacheChange, Known, Object, Store, is_newer
from tests.kubernetes.changes import change

REFS = tuple(ObjectRef("v1", "Secret", "ns", name) for name in ("a", "b"))
A, B = REFS


def obj(ref: ObjectRef, uid: str, version: int) -> Object:
    """An object as the server sends it."""
    return {
        "metadata": {
            "name": ref.name,
            "namespace": "ns",
            "uid": uid,
            "resourceVersion": str(version),
        }
    }


def kept(value: Object) -> Object:
    """No projection."""
    return value


def listed(store: Store, *objects: tuple[ObjectRef, Object]) -> list[tuple[ObjectRef, Known]]:
    """Objects as a list brings them."""
    return [(ref, store.known(value)) for ref, value in objects]


History = list[tuple[ObjectRef, str, str]]
"""(object, uid, ADDED | MODIFIED | DELETED), at resourceVersions 1, 2, 3, ..."""


@st.composite
def histories(draw: st.DrawFn) -> History:
    """What a server may do to two names: create, change, delete, create again as another one."""
    alive: dict[ObjectRef, str] = {}
    history: History = []
    for number in range(draw(st.integers(1, 8))):
        ref = draw(st.sampled_from(REFS))
        if ref not in alive:
            alive[ref] = f"uid-{number}"
            history.append((ref, alive[ref], "ADDED"))
        elif draw(st.booleans()):
            history.append((ref, alive[ref], "MODIFIED"))
        else:
            history.append((ref, alive.pop(ref), "DELETED"))
    return history


def state(history: History, version: int) -> dict[ObjectRef, tuple[str, int]]:
    """What exists at `version`: uid and resourceVersion by name."""
    alive: dict[ObjectRef, tuple[str, int]] = {}
    for number, (ref, uid, kind) in enumerate(history[:version], start=1):
        if kind == "DELETED":
            alive.pop(ref, None)
        else:
            alive[ref] = (uid, number)
    return alive


def learn(store: Store, history: History, version: int) -> CacheChange | None:
    """Apply the change at `version` to the store, as a watch event does."""
    ref, uid, kind = history[version - 1]
    if kind == "DELETED":
        return store.remove(ref, uid=uid, resource_version=str(version))
    return store.put(ref, obj(ref, uid, version))


def cached(store: Store) -> dict[ObjectRef, tuple[str, int]]:
    """What the store knows, in the model's terms."""
    return {
        ref: (known.uid, int(known.resource_version))
        for ref in store.refs()
        if (known := store.get(ref)) is not None
    }


orders = histories().flatmap(
    lambda history: st.tuples(
        st.just(history), st.permutations(range(1, len(history) + 1)), st.integers(0, len(history))
    )
)


@given(orders)
@example(([(A, "uid-0", "ADDED"), (A, "uid-0", "MODIFIED"), (A, "uid-0", "DELETED")], [3, 1, 2], 0))
@example(
    (
        [(A, "u0", "ADDED"), (A, "u0", "DELETED"), (A, "u2", "ADDED"), (A, "u2", "DELETED")],
        [4, 2, 3, 1],
        0,
    )
)
def test_the_order_of_news_does_not_matter(case: tuple[History, list[int], int]) -> None:
    """Events, answers and one LIST in any order leave the server's state, and no name goes back."""
    history, order, at_version = case
    store = Store(kept)
    seen: dict[ObjectRef, int] = {}
    for step, version in enumerate(order):
        if step == len(order) // 2:
            store.replace(
                listed(
                    store,
                    *(
                        (ref, obj(ref, uid, at))
                        for ref, (uid, at) in state(history, at_version).items()
                    ),
                ),
                str(at_version),
            )
        learn(store, history, version)
        for ref, (_, at) in cached(store).items():
            assert at >= seen.get(ref, 0)
            seen[ref] = at
    assert cached(store) == state(history, len(history))


def test_histories_recreate_names() -> None:
    """The property above runs with a second incarnation that is deleted too."""
    find(
        histories(),
        lambda history: (
            len({uid for ref, uid, kind in history if ref == A and kind == "DELETED"}) == 2
        ),
    )


@given(histories())
def test_a_store_that_lists_and_watches_is_always_the_server(history: History) -> None:
    """After each event the cache is the server's state, and each state was announced once."""
    store, announced = Store(kept), 0
    for version in range(1, len(history) + 1):
        announced += learn(store, history, version) is not None
        announced += learn(store, history, version) is not None
        assert cached(store) == state(history, version)
    assert announced == len(history)


def test_an_own_write_is_seen_at_once_and_stays() -> None:
    """The watch event of an older change does not undo a PATCH, and the echo of the PATCH is no
    news.
    """
    store = Store(kept)
    store.put(A, obj(A, "u", 1))
    assert store.put(A, obj(A, "u", 5)) == change(A, obj(A, "u", 1), obj(A, "u", 5))
    assert store.put(A, obj(A, "u", 3)) is None
    assert store.put(A, obj(A, "u", 5)) is None
    assert cached(store) == {A: ("u", 5)}


def test_an_own_delete_stays_deleted() -> None:
    """The answer names only the uid: older news does not bring this incarnation back, the next one
    comes.
    """
    store = Store(kept)
    store.put(A, obj(A, "old", 1))
    assert store.remove(A, uid="old") == change(A, obj(A, "old", 1), None)
    assert store.put(A, obj(A, "old", 2)) is None
    assert store.replace(listed(store, (A, obj(A, "old", 2))), "2") == []
    assert store.put(A, obj(A, "older", 1)) is None
    assert store.put(A, obj(A, "new", 4)) == change(A, None, obj(A, "new", 4))


def test_an_older_deletion_does_not_undo_a_newer_one() -> None:
    """An own delete names no version; the late end of the incarnation before makes no news of old
    events.
    """
    store = Store(kept)
    store.put(A, obj(A, "u", 5))
    store.remove(A, uid="u")
    assert store.remove(A, uid="before", resource_version="3") is None
    assert [
        store.put(A, obj(A, uid, version)) for uid, version in (("before", 2), ("u", 4), ("u", 6))
    ] == [None, None, None]
    assert store.put(A, obj(A, "next", 8)) == change(A, None, obj(A, "next", 8))


def test_two_own_deletes_in_a_row_are_both_remembered() -> None:
    """The second incarnation came and went unseen: no late event of either brings it back."""
    store = Store(kept)
    store.put(A, obj(A, "first", 1))
    store.remove(A, uid="first", resource_version="5")
    assert store.remove(A, uid="second") is None
    assert [
        store.put(A, obj(A, uid, version)) for uid, version in (("first", 4), ("second", 7))
    ] == [None, None]
    assert store.put(A, obj(A, "third", 8)) == change(A, None, obj(A, "third", 8))


def test_a_deletion_with_a_version_replaces_one_without() -> None:
    """Of two, the one that says when it was is the one to go by."""
    store = Store(kept)
    store.remove(A, uid="first")
    store.remove(A, uid="second", resource_version="5")
    assert store.put(A, obj(A, "third", 4)) is None
    assert store.put(A, obj(A, "third", 6)) == change(A, None, obj(A, "third", 6))


def test_a_list_removes_older_objects_that_it_lacks() -> None:
    """Another incarnation of the name from before that is no news."""
    store = Store(kept)
    store.put(A, obj(A, "u", 5))
    assert store.replace([], "8") == [change(A, obj(A, "u", 5), None)]
    assert [store.put(A, obj(A, "v", version)) for version in (6, 8)] == [None, None]
    assert store.put(A, obj(A, "v", 9)) == change(A, None, obj(A, "v", 9))


def test_a_late_own_delete_does_not_hit_the_next_incarnation() -> None:
    """The answer to a delete arrives after the object was created again."""
    store = Store(kept)
    store.put(A, obj(A, "new", 9))
    assert store.remove(A, uid="old") is None
    assert cached(store) == {A: ("new", 9)}


def test_a_list_from_before_an_own_create_does_not_delete_it() -> None:
    """LIST at version 4 says nothing about what was created at version 7."""
    store = Store(kept)
    store.put(A, obj(A, "u", 7))
    assert store.replace(listed(store, (B, obj(B, "v", 2))), "4") == [
        change(B, None, obj(B, "v", 2))
    ]
    assert cached(store) == {A: ("u", 7), B: ("v", 2)}
    assert store.replace([], "8") == [
        change(A, obj(A, "u", 7), None),
        change(B, obj(B, "v", 2), None),
    ]


def test_only_the_projection_is_kept() -> None:
    """What `project` leaves out is not in memory and not announced."""

    def names_only(value: Object) -> Object:
        return {"metadata": {"name": value["metadata"]["name"]}}  # type: ignore[index, call-overload]  # the test's own object

    store = Store(names_only)
    learned = store.put(A, {**obj(A, "u", 1), "data": {"value": "c2VjcmV0"}})
    assert learned is not None
    assert (learned.old, learned.new) == (None, {"metadata": {"name": "a"}})
    again = store.put(A, obj(A, "u", 2))
    assert again is not None
    assert (again.old, again.new) == ({"metadata": {"name": "a"}}, {"metadata": {"name": "a"}})
    gone = store.remove(A, uid="u")
    assert gone is not None
    assert (gone.old, gone.new) == ({"metadata": {"name": "a"}}, None)
    assert "metadata" not in repr([learned, again, gone])
    assert cached(store) == {}


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [
        ("10", "9", True),
        ("9", "10", False),
        ("9", "9", False),
        ("x", "9", True),
        ("x", "x", False),
        ("1" * 30, "9", True),
        ("", "9", True),
        ("9", "", True),
    ],
)
def test_versions_are_ordered_as_numbers(one: str, other: str, newer: object) -> None:
    """Not as text; what cannot be ordered is taken, unless it is the same."""
    assert is_newer(one, other) is newer


def test_tombstones_do_not_grow_without_end() -> None:
    """Tombstones of the names that went first are dropped, and that of a name that exists again."""
    store = Store(kept)
    for number in range(5000):
        store.remove(
            ObjectRef("v1", "Secret", "ns", str(number)), uid="u", resource_version=str(number)
        )
    assert [ref.name for ref in store._gone] == [str(number) for number in range(904, 5000)]
    store.put(ObjectRef("v1", "Secret", "ns", "2000"), obj(A, "v", 6000))
    assert len(store._gone) == 4095


def test_an_object_without_metadata_has_an_empty_identity() -> None:
    """No server sends one; nothing breaks."""
    store = Store(kept)
    nothing: Mapping[str, JSON] = {"metadata": []}
    assert store.put(A, nothing) == change(A, None, {"metadata": []})


def test_a_list_of_a_restored_server_is_the_truth() -> None:
    """Older versions replace newer ones, ghosts and tombstones go, equal versions are announced."""
    store = Store(kept)
    for ref, version in ((A, 90), (B, 95)):
        store.put(ref, obj(ref, "u", version))
    c = ObjectRef("v1", "Secret", "ns", "c")
    store.remove(c, uid="u", resource_version="99")
    store.begin_list()
    changes = store.replace(listed(store, (A, obj(A, "u", 30)), (c, obj(c, "u", 20))), "40")
    assert cached(store) == {A: ("u", 30), c: ("u", 20)}
    assert {(change.ref, change.old is None, change.new is None) for change in changes} == {
        (A, False, False),
        (B, False, True),
        (c, True, False),
    }
    assert store.put(A, obj(A, "u", 41)) is not None


def test_a_restored_list_does_not_undo_what_was_learned_after_it_was_sent() -> None:
    """An own write or delete while the list was on its way stays until the next list or event."""
    store = Store(kept)
    for ref in (A, B):
        store.put(ref, obj(ref, "u", 90))
    store.begin_list()
    store.put(A, obj(A, "new", 91))
    store.remove(B, uid="u", resource_version="92")
    assert store.replace(listed(store, (A, obj(A, "u", 30)), (B, obj(B, "u", 30))), "40") == []
    assert cached(store) == {A: ("new", 91)}
    store.begin_list()
    store.replace(listed(store, (A, obj(A, "u", 30))), "41")
    assert cached(store) == {A: ("u", 30)}


def test_a_bookmark_counts_as_the_newest_version() -> None:
    """A quiet kind shows by its bookmarks that the server went back."""
    store = Store(kept)
    store.put(A, obj(A, "u", 30))
    store.advance("100")
    store.begin_list()
    store.replace(listed(store), "40")
    assert cached(store) == {}


def test_an_equal_object_keeps_its_packed_form() -> None:
    """A change of nothing that is kept costs no packing, and says so without unpacking."""
    store = Store(kept)
    first = store.put(A, obj(A, "u", 1))
    again = store.put(A, obj(A, "u", 2))
    assert first is not None
    assert again is not None
    assert (again.before, again.after) != (None, None)
    assert again.after.packed is again.before.packed  # type: ignore[union-attr]
    assert (again.old, again.new) == (obj(A, "u", 1), obj(A, "u", 2))


def test_nothing_is_remembered_while_no_list_is_on_its_way() -> None:
    """A process that lives for weeks sees names without end."""
    store = Store(kept)
    store.begin_list()
    store.put(A, obj(A, "u", 1))
    assert store._since_list == {A}
    store.replace(listed(store), "0")
    store.put(B, obj(B, "u", 2))
    assert store._since_list is None


PLACES = tuple(ObjectRef("v1", "Secret", place, name) for place in ("far", "ns") for name in "ba")
LIST_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(PLACES)),
        st.tuples(st.just("remove"), st.sampled_from(PLACES)),
        st.tuples(st.just("list"), st.sampled_from([None, "ns", "far"])),
        st.tuples(st.sampled_from(["forget versions", "go back", "forget lists"]), st.none()),
    ),
    max_size=20,
)


@given(LIST_STEPS)
@example([("put", PLACES[0]), ("list", None), ("put", PLACES[2]), ("remove", PLACES[0])])
@example([("put", PLACES[0]), ("list", "far"), ("go back", None)])
@example([("put", PLACES[0]), ("list", "far"), ("forget versions", None)])
def test_a_list_has_each_object_as_it_is_after_any_news(steps: list[tuple[str, object]]) -> None:
    """Whatever earlier lists unpacked, a list is what unpacking every object would give."""
    store = Store(kept)
    for version, (what, at) in enumerate(steps, 10):
        if what == "list":
            assert isinstance(at, str | None)
            store.objects(at)
        elif what == "put":
            assert isinstance(at, ObjectRef)
            store.put(at, {**obj(at, f"uid-{at.namespace}-{at.name}-{version}", version)})
        elif what == "remove" and (known := store.get(at)) is not None:  # type: ignore[arg-type]
            assert isinstance(at, ObjectRef)
            store.remove(at, uid=known.uid, resource_version=str(version))
        elif what == "forget versions":
            store.forget_versions()
        elif what == "go back":
            store.begin_list()
            store.replace(listed(store, (A, obj(A, "uid-back", 2))), "2")
        elif what == "forget lists":
            store.forget_lists()
    for namespace in (None, "ns", "far"):
        refs = [ref for ref in store.refs() if namespace in (None, ref.namespace)]
        refs.sort(key=lambda ref: (ref.namespace or "", ref.name))
        cached = [store.get(ref) for ref in refs]
        assert store.objects(namespace) == tuple(each.obj for each in cached if each is not None)


def test_lists_unpack_each_state_of_an_object_once() -> None:
    """A thousand keys that list once each cost a thousand unpackings, not a million."""
    store = Store(kept)
    for version, ref in enumerate(REFS, 1):
        store.put(ref, obj(ref, f"uid-{ref.name}", version))
    first = store.objects("ns")
    store.put(B, obj(B, "uid-b", 3))
    second = store.objects("ns")
    assert [one is other for one, other in zip(first, second, strict=True)] == [True, False]
    store.forget_lists()
    third = store.objects("ns")
    assert third == second
    assert third[0] is not second[0]
