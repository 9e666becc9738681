"""The parts of `captep run` that need no cluster: quiet decisions, dry runs, reading live, the wake-ups of the controller."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from captep_cli._counting import CountingTransport
from captep_cli._errors import InputError
from captep_cli._live import live_reader
from captep_cli._quiet import Quiet
from captep_cli._rehearsal import Rehearsal
from captep_core import ABSENT, Create, Decision, ObjectRef, Observed, Recollection, Unreadable, control_plane_ref, decide
from captep_core.errors import GatewayError
from captep_core.ports import Read
from captep_kubernetes import DryRun, KubernetesGateway, RawResponse, UnansweredError
from captep_memory import MemoryGateway, load
from captep_memory.world import stories
from captep_runtime import InMemoryMetrics

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = control_plane_ref("fleet", "tokyo")
A, B = ObjectRef("v1", "Secret", "fleet", "a"), ObjectRef("v1", "Secret", "fleet", "b")
CREATE = Create(A, {"kind": "Secret"}, "because")


class Verdict:
    """A verdict of nobody."""

    reason, message = "Fine", ""


class Counted:
    """A `decide` that reads A and B, does nothing while A is there, and counts how often it thinks."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, key: ObjectRef, read: Read, recollection: Recollection, *, now: datetime) -> Decision:
        self.times += 1
        found, _ = read(A), read(B)
        return Decision(() if isinstance(found, dict) else (CREATE,), timedelta(seconds=30), Verdict())


def reading(world: Mapping[ObjectRef, dict[str, Any]], seen: list[ObjectRef]) -> Read:
    """A `read` of a world that returns the same object each time."""

    def read(ref: ObjectRef) -> Observed[dict[str, Any]]:
        seen.append(ref)
        return world.get(ref, ABSENT)

    return read


def test_nothing_changed_is_not_thought_about_again() -> None:
    """The same objects give the same decision without thinking, and everything is looked at all the same, so that its changes wake."""
    counted, seen = Counted(), list[ObjectRef]()
    quiet, world = Quiet(counted), {A: {"x": 1}}
    first = quiet(KEY, reading(world, seen), Recollection(), now=NOW)
    seen.clear()
    assert quiet(KEY, reading(world, seen), Recollection(), now=NOW + timedelta(hours=1)) is first
    assert (counted.times, seen) == (1, [A, B])


@pytest.mark.parametrize("change", ["replaced", "appeared", "gone", "recollection", "other key", "forgotten"])
def test_whatever_changed_is_thought_about(change: str) -> None:
    """Another object, even an equal one, one that came or went, another recollection, another key."""
    counted, quiet = Counted(), None
    quiet, world, key, recollection = Quiet(counted), {A: {"x": 1}}, KEY, Recollection()
    quiet(key, reading(world, []), recollection, now=NOW)
    match change:
        case "replaced":
            world[A] = {"x": 1}
        case "appeared":
            world[B] = {}
        case "gone":
            del world[A]
        case "recollection":
            recollection = Recollection(verdict="Other")
        case "other key":
            key = control_plane_ref("fleet", "osaka")
        case _:
            quiet.forget(key)
    quiet(key, reading(world, []), recollection, now=NOW)
    assert counted.times == 2


def test_a_decision_to_act_is_never_repeated_unthought() -> None:
    """Actions may depend on the time: each pass that acts is decided anew."""
    counted = Counted()
    quiet = Quiet(counted)
    for _ in range(3):
        assert quiet(KEY, reading({}, []), Recollection(), now=NOW).actions == (CREATE,)
    assert counted.times == 3


def test_quiet_decides_as_decide_does() -> None:
    """Over a real story's first passes the decisions are those of `decide`, pass by pass."""
    objects = [request.body for act in stories.creation_to_ready.acts for request in act.requests(_subject())]
    gateway, quiet = MemoryGateway(load([*stories.templates("fleet"), *objects], now=NOW)), Quiet(decide)  # type: ignore[list-item]  # JSON
    for _ in range(6):
        expected = decide(KEY, gateway.read, Recollection(), now=NOW)
        assert quiet(KEY, gateway.read, Recollection(), now=NOW) == expected
        for action in expected.actions:
            gateway.send(action)


def _subject() -> Any:  # noqa: ANN401  # imported late
    from captep_memory.world import Subject  # noqa: PLC0415

    return Subject("fleet", "tokyo")


class Scripted:
    """A transport that answers by path and notes what was asked."""

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


def test_live_reads_ask_once_for_each_object() -> None:
    """Present, absent and unreadable are told apart, and a second look costs nothing."""
    template = ObjectRef("infrastructure.cluster.x-k8s.io/v1beta1", "WorkspaceTemplate", "fleet", "eks")
    transport = Scripted(
        {
            **VERSION,
            "/api/v1/namespaces/fleet/secrets/a": RawResponse(200, {}, {"kind": "Secret"}),
            "/apis/infrastructure.cluster.x-k8s.io/v1beta1/namespaces/fleet/workspacetemplates/eks": RawResponse(404, {}, None),
        }
    )
    read = live_reader(transport)
    assert [read(A), read(B), read(A)] == [{"kind": "Secret"}, ABSENT, {"kind": "Secret"}]
    assert read(template) == Unreadable("NotFound", f"{template}: HTTP 404: is its CustomResourceDefinition installed?")
    assert isinstance(read(ObjectRef("v1", "Secret", None, "a")), Unreadable)
    assert [path for _, path in transport.asked].count("/api/v1/namespaces/fleet/secrets/a") == 1
    assert {method for method, _ in transport.asked} == {"GET"}


@pytest.mark.parametrize(
    ("answers", "error", "expected"),
    [
        ({}, InputError, "there is no namespace fleet"),
        ({"/api/v1/namespaces/fleet": RawResponse(200, {}, {})}, InputError, "kubectl get captcontrolplanes -n fleet"),
        ({PLACE: RawResponse(403, {}, {"reason": "Forbidden"})}, GatewayError, "may not get captcontrolplanes"),
        ({PLACE: RawResponse(500, {}, None)}, GatewayError, "cannot be read: InternalError"),
        ({PLACE: UnansweredError("refused", may_have_landed=False)}, GatewayError, "cannot be read: Unavailable: refused"),
        (
            {PLACE: RawResponse(200, {}, {"metadata": {"name": "tokyo"}, "spec": {"version": 1}})},
            InputError,
            "malformed CAPTControlPlane fleet/tokyo: ",
        ),
    ],
)
def test_a_control_plane_that_cannot_be_planned(answers: Any, error: type[Exception], expected: str) -> None:  # noqa: ANN401
    """Without the control plane there is no plan: one line says why."""
    with pytest.raises(error, match=expected):
        live_reader(Scripted({**VERSION, **answers}))(KEY)


def test_requests_are_counted_as_client_go_does() -> None:
    """By status, method and host; one without an answer has the code <error>."""
    metrics = InMemoryMetrics()
    transport = CountingTransport(Scripted({**VERSION, "/gone": UnansweredError("cut", may_have_landed=True)}), metrics)  # type: ignore[arg-type]  # stands for the real one
    transport.request("GET", "/version", timeout=1)
    transport.stream("/nowhere", timeout=1)
    with pytest.raises(UnansweredError):
        transport.request("POST", "/gone", timeout=1)
    counts = [
        metrics.value("rest_client_requests_total", {"code": code, "method": method, "host": "server:6443"})
        for code, method in (("200", "GET"), ("404", "GET"), ("<error>", "POST"))
    ]
    assert counts == [1, 1, 1]


def test_a_rehearsal_tells_each_wish_once(caplog: pytest.LogCaptureFixture) -> None:
    """No action is left for the executor; what is wanted is told when it begins to be wanted, and again after it was not."""
    gateway, world = KubernetesGateway(Scripted({})), dict[ObjectRef, dict[str, Any]]()
    rehearsal = Rehearsal(Counted(), gateway, DryRun.CLIENT, logging.getLogger("rehearsed"))
    caplog.set_level(logging.INFO, "rehearsed")
    told = []
    for change in ("", "", "there", "gone"):
        if change == "there":
            world[A] = {}
        if change == "gone":
            world.clear()
        assert rehearsal(KEY, reading(world, []), Recollection(), now=NOW).actions == ()
        told.append(len(caplog.messages))
    assert told == [1, 1, 1, 2]
    assert caplog.messages[0] == "CAPTControlPlane fleet/tokyo: would create Secret fleet/a: because"
