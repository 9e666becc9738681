"""The parts of a run that need no server: dry runs, counted requests, health, the end."""

import logging
import queue
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from captep_core import ABSENT, Create, Decision, ObjectRef, Observed, ReconcileState
from captep_core._resources import Resource, Watched
from captep_core.errors import GatewayError
from captep_core.ports import Read, as_read
from captep_kubernetes import (
    DryRun,
    KubernetesGateway,
    LeaderElector,
    RawResponse,
    Transport,
    UnansweredError,
)
from captep_operator import Kind, Lease, Serving, Shard
from captep_operator._controller import Controller
from captep_operator._counting import CountingTransport
from captep_operator._dry_run import DryRunDecide
from captep_operator._identity import Identity
from captep_operator._messages import Message, Messages, forget_earlier_runs
from captep_operator._preflight import fatal_problem, lacks_label
from captep_operator._process import Process, Settings
from captep_operator._serving import Pages
from captep_runtime import InMemoryMetrics
from tests.objects import manifest
from tests.testing.toy import KEY, keep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A = ObjectRef("v1", "Secret", "fleet", "a")
CREATE = Create(A, manifest(A), "because")
SECRETS = Resource("v1", "Secret", "secrets")
THINGS = Kind(KEY.api_version, KEY.kind, plural="things")


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

    return as_read(read)


class Scripted:
    """A transport that answers by path."""

    host = "https://server:6443"

    def __init__(self, answers: Mapping[str, RawResponse | UnansweredError]) -> None:
        self.answers = answers

    def request(self, method: str, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
        """Answer."""
        answer = self.answers.get(path, RawResponse(404, {}, {"reason": "NotFound"}))
        if isinstance(answer, UnansweredError):
            raise answer
        return answer

    def stream(self, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
        """Answer."""
        return self.request("GET", path)


def test_the_transport_counts_requests_as_client_go_does() -> None:
    """It counts by status, method and host; a request without an answer has the code <error>."""
    metrics = InMemoryMetrics()
    transport = CountingTransport(
        Scripted(  # type: ignore[arg-type]
            {
                "/version": RawResponse(200, {}, {}),
                "/gone": UnansweredError("cut", may_have_landed=True),
            }
        ),
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
    assert caplog.messages[0] == "Thing fleet/a: would create Secret fleet/a: because"


def settings(transport: Transport, lease: Lease | None) -> Settings:
    """Return the settings of a run over `transport`."""
    return Settings(
        kubeconfig=None,
        context=None,
        transport=transport,
        namespaces=(),
        workers=1,
        lease=lease,
        shard=Shard(1, 1),
        dry_run=DryRun.NONE,
        metrics=InMemoryMetrics(),
        serving=Serving(),
        warnings=lambda _: ("the cluster lacks something",),
    )


def candidate() -> tuple[Process, Controller, LeaderElector]:
    """Return an unstarted process that competes for the Lease ns/one."""
    made = settings(Scripted({}), Lease("ns", "one"))
    process = Process(Identity("things", "things"), keep, (THINGS,), made, queue.SimpleQueue())
    assert process._elector is not None
    return process, process._controller(), process._elector


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_healthz_fails_when_the_election_thread_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its problems name the thread: otherwise a process that never leads again looks healthy."""
    process, controller, elector = candidate()
    assert process.problems(controller) == ()
    monkeypatch.setattr(elector, "_try", lambda: 1 / 0)
    elector.start()
    assert elector._thread is not None
    elector._thread.join(10)
    assert process.problems(controller) == ("the thread that renews the lease ns/one has ended",)


def test_blind_watches_are_logged_where_nobody_asks_for_readyz(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that waits for messages looks at its watches meanwhile."""
    monkeypatch.setattr("captep_operator._process._LOOK_SECONDS", 0.0)
    looked: list[str] = []
    process, controller, _ = candidate()

    class Health:
        def problems(self) -> tuple[str, ...]:
            looked.append("looked")
            if len(looked) == 3:
                process._messages.put(Message.STOPPED)
            return ()

    assert process._message_under(cast("Any", Health())) is Message.STOPPED
    assert len(looked) == 3
    controller.stop()


def test_the_warnings_of_an_operator_are_logged_at_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each is one line, before any watch begins."""
    transport = Scripted({"/version": RawResponse(200, {}, {"gitVersion": "v1.37.2"})})
    made = settings(transport, None)
    process = Process(Identity("things", "things"), keep, (THINGS,), made, queue.SimpleQueue())
    process._check()
    assert caplog.messages == ["the cluster lacks something"]


DEFINITION = "things.example.com"


@pytest.mark.parametrize(
    ("status", "metadata", "lacks"),
    [
        (200, {"labels": {"cluster.x-k8s.io/v1beta1": "v1beta1"}}, False),
        (200, {"labels": {"cluster.x-k8s.io/v1beta1": ""}}, False),
        (200, {"labels": {"cluster.x-k8s.io/v1beta2": "v1beta1"}}, True),
        (200, {"labels": None}, True),
        (200, {}, True),
        (403, {}, False),
        (404, {}, False),
    ],
)
def test_a_definition_without_a_label_is_found(
    status: int,
    metadata: Any,  # noqa: ANN401 - JSON
    *,
    lacks: bool,
) -> None:
    """Where this identity may not read definitions, nothing is claimed."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{DEFINITION}"
    transport = Scripted({path: RawResponse(status, {}, {"metadata": metadata})})
    assert lacks_label(transport, DEFINITION, "cluster.x-k8s.io/v1beta1") == lacks


def test_a_silent_server_ends_the_check_of_a_label() -> None:
    """The start says so in one line."""
    silent = UnansweredError("refused", may_have_landed=False)
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{DEFINITION}"
    with pytest.raises(GatewayError, match="the API server does not answer: refused"):
        lacks_label(Scripted({path: silent}), DEFINITION, "x")


def test_the_end_of_a_run_releases_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so after a loss too: the elector may have won again while the last pass ended."""
    process, controller, elector = candidate()
    stopped = list[float]()
    monkeypatch.setattr(elector, "stop", stopped.append)
    process.end(controller)
    assert stopped == [2.0]


@pytest.mark.parametrize(
    ("has_begun", "failing", "blind", "expected"),
    [
        (True, (), (), (200, b"ok")),
        (True, ("things: Forbidden",), (), (200, b"ok\nnot current: things: Forbidden\n")),
        (True, ("things: x",), ("things: x",), (503, b"not current: things: x\n")),
        (False, (), (), (503, b"the caches are not synced yet\n")),
    ],
)
def test_readyz_names_the_watches_that_are_not_current(
    *,
    has_begun: bool,
    failing: tuple[str, ...],
    blind: tuple[str, ...],
    expected: tuple[int, bytes],
) -> None:
    """It is ready from the beginning of the work, until no watch is current for a minute."""
    pages = Pages(tuple, lambda: has_begun, lambda: failing, lambda: blind, None)
    status, _, body = pages.by_address(Serving(probes=":8081"))[":8081"]["/readyz"]()
    assert (status, body) == expected


@pytest.fixture
def waiting() -> KubernetesGateway:
    """A gateway for two namespaces whose caches are not synced."""
    return KubernetesGateway(
        Scripted({}), namespaces=["ours", "theirs"], watched=[Watched(SECRETS)]
    )


def tried(gateway: KubernetesGateway, **answers: int) -> str | None:
    """Let each cache list once, answered by namespace; return the problem of the start."""
    by_namespace = {name: RawResponse(status, {}, None) for name, status in answers.items()}
    transport = Scripted(
        {each._path: by_namespace[str(each.namespace)] for each in gateway.informers}
    )
    for informer in gateway.informers:
        informer._transport = transport
        informer._report(informer._list())
    return fatal_problem(transport, gateway.informers, SECRETS)


def test_a_missing_permission_is_reported_with_its_namespace(waiting: KubernetesGateway) -> None:
    """Of several waiting caches the error names the forbidden one, whatever the others wait for."""
    assert fatal_problem(Scripted({}), waiting.informers, SECRETS) is None
    assert str(tried(waiting, ours=500, theirs=403)).endswith(
        " may not list secrets in the namespace theirs:"
        " grant list and watch, or choose with --namespace"
    )


def test_only_the_primary_kind_must_be_installed(waiting: KubernetesGateway) -> None:
    """Without it there is nothing to do; without another kind the rest goes on."""
    assert str(tried(waiting, ours=404, theirs=404)).startswith(
        "not installed in the cluster: secrets: apply"
    )
    other = Resource("example.dev/v1", "Thing", "things")
    assert fatal_problem(Scripted({}), waiting.informers, other) is None


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        ([Message.LEADS, Message.LOST], []),
        ([Message.LOST, Message.STOPPED, Message.STOPPED], [Message.STOPPED]),
        ([], []),
    ],
)
def test_an_earlier_run_leaves_no_news_of_its_lease(
    left: list[Message], kept: list[Message]
) -> None:
    """A lease that was lost then must not end this run; a stop that came early must."""
    messages = Messages()
    for message in left:
        messages.put(message)
    forget_earlier_runs(messages)
    assert [messages.get() for _ in range(messages.qsize())] == kept
