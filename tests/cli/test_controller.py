"""The parts of `captep run` that need no cluster: dry runs, reading live, counted requests."""

import logging
import queue
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from captep_cli._live import live_reader
from captep_cli._options import parse
from captep_cli._run import _Process
from captep_core import (
    ABSENT,
    Create,
    Decision,
    ObjectRef,
    Observed,
    ReconcileState,
    Unreadable,
    control_plane_ref,
)
from captep_core._resources import Watched
from captep_core.capt._resources import RESOURCES
from captep_core.errors import GatewayError
from captep_core.ports import Read
from captep_kubernetes import DryRun, KubernetesGateway, RawResponse, UnansweredError
from captep_operator._counting import CountingTransport
from captep_operator._dry_run import DryRunDecide
from captep_operator._preflight import fatal_problem
from captep_operator.command._errors import InputError
from captep_runtime import InMemoryMetrics
from tests.objects import manifest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = control_plane_ref("fleet", "tokyo")
A, B = ObjectRef("v1", "Secret", "fleet", "a"), ObjectRef("v1", "Secret", "fleet", "b")
CREATE = Create(A, manifest(A), "because")


class Verdict:
    """Any verdict."""

    reason, message = "Fine", ""


def wanting(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Create A unless it exists."""
    return Decision(
        () if isinstance(read(A), dict) else (CREATE,), timedelta(seconds=30), Verdict()
    )


def reading(world: Mapping[ObjectRef, dict[str, Any]]) -> Read:
    """Return a `read` of a world."""

    def read(ref: ObjectRef) -> Observed[dict[str, Any]]:
        return world.get(ref, ABSENT)

    return read


class Scripted:
    """A transport that answers by path and records the requests in `asked`."""

    host = "https://server:6443"

    def __init__(self, answers: Mapping[str, RawResponse | UnansweredError]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, str]] = []

    def request(self, method: str, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
        """Answer."""
        self.asked.append((method, path))
        answer = self._answers.get(path, RawResponse(404, {}, {"reason": "NotFound"}))
        if isinstance(answer, UnansweredError):
            raise answer
        return answer

    def stream(self, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
        """Answer."""
        return self.request("GET", path)


VERSION = {"/version": RawResponse(200, {}, {})}
PLACE = "/apis/controlplane.cluster.x-k8s.io/v1beta1/namespaces/fleet/captcontrolplanes/tokyo"


def test_a_live_read_sends_one_get_for_each_object() -> None:
    """It distinguishes present, absent and unreadable, and answers a second read from memory."""
    template = ObjectRef(
        "infrastructure.cluster.x-k8s.io/v1beta1", "WorkspaceTemplate", "fleet", "eks"
    )
    transport = Scripted(
        {
            **VERSION,
            "/api/v1/namespaces/fleet/secrets/a": RawResponse(200, {}, {"kind": "Secret"}),
            f"/apis/{template.api_version}/namespaces/fleet/workspacetemplates/eks": RawResponse(
                404, {}, None
            ),
        }
    )
    read = live_reader(transport)
    assert [read(A), read(B), read(A)] == [{"kind": "Secret"}, ABSENT, {"kind": "Secret"}]
    assert read(template) == Unreadable(
        "NotFound", f"{template}: HTTP 404: is its CustomResourceDefinition installed?"
    )
    assert isinstance(read(ObjectRef("v1", "Secret", None, "a")), Unreadable)
    assert [path for _, path in transport.asked].count("/api/v1/namespaces/fleet/secrets/a") == 1
    assert {method for method, _ in transport.asked} == {"GET"}


@pytest.mark.parametrize(
    ("answers", "error", "expected"),
    [
        ({}, InputError, "there is no namespace fleet"),
        (
            {"/api/v1/namespaces/fleet": RawResponse(200, {}, {})},
            InputError,
            "kubectl get captcontrolplanes -n fleet",
        ),
        (
            {PLACE: RawResponse(403, {}, {"reason": "Forbidden"})},
            GatewayError,
            "may not get captcontrolplanes",
        ),
        ({PLACE: RawResponse(500, {}, None)}, GatewayError, "cannot be read: InternalError"),
        (
            {PLACE: UnansweredError("refused", may_have_landed=False)},
            GatewayError,
            "cannot be read: Unavailable: refused",
        ),
        (
            {PLACE: RawResponse(200, {}, {"metadata": {"name": "tokyo"}, "spec": {"version": 1}})},
            InputError,
            "malformed CAPTControlPlane fleet/tokyo: ",
        ),
    ],
)
def test_a_live_plan_without_a_usable_control_plane_raises_one_line(
    answers: Any,  # noqa: ANN401
    error: type[Exception],
    expected: str,
) -> None:
    """The line says why the control plane is missing or unreadable."""
    with pytest.raises(error, match=expected):
        live_reader(Scripted({**VERSION, **answers}))(KEY)


def test_the_transport_counts_requests_as_client_go_does() -> None:
    """It counts by status, method and host; a request without an answer has the code <error>."""
    metrics = InMemoryMetrics()
    transport = CountingTransport(
        Scripted({**VERSION, "/gone": UnansweredError("cut", may_have_landed=True)}),  # type: ignore[arg-type]
        metrics,
    )
    transport.request("GET", "/version", timeout=1)
    transport.stream("/nowhere", timeout=1)
    with pytest.raises(UnansweredError):
        transport.request("POST", "/gone", timeout=1)
    counts = [
        metrics.value(
            "rest_client_requests_total", {"code": code, "method": method, "host": "server:6443"}
        )
        for code, method in (("200", "GET"), ("404", "GET"), ("<error>", "POST"))
    ]
    assert counts == [1, 1, 1]


def test_a_dry_run_logs_each_action_once_and_returns_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It logs an action when a decision begins to want it, and again after a decision without."""
    gateway = KubernetesGateway(Scripted({}), watched=[])
    world = dict[ObjectRef, dict[str, Any]]()
    dry_run = DryRunDecide(wanting, gateway, DryRun.CLIENT, logging.getLogger("dry-run"))
    caplog.set_level(logging.INFO, "dry-run")
    lines = []
    for change in ("", "", "there", "gone"):
        if change == "there":
            world[A] = {}
        if change == "gone":
            world.clear()
        assert dry_run(KEY, reading(world), ReconcileState(), now=NOW).actions == ()
        lines.append(len(caplog.messages))
    assert lines == [1, 1, 1, 2]
    assert (
        caplog.messages[0] == "CAPTControlPlane fleet/tokyo: would create Secret fleet/a: because"
    )


def candidate(tmp_path: Path) -> _Process:
    """Return an unstarted process that competes for the Lease ns/one of an unreachable server."""
    kubeconfig = tmp_path / "config"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "x", "context": {"cluster": "c"}}
    kubeconfig.write_text(
        yaml.safe_dump({"current-context": "x", "clusters": [cluster], "contexts": [context]})
    )
    elect = ("--leader-elect", "--leader-election-namespace", "ns", "--leader-election-id", "one")
    return _Process(parse(["run", "--kubeconfig", str(kubeconfig), *elect]), queue.SimpleQueue())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_healthz_fails_when_the_election_thread_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/healthz names the thread: otherwise a process that never leads again looks healthy."""
    process = candidate(tmp_path)
    health = process._pages()[process._options.health_probe_bind_address]["/healthz"]
    monkeypatch.setattr(process._controller, "problems", tuple)
    assert health() == (200, "text/plain; charset=utf-8", b"ok")
    monkeypatch.setattr(process._elector, "_try", lambda: 1 / 0)
    assert process._elector is not None
    process._elector.start()
    assert process._elector._thread is not None
    process._elector._thread.join(10)
    assert health() == (
        503,
        "text/plain; charset=utf-8",
        b"the thread that renews the lease ns/one has ended\n",
    )


@pytest.mark.parametrize("status", [0, 1])
def test_the_end_of_a_run_releases_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """It does so after a loss too: the elector may have won again while the last pass ended."""
    process = candidate(tmp_path)
    stopped = list[float]()
    assert process._elector is not None
    monkeypatch.setattr(process._elector, "stop", stopped.append)
    assert process._end(status) == status
    assert stopped == [2.0]


def test_a_missing_permission_is_reported_with_its_namespace() -> None:
    """Of several waiting caches the error names the forbidden one, whatever the others wait for."""

    def answer(path: str) -> RawResponse:
        return RawResponse(500 if "/ours/" in path else 403, {}, None)

    transport = Scripted({})
    gateway = KubernetesGateway(
        transport, namespaces=["ours", "theirs"], watched=[Watched(RESOURCES["v1", "Secret"])]
    )
    transport._answers = {informer._path: answer(informer._path) for informer in gateway.informers}
    assert fatal_problem(transport, gateway.informers) is None
    for informer in gateway.informers:
        informer._report(informer._list())
    problem = fatal_problem(transport, gateway.informers)
    assert problem is not None
    assert problem.endswith(
        " may not list secrets in the namespace theirs:"
        " grant list and watch, or choose with --namespace"
    )
