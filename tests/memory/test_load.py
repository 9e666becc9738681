"""Seeds: load keeps given values and supplies missing ones."""

import os
from pathlib import Path

import pytest

from captep_memory import Key, Object, Request, World, load, serve
from tests.memory.support import CRD, NOW, Free, secret, thing

KEY = Key("example.dev", "Thing", "fleet", "a")


def _load(*objects: Object) -> World:
    return load(objects, now=NOW, scopes={("zone.example", "Zone"): "Cluster"})


def test_load_keeps_given_values() -> None:
    """uids, versions, generations, times, finalizers, status."""
    metadata = {
        "namespace": "fleet",
        "uid": "u",
        "resourceVersion": "5",
        "generation": 7,
        "creationTimestamp": "2020-01-01T00:00:00Z",
    }
    given = thing(
        metadata={**metadata, "finalizers": ["a.b/c"], "deletionTimestamp": "2021-01-01T00:00:00Z"},
        status={"phase": "X"},
    )
    assert _load(given).get(KEY) == given


def test_supplied_values_are_a_function_of_the_identity() -> None:
    """The same whatever else the world holds, another one for another object."""
    alone = _load(thing(metadata={"namespace": "fleet"})).get(KEY)
    among = _load(
        thing("b", metadata={"namespace": "fleet"}),
        secret(),
        thing(metadata={"namespace": "fleet"}),
    )
    assert among.get(KEY) == alone
    other = among.get(Key("example.dev", "Thing", "fleet", "b"))
    assert alone is not None
    assert other is not None
    assert alone["metadata"]["uid"] != other["metadata"]["uid"]
    assert alone["metadata"]["generation"] == 1
    assert alone["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"


def test_the_store_counts_on_above_every_version() -> None:
    """Also above a given one that is larger than its own start."""
    world = _load(thing(metadata={"namespace": "fleet", "resourceVersion": "123456789"}))
    assert world.resource_version == 123456789
    assert all(
        int(obj["metadata"]["resourceVersion"]) <= _load(secret()).resource_version
        for obj in _load(secret()).objects()
    )


def test_a_loaded_world_loads_as_itself() -> None:
    """The output of one run is the input of the next."""
    world = _load(
        CRD,
        thing(),
        secret(stringData={"k": "v"}),
        {"apiVersion": "x.dev/v1", "kind": "Any", "metadata": {"name": "n"}},
    )
    assert list(load(world.objects(), now=NOW).objects()) == list(world.objects())


def test_a_deleted_object_without_finalizers_is_gone() -> None:
    """deletionTimestamp without finalizers."""
    assert len(_load(thing(metadata={"deletionTimestamp": "2021-01-01T00:00:00Z"}))) == 0


def test_load_supplies_namespaces_of_known_kinds() -> None:
    """`default` for namespaced kinds, none for cluster-scoped ones, as given for unknown ones."""
    zone = {
        "apiVersion": "zone.example/v1",
        "kind": "Zone",
        "metadata": {"name": "w", "namespace": "x"},
    }
    unknown = {"apiVersion": "x.dev/v1", "kind": "Any", "metadata": {"name": "n"}}
    world = _load(CRD, thing(), secret(), zone, unknown)
    for key in (
        Key("example.dev", "Thing", "default", "a"),
        Key("", "Secret", "default", "s"),
        Key("zone.example", "Zone", None, "w"),
        Key("x.dev", "Any", None, "n"),
    ):
        assert world.get(key) is not None


def test_load_decodes_secrets_as_the_server_does() -> None:
    """stringData goes into data, the type is Opaque."""
    stored = _load(secret(data={"a": "YQ=="}, stringData={"b": "b"})).get(
        Key("", "Secret", "default", "s")
    )
    assert stored is not None
    assert (stored["data"], stored["type"], "stringData" in stored) == (
        {"a": "YQ==", "b": "Yg=="},
        "Opaque",
        False,
    )


def test_definitions_prune_and_default_but_do_not_validate() -> None:
    """As a server does when it reads its store."""
    stored = _load(CRD, thing(spec={"size": 99, "junk": 1}, metadata={"namespace": "fleet"})).get(
        KEY
    )
    assert stored is not None
    assert stored["spec"] == {"size": 99, "mode": "A"}


def test_load_keeps_objects_without_a_definition_unchanged() -> None:
    """And writes are not validated either."""
    world = _load(thing(spec={"junk": None}, metadata={"namespace": "fleet"}))
    assert (world.get(KEY) or {})["spec"] == {"junk": None}
    _, response = serve(
        world, Request("patch", "example.dev/v1", "Thing", "fleet", "a", body={"spec": {"more": 1}})
    )
    assert response.body["spec"] == {"junk": None, "more": 1}


@pytest.mark.parametrize(
    "obj",
    [
        {},
        {"apiVersion": "v1", "kind": "Secret"},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": ""}},
        secret(data=5),
        thing(metadata={"labels": 5}),
    ],
)
def test_a_malformed_object_is_a_value_error(obj: Free) -> None:
    """A ValueError that names it."""
    with pytest.raises(ValueError, match=r"needs apiVersion|Secret default/s|Thing"):
        _load(obj)


def test_the_same_object_twice_is_a_value_error() -> None:
    """Whatever its version."""
    with pytest.raises(ValueError, match="Thing default/a exists twice"):
        _load(CRD, thing(), {**thing(), "apiVersion": "example.dev/v2"})


def test_every_definition_of_the_real_system_loads() -> None:
    """Every CRD of the folder in CAPTEP_UPSTREAM yields a kind to create and read."""
    folder = os.environ.get("CAPTEP_UPSTREAM")
    if not folder:
        pytest.skip("CAPTEP_UPSTREAM names no folder with the real definitions in crds/")
    yaml = pytest.importorskip("yaml")
    paths = sorted(
        path for path in Path(folder, "crds").glob("*.yaml") if "v1.8.5" not in path.name
    )
    definitions = [yaml.safe_load(path.read_text()) for path in paths]
    world = load(definitions, now=NOW)
    assert len(world.catalog.custom) == len(definitions)
    for custom in world.catalog.custom.values():
        for resource in custom.versions.values():
            namespace = "fleet" if resource.scope == "Namespaced" else None
            body = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": "a"},
            }
            created, response = serve(
                world, Request("create", resource.api_version, resource.kind, namespace, body=body)
            )
            assert response.status in (201, 422)
            assert len(created) == len(world) + (response.status == 201)
