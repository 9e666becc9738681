"""Built-in kinds with recorded types: ServiceAccount, RBAC, Deployment."""

from pathlib import Path

import pytest

import captep_memory
from captep_memory import Object, load
from captep_memory._quantities import canonical
from captep_memory._typed import typed_kinds
from tests.memory.kinds import MANIFESTS
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


@pytest.mark.parametrize(
    "pod",
    [
        {"hostPID": True},
        {"ephemeralContainers": []},
        {"affinity": {}},
        {"topologySpreadConstraints": []},
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
