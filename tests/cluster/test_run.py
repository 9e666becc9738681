"""`captep run` as a process against a real kube-apiserver, with the simulated neighbours around it and the permissions of the manifests."""

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from captep_kubernetes import RESOURCES
from captep_memory.world import Subject, stories
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around, play, told_by
from tests.cluster.crds import definitions
from tests.cluster.in_memory import writes_in_memory
from tests.cluster.manifests import bind, granted
from tests.cluster.process import Captep, captep

pytestmark = pytest.mark.cluster
QUIET_SECONDS = 36.0
"""Longer than the longest interval, jitter included: each control plane is looked at once more."""
SECRETS = RESOURCES["v1", "Secret"]
WRITES = ("create", "patch", "update", "delete")
CREATION = stories.creation_to_ready
REPAIR = evolve(stories.repair, acts=stories.repair.acts[1:])
DELETION = evolve(stories.deletion_of_all, acts=stories.deletion_of_all.acts[1:])
FAILURE = evolve(stories.failure_and_recovery, acts=tuple(evolve(act, after=timedelta(0)) for act in stories.failure_and_recovery.acts[1:]))


@pytest.fixture(scope="module")
def life(apiserver: ApiServer, around: Around, controller: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A whole life of one control plane, recorded once: what was asked in each part of it, from a controller that leads."""
    apiserver.create("/api/v1/namespaces", {"metadata": {"name": "life"}})
    tokyo = around.subject("life", "tokyo")
    recorded: dict[str, Any] = {}
    born = len(apiserver.audit())
    with Captep(controller, tmp_path_factory.mktemp("life"), "--leader-elect", "--namespace", "life", "--namespace", "default") as process:
        process.wait_until_it_works()

        def record(title: str, do: Callable[[], object]) -> None:
            since = len(apiserver.audit())
            began = time.monotonic()
            do()
            seconds = time.monotonic() - began
            settle(apiserver, "controller")
            recorded[title] = {"asked": told_by(apiserver, "controller", since=since), "seconds": seconds}

        recorded["start"] = {"asked": told_by(apiserver, "controller", since=born)}
        record("creation", lambda: play(around, CREATION, tokyo))
        record("quiet", lambda: time.sleep(QUIET_SECONDS))
        record("rotation", lambda: rotate(apiserver, tokyo, "bmV3"))
        record("repair", lambda: play(around, REPAIR, tokyo))
        record("wrong type", lambda: mistype(apiserver, tokyo, process))
        record("tag", lambda: around.merge(tokyo.control_plane, {"spec": {"additionalTags": {"Stage": "production"}}}))
        record("failure", lambda: play(around, FAILURE, tokyo))
        record("failure again", lambda: play(around, FAILURE, tokyo))
        record("deletion", lambda: play(around, DELETION, tokyo))
        recorded["end"] = process.end()
        recorded["log"] = process.log()
    return recorded


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


def mistype(server: ApiServer, subject: Subject, process: Captep) -> None:
    """Put a kubeconfig Secret of a wrong type in the place of ours, behind the back of `process`, and wait until it is right."""
    path = SECRETS.path(subject.namespace, f"{subject.name}-kubeconfig")
    kept = server.call("GET", path)[1]
    metadata = {name: kept["metadata"][name] for name in ("name", "labels", "ownerReferences")}
    process.process.send_signal(signal.SIGSTOP)
    assert server.call("DELETE", path)[0] == 200
    server.create(SECRETS.path(subject.namespace), {"metadata": metadata, "type": "Opaque", "data": kept["data"]})
    process.process.send_signal(signal.SIGCONT)

    def is_right() -> bool:
        status, secret = server.call("GET", path)
        return status == 200 and secret["type"] == kept["type"] and secret["data"] == kept["data"]

    eventually(is_right, what="the Secret has the right type")


def writes(asked: list[Any]) -> list[str]:
    """The writes without Events and the Lease, as text; nothing but a conflict with a neighbour of the same moment may be refused."""
    told = [(verb, ref, sub, status) for verb, ref, sub, status in asked if verb in WRITES and ref.kind not in ("Event", "Lease")]
    assert all(status < 300 or status == 409 for _, _, _, status in told), told
    counted = [each for each in told if each[3] != 409]
    assert len(told) - len(counted) <= 1, told
    return [f"{verb} {ref}{'/' + sub if sub else ''}" for verb, ref, sub, _ in counted]


def test_creation_takes_at_most_thirteen_writes(life: dict[str, Any]) -> None:
    """Thirteen writes make a control plane of nothing, none refused; the fresh token that Terraform's next look brings is one more."""
    written = writes(life["creation"]["asked"])
    rotated = written.count("patch Secret life/tokyo-kubeconfig")
    assert rotated <= 1
    assert len(written) - rotated <= 13, written


def test_a_mended_secret_is_one_write(life: dict[str, Any]) -> None:
    """A rotated token and a deleted Secret are each mended by one write, within a second."""
    assert writes(life["rotation"]["asked"]) == ["patch Secret life/tokyo-kubeconfig"]
    assert writes(life["repair"]["asked"]) == ["create Secret life/tokyo-kubeconfig"]
    assert life["rotation"]["seconds"] < 1
    assert life["repair"]["seconds"] < 1


def test_an_edited_tag_is_one_write(life: dict[str, Any]) -> None:
    """What the user edits goes to the apply in one write."""
    assert writes(life["tag"]["asked"]) == ["patch WorkspaceTemplateApply life/tokyo-eks-controlplane-apply"]


def test_deletion_takes_four_writes(life: dict[str, Any]) -> None:
    """The Cluster's endpoint, both applies, the finalizer, in this order."""
    assert writes(life["deletion"]["asked"]) == [
        "patch Cluster life/tokyo",
        "delete WorkspaceTemplateApply life/tokyo-eks-controlplane-apply",
        "delete WorkspaceTemplateApply life/tokyo-kubeconfig-apply",
        "patch CAPTControlPlane life/tokyo",
    ]


def test_the_writes_are_those_of_the_same_life_in_memory(life: dict[str, Any]) -> None:
    """Each part of the life has as many writes as in memory; creation may have fewer, where two things were seen at one look."""
    parts = {"creation": CREATION, "repair": REPAIR, "deletion": DELETION}
    memory = {title: [write.replace("fleet/", "life/") for write in sent] for title, sent in writes_in_memory(parts, "tokyo").items()}
    real = {title: writes(life[title]["asked"]) for title in parts}
    assert real["repair"] == memory["repair"]
    assert real["deletion"] == memory["deletion"]
    assert set(real["creation"]) <= set(memory["creation"])
    # Cluster API's own controller reports the same on the Cluster, and may come first.
    assert set(memory["creation"]) - set(real["creation"]) <= {"patch Cluster life/tokyo/status"}
    assert len(real["creation"]) <= len(memory["creation"])


def test_at_rest_nothing_is_written_and_nothing_is_read(life: dict[str, Any]) -> None:
    """For longer than the longest interval there is no request at all but those for the lease and watches that are renewed."""
    others = [each for each in life["quiet"]["asked"] if each[1] is None or (each[1].kind != "Lease" and each[0] != "watch")]
    assert others == []
    leases = [(verb, status) for verb, ref, _, status in life["quiet"]["asked"] if ref is not None and ref.kind == "Lease"]
    assert set(leases) == {("patch", 200)}
    assert len(leases) <= QUIET_SECONDS / 2 + 2


def test_failure_and_recovery_are_reported_and_nothing_else(life: dict[str, Any]) -> None:
    """A failure of Terraform under a Ready control plane is surfaced, and taken back, by writes to the status alone."""
    assert set(writes(life["failure"]["asked"])) <= {
        "patch CAPTControlPlane life/tokyo/status",
        "patch Cluster life/tokyo/status",
        "patch Secret life/tokyo-kubeconfig",
    }
    assert "patch CAPTControlPlane life/tokyo/status" in writes(life["failure"]["asked"])


def test_it_ends_in_time_and_gives_the_lease_back(life: dict[str, Any], apiserver: ApiServer) -> None:
    """SIGTERM ends it with status 0 inside ten seconds, and nobody holds the lease after that."""
    status, seconds = life["end"]
    assert status == 0
    assert seconds < 10
    _, lease = apiserver.call("GET", RESOURCES["coordination.k8s.io/v1", "Lease"].path("kube-system", "captep"))
    assert lease["spec"]["holderIdentity"] == ""


def test_the_log_tells_changes_with_their_fields(life: dict[str, Any]) -> None:
    """Every line is JSON; what is told of a control plane has controller, namespace, name and reconcileID; no traceback, no token."""
    assert not [line for line in life["log"] if "raw" in line]
    told = [line for line in life["log"] if line["logger"] == "captep.controller"]
    assert told
    assert all((line["controller"], line["namespace"], line["name"]) == ("captcontrolplane", "life", "tokyo") for line in told)
    assert all(line["reconcileID"] for line in told)
    assert "bmV3" not in str(life["log"])


def test_the_permissions_are_those_that_are_used(life: dict[str, Any]) -> None:
    """What a whole life asks for is what the manifests grant: nothing was refused, and no rule is spare."""
    asked = [each for part in life.values() if isinstance(part, dict) for each in part["asked"]]
    assert {ref.kind for _, ref, _, status in asked if status == 403 and ref is not None} <= {"namespaces"}
    plurals = {each.kind: each.plural for each in RESOURCES.values()}
    used = {
        (group(ref.api_version), plurals.get(ref.kind, ref.kind) + (f"/{sub}" if sub else ""), verb)
        for verb, ref, sub, _ in asked
        if ref is not None
    }
    assert used - {("", "namespaces", "get")} == set(granted("base"))


def group(api_version: str) -> str:
    """The API group of `group/version`."""
    return api_version.rpartition("/")[0]


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
