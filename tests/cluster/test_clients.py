"""Clients that know nothing of this project: kubectl, kr8s, lightkube, and an operator with kopf.

Each talks to the HTTP facade and to a real kube-apiserver, and must see the same.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from captep_memory.testing import serving
from tests.cluster.apiserver import ADMIN, ApiServer, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
CLIENTS = Path(__file__).parent / "clients"
_VARYING = (
    (re.compile(r"\b10\.(0|96)\.\d+\.\d+\b"), "<address>"),
    (re.compile(r"\b\d+s\b"), "<age>"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "<time>"),
    (re.compile(r"v1\.37\.\d"), "<version>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r" +"), " "),
)
# What `kubectl edit` runs on the object: a value of the ConfigMap, a label of the Deployment.
_EDITOR = "sed -i -e s/blue/red/ -e s/front/back/"
COMMANDS = (
    f"apply -f {CLIENTS}/manifests.yaml",
    f"apply -f {CLIENTS}/manifests.yaml",
    "get deployments,services,configmaps -l none=here",
    "get deployment web",
    "get deployment web -o wide",
    "get service web",
    "get deployment web -o jsonpath={.spec.strategy.rollingUpdate.maxSurge}",
    "describe deployment web",
    "scale deployment web --replicas=3",
    "label deployment web tier=front",
    "annotate configmap web note=here",
    'patch configmap web --type=merge -p {"data":{"colour":"blue"}}',
    "get configmap web -o jsonpath={.data.colour}",
    "edit configmap web",
    "edit configmap web",
    "edit deployment web",
    "get configmap web -o jsonpath={.data.colour}",
    "get deployment web -L tier",
    f"apply --server-side -f {CLIENTS}/manifests.yaml",
    f"apply --server-side --force-conflicts -f {CLIENTS}/manifests.yaml",
    f"apply --server-side -f {CLIENTS}/manifests.yaml",
    "get configmap web -o jsonpath={.data.colour}",
    "wait deployment web --for=jsonpath={.spec.replicas}=3 --timeout=5s",
    "explain deployment.spec.replicas",
    "explain service.spec.ports --recursive",
    "create configmap made --from-literal=a=b",
    "create secret generic made --from-literal=a=b",
    "create job made --image=busybox -- true",
    "create deployment made --image=nginx:1.27 --port=80 --replicas=2",
    "create service nodeport made --tcp=80:8080",
    "create role made --verb=get --resource=pods",
    "create rolebinding made --role=made --serviceaccount=walk:default",
    "create quota made --hard=pods=3 --dry-run=server",
    "get configmap/made secret/made job/made deployment/made role/made rolebinding/made",
    "delete configmap/made secret/made job/made deployment/made service/made role/made",
    "get deployment absent",
    f"create -f {CLIENTS}/manifests.yaml",
    "delete deployment web",
    f"delete -f {CLIENTS}/manifests.yaml --ignore-not-found",
    f"apply --server-side -f {CLIENTS}/manifests.yaml",
    f"apply --server-side --field-manager=other -f {CLIENTS}/manifests.yaml",
    "scale deployment web --replicas=7",
    f"apply --server-side -f {CLIENTS}/manifests.yaml",
    f"apply --server-side --force-conflicts -f {CLIENTS}/manifests.yaml",
    f"diff --server-side -f {CLIENTS}/manifests.yaml",
    "get deployment web",
    f"delete -f {CLIENTS}/manifests.yaml",
)


@frozen
class Target:
    """A server as a client sees it: a kubeconfig, and a folder for what clients cache."""

    kubeconfig: Path
    folder: Path

    def run(self, command: list[str]) -> tuple[int, str]:
        """Return the exit status and the output of a command, without what varies."""
        environment = {
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.folder),
            "KUBE_EDITOR": _EDITOR,
        }
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment, check=False
        )
        shown = ended.stdout + ended.stderr
        for pattern, text in _VARYING:
            shown = pattern.sub(text, shown)
        return ended.returncode, shown


@pytest.fixture
def targets(apiserver: ApiServer, tmp_path: Path) -> Iterator[tuple[Target, Target]]:
    """The facade and the real server, each with the namespace `walk`."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "walk"}}
    assert apiserver.call("POST", "/api/v1/namespaces", namespace)[0] in (201, 409)
    folders = [tmp_path / "facade", tmp_path / "real"]
    for folder in folders:
        folder.mkdir()
    with serving(tmp_path / "config", [namespace]):
        yield (
            Target(tmp_path / "config", folders[0]),
            Target(apiserver.kubeconfig(ADMIN), folders[1]),
        )


@pytest.fixture(scope="module")
def kubectl() -> Path:
    """The program, which tests/apiserver/build builds next to the servers."""
    program = Path(os.environ["KUBEBUILDER_ASSETS"]) / "kubectl"
    if not program.exists():
        pytest.skip("KUBEBUILDER_ASSETS holds no kubectl")
    return program


def test_kubectl_says_the_same_of_both_servers(
    targets: tuple[Target, Target], kubectl: Path
) -> None:
    """Apply on either side, get, describe, scale, label, patch, edit, wait, explain and delete."""
    said = ""
    for command in COMMANDS:
        words = [str(kubectl), "-n", "walk", *command.split()]
        facade, real = (target.run(words) for target in targets)
        assert facade == real, command
        said += real[1]
    outcomes = ("edited", "Edit cancelled", "serverside-applied", "Apply failed with 1 conflict")
    assert [each for each in outcomes if each not in said] == []


def test_kubectl_finds_every_kind(targets: tuple[Target, Target], kubectl: Path) -> None:
    """`api-resources` of the facade is a part of what the real server has, line for line."""
    facade, real = (target.run([str(kubectl), "api-resources"]) for target in targets)
    assert facade[0] == real[0] == 0
    listed = set(facade[1].splitlines())
    assert len(listed) > 30
    assert listed <= set(real[1].splitlines())


@pytest.mark.parametrize("script", ["with_lightkube.py", "with_kr8s.py"])
def test_a_script_sees_the_same_on_both_servers(
    targets: tuple[Target, Target], script: str
) -> None:
    """Create, read, change, scale, conflict and delete."""
    outcomes = [
        target.run([sys.executable, str(CLIENTS / script), str(target.kubeconfig), "walk"])
        for target in targets
    ]
    assert outcomes[0][0] == 0, outcomes[0][1]
    assert outcomes[0] == outcomes[1]


def test_a_kopf_operator_works_on_both_servers(
    targets: tuple[Target, Target], kubectl: Path
) -> None:
    """It marks a new ConfigMap and a changed one, and lets a deleted one go."""
    for target in targets:
        _operate(target, [str(kubectl), "-n", "walk"])


def _operate(target: Target, kubectl: list[str]) -> None:
    words = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", "walk"]
    environment = {
        **os.environ,
        "KUBECONFIG": str(target.kubeconfig),
        "HOME": str(target.folder),
    }
    log = (target.folder / "kopf.log").open("wb")
    operator = subprocess.Popen(
        [*words, str(CLIENTS / "kopf_operator.py")], env=environment, stdout=log, stderr=log
    )
    try:
        manifest = target.folder / "marked.yaml"
        manifest.write_text(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: marked, labels: {owner: kopf}}, "
            "data: {colour: green}}"
        )
        assert target.run([*kubectl, "create", "-f", str(manifest)])[0] == 0
        label = [*kubectl, "get", "configmap", "marked", "-o", "jsonpath={.metadata.labels.colour}"]
        eventually(lambda: target.run(label)[1] == "green", what="the label", within=30)
        change = '{"data":{"colour":"blue"}}'
        assert target.run([*kubectl, "patch", "cm", "marked", "--type=merge", "-p", change])[0] == 0
        eventually(lambda: target.run(label)[1] == "blue", what="the new label", within=30)
        assert target.run([*kubectl, "delete", "configmap", "marked"])[0] == 0
        assert target.run(label)[0] == 1
    finally:
        operator.terminate()
        operator.wait(20)
        log.close()
