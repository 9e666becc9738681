"""An operator in Go, on controller-runtime: against both servers, and under every kind of fault.

It knows nothing of this project. Its informers, leader election and events are those of client-go.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from attrs import evolve

from captep_core import ObjectRef
from captep_memory import Key, World, load
from captep_memory.testing import serving
from captep_testing import Kit, Report, moves
from captep_testing._faults import HTTP_FAULTS
from captep_testing.process import elsewhere, trial
from tests.cluster.apiserver import ADMIN, ApiServer, eventually

# The first build compiles client-go.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
CLIENTS = Path(__file__).parent / "clients"
NAMESPACE = "webs"
WEB = ObjectRef("clients.example.dev/v1", "Web", NAMESPACE, "a")
DEPLOYMENT = ObjectRef("apps/v1", "Deployment", NAMESPACE, "a")
DEFINITION = yaml.safe_load((CLIENTS / "web.yaml").read_text())
SHOWN = "-o=jsonpath={range .items[*]}{.kind} {.metadata.name} {.spec.replicas}{'\\n'}{end}"
EVENTS = "-o=jsonpath={range .items[*]}{.reason} {.message}{'\\n'}{end}"
PATIENCE = timedelta(seconds=30)


def web(replicas: int) -> dict[str, object]:
    """Return the object that a user writes."""
    return {
        "apiVersion": WEB.api_version,
        "kind": "Web",
        "metadata": {"name": "a", "namespace": NAMESPACE},
        "spec": {"replicas": replicas},
    }


def is_right(world: World) -> bool:
    """Whether a Web has a Deployment of its size, and a Service."""
    stored = world.get(Key("clients.example.dev", "Web", NAMESPACE, "a"))
    if stored is None:
        return True
    deployment = world.get(Key("apps", "Deployment", NAMESPACE, "a"))
    service = world.get(Key("", "Service", NAMESPACE, "a"))
    if deployment is None or service is None or "status" not in stored:
        return False
    is_sized: bool = deployment["spec"]["replicas"] == stored["spec"]["replicas"]
    return is_sized


KIT = Kit(
    elsewhere,
    keys=(WEB,),
    worlds={"new": load([DEFINITION, web(2)], now=datetime(2026, 1, 1, tzinfo=UTC))},
    matches=is_right,
    moves={
        "a user scales it": moves.edit(WEB, {"spec": {"replicas": 3}}),
        "somebody deletes the Deployment": moves.delete(DEPLOYMENT),
        "a user deletes it": moves.delete(WEB),
    },
)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program; Go keeps what it compiled for the next build."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("needs Go to build an operator on controller-runtime")
    program = tmp_path_factory.mktemp("go") / "operator"
    # The flags of tests/apiserver/build, so that both builds share client-go.
    subprocess.run(
        [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), "."],
        cwd=CLIENTS / "controller_runtime",
        env={**os.environ, "CGO_ENABLED": "0"},
        check=True,
        timeout=800,
    )
    return program


@pytest.fixture
def kubeconfigs(apiserver: ApiServer, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The in-memory server and the real one, each with the definition and the namespace."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    assert apiserver.call("POST", "/api/v1/namespaces", namespace)[0] in (201, 409)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert apiserver.call("POST", path, DEFINITION)[0] in (201, 409)
    webs = f"/apis/{WEB.api_version}/namespaces/{NAMESPACE}/webs"
    eventually(lambda: apiserver.call("GET", webs)[0] == 200, what="the kind is served", within=30)
    with serving(tmp_path / "config", [namespace, DEFINITION]):
        yield tmp_path / "config", apiserver.kubeconfig(ADMIN)


def test_it_does_the_same_on_both_servers(
    operator: Path, kubeconfigs: tuple[Path, Path], tmp_path: Path
) -> None:
    """It wins its election, makes what a Web needs, follows it, reports, and lets it go."""
    manifest = tmp_path / "web.yaml"
    manifest.write_text(yaml.safe_dump(web(2)))
    seen = [story(operator, kubeconfig, manifest, tmp_path) for kubeconfig in kubeconfigs]
    assert seen[0] == seen[1]
    assert "Deployment a 3" in seen[0]
    assert "Deployed created the Deployment" in seen[0]


def story(operator: Path, kubeconfig: Path, manifest: Path, folder: Path) -> str:
    """Return what kubectl shows of the life of a Web on one server."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(folder)}
    kubectl = str(Path(os.environ["KUBEBUILDER_ASSETS"]) / "kubectl")

    def said(*words: str) -> str:
        command = [kubectl, "-n", NAMESPACE, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment, check=False
        )
        return done.stdout

    def shows(text: str, *words: str) -> Callable[[], bool]:
        return lambda: said(*words) == text

    with (
        (folder / "operator.log").open("ab") as log,
        subprocess.Popen(
            [operator], env={**environment, "ELECT": NAMESPACE}, stdout=log, stderr=log
        ) as process,
    ):
        try:
            said("apply", "-f", str(manifest))
            phase = ("get", "web", "a", "-o=jsonpath={.status.phase}")
            eventually(shows("Deployed", *phase), what="the status", within=60)
            said("patch", "web", "a", "--type=merge", '-p={"spec":{"replicas":3}}')
            replicas = ("get", "deployment", "a", "-o=jsonpath={.spec.replicas}")
            eventually(shows("3", *replicas), what="the new size", within=60)
            lives = said("get", "web,deployment,service", SHOWN)
            lives += said("get", "events", "--field-selector=involvedObject.kind=Web", EVENTS)
            said("delete", "web", "a", "--timeout=30s")
            return lives + said("get", "web", SHOWN)
        finally:
            process.terminate()


def tried(operator: Path, folder: Path, kit: Kit, number: int, mistake: str = "") -> Report:
    """Return the report of the operator under every `number`th fault."""
    return trial(
        kit,
        [str(operator)],
        folder=folder,
        faults=HTTP_FAULTS[::number],
        environment={"MISTAKE": mistake},
        quiet=timedelta(seconds=0.5),
        patience=PATIENCE if not mistake else timedelta(seconds=10),
    )


def test_it_survives_faults_at_every_write(operator: Path, tmp_path: Path) -> None:
    """Seven writes: finalizer, Deployment, Service, status, size, Deployment again, way out.

    A crash, a lost answer and a refusal at each of them change nothing at the end.
    """
    report = tried(operator, tmp_path, KIT, 5).require()
    assert str(report) == "exhausted 23 runs from 1 worlds, 3 faults at each write"
    assert report.edges == 7


def test_a_restless_operator_is_found(operator: Path, tmp_path: Path) -> None:
    """Each write of a time into the status wakes the next pass."""
    report = tried(operator, tmp_path, evolve(KIT, moves={}), 100, "restless")
    assert "P2" in report.properties
