"""Obstacles to a start of `captep run` and `captep plan --live` on a real kube-apiserver.

For each, one line says what to do.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.crds import definitions
from tests.cluster.process import Captep, captep

pytestmark = pytest.mark.cluster
OFF = ("--metrics-bind-address", "0", "--health-probe-bind-address", "0")
RUN, PLAN = ("run", *OFF), ("plan", "--live", "default/nope")
ELECT = (*RUN, "--leader-elect", "--leader-election-namespace")
CASES: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "run, no file": ("missing", RUN, "no such file: --kubeconfig wants a kubeconfig"),
    "plan, no file": ("missing", PLAN, "no such file: --kubeconfig wants a kubeconfig"),
    "run, no such context": (
        "controller",
        (*RUN, "--context", "other"),
        "no context 'other': expected one of test",
    ),
    "plan, no such context": (
        "controller",
        (*PLAN, "--context", "other"),
        "no context 'other': expected one of test",
    ),
    "run, nobody there": ("nowhere", RUN, "check that it runs and that the kubeconfig names it"),
    "plan, nobody there": ("nowhere", PLAN, "check that it runs and that the kubeconfig names it"),
    "run, expired": (
        "expired",
        RUN,
        "(401): they are expired or wrong; log in again or choose another --context",
    ),
    "plan, expired": (
        "expired",
        PLAN,
        "(401): they are expired or wrong; log in again or choose another --context",
    ),
    "run, no credentials": (
        "anonymous",
        RUN,
        "a request without credentials (does the context name a user with some?) may not list",
    ),
    "plan, no credentials": (
        "anonymous",
        PLAN,
        "a request without credentials (does the context name a user with some?) may not get",
    ),
    "run, may not list": (
        "nobody",
        RUN,
        "the user nobody may not list captcontrolplanes.controlplane.cluster.x-k8s.io, clusters",
    ),
    "run, may not list there": (
        "nobody",
        (*RUN, "--namespace", "default"),
        "in the namespace default: grant list and watch, or choose",
    ),
    "plan, may not get": (
        "nobody",
        PLAN,
        (
            "may not get captcontrolplanes.controlplane.cluster.x-k8s.io "
            "in the namespace default: grant get"
        ),
    ),
    "run, no namespace": (
        "controller",
        (*RUN, "--namespace", "default", "--namespace", "nope"),
        "no namespace nope in the cluster: create it, or correct --namespace",
    ),
    "plan, no namespace": (
        "admin",
        ("plan", "--live", "nope/nope"),
        "there is no namespace nope; is this the right --context?",
    ),
    "plan, no control plane": (
        "admin",
        PLAN,
        "no CAPTControlPlane default/nope in the cluster: kubectl get captcontrolplanes -n default",
    ),
    "run, no namespace for the Lease": (
        "admin",
        (*ELECT, "nope"),
        "create it, or correct --leader-election-namespace",
    ),
    "run, no permission for the Lease": (
        "controller",
        (*ELECT, "default"),
        "the Lease default/captep: grant get, create and patch on leases",
    ),
    "run, port taken": (
        "controller",
        ("run", "--metrics-bind-address", "taken"),
        "choose another address for /metrics, or 0",
    ),
}


@pytest.fixture(scope="module")
def kubeconfigs(
    apiserver: ApiServer, controller: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """Kubeconfigs, each named after its fault or its user."""
    text = controller.read_text()
    folder = tmp_path_factory.mktemp("kubeconfigs")
    token = next(line for line in text.splitlines() if "token:" in line)
    made = {
        "nowhere": text.replace(apiserver.url, "https://127.0.0.1:1"),
        "expired": text.replace(token, "    token: expired"),
        "anonymous": text.replace(token, "    token: ''"),
    }
    for name, content in made.items():
        (folder / name).write_text(content)
    known = {
        "controller": controller,
        "admin": apiserver.kubeconfig(),
        "nobody": apiserver.kubeconfig("nobody"),
    }
    return known | {name: folder / name for name in (*made, "missing")}


def failure_of(*words: str) -> str:
    """Run a command that must fail without output; return the one line after its log."""
    ended = captep(*words)
    assert (ended.returncode, ended.stdout) == (1, ""), ended
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("20")]
    assert len(lines) == 1, ended
    return lines[0]


@pytest.mark.parametrize("case", CASES)
def test_an_obstacle_is_one_line(
    apiserver: ApiServer, kubeconfigs: Mapping[str, Path], case: str
) -> None:
    """One line says what to do, the exit status is 1 and standard output is empty."""
    who, words, expected = CASES[case]
    taken = f"127.0.0.1:{apiserver.port}"
    line = failure_of(
        *(taken if word == "taken" else word for word in words),
        "--kubeconfig",
        str(kubeconfigs[who]),
    )
    assert line.startswith("captep: ")
    assert expected in line


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A separate server without any CustomResourceDefinition."""
    server = ApiServer(Path(os.environ["KUBEBUILDER_ASSETS"]), tmp_path_factory.mktemp("bare"))
    server.start()
    yield server
    server.stop()


def test_a_kind_that_is_not_installed_is_named(bare: ApiServer, tmp_path: Path) -> None:
    """The line names each kind whose definition is missing; only the primary one ends the start."""
    at = ("--kubeconfig", str(bare.kubeconfig()))
    assert failure_of(*RUN, *at) == (
        "captep: not installed in the cluster: captcontrolplanes.controlplane.cluster.x-k8s.io, "
        "clusters.cluster.x-k8s.io, "
        "workspacetemplates.infrastructure.cluster.x-k8s.io, "
        "workspacetemplateapplies.infrastructure.cluster.x-k8s.io, "
        "workspaces.tf.upbound.io: "
        "apply their CustomResourceDefinitions, or choose another --context"
    )
    assert failure_of(*PLAN, *at) == (
        "captep: not installed in the cluster: captcontrolplanes.controlplane.cluster.x-k8s.io: "
        "apply its CustomResourceDefinition, or choose another --context"
    )
    bare.install(each for each in definitions() if each["spec"]["names"]["kind"] != "Workspace")
    with Captep(bare.kubeconfig(), tmp_path) as process:
        missing = "workspaces.tf.upbound.io: NotServed: "
        eventually(lambda: process.says(missing), what="the missing kind is named")
        eventually(lambda: process.says("working with"), what="the rest goes on")
        bare.install(each for each in definitions() if each["spec"]["names"]["kind"] == "Workspace")
        back = "workspaces.tf.upbound.io: current again"
        eventually(lambda: process.says(back), what="the kind is watched once it is there")
        assert process.end()[0] == 0
