"""`captep run` as a process against a real kube-apiserver, with the simulated neighbours around it and the permissions of the manifests."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from captep_kubernetes import RESOURCES
from captep_memory.world import Subject, stories
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around, play, told_by
from tests.cluster.crds import definitions
from tests.cluster.manifests import bind
from tests.cluster.process import Captep, captep

pytestmark = pytest.mark.cluster
SECRETS = RESOURCES["v1", "Secret"]
WRITES = ("create", "patch", "update", "delete")
CREATION = stories.creation_to_ready
DELETION = evolve(stories.deletion_of_all, acts=stories.deletion_of_all.acts[1:])


def settle(server: ApiServer, user: str, quiet: float = 1.5) -> None:
    """Wait until `user` has asked nothing but for the lease for a while."""
    heard = -1, time.monotonic()

    def is_quiet() -> bool:
        nonlocal heard
        count = sum(ref is None or ref.kind != "Lease" for _, ref, _, _ in told_by(server, user))
        if count != heard[0]:
            heard = count, time.monotonic()
        return time.monotonic() - heard[1] >= quiet

    eventually(is_quiet, what=f"{user} rests", within=30)


def secret_of(server: ApiServer, subject: Subject, suffix: str = "kubeconfig") -> dict[str, Any]:
    """The data of a Secret, {} while there is none."""
    status, secret = server.call("GET", SECRETS.path(subject.namespace, f"{subject.name}-{suffix}"))
    return dict(secret.get("data") or {}) if status == 200 else {}


def rotate(server: ApiServer, subject: Subject, value: str, namespace: str | None = None) -> None:
    """Put a new token where Crossplane puts it, and wait until it is where users read it."""
    server.merge(SECRETS.path(namespace or subject.namespace, f"{subject.name}-outputs-kubeconfig"), {"data": {"kubeconfig": value}})
    eventually(lambda: secret_of(server, subject) == {"value": value}, what="the new token is copied")


def test_one_namespace_is_enough_permission(apiserver: ApiServer, around: Around, namespace: str, tmp_path: Path) -> None:
    """With the roles of examples/manifests/namespaced, in one namespace, a control plane becomes Ready and nothing is refused."""
    bind(apiserver, "namespaced", "tenant", namespace=namespace)
    osaka = around.subject(namespace, "osaka")
    since = len(apiserver.audit())
    with Captep(apiserver.kubeconfig("tenant"), tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        play(around, CREATION, osaka)
    asked = told_by(apiserver, "tenant", since=since)
    assert ("get", "namespaces", 200) in {(verb, ref.kind, status) for verb, ref, _, status in asked if ref is not None}
    assert [each for each in asked if each[3] == 403] == []


def test_its_pages(apiserver: ApiServer, controller: Path, namespace: str, tmp_path: Path) -> None:
    """/healthz and /readyz say ok, /metrics has controller-runtime's names with what happened."""
    with Captep(controller, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        assert (process.get("/healthz"), process.get("/readyz")) == ((200, "ok"), (200, "ok"))
        status, text = process.get("/metrics")
    assert status == 200
    host = apiserver.url.removeprefix("https://")
    for series in (
        'controller_runtime_max_concurrent_reconciles{controller="captcontrolplane"} 4.0',
        f'rest_client_requests_total{{code="200",host="{host}",method="GET"}}',
        "workqueue_depth{",
    ):
        assert series in text, series


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(controller: Path, namespace: str, tmp_path: Path, number: int) -> None:
    """Both signals end it with status 0, at once when there is nothing to do, and without a traceback."""
    with Captep(controller, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        status, seconds = process.end(number)
        assert (status, process.log()[-1]["message"]) == (0, "ended")
        assert seconds < 3


def test_a_second_signal_ends_it_at_once(apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path) -> None:
    """While a write hangs in a server that does not answer, the first signal waits for it, the second does not."""
    kyoto = around.subject(namespace, "kyoto")
    server = apiserver._processes["kube-apiserver"]
    with Captep(controller, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        play(around, CREATION, kyoto)
        settle(apiserver, "controller")
        apiserver.call("DELETE", SECRETS.path(namespace, "kyoto-kubeconfig"))
        server.send_signal(signal.SIGSTOP)
        try:
            process.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            ended_before = process.process.poll()
            status, seconds = process.end(signal.SIGTERM)
        finally:
            server.send_signal(signal.SIGCONT)
    assert (ended_before, status) in ((None, 143), (0, 0))
    assert seconds < 1


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_dry_run_changes_nothing(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path, mode: str
) -> None:
    """It tells what it would do; with `client` no write is sent, with `server` each is one that the server forgets; no lease is taken."""
    kobe = around.subject(namespace, f"kobe-{mode}")
    for act in CREATION.acts:
        for request in act.requests(kobe):
            assert around.call(request).ok
    since = len(apiserver.audit())
    with Captep(controller, tmp_path, "--namespace", namespace, "--leader-elect", "--dry-run", mode) as process:
        process.wait_until_it_works()
        eventually(lambda: process.says("would create WorkspaceTemplateApply"), what="it tells what it would do")
    sent = [event for event in apiserver.audit()[since:] if event["user"].get("username") == "controller" and event["verb"] in WRITES]
    assert all("dryRun=All" in event["requestURI"] for event in sent)
    assert bool(sent) is (mode == "server")
    assert (
        apiserver.call("GET", RESOURCES["infrastructure.cluster.x-k8s.io/v1beta1", "WorkspaceTemplateApply"].path(namespace))[1]["items"]
        == []
    )


def test_plan_live_reads_what_it_needs_and_writes_nothing(apiserver: ApiServer, around: Around, controller: Path, namespace: str) -> None:
    """One GET for each object that the decision looks at, no list, no watch, no write; the decision is the one that plan prints."""
    nara = around.subject(namespace, "nara")
    for act in CREATION.acts:
        for request in act.requests(nara):
            assert around.call(request).ok
    apiserver.grant("other", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}])
    since = len(apiserver.audit())
    shown = captep("plan", "--live", "--kubeconfig", str(apiserver.kubeconfig("other")), f"{namespace}/nara", "-o", "json")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert '"verdict": "Creating: Control plane is being created"' in shown.stdout
    assert '"verb": "create"' in shown.stdout
    asked = told_by(apiserver, "other", since=since)
    objects = [ref for _, ref, _, _ in asked if ref is not None]
    assert {verb for verb, _, _, _ in asked} == {"get"}
    assert len(objects) == len(set(objects)) > 8


def test_every_obstacle_is_one_line(apiserver: ApiServer, controller: Path, namespace: str, tmp_path: Path) -> None:
    """What keeps it from starting is told in one line that names what is wrong, with exit status 1 and an empty standard output."""
    off = ("--metrics-bind-address", "0", "--health-probe-bind-address", "0")
    nobody, nowhere, expired, anonymous = (tmp_path / name for name in ("nobody", "nowhere", "expired", "anonymous"))
    text, admin = controller.read_text(), str(apiserver.kubeconfig())
    token = next(line for line in text.splitlines() if "token:" in line)
    nowhere.write_text(text.replace(apiserver.url, "https://127.0.0.1:1"))
    expired.write_text(text.replace(token, "    token: expired"))
    anonymous.write_text(text.replace(token, "    token: ''"))
    cases = {
        "no such file": ("run", "--kubeconfig", str(nobody)),
        "no context 'other'": ("run", "--kubeconfig", str(controller), "--context", "other"),
        "does not answer": ("run", "--kubeconfig", str(nowhere), *off),
        "refuses the credentials (401)": ("run", "--kubeconfig", str(expired), *off),
        "request without credentials": ("run", "--kubeconfig", str(anonymous), *off),
        "no namespace nope in": ("run", "--kubeconfig", admin, *off, "--namespace", namespace, "--namespace", "nope"),
        "may not list captcontrolplanes": ("run", "--kubeconfig", str(apiserver.kubeconfig("nobody")), *off, "--namespace", "nope"),
        "no namespace nowhere": ("run", "--kubeconfig", admin, *off, "--leader-elect", "--leader-election-namespace", "nowhere"),
        "the Lease default/captep": (
            "run",
            "--kubeconfig",
            str(controller),
            *off,
            "--leader-elect",
            "--leader-election-namespace",
            "default",
        ),
        "cannot listen on": ("run", "--kubeconfig", str(controller), "--metrics-bind-address", f"127.0.0.1:{apiserver.port}"),
        f"no CAPTControlPlane {namespace}/nope": ("plan", "--live", "--kubeconfig", admin, f"{namespace}/nope"),
        "no namespace nope;": ("plan", "--live", "--kubeconfig", admin, "nope/nope"),
        "may not get captcontrolplanes": ("plan", "--live", "--kubeconfig", str(controller), f"{namespace}/nope"),
    }
    for expected, words in cases.items():
        ended = captep(*words)
        assert ended.returncode == 1, (expected, ended)
        assert ended.stdout == "", (expected, ended)
        assert expected in one_line(ended.stderr), (expected, ended)


def test_a_forbidden_list_is_told(apiserver: ApiServer, tmp_path: Path) -> None:
    """Who may not list is told what, and as whom."""
    ended = captep(
        "run", "--kubeconfig", str(apiserver.kubeconfig("nobody")), "--metrics-bind-address", "0", "--health-probe-bind-address", "0"
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("captep: the user nobody may not list captcontrolplanes.controlplane.cluster.x-k8s.io, clusters")
    assert ended.stderr.count("\n") == 1


def test_missing_definitions_are_told(tmp_path: Path) -> None:
    """On a server without the definitions both commands say which are missing, and what to do; on one that lacks one, only that one."""
    server = ApiServer(Path(os.environ["KUBEBUILDER_ASSETS"]), tmp_path / "server", users=())
    server.start()
    try:
        admin = str(server.kubeconfig())
        off = ("--metrics-bind-address", "0", "--health-probe-bind-address", "0")
        run, plan = ("run", "--kubeconfig", admin, *off), ("plan", "--live", "--kubeconfig", admin, "default/tokyo")
        told = [captep(*run), captep(*plan)]
        server.install([each for each in definitions() if each["spec"]["names"]["kind"] != "Workspace"])
        told.append(captep(*run))
    finally:
        server.stop()
    assert [(ended.returncode, ended.stdout) for ended in told] == [(1, "")] * 3
    nothing, planned, but_one = (one_line(ended.stderr) for ended in told)
    for plural in ("captcontrolplanes", "clusters", "workspacetemplates", "workspacetemplateapplies", "workspaces"):
        assert f"{plural}." in nothing
    assert nothing.startswith("captep: not installed in the cluster: ")
    assert nothing.endswith(": apply their CustomResourceDefinitions")
    assert (
        planned
        == "captep: captcontrolplanes.controlplane.cluster.x-k8s.io is not installed in the cluster: apply its CustomResourceDefinition"
    )
    assert but_one == "captep: not installed in the cluster: workspaces.tf.upbound.io: apply their CustomResourceDefinitions"


def one_line(text: str) -> str:
    """What is told beside the log, which must be one line."""
    lines = [line for line in text.splitlines() if not line.startswith("20")]
    assert len(lines) == 1, text
    return lines[0]
