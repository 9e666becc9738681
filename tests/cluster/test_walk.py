"""The commands of docs/operations.md, typed as printed against a real kube-apiserver."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from captep_world import Subject
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around, requests_by
from tests.cluster.crds import definitions
from tests.cluster.terminal import Started, Terminal, commands, terminal_in

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
USER = "system:serviceaccount:captep-system:captep"
PORTS = "--metrics-bind-address 127.0.0.1:0 --health-probe-bind-address 127.0.0.1:00"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Start a cluster with the definitions and without the namespace of the fleet."""
    server = ApiServer(Path(os.environ["KUBEBUILDER_ASSETS"]), tmp_path_factory.mktemp("given"))
    server.start()
    try:
        server.install(definitions())
        yield server
    finally:
        server.stop()


@pytest.fixture
def terminal(given: ApiServer, tmp_path: Path) -> Iterator[Terminal]:
    """Open a terminal in a fresh copy of the repository, for a user with only a kubeconfig."""
    with terminal_in(tmp_path, given.kubeconfig()) as shell:
        yield shell


def test_the_walk_leads_to_a_ready_control_plane(given: ApiServer, terminal: Terminal) -> None:
    """Every command does what the page says, from `pip install` to a Ready fleet.

    The controller has the permissions of the manifests. The test types the commands as printed; it
    gives only `captep run` ports of its own.
    """
    plans: list[str] = []
    running: list[Started] = []
    with Around(given) as around:
        around.look_after(Subject("fleet", "tokyo"), Subject("fleet", "oregon"))
        for line in commands("operations.md", "Walk"):
            if not line.startswith("captep run"):
                printed = terminal.type(line)
                plans += [printed] if line.startswith("captep plan") else []
                continue
            since = len(given.audit())
            process = terminal.start(f"{line} {PORTS}")
            eventually(
                lambda process=process: process.says("working with"),  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                what=f"{line} works",
                within=30,
            )
            if "--dry-run" not in line:
                running.append(process)
                continue
            for name in ("tokyo", "oregon"):
                line_ = f"would create WorkspaceTemplateApply fleet/{name}-eks-controlplane-apply"
                eventually(lambda process=process, line_=line_: process.says(line_), what=line_)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            process.interrupt()
            assert {verb for verb, _, _, _ in requests_by(given, USER, since=since)} == {
                "get",
                "list",
                "watch",
            }
        assert "verdict     Creating: Control plane is being created" in plans[0]
        assert "+ create WorkspaceTemplateApply fleet/tokyo-eks-controlplane-apply" in plans[0]
        assert "verdict     Ready: Control plane is ready" in plans[1]
        assert "actions     none" in plans[1]
        assert [len(plans), len(running)] == [2, 1]
        running[0].interrupt()
        asked = requests_by(given, USER)
        assert {verb for verb, _, _, _ in asked} >= {"create", "patch"}
        assert [each for each in asked if each[3] == 403] == []


def test_the_server_accepts_the_manifests_of_the_deployment(terminal: Terminal) -> None:
    """The server accepts every object that runs the controller, and knows every field."""
    for folder in ("fleet", "deployment", "namespaced"):
        printed = terminal.type(f"kubectl apply --validate=strict -k examples/manifests/{folder}")
        assert "Warning" not in printed
    assert "deployment.apps/captep" in printed
    assert "role.rbac.authorization.k8s.io/captep " in terminal.type(
        "kubectl apply -k examples/manifests/namespaced"
    )
