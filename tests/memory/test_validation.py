"""Rows A: validation, schemas and admission."""

import pytest
from attrs import evolve

from captep_memory import Admission, Object, Request, Response, denied, load, webhook_down
from tests.memory.support import CRD, NOW, Api, Free, api, causes, created, refusal, thing


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "no way"}}, "metadata.labels"),
        ({"labels": {"a": "x" * 64}}, "metadata.labels"),
        ({"labels": {"/a": ""}}, "metadata.labels"),
        ({"labels": {"a/b/c": ""}}, "metadata.labels"),
        ({"annotations": {"A B": ""}}, "metadata.annotations"),
        ({"finalizers": ["bad name"]}, "metadata.finalizers"),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, "metadata.finalizers"),
    ],
)
def test_a1_metadata_is_validated(metadata: Object, field: str) -> None:
    """422 on create and on patch."""
    response = api().do("create", body=thing(metadata=metadata))
    assert (response.status, {name for name, _ in causes(response)}) == (422, {field})
    response = created().do("patch", body={"metadata": metadata})
    assert (response.status, {name for name, _ in causes(response)}) == (422, {field})


def test_a1_annotations_fit_in_256_kibibytes() -> None:
    """Keys count too."""
    assert (
        api()
        .do("create", body=thing(metadata={"annotations": {"a": "x" * (256 * 1024 - 1)}}))
        .status
        == 201
    )
    response = api().do("create", body=thing(metadata={"annotations": {"a": "x" * (256 * 1024)}}))
    assert (response.status, causes(response)) == (
        422,
        [("metadata.annotations", "FieldValueTooLong")],
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"a": 5}},
        {"labels": []},
        {"finalizers": "x"},
        {"generation": "1"},
        {"name": 5},
        5,
    ],
)
def test_a1_metadata_of_a_wrong_type_is_a_bad_request(metadata: Free) -> None:
    """400: it cannot be decoded."""
    body = {
        **thing(),
        "metadata": {"name": "a", **metadata} if isinstance(metadata, dict) else metadata,
    }
    assert refusal(api().do("create", body=body)) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("owner", "fields"),
    [
        ({"apiVersion": "v1", "kind": "K", "name": "n"}, ["metadata.ownerReferences[0].uid"]),
        (
            {"apiVersion": "a/b/c", "kind": "K", "name": "n", "uid": "u"},
            ["metadata.ownerReferences[0].apiVersion"],
        ),
        (
            {"apiVersion": "v1", "kind": "Event", "name": "n", "uid": "u"},
            ["metadata.ownerReferences[0]"],
        ),
    ],
)
def test_a2_owners_are_validated(owner: Object, fields: list[str]) -> None:
    """All four members are required, and an Event owns nothing."""
    response = api().do("create", body=thing(metadata={"ownerReferences": [owner]}))
    assert (response.status, [name for name, _ in causes(response)]) == (422, fields)


def test_a2_an_object_has_at_most_one_controller() -> None:
    """Two owners with controller=true are 422."""
    owners = [
        {"apiVersion": "v1", "kind": "K", "name": name, "uid": name, "controller": True}
        for name in ("n", "m")
    ]
    response = api().do("create", body=thing(metadata={"ownerReferences": owners}))
    assert (response.status, causes(response)) == (
        422,
        [("metadata.ownerReferences", "FieldValueInvalid")],
    )


def test_a3_unknown_fields_are_pruned_and_defaults_filled() -> None:
    """Forbidden nulls go or become the default; x-kubernetes-preserve-unknown-fields keeps all."""
    spec = {
        "size": 1,
        "mode": None,
        "unknown": 1,
        "optional": None,
        "name": None,
        "free": {"x": None, "y": [1]},
        "tags": {"a": None},
    }
    created_spec = api().do("create", body=thing(spec=spec, junk=1)).body
    assert created_spec["spec"] == {
        "size": 1,
        "mode": "A",
        "optional": None,
        "free": {"x": None, "y": [1]},
        "tags": {},
    }
    assert "junk" not in created_spec


def test_a3_metadata_is_encoded_as_go_does() -> None:
    """Unknown and empty members are dropped."""
    metadata: Object = {"labels": {}, "finalizers": [], "annotations": None, "unknown": 1}
    assert sorted(api().do("create", body=thing(metadata=metadata)).body["metadata"]) == [
        *("creationTimestamp", "generation", "name", "namespace", "resourceVersion", "uid"),
    ]


INVALID: list[tuple[Object, str, str, str]] = [
    ({}, "spec.size", "FieldValueRequired", "Required value"),
    (
        {"size": 0},
        "spec.size",
        "FieldValueInvalid",
        "Invalid value: 0: spec.size in body should be greater than or equal to 1",
    ),
    (
        {"size": 11},
        "spec.size",
        "FieldValueInvalid",
        "Invalid value: 11: spec.size in body should be less than or equal to 10",
    ),
    (
        {"size": "5"},
        "spec.size",
        "FieldValueTypeInvalid",
        'Invalid value: "string": spec.size in body must be of type integer: "string"',
    ),
    (
        {"size": True},
        "spec.size",
        "FieldValueTypeInvalid",
        'Invalid value: "boolean": spec.size in body must be of type integer: "boolean"',
    ),
    (
        {"size": 1, "mode": "Z"},
        "spec.mode",
        "FieldValueNotSupported",
        'Unsupported value: "Z": supported values: "A", "B"',
    ),
    (
        {"size": 1, "name": "a"},
        "spec.name",
        "FieldValueInvalid",
        'Invalid value: "a": spec.name in body should be at least 2 chars long',
    ),
    (
        {"size": 1, "name": "abcdef"},
        "spec.name",
        "FieldValueTooLong",
        "Too long: may not be more than 5 bytes",
    ),
    (
        {"size": 1, "name": "AB"},
        "spec.name",
        "FieldValueInvalid",
        "Invalid value: \"AB\": spec.name in body should match '^[a-z]+$'",
    ),
    (
        {"size": 1, "name": "ab\n"},
        "spec.name",
        "FieldValueInvalid",
        "Invalid value: \"ab\\n\": spec.name in body should match '^[a-z]+$'",
    ),
    (
        {"size": 1, "when": "x"},
        "spec.when",
        "FieldValueTypeInvalid",
        'Invalid value: "x": spec.when in body must be of type date-time: "x"',
    ),
    (
        {"size": 1, "tags": {"a": 1}},
        "spec.tags.a",
        "FieldValueTypeInvalid",
        'Invalid value: "integer": spec.tags.a in body must be of type string: "integer"',
    ),
    (
        {"size": 1, "ports": [{"number": 1}]},
        "spec.ports[0].name",
        "FieldValueRequired",
        "Required value",
    ),
    (
        {"size": 1, "ports": [{"name": n} for n in "abc"]},
        "spec.ports",
        "FieldValueTooMany",
        "Too many: 3: must have at most 2 items",
    ),
    (
        {"size": 1, "ports": [{"name": "a"}, {"name": "a"}]},
        "spec.ports[1]",
        "FieldValueDuplicate",
        'Duplicate value: {"name":"a"}',
    ),
    (
        {"size": 1, "flag": "true"},
        "spec.flag",
        "FieldValueTypeInvalid",
        'Invalid value: "string": spec.flag in body must be of type boolean: "string"',
    ),
    (
        {"size": 1, "either": 1.5},
        "spec.either",
        "FieldValueTypeInvalid",
        'Invalid value: "number": spec.either in body must be of type integer,string: "number"',
    ),
]


@pytest.mark.parametrize(("spec", "field", "reason", "message"), INVALID)
def test_a3_schemas_validate(spec: Object, field: str, reason: str, message: str) -> None:
    """One cause, placed and worded as kube-apiserver 1.37 was seen to do it."""
    response = api().do("create", body=thing(spec=spec))
    assert response.status == 422
    assert response.body["details"]["causes"] == [
        {"reason": reason, "message": message, "field": field}
    ]
    assert response.body["message"] == f'Thing.example.dev "a" is invalid: {field}: {message}'


def test_a3_one_answer_lists_all_causes() -> None:
    """In brackets, each once."""
    response = api().do("create", body=thing(spec={"size": 0, "mode": "Z"}))
    lines = [
        f"{cause['field']}: {cause['message']}" for cause in response.body["details"]["causes"]
    ]
    assert len(lines) == 2
    assert response.body["message"] == f'Thing.example.dev "a" is invalid: [{", ".join(lines)}]'


def test_a3_the_status_endpoint_validates_status_alone() -> None:
    """A stored invalid spec does not matter there."""
    client = api(thing(spec={"size": 99}, metadata={"namespace": "fleet"}))
    assert client.do("patch", subresource="status", body={"status": {"phase": "X"}}).status == 200
    response = client.do("patch", subresource="status", body={"status": {"count": "x"}})
    assert response.body["details"]["causes"] == [
        {
            "reason": "FieldValueTypeInvalid",
            "message": 'Invalid value: "string": count in body must be of type integer: "string"',
            "field": "status.count",
        }
    ]


def test_a3_unchanged_values_are_not_validated_again() -> None:
    """Ratcheting: an update may leave an invalid value, but not set another invalid one."""
    client = api(thing(spec={"size": 99, "mode": "A"}, metadata={"namespace": "fleet"}))
    assert client.do("patch", body={"spec": {"mode": "B"}}).status == 200
    assert client.do("patch", body={"spec": {"size": 98}}).status == 422


@pytest.mark.parametrize("field", ["ruled", "address"])
def test_a4_a_write_that_touches_an_unmodelled_rule_is_501(field: str) -> None:
    """CEL rules and rare formats; other writes of the object pass."""
    client = api(thing(spec={"size": 1, field: "x"}, metadata={"namespace": "fleet"}))
    assert refusal(client.do("patch", body={"spec": {field: "y"}})) == (501, "NotModelled")
    assert client.do("patch", body={"spec": {"size": 2}}).status == 200
    assert client.do("patch", body={"spec": {field: None}}).status == 200


def test_a4_a_rule_at_the_root_is_about_every_write_of_the_object() -> None:
    """Of the status endpoint too, which validates the status as a document of its own."""
    version = CRD["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    ruled = {**schema, "x-kubernetes-validations": [{"rule": "self.spec.size > 0"}]}
    versions = [{**version, "schema": {"openAPIV3Schema": ruled}}]
    definition = {**CRD, "spec": {**CRD["spec"], "versions": versions}}
    client = Api(load([definition, thing(metadata={"namespace": "fleet"})], now=NOW))
    for options in (
        {"body": {"spec": {"size": 2}}},
        {"body": {"status": {"count": 1}}, "subresource": "status"},
    ):
        response = client.do("patch", **options)
        assert refusal(response) == (501, "NotModelled")
        assert response.body["message"].endswith("x-kubernetes-validations at the root")


def _admitted(admission: Admission) -> Api:
    client = created()
    return Api(evolve(client.world, admission=(admission,)))


def test_a5_mutating_admission_changes_what_is_stored() -> None:
    """A webhook that reverts a change makes the write a no-op."""

    def revert(_: Request, obj: Object, old: Object | None) -> Object:
        return {**obj, "spec": old["spec"]} if old else obj

    client = _admitted(Admission(mutate=revert))
    before = client.world
    assert client.do("patch", body={"spec": {"size": 5}}).body["spec"]["size"] == 1
    assert client.world == before


def test_a5_denials_choose_their_code_and_come_last() -> None:
    """Validation (422) and the resourceVersion (409) are looked at before a validating webhook."""
    client = _admitted(Admission(validate=lambda *_: denied("w.example.dev", "no")))
    response = client.do("patch", body={"spec": {"size": 5}})
    assert (response.status, response.body["message"]) == (
        403,
        'admission webhook "w.example.dev" denied the request: no',
    )
    assert client.do("patch", body={"spec": {"size": 99}}).status == 422
    assert client.do("patch", body={"metadata": {"resourceVersion": "1"}}).status == 409
    assert client.do("create", None, body=thing("b")).status == 403
    assert client.do("delete").status == 403


def test_a5_mutating_admission_runs_before_the_resource_version_is_compared() -> None:
    """A webhook that is down turns a stale write into 500, not 409 (row U5)."""

    def down(*_: object) -> Response:
        return webhook_down("w.example.dev")

    response = _admitted(Admission(mutate=down)).do(
        "patch", body={"metadata": {"resourceVersion": "1"}}
    )
    assert refusal(response) == (500, "InternalError")


def test_versions_differ_by_their_api_version_alone() -> None:
    """A stored object is read and patched in any served version, and stays stored in its own."""
    client = created()
    client.do("patch", api_version="example.dev/v2", body={"spec": {"size": 2}})
    assert client.do("get", api_version="example.dev/v2").body["apiVersion"] == "example.dev/v2"
    assert (client.stored() or {})["apiVersion"] == "example.dev/v1"
    assert client.do("get", api_version="example.dev/v0").status == 404
    assert client.do("get", api_version="example.dev/v9").status == 404


def test_the_storage_version_prunes_every_version() -> None:
    """What only the other version knows is lost, as etcd holds one version."""
    body = {**thing(spec={"size": 1, "extra": 5}), "apiVersion": "example.dev/v2"}
    created_spec = api().do("create", api_version="example.dev/v2", body=body).body
    assert (created_spec["apiVersion"], created_spec["spec"]) == (
        "example.dev/v2",
        {"size": 1, "mode": "A"},
    )


def test_versions_behind_a_conversion_webhook_are_not_modelled() -> None:
    """501 for another version than the stored one, business as usual for the stored one."""
    spec = {**CRD["spec"], "conversion": {"strategy": "Webhook"}}
    client = Api(load([{**CRD, "spec": spec}, thing(metadata={"namespace": "fleet"})], now=NOW))
    assert refusal(client.do("get", api_version="example.dev/v2")) == (501, "NotModelled")
    assert client.do("patch", body={"spec": {"size": 2}}).status == 200


@pytest.mark.parametrize(
    ("verb", "kind", "api_version", "options"),
    [
        ("create", "Node", "v1", {"body": {"metadata": {"name": "a"}}}),
        ("patch", "PersistentVolume", "v1", {"body": {}}),
        (
            "patch",
            "CustomResourceDefinition",
            "apiextensions.k8s.io/v1",
            {"body": {}, "namespace": None},
        ),
    ],
)
def test_an_unmodelled_request_is_501(
    verb: Free, kind: str, api_version: str, options: Free
) -> None:
    """Never a guess."""
    name = options.pop("name", "a")
    assert refusal(api().do(verb, name, kind, api_version, **options)) == (501, "NotModelled")


def test_a_body_of_another_kind_or_version_is_refused() -> None:
    """400 without a kind or in another version, 422 for another kind, as seen on a real server."""
    client = api()
    assert (
        client.do("create", body={"apiVersion": "example.dev/v1", "metadata": {"name": "a"}}).status
        == 400
    )
    assert client.do("create", body={**thing(), "apiVersion": "example.dev/v2"}).status == 400
    response = client.do("create", body={**thing(), "kind": "Other"})
    assert (response.status, causes(response)) == (422, [("kind", "FieldValueInvalid")])
