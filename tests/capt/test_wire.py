"""Kubernetes JSON into the model: strict, all problems at once, and never a Secret's value."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from captep_core import ABSENT, JSON, Unreadable
from captep_core._objects import Condition, ObjectMeta, OwnerReference, instant, rfc3339
from captep_core.capt._model import (
    CAPTControlPlane,
    CAPTControlPlaneSpec,
    CAPTControlPlaneStatus,
    Cluster,
    ControlPlaneConfig,
    EndpointAccess,
    HostPort,
    ObjectReference,
    ProviderState,
    Secret,
    Workspace,
    WorkspaceState,
    WorkspaceStatus,
    WorkspaceTemplate,
    WorkspaceTemplateApply,
    WorkspaceTemplateState,
)
from captep_core.capt.wire import Parsed, as_observed, problems, structure
from captep_core.errors import CaptepError, WireError
from tests.capt.worlds import control_plane, find, ready

META = {"name": "tokyo"}


def test_a_control_plane_is_read_field_by_field() -> None:
    """Every field that the loop reads of a control plane."""
    made = structure(find(ready(), "CAPTControlPlane", "tokyo"), CAPTControlPlane)
    host = "0A1B2C.gr7.ap-northeast-1.eks.amazonaws.com"
    assert made == CAPTControlPlane(
        ObjectMeta(
            "tokyo",
            "fleet",
            "uid-of-captcontrolplane-tokyo",
            "100",
            generation=1,
            finalizers=("controlplane.cluster.x-k8s.io/captcontrolplane",),
            owner_references=(
                OwnerReference(
                    "cluster.x-k8s.io/v1beta1",
                    "Cluster",
                    "tokyo",
                    "uid-of-cluster-tokyo",
                    controller=True,
                ),
            ),
        ),
        CAPTControlPlaneSpec(
            "1.33",
            ObjectReference("eks", "fleet"),
            ControlPlaneConfig("ap-northeast-1", EndpointAccess(public=True)),
            {"Team": "platform"},
            "tokyo-eks-controlplane-apply",
            HostPort(host, 443),
        ),
        CAPTControlPlaneStatus(
            ready=True,
            initialized=True,
            secrets_ready=True,
            phase="Ready",
            version="1.33",
            workspace_template_status=WorkspaceTemplateState(
                ready=True, last_applied_revision="2026-01-01T00:00:00Z"
            ),
            workspace_status=WorkspaceState(
                ready=True,
                state="Available",
                at_provider={"outputs": {"cluster_endpoint": f"https://{host}"}},
            ),
            conditions=(
                Condition(
                    "Ready", "True", "Ready", "Control plane is ready", "2026-01-01T00:00:00Z"
                ),
                Condition(
                    "Paused",
                    "False",
                    "NotPaused",
                    "Neither it nor its Cluster is paused",
                    "2026-01-01T00:00:00Z",
                ),
            ),
        ),
    )


def test_all_problems_are_listed_with_their_paths() -> None:
    """Sorted by path, each with the expected type."""
    raw = {
        "metadata": {
            "namespace": 7,
            "finalizers": ["a", 1],
            "labels": {"x": True},
            "ownerReferences": [{"kind": "Cluster"}, "ref"],
        },
        "spec": {
            "version": 1.33,
            "workspaceTemplateRef": {},
            "controlPlaneConfig": {"endpointAccess": {"public": "true"}},
            "controlPlaneEndpoint": {"port": "443"},
            "additionalTags": ["a"],
        },
        "status": [],
    }
    assert problems(raw) == (
        "$.metadata.finalizers[1]: expected a string, found a number",
        "$.metadata.labels.x: expected a string, found a boolean",
        "$.metadata.name: required, not there",
        "$.metadata.namespace: expected a string, found a number",
        "$.metadata.ownerReferences[0].apiVersion: required, not there",
        "$.metadata.ownerReferences[0].name: required, not there",
        "$.metadata.ownerReferences[0].uid: required, not there",
        "$.metadata.ownerReferences[1]: expected an object, found a string",
        "$.spec.additionalTags: expected an object, found a list",
        "$.spec.controlPlaneConfig.endpointAccess.public: expected a boolean, found a string",
        "$.spec.controlPlaneEndpoint.port: expected a whole number, found a string",
        "$.spec.version: expected a string, found a number",
        "$.spec.workspaceTemplateRef.name: required, not there",
        "$.status: expected an object, found a list",
    )


@pytest.mark.parametrize("raw", [None, 7, "text", [], True])
def test_a_value_that_is_no_object_is_a_problem(raw: object) -> None:
    """No JSON raises anything but WireError."""
    with pytest.raises(WireError) as caught:
        structure(raw, Cluster)
    assert isinstance(caught.value, CaptepError)
    assert str(caught.value).startswith("Cluster None: $: expected an object, found ")


def test_a_value_that_json_lacks_is_named_by_its_python_type() -> None:
    """Worlds that are built in Python may contain one."""
    assert problems({"metadata": META, "spec": ()})[0] == "$.spec: expected an object, found tuple"


def test_an_error_is_one_line() -> None:
    """The object, then all of its problems."""
    with pytest.raises(WireError) as caught:
        structure(
            {"metadata": {"name": "a", "namespace": "b"}, "data": {"x": 1, "y": 2}, "type": 3},
            Secret,
        )
    number = "expected base64 text, found a number"
    assert (
        str(caught.value) == f"Secret b/a: $.data.x: {number}; $.data.y: {number}; "
        "$.type: expected a string, found a number"
    )


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({"name": "a", "namespace": "b"}, "Secret b/a"),
        ({"name": "a"}, "Secret a"),
        ({}, "Secret None"),
        ([], "Secret None"),
    ],
)
def test_an_error_names_the_object(metadata: object, where: str) -> None:
    """The message names the object, as far as its kind and name are known."""
    with pytest.raises(WireError) as caught:
        structure({"metadata": metadata, "data": 1}, Secret)
    assert caught.value.where == where


VALUES: dict[str, Any] = {
    "string": "1",
    "number": 1,
    "float": 1.5,
    "boolean": True,
    "list": [],
    "object": {},
}
CALLED = {
    "string": "a string",
    "number": "a number",
    "float": "a number",
    "boolean": "a boolean",
    "list": "a list",
    "object": "an object",
}


@pytest.mark.parametrize("given", VALUES)
@pytest.mark.parametrize(
    ("path", "accepts", "expected"),
    [
        (("spec", "version"), ("string",), "a string"),
        (("status", "ready"), ("boolean",), "a boolean"),
        (("spec", "controlPlaneEndpoint", "port"), ("number",), "a whole number"),
        (("metadata", "finalizers"), ("list",), "a list"),
        (("spec", "additionalTags"), ("object",), "an object"),
        (("metadata", "annotations"), ("object",), "an object"),
        (("spec", "controlPlaneConfig"), ("object",), "an object"),
        (("status", "workspaceStatus", "atProvider"), tuple(VALUES), ""),
    ],
    ids=lambda value: (
        ".".join(value)
        if isinstance(value, tuple) and value[0] in ("spec", "status", "metadata")
        else ""
    ),
)
def test_no_value_is_coerced(
    path: tuple[str, ...], accepts: tuple[str, ...], expected: str, given: str
) -> None:
    """A boolean is no number and 1.33 is no text."""
    raw: dict[str, Any] = control_plane()
    place = raw
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = VALUES[given]
    found = (
        ()
        if given in accepts
        else (f"$.{'.'.join(path)}: expected {expected}, found {CALLED[given]}",)
    )
    assert problems(raw) == found


@pytest.mark.parametrize("given", VALUES)
def test_the_values_of_a_secret_are_base64_text(given: str) -> None:
    """A value of another type is reported by its type."""
    raw: dict[str, Any] = {
        "metadata": META,
        "data": {"a": "MQ==" if given == "string" else VALUES[given]},
    }
    found = as_observed(raw, Secret)
    detail = "" if given == "string" else f"$.data.a: expected base64 text, found {CALLED[given]}"
    assert (found.detail if isinstance(found, Unreadable) else "") == detail


def test_a_whole_float_is_a_whole_number() -> None:
    """JSON has one kind of number: 443.0 is 443, 443.5 is no port."""
    raw = control_plane()
    raw["spec"]["controlPlaneEndpoint"] = {"host": "X", "port": 443.0}
    port = structure(raw, CAPTControlPlane).spec.control_plane_endpoint.port
    assert (port, type(port)) == (443, int)


@pytest.mark.parametrize(
    "nothing",
    [
        {"metadata": META},
        {"metadata": META, "spec": None, "status": None},
        {
            "metadata": {**META, "labels": None, "finalizers": None, "ownerReferences": None},
            "spec": {"writeConnectionSecretToRef": None},
        },
        {"metadata": META, "status": {"conditions": None, "atProvider": None}},
    ],
)
def test_null_and_absent_are_the_same(nothing: dict[str, Any]) -> None:
    """This holds at every level."""
    assert structure(nothing, Workspace) == Workspace(ObjectMeta("tokyo"))


def test_nulls_inside_maps_are_absent_and_inside_the_mirror_stay() -> None:
    """The provider's own values keep their nulls."""
    secret = structure({"metadata": META, "data": {"a": None, "b": "eA=="}}, Secret)
    assert secret.data == {"b": b"x"}
    outputs: dict[str, JSON] = {"cluster_endpoint": None, "deep": {"a": [None]}}
    workspace = structure(
        {"metadata": META, "status": {"atProvider": {"outputs": outputs, "checksum": "1"}}},
        Workspace,
    )
    assert workspace.status == WorkspaceStatus(at_provider=ProviderState(outputs))
    assert workspace.status.at_provider is not None
    assert workspace.status.at_provider.wire == {"outputs": outputs, "checksum": "1"}


def test_unknown_fields_are_ignored_and_list_entries_keep_them() -> None:
    """Entries that go back to the server keep the fields of others."""
    entry = {"type": "Ready", "status": "True", "observedGeneration": 3, "severity": "Info"}
    reference = {"apiVersion": "v1", "kind": "A", "name": "b", "uid": "c", "future": {"x": 1}}
    raw = {
        "future": 1,
        "metadata": {**META, "managedFields": [], "ownerReferences": [reference]},
        "status": {"conditions": [entry]},
    }
    made = structure(raw, WorkspaceTemplateApply)
    assert made.status.conditions[0].wire == entry
    assert made.metadata.owner_references[0].wire == reference
    assert structure({**raw, "spec": {"anything": []}}, WorkspaceTemplate) == WorkspaceTemplate(
        made.metadata, {"anything": []}
    )


@pytest.mark.parametrize(
    "value",
    [
        "secret-canary!",
        "c2VjcmV0LWNhbmFyeQ",
        "c2VjcmV0LWNhbmFyeQ==\n",
        "käse",
        7,
        ["secret-canary"],
        {"a": "secret-canary"},
    ],
)
def test_no_error_quotes_a_secret(value: object) -> None:
    """Neither the problem, the error nor a repr shows a value."""
    with pytest.raises(WireError) as caught:
        structure({"metadata": META, "data": {"token": value}}, Secret)
    assert caught.value.problems[0].startswith("$.data.token: expected base64 text, found ")
    output = f"{caught.value} {caught.value!r} {caught.value.__context__} {caught.value.__cause__}"
    assert not any(part in output for part in ("canary", "c2VjcmV0", "käse"))


def test_no_repr_shows_a_secret() -> None:
    """The repr of a Secret counts its keys."""
    made = structure(
        {
            "metadata": {**META, "annotations": {"last-applied": "canary"}},
            "data": {"a": "Y2FuYXJ5"},
        },
        Secret,
    )
    assert "<1 keys>" in repr(made)
    assert "canary" not in repr(made)


def test_present_absent_and_unreadable_stay_apart() -> None:
    """A malformed object is an unreadable one."""
    assert as_observed(ABSENT, Cluster) is ABSENT
    assert as_observed(Unreadable("Forbidden"), Cluster) == Unreadable("Forbidden")
    assert as_observed({"metadata": {"name": "tokyo"}}, Cluster) == Cluster(ObjectMeta("tokyo"))
    malformed = as_observed({"metadata": {"name": 7}, "spec": {"paused": "no"}}, Cluster)
    detail = (
        "$.metadata.name: expected a string, found a number; "
        "$.spec.paused: expected a boolean, found a string"
    )
    assert malformed == Unreadable("Malformed", detail)
    assert str(malformed) == f"Malformed: {detail}"
    assert str(Unreadable("Timeout")) == "Timeout"


def test_a_well_formed_control_plane_has_no_problems() -> None:
    """The worlds of these tests are well-formed."""
    assert problems(control_plane()) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T09:00:00+09:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01 00:00:00 +0000 UTC", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01 09:00:00 +0900 JST", datetime(2026, 1, 1, tzinfo=UTC)),
        (
            "2026-01-01 00:00:00.5 +0000 UTC m=+0.1",
            datetime(2026, 1, 1, microsecond=500000, tzinfo=UTC),
        ),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00", None),
        ("yesterday", None),
        ("a b c", None),
        ("", None),
        ("2026-01-01 09:00:00 +0900", datetime(2026, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+09:00", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=9)))),
        (
            "9999-12-31 23:59:59 -0900 X",
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-9))),
        ),
    ],
)
def test_an_instant_is_read_from_both_formats(text: str, expected: datetime | None) -> None:
    """RFC 3339 and Go's time.String(), up to the ends of time; any other text is None."""
    assert instant(text) == expected


@pytest.fixture
def tokyo() -> Iterator[None]:
    """Put the process into the time zone of Tokyo."""
    with pytest.MonkeyPatch.context() as changes:
        changes.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_a_time_is_written_as_kubernetes_writes_it() -> None:
    """Whole seconds and Z, in any zone of the value and of the process."""
    moment = datetime(2026, 1, 1, 9, 0, 0, 999999, tzinfo=timezone(timedelta(hours=9)))
    assert rfc3339(moment) == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "change",
    [
        {"apiVersion": "cluster.x-k8s.io/v1beta2"},
        {"metadata": {"name": "b", "uid": "u2", "resourceVersion": "1"}},
        {"metadata": {"name": "b", "uid": "u", "resourceVersion": "2"}},
    ],
    ids=["apiVersion", "uid", "resourceVersion"],
)
def test_each_state_of_an_object_is_parsed_once(change: dict[str, Any]) -> None:
    """apiVersion, uid, resourceVersion and kind name a state; another state is parsed again."""
    raw: dict[str, Any] = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "metadata": {"name": "a", "uid": "u", "resourceVersion": "1"},
    }
    kept = Parsed()
    first = kept.observed(raw, Cluster)
    assert kept.observed(dict(raw), Cluster) is first
    assert kept.observed({**raw, **change}, Cluster) == as_observed({**raw, **change}, Cluster)
    assert kept.observed({**raw, **change}, Cluster) != first
    assert kept.observed(raw, Secret) == as_observed(raw, Secret)


@pytest.mark.parametrize(
    "raw",
    [
        {"apiVersion": "v1", "metadata": {"name": "a", "uid": "u"}},
        {"apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "1"}},
        {"apiVersion": ["v1"], "metadata": {"name": "a", "uid": "u", "resourceVersion": "1"}},
        {"apiVersion": "v1", "metadata": {"name": "a", "uid": [], "resourceVersion": {}}},
    ],
    ids=["no resourceVersion", "no uid", "no apiVersion", "malformed"],
)
def test_an_object_that_no_version_names_is_parsed_each_time(raw: dict[str, Any]) -> None:
    """Another one may look the same."""
    kept = Parsed()
    first, again = kept.observed(raw, Secret), kept.observed(raw, Secret)
    assert first == again == as_observed(raw, Secret)
    assert first is not again


def test_one_version_of_each_object_is_kept() -> None:
    """A thousand versions of one object take the room of one, and the last one is known."""
    kept = Parsed(most=2)

    def parsed(name: str, version: int) -> object:
        metadata: dict[str, JSON] = {"name": name, "uid": name, "resourceVersion": str(version)}
        return kept.observed({"apiVersion": "v1", "metadata": metadata}, Secret)

    other = parsed("other", 1)
    versions = [parsed("changing", version) for version in range(1000)]
    assert [each.metadata.resource_version for each in versions if isinstance(each, Secret)] == [
        str(version) for version in range(1000)
    ]
    assert parsed("other", 1) is other
    assert parsed("changing", 999) is versions[-1]
    assert parsed("changing", 0) == versions[0]


def test_the_objects_used_last_are_kept() -> None:
    """With room for two, the object that each pass reads stays and the oldest one goes."""
    kept = Parsed(most=2)

    def parsed(name: str) -> object:
        metadata: dict[str, JSON] = {"name": name, "uid": name, "resourceVersion": "1"}
        return kept.observed({"apiVersion": "v1", "metadata": metadata}, Secret)

    used, old = parsed("used"), parsed("old")
    for number in range(6):
        parsed(str(number))
        assert parsed("used") is used
    assert parsed("old") is not old
    assert "used" not in repr(kept)
