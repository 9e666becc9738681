"""The commands of docs/operations.md, typed as printed against a real kube-apiserver."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from captep_world import Subject
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around, requests_by
from tests.cluster.crds import definitions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
USER = "system:serviceaccount:captep-system:captep"
PORTS = "--metrics-bind-address 127.0.0.1:0 --health-probe-bind-address 127.0.0.1:00"


class Terminal:
    """A shell that takes commands; on exit it ends every process that still runs in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=environment,
        )
        self._logs = folder.parent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shell.communicate("kill $(jobs -p); wait\n", timeout=30)

    def type(self, line: str) -> str:
        """Run a command to its end and return its output; it must exit with 0."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{line}\nprintf '\\n[exit status %d]\\n' $?\n")
        self._shell.stdin.flush()
        printed: list[str] = []
        while not (printed and printed[-1].startswith("[exit status ")):
            printed.append(self._shell.stdout.readline())
            assert printed[-1], f"{line}: the shell has ended: {''.join(printed)}"
        assert printed[-1] == "[exit status 0]\n", f"{line}: {''.join(printed)}"
        return "".join(printed[:-1])

    def start(self, line: str) -> "Started":
        """Start a command that does not end by itself."""
        log = self._logs / f"{len(list(self._logs.glob('*.log')))}.log"
        log.touch()
        return Started(self, int(self.type(f"{line} > {log} 2>&1 & echo $!")), log)


class Started:
    """A command that runs in a terminal."""

    def __init__(self, terminal: Terminal, pid: int, log: Path) -> None:
        self._terminal = terminal
        self._pid = pid
        self._log = log

    def says(self, text: str) -> bool:
        """Whether it has printed `text`; fails when it has given up."""
        printed = self._log.read_text()
        assert "captep: " not in printed, printed
        return text in printed

    def interrupt(self) -> None:
        """End it as Ctrl-C does; it must exit with 0."""
        self._terminal.type(f"kill -INT {self._pid} && wait {self._pid}")


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
    path = f"{os.environ['KUBEBUILDER_ASSETS']}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("kubectl", path=path) is None:
        pytest.skip("needs kubectl, in KUBEBUILDER_ASSETS or on PATH")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in files.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (tmp_path / "captep" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "captep" / name)
    kubeconfig = shutil.copy(given.kubeconfig(), tmp_path / "kubeconfig")
    (tmp_path / "home").mkdir()
    loopback = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    ours = {"HOME": str(tmp_path / "home"), "KUBECONFIG": str(kubeconfig), "PATH": path, **loopback}
    others = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    with Terminal(tmp_path / "captep", others | ours) as shell:
        yield shell


def commands() -> list[str]:
    """Return the commands of the walk in docs/operations.md, in order."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    section = re.search(r"^## Walk\n(.*?)^##", page, re.DOTALL | re.MULTILINE)
    assert section is not None
    return [
        line
        for block in re.findall(r"```sh\n(.*?)```", section[1], re.DOTALL)
        for line in block.splitlines()
    ]


def test_the_walk_leads_to_a_ready_control_plane(given: ApiServer, terminal: Terminal) -> None:
    """Every command does what the page says, from `pip install` to a Ready fleet.

    The controller has the permissions of the manifests. The test types the commands as printed; it
    gives only `captep run` ports of its own.
    """
    plans: list[str] = []
    running: list[Started] = []
    with Around(given) as around:
        around.look_after(Subject("fleet", "tokyo"), Subject("fleet", "oregon"))
        for line in commands():
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
