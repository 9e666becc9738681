"""`captep run` as a process against a real kube-apiserver.

The simulated neighbours are at work, and the process has the permissions of the manifests.
"""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from captep_core.capt._resources import RESOURCES
from captep_world import Subject, stories
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around, play, requests_by
from tests.cluster.manifests import bind, granted
from tests.cluster.process import Captep, captep

pytestmark = pytest.mark.cluster
SECRETS = RESOURCES["v1", "Secret"]
WRITES = ("create", "patch", "update", "delete")
CREATION = stories.creation_to_ready
DELETION = evolve(stories.deletion_of_all, acts=stories.deletion_of_all.acts[1:])


def settle(server: ApiServer, user: str, quiet: float = 1.5) -> None:
    """Wait until `user` has sent no request for a while, other than for the lease."""
    heard = -1
    heard_at = time.monotonic()

    def is_quiet() -> bool:
        nonlocal heard, heard_at
        count = sum(
            ref is None or ref.kind != "Lease" for _, ref, _, _ in requests_by(server, user)
        )
        if count != heard:
            heard = count
            heard_at = time.monotonic()
        return time.monotonic() - heard_at >= quiet

    eventually(is_quiet, what=f"{user} rests", within=30)


def secret_of(server: ApiServer, subject: Subject, suffix: str = "kubeconfig") -> dict[str, Any]:
    """Return the data of a Secret, {} if it does not exist."""
    status, secret = server.call("GET", SECRETS.path(subject.namespace, f"{subject.name}-{suffix}"))
    return dict(secret.get("data") or {}) if status == 200 else {}


def rotate(server: ApiServer, subject: Subject, value: str, namespace: str | None = None) -> None:
    """Put a new token where Crossplane puts it, and wait until it is where users read it."""
    server.merge(
        SECRETS.path(namespace or subject.namespace, f"{subject.name}-outputs-kubeconfig"),
        {"data": {"kubeconfig": value}},
    )
    eventually(
        lambda: secret_of(server, subject) == {"value": value}, what="the new token is copied"
    )


def test_one_namespace_is_enough_permission(
    apiserver: ApiServer, around: Around, namespace: str, tmp_path: Path
) -> None:
    """With the roles of manifests/namespaced a control plane is Ready; nothing there is refused."""
    bind(apiserver, "namespaced", "tenant", namespace=namespace)
    osaka = around.subject(namespace, "osaka")
    since = len(apiserver.audit())
    with Captep(apiserver.kubeconfig("tenant"), tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        play(around, CREATION, osaka)
    asked = requests_by(apiserver, "tenant", since=since)
    # A Role cannot grant what is cluster-scoped: the label and a change of versions go unseen.
    definitions = "customresourcedefinitions"
    assert {each[1] and each[1].kind for each in asked if each[3] == 403} <= {definitions}
    elsewhere = {"leases", definitions}
    assert sorted(granted("namespaced")) == sorted(
        each for each in granted("base") if each[1] not in elsewhere
    )


def test_an_invisible_namespace_is_a_warning(apiserver: ApiServer, tmp_path: Path) -> None:
    """Without get on the namespace, a warning says so, and the process sends only reads."""
    apiserver.grant(
        "blind",
        [
            {"apiGroups": [g], "resources": [r], "verbs": [v]}
            for g, r, v in granted("base")
            if r != "namespaces"
        ],
    )
    since = len(apiserver.audit())
    with Captep(apiserver.kubeconfig("blind"), tmp_path, "--namespace", "hidden") as process:
        process.wait_until_it_works()
        assert process.says(
            "no permission to see whether the namespace hidden exists:"
            " grant get on namespaces, in a Role there"
        )
        assert [line["level"] for line in process.log() if "hidden" in line["message"]] == [
            "warning"
        ]
    asked = requests_by(apiserver, "blind", since=since)
    assert {verb for verb, _, _, _ in asked} == {"get", "list", "watch"}
    assert [ref.kind for _, ref, _, status in asked if status == 403 and ref is not None] == [
        "namespaces"
    ]


def test_probes_and_metrics_answer(
    apiserver: ApiServer, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """/healthz and /readyz say ok, and /metrics has controller-runtime's names."""
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
def test_a_signal_ends_the_process(
    controller: Path, namespace: str, tmp_path: Path, number: int
) -> None:
    """Each signal ends an idle process at once, with status 0 and without a traceback."""
    with Captep(controller, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        status, seconds = process.end(number)
        assert (status, process.log()[-1]["message"]) == (0, "ended")
        assert seconds < 3


def test_a_second_signal_ends_the_process_at_once(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """While a write hangs, the first signal waits for it and the second does not."""
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
    apiserver: ApiServer,
    around: Around,
    controller: Path,
    namespace: str,
    tmp_path: Path,
    mode: str,
) -> None:
    """It logs each write: `client` sends none, `server` sends dry runs; no lease is taken."""
    kobe = around.subject(namespace, f"kobe-{mode}")
    for act in CREATION.acts:
        for request in act.requests(kobe):
            assert around.call(request).ok
    since = len(apiserver.audit())
    with Captep(
        controller, tmp_path, "--namespace", namespace, "--leader-elect", "--dry-run", mode
    ) as process:
        process.wait_until_it_works()
        eventually(
            lambda: process.says("would create WorkspaceTemplateApply"),
            what="it logs what it would do",
        )
    asked = [
        event
        for event in apiserver.audit()[since:]
        if event["user"].get("username") == "controller"
    ]
    sent = [event for event in asked if event["verb"] not in ("get", "list", "watch")]
    assert all("dryRun=All" in event["requestURI"] for event in sent)
    assert bool(sent) is (mode == "server")
    assert (
        apiserver.call(
            "GET",
            RESOURCES["infrastructure.cluster.x-k8s.io/v1beta1", "WorkspaceTemplateApply"].path(
                namespace
            ),
        )[1]["items"]
        == []
    )


def test_plan_live_reads_what_it_needs_and_writes_nothing(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str
) -> None:
    """It sends one GET for each object that the decision looks at, and prints the decision."""
    nara = around.subject(namespace, "nara")
    for act in CREATION.acts:
        for request in act.requests(nara):
            assert around.call(request).ok
    apiserver.grant("other", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}])
    since = len(apiserver.audit())
    shown = captep(
        "plan",
        "--live",
        "--kubeconfig",
        str(apiserver.kubeconfig("other")),
        f"{namespace}/nara",
        "-o",
        "json",
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert '"verdict": "Creating: Control plane is being created"' in shown.stdout
    assert '"verb": "create"' in shown.stdout
    asked = requests_by(apiserver, "other", since=since)
    objects = [ref for _, ref, _, _ in asked if ref is not None]
    assert {verb for verb, _, _, _ in asked} == {"get"}
    assert len(objects) == len(set(objects)) > 8
