"""Rows U (PUT), P (PATCH) and D (DELETE)."""

from typing import Any

import pytest

from captep_memory import Quirks, load
from tests.memory.support import CRD, NOW, Api, Free, api, causes, created, refusal, secret, thing

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def _put(client: Api, **changes: Free) -> Free:
    """PUT a read object with changed metadata."""
    read = client.do("get").body
    return client.do(
        "update",
        body={**read, "metadata": {**read["metadata"], **changes.pop("metadata", {})}, **changes},
    )


def test_u1_the_name_of_the_body_must_equal_that_of_the_url() -> None:
    """400 for another name, another namespace and no name at all."""
    client = created()
    assert refusal(_put(client, metadata={"name": "b"})) == (400, "BadRequest")
    assert refusal(_put(client, metadata={"name": ""})) == (400, "BadRequest")
    assert refusal(_put(client, metadata={"namespace": "other"})) == (400, "BadRequest")


def test_u2_another_uid_is_a_conflict() -> None:
    """409 with the storage's message; the resourceVersion comes later."""
    client = created()
    uid = client.do("get").body["metadata"]["uid"]
    response = _put(client, metadata={"uid": "other", "resourceVersion": "1"})
    assert refusal(response) == (409, "Conflict")
    assert response.body["message"].endswith(
        f"Precondition failed: UID in precondition: other, UID in object meta: {uid}"
    )


def test_u3_put_of_an_absent_object_is_not_found() -> None:
    """404 since 1.34, also with a uid."""
    client = api()
    assert refusal(client.do("update", body=thing())) == (404, "NotFound")
    assert refusal(client.do("update", body=thing(metadata={"uid": "u"}))) == (404, "NotFound")


def test_u3_before_1_34_a_uid_makes_it_a_conflict() -> None:
    """The quirk of older servers: 409 with an empty uid."""
    client = Api(load([CRD], now=NOW, quirks=Quirks(version=(1, 33))))
    response = client.do("update", body=thing(metadata={"uid": "u"}))
    assert refusal(response) == (409, "Conflict")
    assert response.body["message"].endswith("UID in object meta: ")


def test_u3_a_lease_is_created_by_put() -> None:
    """201 the first time, 200 without a write the second time."""
    client = api()
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "l"},
        "spec": {"holderIdentity": "me"},
    }
    first = client.do("update", "l", "Lease", "coordination.k8s.io/v1", body=lease)
    assert first.status == 201
    again = client.do("update", "l", "Lease", "coordination.k8s.io/v1", body=first.body)
    assert (again.status, again.body) == (200, first.body)
    assert refusal(client.do("update", "l", "Lease", "coordination.k8s.io/v1", body=lease)) == (
        422,
        "Invalid",
    )


@pytest.mark.parametrize("subresource", [None, "status"])
def test_u4_a_custom_resource_needs_a_resource_version(subresource: str | None) -> None:
    """422 whose details name the plural, not the Kind."""
    response = created().do("update", body=thing(), subresource=subresource)
    assert refusal(response) == (422, "Invalid")
    assert response.body["details"]["kind"] == "things"
    assert causes(response) == [("metadata.resourceVersion", "FieldValueInvalid")]


def test_u4_a_secret_may_be_replaced_unconditionally() -> None:
    """An absent resourceVersion means the newest."""
    client = api()
    client.secret("create", body=secret(data={"k": "dg=="}))
    assert client.secret("update", body=secret(data={"l": "dg=="})).body["data"] == {"l": "dg=="}


@pytest.mark.parametrize("subresource", [None, "status"])
def test_u5_a_stale_resource_version_is_a_conflict(subresource: str | None) -> None:
    """409, even when the object is invalid too."""
    client = created()
    stale = client.do("get").body
    client.do("patch", body={"spec": {"size": 2}})
    before = client.world
    response = client.do(
        "update",
        body={**stale, "spec": {"size": 99}, "status": {"phase": "bad"}},
        subresource=subresource,
    )
    assert refusal(response) == (409, "Conflict")
    assert (
        response.body["message"]
        == f'Operation cannot be fulfilled on things.example.dev "a": {MODIFIED}'
    )
    assert response.body["details"] == {"name": "a", "group": "example.dev", "kind": "things"}
    assert client.world is before


def test_u5_a_resource_version_that_is_no_number_is_an_internal_error() -> None:
    """As seen on a real server."""
    response = _put(created(), metadata={"resourceVersion": "abc"})
    assert (response.status, response.body["message"]) == (
        500,
        'strconv.ParseUint: parsing "abc": invalid syntax',
    )


def test_u6_system_fields_are_restored() -> None:
    """generation and creationTimestamp of a client are ignored, an empty uid is filled."""
    client = created()
    before = client.world
    metadata = {
        "generation": 50,
        "creationTimestamp": "2000-01-01T00:00:00Z",
        "uid": "",
        "selfLink": "/x",
    }
    assert _put(client, metadata=metadata).status == 200
    assert client.world == before


def test_u6_a_client_cannot_mark_an_object_as_deleted() -> None:
    """deletionTimestamp on a live object: 422, the field is immutable."""
    response = _put(created(), metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert refusal(response) == (422, "Invalid")
    assert causes(response) == [("metadata.deletionTimestamp", "FieldValueInvalid")]


def test_u6_a_client_cannot_undelete() -> None:
    """Once set, the deletionTimestamp stays."""
    client = created(finalizers=("example.dev/f",))
    client.do("delete")
    before = client.world
    assert (
        client.do(
            "patch",
            body={"metadata": {"deletionTimestamp": None, "deletionGracePeriodSeconds": None}},
        ).status
        == 200
    )
    assert client.world == before


def test_u7_no_finalizer_may_be_added_while_deleting() -> None:
    """422 with the cause FieldValueForbidden."""
    client = created(finalizers=("example.dev/f",))
    client.do("delete")
    response = client.do(
        "patch", body={"metadata": {"finalizers": ["example.dev/f", "example.dev/g"]}}
    )
    assert refusal(response) == (422, "Invalid")
    assert causes(response) == [("metadata.finalizers", "FieldValueForbidden")]
    assert client.stored() is not None


def test_u8_removing_the_last_finalizer_deletes_the_object() -> None:
    """The response shows the object after the patch, the watch event as stored."""
    client = created(finalizers=("example.dev/f", "example.dev/g"))
    client.do("delete")
    assert client.do("patch", body={"metadata": {"finalizers": ["example.dev/g"]}}).status == 200
    assert client.stored() is not None
    response = client.do("patch", body={"metadata": {"finalizers": []}})
    assert response.status == 200
    assert "finalizers" not in response.body["metadata"]
    assert client.stored() is None
    assert client.last_change().type == "DELETED"
    assert client.last_change().object["metadata"]["finalizers"] == ["example.dev/g"]
    assert refusal(client.do("get")) == (404, "NotFound")


def test_u8_a_live_object_without_finalizers_stays() -> None:
    """Removing the last finalizer of an object that is not being deleted is an ordinary change."""
    client = created(finalizers=("example.dev/f",))
    client.do("patch", body={"metadata": {"finalizers": None}})
    assert client.stored() is not None


@pytest.mark.parametrize("verb", ["patch", "update"])
def test_u9_the_status_endpoint_writes_status_alone(verb: Free) -> None:
    """Spec, labels and finalizers in the body are ignored; the generation stays."""
    client = created()
    read = client.do("get").body
    metadata = {**read["metadata"], "labels": {"x": "y"}, "finalizers": ["example.dev/f"]}
    response = client.do(
        verb,
        subresource="status",
        body={**read, "metadata": metadata, "spec": {"size": 9}, "status": {"phase": "X"}},
    )
    version = {"resourceVersion": str(client.world.resource_version)}
    assert response.body == {
        **read,
        "metadata": {**read["metadata"], **version},
        "status": {"phase": "X"},
    }


def test_u9_the_main_endpoint_ignores_status() -> None:
    """A patch of status alone through the main endpoint is a no-op."""
    client = created(status={"phase": "X"})
    before = client.world
    assert client.do("patch", body={"status": {"phase": "Y"}}).status == 200
    assert client.world == before


def test_u9_a_status_can_be_removed() -> None:
    """null takes it off."""
    client = created(status={"phase": "X"})
    assert "status" not in client.do("patch", subresource="status", body={"status": None}).body


def test_u9_kinds_without_the_subresource_have_no_status_endpoint() -> None:
    """404 for a Secret, 405 for a deletion of a status."""
    client = created()
    client.secret("create", body=secret())
    assert client.secret("patch", subresource="status", body={}).status == 404
    assert client.do("delete", subresource="status").status == 405


def test_p1_a_patch_of_an_absent_object_is_404_and_of_an_unknown_format_415() -> None:
    """415 for strategic patches of custom resources too; an apply needs a field manager."""
    client = created()
    assert client.do("patch", "none", body={}).status == 404
    for content_type in ("application/strategic-merge-patch+json", "text/plain"):
        assert refusal(client.do("patch", body={}, content_type=content_type)) == (
            415,
            "UnsupportedMediaType",
        )
    assert refusal(client.do("patch", body={}, content_type="application/apply-patch+yaml")) == (
        422,
        "Invalid",
    )


@pytest.mark.parametrize("subresource", [None, "status"])
def test_p2_a_patch_conflicts_only_by_its_resource_version(subresource: str | None) -> None:
    """Without one it applies to the newest object, with a stale one it is 409."""
    client = created()
    stale = client.do("get").body["metadata"]["resourceVersion"]
    change: Any = {"spec": {"size": 3}, "status": {"phase": "Y"}}
    client.do("patch", body={"spec": {"size": 2}})
    response = client.do(
        "patch", subresource=subresource, body={**change, "metadata": {"resourceVersion": stale}}
    )
    assert refusal(response) == (409, "Conflict")
    assert client.do("patch", subresource=subresource, body=change).status == 200


def test_p2_another_uid_in_a_patch_is_invalid() -> None:
    """422 on metadata.uid, where a PUT has 409."""
    response = created().do("patch", body={"metadata": {"uid": "other"}, "spec": {"size": 2}})
    assert refusal(response) == (422, "Invalid")
    assert causes(response) == [("metadata.uid", "FieldValueInvalid")]


def test_p2_another_uid_in_a_patch_of_the_status_is_ignored() -> None:
    """The status strategy takes metadata from the store first: a uid protects nothing there."""
    response = created().do(
        "patch", subresource="status", body={"metadata": {"uid": "other"}, "status": {"phase": "X"}}
    )
    assert (response.status, response.body["status"]) == (200, {"phase": "X"})


def test_p2_a_patch_cannot_rename() -> None:
    """400 as for a PUT."""
    client = created()
    assert refusal(client.do("patch", body={"metadata": {"name": "b"}})) == (400, "BadRequest")
    assert refusal(client.do("patch", body={"metadata": {"namespace": "b"}})) == (400, "BadRequest")


def test_p3_a_json_patch_applies_or_is_invalid() -> None:
    """A failed test and an inapplicable operation are 422, a body other than a patch 400."""
    client = created()
    options = {"content_type": "application/json-patch+json"}
    applied = client.do(
        "patch", body=[{"op": "replace", "path": "/spec/size", "value": 5}], **options
    )
    assert applied.body["spec"]["size"] == 5
    failed = client.do(
        "patch", body=[{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}], **options
    )
    assert refusal(failed) == (422, "Invalid")
    assert (
        client.do("patch", body=[{"op": "remove", "path": "/spec/none"}], **options).status == 422
    )
    assert client.do("patch", body={"a": 1}, **options).status == 400
    assert (
        client.do("patch", body=[{"op": "test", "path": "", "value": 1}] * 10_001, **options).status
        == 413
    )


@pytest.mark.parametrize("metadata", [{"labels": {"a": 5}}, {"finalizers": "x"}])
def test_p4_a_patch_with_a_malformed_result_is_invalid(metadata: Free) -> None:
    """422 on the field `patch`, where a PUT has 400; the message leaves the object out."""
    client = created()
    response = client.do("patch", body={"metadata": metadata})
    assert (response.status, causes(response)) == (422, [("patch", "FieldValueInvalid")])
    client.secret("create", body=secret(data={"k": "Y2FuYXJ5"}))
    response = client.secret("patch", body={"data": {"l": "!!"}})
    assert (response.status, "Y2FuYXJ5" in str(response.body)) == (422, False)
    assert _put(client, metadata=metadata).status == 400


def test_p4_merge_patch_deletes_by_null_and_replaces_arrays() -> None:
    """RFC 7386 through the whole server."""
    client = api()
    client.do(
        "create",
        body=thing(spec={"size": 1, "tags": {"a": "1", "b": "2"}, "ports": [{"name": "x"}]}),
    )
    spec = client.do(
        "patch",
        body={"spec": {"tags": {"a": None, "c": "3"}, "ports": [{"name": "y", "number": 1}]}},
    ).body["spec"]
    assert spec == {
        "size": 1,
        "mode": "A",
        "tags": {"b": "2", "c": "3"},
        "ports": [{"name": "y", "number": 1}],
    }


def test_d1_a_delete_of_an_absent_object_is_404() -> None:
    """404."""
    assert refusal(api().do("delete")) == (404, "NotFound")


def test_d2_preconditions_name_the_kind() -> None:
    """409 with the Kind in details and message, for the uid and for the resourceVersion."""
    client = created()
    metadata = client.do("get").body["metadata"]
    response = client.do("delete", body={"preconditions": {"uid": "old"}})
    assert refusal(response) == (409, "Conflict")
    assert response.body["details"] == {"name": "a", "group": "example.dev", "kind": "Thing"}
    assert response.body["message"] == (
        'Operation cannot be fulfilled on Thing.example.dev "a": '
        "the UID in the precondition (old) does not match the UID in record "
        f"({metadata['uid']}). The object might have been deleted and then recreated"
    )
    assert refusal(client.do("delete", body={"preconditions": {"resourceVersion": "1"}})) == (
        409,
        "Conflict",
    )
    good = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    assert client.do("delete", body={"preconditions": good}).status == 200
    assert client.stored() is None


def test_d3_finalizers_hold_a_deleted_object() -> None:
    """The first delete marks it and counts the generation; later ones write nothing."""
    client = created(finalizers=("example.dev/f",))
    before = client.do("get").body
    marked = client.do("delete").body
    metadata = {
        **before["metadata"],
        "resourceVersion": str(client.world.resource_version),
        "generation": 2,
    }
    metadata |= {"deletionTimestamp": "2026-01-02T03:04:05Z", "deletionGracePeriodSeconds": 0}
    assert marked == {**before, "metadata": metadata}
    client.world = client.world.at(NOW.replace(hour=9))
    world = client.world
    assert client.do("delete").body == marked
    assert client.world is world


def test_d4_a_deletion_has_a_resource_version_of_its_own() -> None:
    """200 with a Status; the tombstone carries the version of the deletion."""
    client = created()
    read = client.do("get").body
    details = {
        "name": "a",
        "group": "example.dev",
        "kind": "things",
        "uid": read["metadata"]["uid"],
    }
    assert client.do("delete").body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
    tombstone = client.last_change()
    version = str(client.world.resource_version)
    assert int(version) == int(read["metadata"]["resourceVersion"]) + 1
    assert tombstone.object == {
        **read,
        "metadata": {**read["metadata"], "resourceVersion": version},
    }


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
def test_d5_propagation_policies_add_finalizers(policy: str, finalizer: str) -> None:
    """The object waits for the collector; Background takes the finalizer off again and ends it."""
    client = created()
    assert client.do("delete", body={"propagationPolicy": policy}).body["metadata"][
        "finalizers"
    ] == [finalizer]
    assert client.do("delete", body={"propagationPolicy": "Background"}).body["status"] == "Success"
    assert client.stored() is None


def test_d5_contradictory_options_are_invalid() -> None:
    """422 of kind DeleteOptions."""
    client = created()
    response = client.do(
        "delete", body={"propagationPolicy": "Foreground", "orphanDependents": True}
    )
    assert (response.status, response.body["details"]["kind"], causes(response)) == (
        422,
        "DeleteOptions",
        [("propagationPolicy", "FieldValueInvalid")],
    )
    assert client.do("delete", body={"propagationPolicy": "Sideways"}).status == 422


def test_d6_a_delete_without_a_precondition_hits_any_incarnation() -> None:
    """This is what makes uid preconditions necessary."""
    client = created()
    client.do("delete")
    client.do("create", body=thing())
    assert client.do("delete").status == 200
    assert client.stored() is None


def test_a6_a_dry_run_has_a_uid_of_its_own() -> None:
    """The object that is created afterwards has another one."""
    client = api()
    tried = client.do("create", body=thing(), dry_run=True).body
    assert "resourceVersion" not in tried["metadata"]
    assert client.do("create", body=thing()).body["metadata"]["uid"] != tried["metadata"]["uid"]


def test_a6_dry_runs_store_nothing() -> None:
    """The whole path, validation included, without a new resourceVersion."""
    client = created()
    before = client.world
    patched = client.do("patch", body={"spec": {"size": 7}}, dry_run=True).body
    assert (patched["spec"]["size"], patched["metadata"]["resourceVersion"]) == (
        7,
        str(before.resource_version),
    )
    assert client.do("create", None, body=thing("b"), dry_run=True).status == 201
    assert client.do("create", None, body=thing("b", {"size": 99}), dry_run=True).status == 422
    assert client.do("create", body=thing(), dry_run=True).status == 409
    assert client.do("delete", dry_run=True).status == 200
    assert client.do("delete", body={"dryRun": ["All"]}).status == 200
    assert client.world is before
