"""Built-in kinds with recorded types: ServiceAccount, RBAC, Deployment."""

from pathlib import Path

import pytest

import captep_memory
from captep_memory import Admission, Object, Request, Response, load, watch_events
from captep_memory._quantities import canonical
from captep_memory._typed import typed_kinds
from tests.memory.kinds import MANIFESTS, manifest_of
from tests.memory.support import NOW, Api, Free, causes, refusal

DEPLOYMENT: Object = {
    "metadata": {"name": "a"},
    "spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
        },
    },
}


def deployments() -> Api:
    """Return a client of a server with one Deployment."""
    client = Api(load([], now=NOW))
    assert do(client, "create", None, body=DEPLOYMENT).status == 201
    return client


def do(client: Api, verb: Free, name: str | None = "a", **options: Free) -> Free:
    """Send a request about a Deployment."""
    return client.do(verb, name, "Deployment", "apps/v1", **options)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1500m", "1500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("2000", "2k"),
        ("1000Ki", "1000Ki"),
        ("0", "0"),
        ("1e3", None),
        ("-1", "-1"),
        ("x", None),
        ("1.5Ki", "1536"),
    ],
)
def test_a_quantity_has_one_canonical_form(given: str, written: str | None) -> None:
    """None for a form without a model."""
    assert canonical(given) == written


def test_the_generation_of_a_deployment_counts_its_spec_and_its_annotations() -> None:
    """Labels and status do not count (row V5)."""
    client = deployments()
    do(client, "patch", body={"metadata": {"labels": {"a": "b"}}})
    do(client, "patch", subresource="status", body={"status": {"replicas": 1}})
    assert do(client, "get").body["metadata"]["generation"] == 1
    do(client, "patch", body={"metadata": {"annotations": {"a": "b"}}})
    assert do(client, "patch", body={"spec": {"replicas": 2}}).body["metadata"]["generation"] == 3


def test_a_patch_that_defaults_undo_writes_nothing() -> None:
    """Removing a defaulted field is a no-op (row V2)."""
    client = deployments()
    before = client.world
    assert do(client, "patch", body={"spec": {"replicas": None}}).status == 200
    assert client.world == before


def test_a_selector_must_match_the_template() -> None:
    """422 on the labels of the template."""
    spec = {**DEPLOYMENT["spec"], "selector": {"matchLabels": {"app": "b"}}}
    response = do(Api(load([], now=NOW)), "create", None, body={**DEPLOYMENT, "spec": spec})
    assert causes(response) == [("spec.template.metadata.labels", "FieldValueInvalid")]


def test_a_message_shows_a_selector_in_the_order_of_its_type() -> None:
    """Whatever the order of its members in the request; a null is an empty string."""
    given = {"operator": "Exists", "key": None}
    spec = {**DEPLOYMENT["spec"], "selector": {"matchExpressions": [given]}}
    response = do(Api(load([], now=NOW)), "create", None, body={**DEPLOYMENT, "spec": spec})
    messages = [each["message"] for each in response.body["details"]["causes"]]
    shown = '{"matchExpressions":[{"key":"","operator":"Exists"}]}'
    assert f"Invalid value: {shown}: invalid label selector" in messages


@pytest.mark.parametrize(
    "pod",
    [
        {"hostUsers": True},
        {"ephemeralContainers": [{}]},
        {"os": {}},
        {"schedulingGates": [{}]},
    ],
)
def test_a_field_without_a_model_is_501(pod: Object) -> None:
    """The message names the field."""
    template = DEPLOYMENT["spec"]["template"]
    spec = {**DEPLOYMENT["spec"], "template": {**template, "spec": {**template["spec"], **pod}}}
    response = do(Api(load([], now=NOW)), "create", None, body={**DEPLOYMENT, "spec": spec})
    assert refusal(response) == (501, "NotModelled")
    assert next(iter(pod)) in response.body["message"]


def test_every_recorded_kind_has_a_manifest() -> None:
    """The differential test draws from the manifests; four kinds have sequences of their own."""
    known = {f"{manifest['apiVersion']}/{manifest['kind']}" for manifest in MANIFESTS}
    elsewhere = {"v1/ConfigMap", "v1/Event", "v1/Secret", "coordination.k8s.io/v1/Lease"}
    assert known | elsewhere == set(typed_kinds())


def test_the_recorded_data_is_small() -> None:
    """At most 2 MB in the repository."""
    folder = Path(captep_memory.__file__).parent
    assert sum(path.stat().st_size for path in folder.glob("*.json")) < 2_000_000


def created(client: Api, kind: str, name: str = "a", **changes: Free) -> Free:
    """Create the manifest of a kind and return the answer; `changes` are merged into its spec."""
    manifest = manifest_of(kind)
    spec = {"spec": {**manifest["spec"], **changes}} if "spec" in manifest else {}
    body = {**manifest, **spec, "metadata": {"name": name}}
    return client.do("create", None, kind, manifest["apiVersion"], body=body)


def test_a_pod_without_a_node_is_marked_before_it_goes() -> None:
    """A watch shows both steps, each with its resourceVersion; the answer has that of the last."""
    client = Api(load([], now=NOW))
    version = created(client, "Pod").body["metadata"]["resourceVersion"]
    answer = client.do("delete", "a", "Pod", "v1")
    asked = Request("watch", "v1", "Pod", "fleet", resource_version=version)
    events = watch_events(client.world, asked)
    assert not isinstance(events, Response)
    shown = [(event["type"], event["object"]["metadata"]) for event in events]
    assert [
        (kind, metadata.get("deletionGracePeriodSeconds"), metadata["generation"])
        for kind, metadata in shown
    ] == [("MODIFIED", 0, 2), ("DELETED", 0, 2)]
    last = int(version) + 2
    assert [int(metadata["resourceVersion"]) for _, metadata in shown] == [last - 1, last]
    assert answer.body["metadata"]["resourceVersion"] == str(last)


def test_services_take_the_lowest_free_address_and_node_port() -> None:
    """A world is a function of its requests; a deleted Service gives both back."""
    client = Api(load([], now=NOW))
    specs = [created(client, "Service", name, type="NodePort").body["spec"] for name in "abc"]
    assert [spec["clusterIP"] for spec in specs] == ["10.96.0.1", "10.96.0.2", "10.96.0.3"]
    assert [spec["ports"][0]["nodePort"] for spec in specs] == [30000, 30001, 30002]
    client.do("delete", "b", "Service", "v1")
    again = created(client, "Service", "d", type="NodePort").body["spec"]
    assert (again["clusterIP"], again["ports"][0]["nodePort"]) == ("10.96.0.2", 30001)


def test_an_address_that_is_taken_is_refused() -> None:
    """422 on clusterIPs, after the validation."""
    client = Api(load([], now=NOW))
    taken = created(client, "Service").body["spec"]["clusterIP"]
    response = created(client, "Service", "b", clusterIP=taken)
    assert causes(response) == [("spec.clusterIPs", "FieldValueInvalid")]


def test_a_loaded_object_has_what_the_server_gives_a_new_one() -> None:
    """A short manifest can be loaded and patched."""
    manifests = [
        {**manifest_of(kind), "metadata": {"name": "a", "namespace": "fleet"}}
        for kind in ("Deployment", "StatefulSet", "DaemonSet", "Job", "Service", "Pod")
    ]
    client = Api(load(manifests, now=NOW))
    for manifest in manifests:
        place = ("a", manifest["kind"], manifest["apiVersion"])
        before = client.do("get", *place).body
        assert before["status"] is not None
        response = client.do("patch", *place, body={"metadata": {"labels": {"x": "1"}}})
        assert response.status == 200, response.body


def test_an_object_with_a_field_without_a_model_can_be_loaded_and_read() -> None:
    """A write of it is 501."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "fleet"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "os": {}},
    }
    client = Api(load([pod], now=NOW))
    assert client.do("get", "a", "Pod", "v1").body["spec"] == pod["spec"]
    response = client.do("patch", "a", "Pod", "v1", body={"metadata": {"labels": {"x": "1"}}})
    assert refusal(response) == (501, "NotModelled")


@pytest.mark.parametrize("subresource", ["eviction", "log", "exec", "binding"])
def test_a_subresource_without_a_model_is_501(subresource: str) -> None:
    """The message names it; one that the kind does not have is 404."""
    client = Api(load([], now=NOW))
    assert created(client, "Pod").status == 201
    response = client.do("get", "a", "Pod", "v1", subresource=subresource)
    assert refusal(response) == (501, "NotModelled")
    assert subresource in response.body["message"]
    assert client.do("get", "a", "Pod", "v1", subresource="nothing").status == 404


def test_a_mutating_webhook_leaves_fields_that_get_their_defaults() -> None:
    """The server defaults an object again after each webhook."""

    def add(request: Request, obj: Object, old: Object | None) -> Object:
        del request, old
        sidecar = {"name": "sidecar", "image": "s:1"}
        pod = {**obj["spec"], "containers": [*obj["spec"]["containers"], sidecar]}
        return {**obj, "spec": pod}

    client = Api(load([], now=NOW, admission=(Admission(mutate=add),)))
    containers = created(client, "Pod").body["spec"]["containers"]
    assert containers[1]["imagePullPolicy"] == "IfNotPresent"


def test_a_job_selects_its_pods_by_its_own_uid() -> None:
    """The labels of the template, of the Job and the selector follow from the uid."""
    job = created(Api(load([], now=NOW)), "Job").body
    uid = job["metadata"]["uid"]
    labels = {
        "job-name": "a",
        "batch.kubernetes.io/job-name": "a",
        "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid,
    }
    assert job["spec"]["template"]["metadata"]["labels"] == labels
    assert job["metadata"]["labels"] == labels
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["spec"]["selector"] == selector


def test_the_first_write_of_a_claim_is_stored_without_an_effect() -> None:
    """The store completes the defaults of its status then, and only then."""
    client = Api(load([], now=NOW))
    created(client, "PersistentVolumeClaim")
    versions = []
    for _ in range(3):
        body = {"metadata": {"labels": None}}
        response = client.do("patch", "a", "PersistentVolumeClaim", "v1", body=body)
        versions.append(int(response.body["metadata"]["resourceVersion"]))
    assert versions[1:] == versions[:2]


def test_a_quota_counts_once_a_controller_has_filled_its_status() -> None:
    """Before that, a real server without controllers allows everything; then a creation is 501."""
    client = Api(load([], now=NOW))
    assert created(client, "ResourceQuota").status == 201
    assert [created(client, kind).status for kind in ("Pod", "Service")] == [201, 201]
    hard = {"pods": "1", "secrets": "1", "count/deployments.apps": "1"}
    filled = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}
    of_quota: Free = {"kind": "ResourceQuota", "api_version": "v1", "subresource": "status"}
    assert client.do("patch", body=filled, **of_quota).status == 200
    for kind in ("Pod", "Deployment"):
        response = created(client, kind, "b")
        assert refusal(response) == (501, "NotModelled")
        assert "the quota of" in response.body["message"]
    held = {"metadata": {"name": "b"}}
    assert refusal(client.do("create", None, "Secret", "v1", body=held)) == (501, "NotModelled")
    assert client.do("create", None, "ConfigMap", "v1", body=held).status == 201
    assert created(client, "Service", "b").status == 201
    assert client.do("create", None, "Secret", "v1", namespace="other", body=held).status == 201


def test_a_name_with_dots_is_no_label() -> None:
    """The server says so instead of repeating the pattern."""
    containers = [{"name": "a.b", "image": "i"}]
    response = created(Api(load([], now=NOW)), "Pod", containers=containers, volumes=[])
    cause = response.body["details"]["causes"][0]
    assert cause["message"] == 'Invalid value: "a.b": must not contain dots'
