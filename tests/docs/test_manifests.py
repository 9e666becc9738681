"""The example manifests agree with each other and with what they are about."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from captep_memory import apply_json_patch
from tests.cluster.crds import definitions
from tests.cluster.manifests import FOLDER, objects
from tests.docs.sources import ROOT, file_text, listed

_DEFINITION = "captcontrolplanes.controlplane.cluster.x-k8s.io"


def only(folder: str, kind: str) -> dict[str, Any]:
    """Return the one object of a kind in a folder."""
    found = [each for each in objects(folder) if each["kind"] == kind]
    assert len(found) == 1, f"{folder}: {kind}: {len(found)}"
    return found[0]


def test_the_network_policy_lets_only_metrics_in() -> None:
    """It selects the pods of the Deployment and opens metrics alone, to labelled namespaces."""
    template = only("deployment", "Deployment")["spec"]["template"]
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert ports == {"metrics", "probes"}
    labels = template["metadata"]["labels"]
    assert only("deployment", "NetworkPolicy")["spec"] == {
        "podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "ports": [{"port": "metrics", "protocol": "TCP"}],
                "from": [{"namespaceSelector": {"matchLabels": {"metrics": "enabled"}}}],
            }
        ],
    }


def test_delete_on_secrets_is_a_role_of_its_own() -> None:
    """The component removes its binding, and no other role of the folder grants it."""
    granting = [
        role["metadata"]["name"]
        for role in objects("base")
        for rule in role.get("rules", ())
        if "secrets" in rule["resources"] and "delete" in rule["verbs"]
    ]
    assert granting == ["captep-secret-delete"]
    component = yaml.safe_load(file_text(FOLDER / "without-secret-delete" / "kustomization.yaml"))
    removed = [yaml.safe_load(each["patch"]) for each in component["patches"]]
    assert [(each["kind"], each["metadata"]["name"], each["$patch"]) for each in removed] == [
        ("ClusterRoleBinding", "captep-secret-delete", "delete")
    ]


def test_the_deployments_of_the_shards_share_no_pod() -> None:
    """Each selects the pods of its own shard, which have its flag, and all have one number."""
    found = []
    for index in (1, 2):
        folder = FOLDER / "shards" / f"shard-{index}"
        (patch,) = yaml.safe_load(file_text(folder / "kustomization.yaml"))["patches"]
        made = apply_json_patch(only("deployment", "Deployment"), yaml.safe_load(patch["patch"]))
        template = made["spec"]["template"]
        labels = made["spec"]["selector"]["matchLabels"]
        assert labels == template["metadata"]["labels"]
        args = template["spec"]["containers"][0]["args"]
        found.append((made["metadata"]["name"], labels["captep/shard"], args[-1]))
    assert found == [(f"captep-shard-{i}", f"{i}", f"--shard={i}/2") for i in (1, 2)]


def test_both_stages_of_the_image_start_from_the_same_argument() -> None:
    """One build argument pins the base of both."""
    text = file_text(FOLDER / "Containerfile")
    assert re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE) == [("BASE", "python:3.13-slim")]
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}", "${BASE}"]


def flags() -> set[str]:
    """Return the flags of the controller in all manifests."""
    texts = [file_text(path) for path in FOLDER.rglob("*.yaml")]
    return {flag for text in texts for flag in re.findall(r"(?<=[ -] |: )--[a-z][a-z-]+", text)}


def test_the_controller_knows_every_flag_of_the_manifests() -> None:
    """`captep run --help` lists each flag that a Deployment or a component sets."""
    found = sorted(flags())
    assert "--leader-elect" in found
    assert "--namespace" in found
    helped = subprocess.run(
        [sys.executable, "-m", "captep_cli", "run", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}"},
    )
    unknown = [flag for flag in found if not re.search(rf"{flag}\b", helped.stdout)]
    assert not unknown, listed(unknown)


def upstream() -> list[dict[str, Any]]:
    """Return upstream's own definition, where CAPTEP_UPSTREAM names its folder."""
    folder = os.environ.get("CAPTEP_UPSTREAM")
    if not folder:
        return []
    files = sorted(Path(folder, "crds").glob("*captcontrolplanes*.yaml"))
    return [yaml.safe_load(file_text(path)) for path in files]


@pytest.mark.parametrize("source", ["ours", "upstream"])
def test_the_patch_of_the_definition_adds_the_fields(source: str) -> None:
    """It applies to upstream's definition as to the one of our tests, and adds `status.version`."""
    ours = [each for each in definitions() if each["metadata"]["name"] == _DEFINITION]
    found = ours if source == "ours" else upstream()
    if not found:
        pytest.skip("needs upstream's definitions in the folder that CAPTEP_UPSTREAM names")
    patch = yaml.safe_load(file_text(FOLDER / "captcontrolplane-definition" / "status-fields.yaml"))
    patched = apply_json_patch(found[0], patch)
    status = patched["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert status["properties"]["version"]["type"] == "string"
