"""Discovery, tables and the server as a process: what kubectl and other real clients need."""

import json
import os
import re
import signal
import threading
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest

from captep_memory import Object, load
from captep_memory._durations import human_duration
from captep_memory._exchange import HTTPRequest, exchange
from captep_memory._routes import plurals_of
from captep_memory._store import read_store, write_store
from captep_memory.http import HTTPFacade
from captep_memory.server import NAMESPACES, kubeconfig, run, with_namespaces
from tests.memory.support import CRD, NOW, Api, Free, secret, thing

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"


def get(path: str, *objects: Object, accept: str = "application/json") -> tuple[int, Free]:
    """Return status and body of a GET; the clock is a minute past NOW."""
    world = load([CRD, *objects], now=NOW).at(NOW + timedelta(seconds=60))
    http = HTTPRequest("GET", path, {"accept": accept})
    _, answer = exchange(world, plurals_of(world, ()), http)
    return answer.status, json.loads(answer.body)


def test_discovery_lists_groups_versions_and_resources() -> None:
    """A definition and the built-in kinds; v2 goes before v1, as for a real client."""
    assert get("/api")[1]["versions"] == ["v1"]
    groups = {each["name"]: each for each in get("/apis")[1]["groups"]}
    assert [each["version"] for each in groups["example.dev"]["versions"]] == ["v2", "v1"]
    assert get("/apis/example.dev")[1]["preferredVersion"]["version"] == "v2"
    resources = get("/apis/example.dev/v1")[1]["resources"]
    assert [(each["name"], each["namespaced"]) for each in resources] == [
        ("things", True),
        ("things/status", True),
    ]
    names = [each["name"] for each in get("/api/v1")[1]["resources"]]
    assert {"secrets", "configmaps", "serviceaccounts"} <= set(names)


def test_the_resources_of_the_core_group_have_no_version() -> None:
    """`apiVersion` is in the list of every other group, as on the real server."""
    core, other = (get(path)[1] for path in ("/api/v1", "/apis/apps/v1"))
    assert (core["kind"], core["groupVersion"]) == ("APIResourceList", "v1")
    assert "apiVersion" not in core
    assert other["apiVersion"] == "v1"


def test_a_kind_without_a_model_for_writes_has_the_verbs_of_reads() -> None:
    """A client sees in discovery that it cannot create a Node here."""
    resources = {each["name"]: each for each in get("/api/v1")[1]["resources"]}
    assert resources["nodes"]["verbs"] == ["get", "list", "watch"]
    assert "create" in resources["secrets"]["verbs"]


def test_a_table_of_a_custom_kind_shows_its_printer_columns() -> None:
    """Values by JSONPath; a value of another type than the column shows as nothing."""
    paths = {
        "Size": ("integer", ".spec.size"),
        "First": ("string", ".spec.ports[0].name"),
        "Ready": ("string", '.status.conditions[?(@.type=="Ready")].status'),
        "Bad": ("integer", ".spec.mode"),
        "Age": ("date", ".metadata.creationTimestamp"),
    }
    columns = [
        {"name": name, "type": kind, "jsonPath": path} for name, (kind, path) in paths.items()
    ]
    spec = json.loads(json.dumps(CRD["spec"]))
    spec["versions"][0]["additionalPrinterColumns"] = columns
    spec["versions"][0]["schema"] = {
        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    }
    status = {"conditions": [{"type": "X", "status": "?"}, {"type": "Ready", "status": "True"}]}
    obj = thing(
        spec={"size": 3, "mode": "A", "ports": [{"name": "p"}]},
        status=status,
        metadata={"namespace": "fleet"},
    )
    world = load([{**CRD, "spec": spec}, obj], now=NOW).at(NOW + timedelta(seconds=60))
    path = "/apis/example.dev/v1/namespaces/fleet/things"
    _, answer = exchange(world, plurals_of(world, ()), HTTPRequest("GET", path, {"accept": TABLE}))
    table = json.loads(answer.body)
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", *paths]
    assert [row["cells"] for row in table["rows"]] == [["a", 3, "p", "True", None, "60s"]]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_a_table_of_secrets_shows_their_size_and_no_data() -> None:
    """Name, type, number of keys and age."""
    stored = secret(metadata={"namespace": "fleet"}, data={"k": "Y2FuYXJ5"})
    status, table = get("/api/v1/namespaces/fleet/secrets", stored, accept=TABLE)
    assert status == 200
    assert [row["cells"] for row in table["rows"]] == [["s", "Opaque", 1, "60s"]]
    assert "Y2FuYXJ5" not in json.dumps(table)


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(seconds=-2), "<invalid>"),
        (timedelta(seconds=-1), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=3, seconds=20), "3m20s"),
        (timedelta(minutes=10, seconds=5), "10m"),
        (timedelta(hours=3, minutes=5), "3h5m"),
        (timedelta(hours=43), "43h"),
        (timedelta(days=2, hours=4), "2d4h"),
        (timedelta(days=9, hours=4), "9d"),
        (timedelta(days=800), "2y70d"),
        (timedelta(days=4000), "10y"),
    ],
)
def test_an_age_shows_as_in_kubectl(age: timedelta, shown: str) -> None:
    """Two units while they matter, then one."""
    assert human_duration(age) == shown


def test_the_built_in_namespaces_and_those_of_the_objects_exist() -> None:
    """A given Namespace stays as it is."""
    given = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "uid": "u"}}
    objects = with_namespaces([given, secret(metadata={"namespace": "fleet"})])
    names = [each["metadata"]["name"] for each in objects if each["kind"] == "Namespace"]
    assert sorted(names) == sorted([*NAMESPACES, "fleet"])
    assert given in objects


def test_a_signal_ends_the_server(tmp_path: Path) -> None:
    """It writes a kubeconfig first, serves, and gives the handlers back."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[int] = []

    def started(facade: HTTPFacade) -> None:
        config = json.loads((tmp_path / "config").read_text())
        url = config["clusters"][0]["cluster"]["server"]
        assert config == json.loads(kubeconfig(facade.url))
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
            seen.append(answer.status)
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM)).start()

    run([secret()], kubeconfig_path=tmp_path / "config", started=started)
    assert seen == [200]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_store_keeps_the_objects_across_restarts(tmp_path: Path) -> None:
    """With their uids and versions; only the owner can read the file."""
    world = load([CRD, thing(metadata={"namespace": "fleet"})], now=NOW)
    assert read_store(tmp_path / "store") is None
    write_store(tmp_path / "store", world)
    (file,) = (tmp_path / "store").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    stored = read_store(tmp_path / "store")
    assert stored is not None
    assert list(load(stored, now=NOW).objects()) == list(world.objects())


def test_a_foreign_file_in_the_store_is_a_value_error(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "objects.json").write_text("[]")
    with pytest.raises(ValueError, match=r"objects\.json: found no list of objects"):
        read_store(tmp_path)


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def test_aggregated_discovery_holds_all_resources_of_a_root() -> None:
    """One document for /apis and one for /api; subresources stand below their resource."""
    status, body = get("/apis", accept=f"{AGGREGATED},application/json")
    assert (status, body["kind"]) == (200, "APIGroupDiscoveryList")
    groups = {each["metadata"]["name"]: each["versions"] for each in body["items"]}
    assert {"apps", "batch", "example.dev"} <= groups.keys()
    resources = {each["resource"]: each for each in groups["apps"][0]["resources"]}
    assert resources["deployments"] == {
        "resource": "deployments",
        "responseKind": {"group": "", "version": "", "kind": "Deployment"},
        "scope": "Namespaced",
        "singularResource": "deployment",
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        "shortNames": ["deploy"],
        "categories": ["all"],
        "subresources": [
            {
                "subresource": "scale",
                "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
                "verbs": ["get", "patch", "update"],
            },
            {
                "subresource": "status",
                "responseKind": {"group": "", "version": "", "kind": "Deployment"},
                "verbs": ["get", "patch", "update"],
            },
        ],
    }
    core = get("/api", accept=AGGREGATED)[1]["items"]
    assert [each["metadata"] for each in core] == [{}]


def test_openapi_has_a_document_for_each_group_and_version() -> None:
    """The index leads to them; a definition adds its own schema under its kind."""
    index = get("/openapi/v3")[1]["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/example.dev/v1"} <= index.keys()
    url = index["apis/example.dev/v1"]["serverRelativeURL"]
    document = get(url)[1]
    assert document["openapi"] == "3.0.0"
    schemas = document["components"]["schemas"]
    kind = {"group": "example.dev", "version": "v1", "kind": "Thing"}
    things = [
        each for each in schemas.values() if kind in each.get("x-kubernetes-group-version-kind", ())
    ]
    assert [each["properties"]["spec"]["required"] for each in things] == [["size"]]
    path = "/apis/example.dev/v1/namespaces/{namespace}/things/{name}"
    names = [each["name"] for each in document["paths"][path]["patch"]["parameters"]]
    assert names == ["dryRun", "fieldManager", "fieldValidation", "force"]


def test_every_reference_in_an_openapi_document_stays_inside_of_it() -> None:
    """`kubectl explain` follows them."""
    for place in get("/openapi/v3")[1]["paths"]:
        document = get(f"/openapi/v3/{place}")[1]
        schemas = document["components"]["schemas"]
        text = json.dumps(document)
        found = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
        assert found <= schemas.keys(), place


def test_the_hash_of_a_document_changes_with_its_definitions() -> None:
    """A client may keep a document as long as its URL stays."""
    more = {**CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "description": "other"}
    versions = [{**CRD["spec"]["versions"][0], "schema": {"openAPIV3Schema": more}}]
    other = {**CRD, "spec": {**CRD["spec"], "versions": versions}}
    urls = []
    for definition in (CRD, other):
        world = load([definition], now=NOW)
        http = HTTPRequest("GET", "/openapi/v3", {})
        _, answer = exchange(world, plurals_of(world, ()), http)
        paths = json.loads(answer.body)["paths"]
        urls.append((paths["apis/example.dev/v1"], paths["apis/apps/v1"]))
    assert urls[0][0] != urls[1][0]
    assert urls[0][1] == urls[1][1]


def test_openapi_of_version_2_is_a_document_without_definitions() -> None:
    """Clients of today read version 3."""
    assert get("/openapi/v2")[1]["swagger"] == "2.0"


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ({"spec": {"size": 1, "sise": 2}}, "spec.sise"),
        ({"spec": {"size": 1, "ports": [{"name": "a", "nmber": 1}]}}, "spec.ports[0].nmber"),
        ({"spec": {"size": 1}, "metadata": {"name": "a", "labls": {}}}, "metadata.labls"),
        ({"spec": {"size": 1}, "extra": 1}, "extra"),
    ],
)
def test_strict_field_validation_names_the_unknown_field(body: Object, unknown: str) -> None:
    """400 on create, 422 for a patched object, and nothing is stored."""
    client = Api(load([CRD], now=NOW))
    given = {**thing(), **body}
    response = client.do("create", body=given, field_validation="Strict")
    assert response.status == 400
    assert response.body["message"].endswith(f'strict decoding error: unknown field "{unknown}"')
    assert client.do("create", body=given).status == 201
    assert client.do("patch", body=body, field_validation="Strict").status == 422
    free = {"spec": {"size": 2, "free": {"any": 1}, "tags": {"t": "1"}}}
    assert client.do("patch", body=free, field_validation="Strict").status == 200
