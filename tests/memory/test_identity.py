"""Rows V (identity and versioning) and C (create)."""

import pytest

from captep_memory import Key, Request, World, load, serve
from tests.memory.support import CRD, NOW, THING, Api, api, causes, created, refusal, secret, thing


def test_v1_every_effective_write_gets_the_next_resource_version_of_the_store() -> None:
    """The counter is one for the whole store, whatever the kind."""
    client = api()
    start = client.world.resource_version
    first = client.do("create", body=thing())
    second = client.secret("create", body=secret())
    third = client.do("patch", body={"spec": {"size": 2}})
    versions = [
        int(response.body["metadata"]["resourceVersion"]) for response in (first, second, third)
    ]
    assert versions == [start + 1, start + 2, start + 3]
    assert client.world.resource_version == start + 3


@pytest.mark.parametrize("subresource", [None, "status"])
def test_v2_identical_update_writes_nothing(subresource: str | None) -> None:
    """PUT of a read object: 200, the same resourceVersion, no event, the same world."""
    client = created(status={"phase": "X"})
    before = client.world
    read = client.do("get").body
    response = client.do("update", body=read, subresource=subresource)
    assert (response.status, response.body) == (200, read)
    assert client.world == before


def test_v2_identical_patch_writes_nothing() -> None:
    """A merge patch of values that are there already leaves the very same world."""
    client = created(status={"phase": "X"})
    before = client.world
    assert (
        client.do("patch", body={"spec": {"size": 1}, "metadata": {"labels": None}}).status == 200
    )
    assert client.do("patch", subresource="status", body={"status": {"phase": "X"}}).status == 200
    assert client.world is before


def test_v2_a_change_that_defaults_and_pruning_undo_writes_nothing() -> None:
    """The server compares the object to store, not the body of the request."""
    client = created()
    before = client.world
    assert client.do("patch", body={"spec": {"mode": None, "unknown": 1}}).status == 200
    assert client.world == before


def test_v2_true_is_not_one() -> None:
    """JSON `true` and `1` have different encodings although they are equal in Python."""
    client = api()
    client.do("create", body=thing(spec={"size": 1, "free": {"x": 1}}))
    before = client.world.resource_version
    client.do("patch", body={"spec": {"free": {"x": True}}})
    assert client.world.resource_version == before + 1
    assert client.do("get").body["spec"]["free"]["x"] is True


def test_v3_uid_and_creation_time_are_the_servers() -> None:
    """What a client gives is wiped."""
    client = api()
    body = thing(metadata={"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z"})
    metadata = client.do("create", body=body).body["metadata"]
    assert metadata["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert len(metadata["uid"]) == 36


def test_v4_create_wipes_system_fields() -> None:
    """deletionTimestamp, grace period, generation and selfLink of a client are wiped."""
    client = api()
    metadata = {
        "deletionTimestamp": "2000-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 3,
        "generation": 9,
        "selfLink": "/x",
    }
    given = client.do("create", body=thing(metadata=metadata)).body["metadata"]
    assert sorted(given) == [
        "creationTimestamp",
        "generation",
        "name",
        "namespace",
        "resourceVersion",
        "uid",
    ]
    assert given["generation"] == 1


def test_v4_resource_version_on_create_is_an_internal_error() -> None:
    """It is the one system field that is not wiped, and the server says so with 500."""
    client = api()
    response = client.do("create", body=thing(metadata={"resourceVersion": "5"}))
    assert response.status == 500
    assert response.body["message"] == "resourceVersion should not be set on objects to be created"
    assert client.stored() is None


def test_v5_generation_counts_changes_outside_of_metadata_and_status() -> None:
    """Labels and status do not count, the spec does."""
    client = created()
    client.do("patch", body={"metadata": {"labels": {"a": "b"}, "generation": 77}})
    client.do("patch", subresource="status", body={"status": {"phase": "X"}})
    assert client.do("get").body["metadata"]["generation"] == 1
    assert client.do("patch", body={"spec": {"size": 2}}).body["metadata"]["generation"] == 2


def test_v5_secrets_have_no_generation() -> None:
    """Neither on creation nor after a change."""
    client = api()
    client.secret("create", body=secret(data={"k": "dg=="}))
    assert "generation" not in client.secret("patch", body={"data": {"k": "dw=="}}).body["metadata"]


def test_v6_a_recreated_object_has_another_uid() -> None:
    """Also when everything else is the same, the clock included."""
    client = created()
    first = client.do("get").body["metadata"]["uid"]
    client.do("delete")
    assert client.do("create", body=thing()).body["metadata"]["uid"] != first


def test_c1_the_namespace_of_the_body_must_equal_that_of_the_request() -> None:
    """400, word for word; nothing is stored."""
    client = api()
    response = client.do("create", body=thing(metadata={"namespace": "other"}))
    assert refusal(response) == (400, "BadRequest")
    assert (
        response.body["message"]
        == "the namespace of the provided object does not match the namespace sent on the request"
    )


def test_c1_status_is_dropped_on_create() -> None:
    """With the status subresource a creation has no status."""
    client = api()
    assert "status" not in client.do("create", body=thing(status={"phase": "X"})).body


def test_c2_creating_an_existing_object_is_already_exists() -> None:
    """The whole body is that of the real server."""
    response = created().do("create", body=thing())
    assert response.status == 409
    assert response.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'things.example.dev "a" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "a", "group": "example.dev", "kind": "things"},
        "code": 409,
    }


def test_c2_already_exists_while_the_old_one_is_being_deleted() -> None:
    """The message says so with a prefix."""
    client = created(finalizers=("example.dev/f",))
    client.do("delete")
    response = client.do("create", body=thing())
    assert refusal(response) == (409, "AlreadyExists")
    assert (
        response.body["message"] == 'object is being deleted: things.example.dev "a" already exists'
    )


def test_c3_generate_name_appends_five_safe_characters() -> None:
    """The base is cut to 58 characters; two creations get two names."""
    client = api()
    names = set()
    for _ in range(2):
        metadata = client.do(
            "create", None, body={**thing(), "metadata": {"generateName": "x" * 60}}
        ).body["metadata"]
        names.add(metadata["name"])
        assert metadata["name"][:58] == "x" * 58
        assert len(metadata["name"]) == 63
        assert set(metadata["name"][58:]) <= set("bcdfghjklmnpqrstvwxz2456789")
    assert len(names) == 2


def test_c4_a_namespace_must_exist_in_a_whole_cluster() -> None:
    """404 for the namespace, not for the object; a cluster with `kube-system` is whole."""
    client = api({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    response = client.do("create", body=thing())
    assert refusal(response) == (404, "NotFound")
    assert response.body["message"] == 'namespaces "fleet" not found'


def test_c4_a_namespace_that_is_not_given_exists_in_a_part_of_a_cluster() -> None:
    """A test that gives one Namespace of many need not give the others."""
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
    assert api().do("create", body=thing()).status == 201
    assert api(other).do("create", body=thing()).status == 201


def test_c4_a_terminating_namespace_forbids_new_objects() -> None:
    """403 with the cause NamespaceTerminating; changes of old objects still pass."""
    metadata = {
        "name": "fleet",
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "finalizers": ["kubernetes"],
    }
    client = api(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        thing("old", metadata={"namespace": "fleet"}),
    )
    response = client.do("create", body=thing())
    assert refusal(response) == (403, "Forbidden")
    assert causes(response) == [("metadata.namespace", "NamespaceTerminating")]
    assert client.do("patch", "old", body={"spec": {"size": 2}}).status == 200


def test_c5_an_owner_need_not_exist() -> None:
    """The collector will deal with it."""
    owner = {"apiVersion": "v1", "kind": "Nothing", "name": "x", "uid": "u"}
    assert api().do("create", body=thing(metadata={"ownerReferences": [owner]})).status == 201


def test_c6_duplicate_owners_are_removed_with_a_warning() -> None:
    """On create and on update."""
    owner = {"apiVersion": "v1", "kind": "K", "name": "x", "uid": "u1"}
    client = api()
    response = client.do("create", body=thing(metadata={"ownerReferences": [owner, dict(owner)]}))
    assert response.body["metadata"]["ownerReferences"] == [owner]
    assert "duplicate UID(s) observed: u1" in response.headers["Warning"]


def test_the_request_decides_the_scope_of_an_unknown_kind() -> None:
    """A kind without a definition is a custom resource with a status, in either scope."""
    world = World.empty(now=NOW)
    body = {
        "apiVersion": "x.dev/v1",
        "kind": "Any",
        "metadata": {"name": "n"},
        "spec": {"free": [None, 1.5]},
    }
    for namespace in (None, "fleet"):
        world, response = serve(world, Request("create", "x.dev/v1", "Any", namespace, body=body))
        assert response.status == 201
    assert world.get(Key("x.dev", "Any", None, "n")) is not None
    assert world.get(Key("x.dev", "Any", "fleet", "n")) is not None


def test_scope_of_known_kinds_is_enforced() -> None:
    """A cluster-scoped kind has no namespaced path, a namespaced object no cluster-scoped one."""
    world = load([CRD], now=NOW, scopes={("zone.example", "Zone"): "Cluster"})
    zone = {
        "apiVersion": "zone.example/v1",
        "kind": "Zone",
        "metadata": {"name": "w"},
    }
    assert (
        serve(world, Request("create", "zone.example/v1", "Zone", "fleet", body=zone))[1].status
        == 404
    )
    assert serve(world, Request("create", "zone.example/v1", "Zone", body=zone))[1].status == 201
    assert serve(world, Request("create", THING, "Thing", body=thing()))[1].status == 400


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "a" * 254, "-a", "a.."])
def test_a1_names_are_dns_subdomains(name: str) -> None:
    """422 on metadata.name."""
    response = api().do("create", None, body=thing(name))
    assert refusal(response) == (422, "Invalid")
    assert {field for field, _ in causes(response)} == {"metadata.name"}


def test_a_refused_request_returns_the_very_same_world() -> None:
    """A refused request leaves the very same world."""
    client = created()
    before = client.world
    client.do("create", body=thing())
    assert client.world is before
    assert isinstance(client, Api)
