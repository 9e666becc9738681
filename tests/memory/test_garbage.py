"""Rows G: the garbage collector as transitions of its own."""

from captep_memory import (
    Key,
    Object,
    OwnerRef,
    World,
    collect,
    collect_all,
    departed,
    garbage,
    load,
)
from tests.memory.support import NOW, Api, api, secret, thing

OWNED = Key("", "Secret", "fleet", "s")
OWNER = Key("example.dev", "Thing", "fleet", "a")


def _ref(uid: str, name: str = "a", **more: object) -> Object:
    return {"apiVersion": "example.dev/v1", "kind": "Thing", "name": name, "uid": uid, **more}


def _owned(*refs: Object, finalizers: tuple[str, ...] = ()) -> Object:
    metadata = {"namespace": "fleet", "ownerReferences": list(refs)} | (
        {"finalizers": list(finalizers)} if finalizers else {}
    )
    return secret(metadata=metadata)


def _owner(name: str = "a", uid: str = "u1", **metadata: object) -> Object:
    return thing(name, metadata={"namespace": "fleet", "uid": uid, **metadata})


def _world(*objects: Object) -> World:
    return load(objects, now=NOW)


def test_g1_an_absent_owner_makes_garbage() -> None:
    """Absent is: no such name, the name with another uid, the name in another namespace."""
    for objects in (
        (),
        (_owner(uid="other"),),
        ({**_owner(), "metadata": {"name": "a", "namespace": "elsewhere", "uid": "u1"}},),
    ):
        assert garbage(_world(_owned(_ref("u1")), *objects)) == (OWNED,)
    assert garbage(_world(_owned(_ref("u1")), _owner())) == ()
    assert garbage(_world(_owned())) == ()


def test_g1_a_cluster_scoped_owner_is_found() -> None:
    """By uid, without a namespace."""
    ref = {"apiVersion": "zone.example/v1", "kind": "Zone", "name": "w", "uid": "u1"}
    zone: Object = {
        "apiVersion": "zone.example/v1",
        "kind": "Zone",
        "metadata": {"name": "w", "uid": "u1"},
    }
    assert garbage(_world(_owned(ref), zone)) == ()
    assert garbage(_world(_owned(ref))) == (OWNED,)


def test_g1_the_collector_ignores_a_cluster_scoped_object_with_a_namespaced_owner() -> None:
    """The collector cannot resolve such an owner."""
    ref = {"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "gone"}
    zone: Object = {
        "apiVersion": "zone.example/v1",
        "kind": "Zone",
        "metadata": {"name": "w", "ownerReferences": [ref]},
    }
    assert garbage(_world(zone)) == ()


def test_g1_in_a_partial_world_an_owner_exists_until_its_deletion() -> None:
    """Never among the objects means elsewhere; deleted during the run means gone."""
    world = _world(_owned(_ref("u1")))
    assert garbage(world, known_owner=departed(world)) == ()
    client = Api(_world(_owned(_ref("u1")), _owner()))
    client.do("delete")
    assert garbage(client.world, known_owner=departed(client.world)) == (OWNED,)


def test_g1_known_owner_gets_the_whole_reference() -> None:
    """`known_owner` sees version, kind, name, uid and the namespace it would be in."""
    asked: list[OwnerRef] = []

    def known(owner: OwnerRef) -> bool:
        asked.append(owner)
        return True

    assert garbage(_world(_owned(_ref("u1"))), known_owner=known) == ()
    assert asked == [OwnerRef("example.dev/v1", "Thing", "a", "u1", "fleet")]


def test_g2_a_solid_owner_keeps_the_object_and_loses_the_others() -> None:
    """By a write of its own."""
    world = _world(_owned(_ref("u1"), _ref("gone", "b")), _owner())
    assert garbage(world) == (OWNED,)
    after = collect(world, OWNED)
    assert (after.get(OWNED) or {})["metadata"]["ownerReferences"] == [_ref("u1")]
    assert after.resource_version == world.resource_version + 1
    assert garbage(after) == ()


def test_g2_without_a_solid_owner_the_object_goes() -> None:
    """Removed, or marked while a finalizer holds it; then the collector has nothing to do."""
    world = _world(_owned(_ref("gone")))
    assert collect(world, OWNED).get(OWNED) is None
    held = _world(_owned(_ref("gone"), finalizers=("example.dev/f",)))
    marked = collect(held, OWNED)
    assert "deletionTimestamp" in (marked.get(OWNED) or {})["metadata"]
    assert garbage(marked) == ()


def test_g3_foreground_deletion_waits_for_blocking_dependents() -> None:
    """First the dependents go, then the owner's finalizer, and the owner with it."""
    client = api(_owner(), _owned(_ref("u1", blockOwnerDeletion=True)))
    client.do("delete", body={"propagationPolicy": "Foreground"})
    assert garbage(client.world) == (OWNED,)
    without_dependent = collect(client.world, OWNED)
    assert garbage(without_dependent) == (OWNER,)
    assert collect(without_dependent, OWNER).get(OWNER) is None


def test_g3_foreground_deletion_does_not_wait_for_the_others() -> None:
    """A dependent without blockOwnerDeletion lets the owner go first."""
    client = api(_owner(), _owned(_ref("u1")))
    client.do("delete", body={"propagationPolicy": "Foreground"})
    assert garbage(client.world) == (OWNER, OWNED)


def test_g3_orphaning_strips_the_references() -> None:
    """The dependents stay, without an owner; then the owner goes."""
    client = api(_owner(), _owned(_ref("u1")))
    client.do("delete", body={"propagationPolicy": "Orphan"})
    world = collect_all(client.world)
    assert world.get(OWNER) is None
    assert "ownerReferences" not in (world.get(OWNED) or {})["metadata"]


def test_g4_nothing_is_collected_inline() -> None:
    """A deletion removes the one object; the rest is up to the collector, whenever it runs."""
    client = api(_owner(), _owned(_ref("u1")))
    client.do("delete")
    assert client.world.get(OWNED) is not None
    assert collect(client.world, OWNER) is client.world
    assert collect_all(client.world).get(OWNED) is None


def test_g4_chains_are_collected_to_the_end() -> None:
    """The dependents of a dependent go too, at the latest with the fixpoint."""
    middle = _owner("b", "u2", ownerReferences=[_ref("u1")])
    client = api(_owner(), middle, _owned(_ref("u2", "b")))
    client.do("delete")
    assert [obj["kind"] for obj in collect_all(client.world).objects()] == [
        "CustomResourceDefinition"
    ]
