"""Objects kept small: what comes out is what went in, and a fleet takes little."""

import json
from uuid import UUID, uuid5

from hypothesis import given, settings
from hypothesis import strategies as st

from captep_core import JSON
from captep_kubernetes._packing import Object, Packed, Packer, marshalled

JSONS: st.SearchStrategy[JSON] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=4), JSONS, max_size=4)


def workspace(number: int) -> Object:
    """A Workspace that differs from others in its name and its uid."""
    condition: dict[str, JSON] = {
        "type": "Ready",
        "status": "True",
        "reason": "Available",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    outputs: dict[str, JSON] = {
        "cluster_endpoint": f"https://c{number}.example",
        "cluster_version": "1.33",
        "oidc": f"https://oidc/c{number}",
    }
    metadata: dict[str, JSON] = {
        "name": f"c{number}-eks-controlplane",
        "uid": str(uuid5(UUID(int=0), str(number))),
        "generation": 2,
    }
    status: dict[str, JSON] = {
        "conditions": [condition, {**condition, "type": "Synced"}],
        "atProvider": {"outputs": outputs},
    }
    return {
        "apiVersion": "tf.upbound.io/v1beta1",
        "kind": "Workspace",
        "metadata": metadata,
        "status": status,
    }


def pack(packer: Packer, obj: Object) -> Packed:
    """Pack an object."""
    return packer.pack(marshalled(obj))


@settings(max_examples=50)
@given(st.lists(OBJECTS, max_size=6), st.sampled_from([0, 40, 1 << 20]))
def test_an_unpacked_object_equals_the_packed_one(objects: list[Object], room: int) -> None:
    """Types included, fresh or at rest, whatever was packed before, and a new object each time."""
    packer = Packer(room)
    packed = [pack(packer, obj) for obj in objects]
    assert [repr(each.unpacked()) for each in packed] == [repr(obj) for obj in objects]
    assert all(each.unpacked() is not each.unpacked() for each in packed)


@settings(max_examples=50)
@given(OBJECTS, OBJECTS, st.sampled_from([0, 40, 1 << 20]))
def test_packed_objects_are_equal_when_their_contents_are(
    one: Object, other: Object, room: int
) -> None:
    """Whatever each was packed against, fresh or at rest."""
    packer = Packer(room)
    first, second = pack(packer, one), pack(packer, other)
    assert (first == second) is (one == other)
    assert first == pack(packer, one)
    assert first != one


def test_an_object_at_rest_like_the_others_takes_a_sixth_of_its_text() -> None:
    """The first one is packed by itself, those that look like it against it."""
    packer = Packer(room=0)
    packed = [pack(packer, workspace(number)) for number in range(100)]
    assert max(each.size for each in packed[1:]) < len(json.dumps(workspace(0))) / 6
    assert len({id(each.dictionary) for each in packed[1:]}) == 1
    assert packed[99].unpacked() == workspace(99)


def test_the_objects_that_changed_last_stay_as_they_are() -> None:
    """As many as have room: the oldest are deflated."""
    whole = len(marshalled(workspace(10)))
    packer = Packer(room=4 * whole)
    packed = [pack(packer, workspace(number)) for number in range(10, 16)]
    assert [each.size == whole for each in packed] == [False, False, True, True, True, True]


def test_a_dictionary_does_not_grow_without_end() -> None:
    """Objects that are like no other fill it once; then they are packed as they are."""
    packer = Packer(room=0)
    packed = [
        pack(
            packer,
            {"data": "".join(str(uuid5(UUID(int=number), str(part))) for part in range(40))},
        )
        for number in range(40)
    ]
    assert 10_000 < len(packed[-1].dictionary) <= 16384
    assert len({each.dictionary for each in packed}) < 20


def test_a_repr_shows_no_content() -> None:
    """Whatever is packed."""
    assert "secret" not in repr(pack(Packer(), {"data": "secret"}))


def test_empty_objects_share_one_packed_form() -> None:
    """Of kinds of which only the identity is kept, every object is nothing."""
    packer = Packer()
    assert pack(packer, {}) is pack(packer, {})
    assert pack(packer, {}).unpacked() == {}
    assert pack(packer, {}).is_empty
