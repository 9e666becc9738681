"""Objects kept small: what comes out is what went in, and a fleet takes little."""

import json
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from captep_core import JSON
from captep_kubernetes._packing import Object, Packer

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


@given(st.lists(OBJECTS, max_size=6))
def test_an_unpacked_object_equals_the_packed_one(objects: list[Object]) -> None:
    """Types included, whatever was packed before, and a new object each time."""
    packer = Packer()
    packed = [packer.pack(obj) for obj in objects]
    assert [repr(each.unpacked()) for each in packed] == [repr(obj) for obj in objects]
    assert all(each.unpacked() is not each.unpacked() for each in packed)


@given(OBJECTS, OBJECTS)
def test_packed_objects_are_equal_when_their_contents_are(one: Object, other: Object) -> None:
    """Whatever each was packed against."""
    packer = Packer()
    first, second = packer.pack(one), packer.pack(other)
    assert (first == second) is (one == other)
    assert first == packer.pack(one)
    assert first != one


def test_an_object_like_the_others_takes_a_sixth_of_its_text() -> None:
    """The first one is packed by itself, those that look like it against it."""
    packer = Packer()
    packed = [packer.pack(workspace(number)) for number in range(100)]
    sizes = [len(each.deflated) for each in packed]
    assert max(sizes[1:]) < len(json.dumps(workspace(0))) / 6
    assert len({id(each.dictionary) for each in packed[1:]}) == 1
    assert packed[99].unpacked() == workspace(99)


def test_a_dictionary_does_not_grow_without_end() -> None:
    """Objects that are like no other fill it once; then they are packed as they are."""
    packer = Packer()
    packed = [
        packer.pack(
            {"data": "".join(str(uuid5(UUID(int=number), str(part))) for part in range(40))}
        )
        for number in range(40)
    ]
    assert 10_000 < len(packed[-1].dictionary) <= 16384
    assert len({each.dictionary for each in packed}) < 20


def test_a_repr_shows_no_content() -> None:
    """Whatever is packed."""
    assert "secret" not in repr(Packer().pack({"data": "secret"}))


def test_empty_objects_share_one_packed_form() -> None:
    """Of kinds of which only the identity is kept, every object is nothing."""
    packer = Packer()
    assert packer.pack({}) is packer.pack({})
    assert packer.pack({}).unpacked() == {}
