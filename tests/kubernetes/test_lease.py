"""The elector's thread: against a loopback server that keeps one Lease as the API server does."""

import logging
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from attrs import evolve

from captep_kubernetes import LeaderElector, LeaseTimes, RawResponse
from tests.kubernetes.scripted import Asked, hang, raw, refused_port, replying, reset, serving, transport_to

TIMES = LeaseTimes(lease_duration=1.0, renew_deadline=0.6, retry_period=0.05)
PATH = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"


class Leases:
    """One Lease with versions, 404, 409 and a log of who held it; `cut` maps a candidate to what it is answered instead."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.holders: list[str] = []
        self.cut: dict[str, Callable[[Asked, BaseHTTPRequestHandler], None]] = {}
        self._lock = threading.Lock()

    def __call__(self, asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        cut = self.cut.get(asked.headers["authorization"])
        (cut or replying(*self._answer(asked)))(asked, handler)

    def _answer(self, asked: Asked) -> tuple[int, object]:
        with self._lock:
            if asked.method == "GET":
                return (200, self.lease) if self.lease else (404, {})
            body, current = asked.json, self.lease
            if (asked.method == "POST") is not (current is None):
                return (409, {}) if current else (404, {})
            if current and body["metadata"]["resourceVersion"] != current["metadata"]["resourceVersion"]:
                return 409, {}
            version = int(current["metadata"]["resourceVersion"]) + 1 if current else 1
            spec = {**(current["spec"] if current else {}), **body["spec"]}
            self.lease = {"metadata": {"name": "captep", "resourceVersion": str(version)}, "spec": spec}
            self.holders.append(spec["holderIdentity"])
            return (200 if current else 201), self.lease


class Candidate:
    """An elector with what it announced."""

    def __init__(self, url: str, identity: str) -> None:
        self.told: list[str] = []
        transport = transport_to(url)
        transport._api.configuration.api_key["BearerToken"] = identity
        self.elector = LeaderElector(
            transport,
            namespace="ns",
            name="captep",
            identity=identity,
            times=TIMES,
            on_started_leading=lambda: self.told.append("started"),
            on_stopped_leading=lambda: self.told.append("stopped"),
        )
        self.elector.start()


def eventually(probe: Callable[[], object]) -> float:
    """Poll for at most five seconds; returns how long it took."""
    started = time.monotonic()
    while not probe():
        assert time.monotonic() < started + 5
        time.sleep(0.005)
    return time.monotonic() - started


def test_a_lease_is_created_renewed_and_given_back() -> None:
    """POST, then PATCH after PATCH without reading, then nobody holds it; the callbacks tell it and the thread ends."""
    with serving(leases := Leases()) as server:
        one = Candidate(server.url, "a")
        eventually(lambda: len(leases.holders) >= 4)
        assert one.elector.is_leading()
        one.elector.stop()
        assert (one.told, one.elector.is_leading(), one.elector.is_alive) == (["started", "stopped"], False, False)
        assert [asked.method for asked in server.asked[:5]] == ["GET", "POST", "PATCH", "PATCH", "PATCH"]
        assert (server.asked[1].path, server.asked[2].path) == (PATH, f"{PATH}/captep")
        assert leases.holders[-1] == ""


def test_a_lease_that_was_given_back_is_taken_at_once() -> None:
    """The next candidate does not wait for the lease to expire."""
    with serving(Leases()) as server:
        one = Candidate(server.url, "a")
        eventually(one.elector.is_leading)
        two = Candidate(server.url, "b")
        eventually(lambda: two.elector.is_alive)
        assert not two.elector.is_leading()
        one.elector.stop()
        assert eventually(two.elector.is_leading) < 0.9
        two.elector.stop()


@pytest.mark.parametrize("trouble", [hang, reset, raw(500, b""), raw(403, b"{}"), raw(429, b"")])
def test_a_leader_that_is_cut_off_stops_before_another_starts(
    trouble: Callable[[Asked, BaseHTTPRequestHandler], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is answered, or nothing: it stops at the deadline and says so, the other one leads after the lease, and never both."""
    monkeypatch.setattr("captep_kubernetes._lease._REQUEST_SECONDS", 3.0)
    with serving(leases := Leases()) as server:
        one = Candidate(server.url, "a")
        eventually(one.elector.is_leading)
        two = Candidate(server.url, "b")
        leases.cut["a"] = trouble
        both: list[bool] = []

        def handed_over() -> bool:
            both.append(one.elector.is_leading() and two.elector.is_leading())
            return two.elector.is_leading()

        assert eventually(handed_over) > TIMES.renew_deadline / 2
        assert not any(both)
        assert eventually(lambda: one.told == ["started", "stopped"]) < 1
        leases.cut.clear()
        two.elector.stop()
        eventually(one.elector.is_leading)
        assert one.told == ["started", "stopped", "started"]
        one.elector.stop()


def test_a_server_that_is_away_ends_nothing_but_leading(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens: the thread lives, logs one line, and stops within a second."""
    caplog.set_level(logging.INFO)
    one = Candidate(refused_port(), "a")
    eventually(lambda: len(caplog.messages) == 1)
    threading.Event().wait(0.3)
    assert one.elector.is_alive
    one.elector.stop(1.0)
    assert (one.elector.is_alive, one.told) == (False, [])
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]


def test_a_missing_permission_says_which(caplog: pytest.LogCaptureFixture) -> None:
    """403 is the usual mistake of a first installation."""
    with serving(raw(403, b"")) as server:
        one = Candidate(server.url, "a")
        eventually(lambda: caplog.messages)
        one.elector.stop()
    assert caplog.messages == ["lease ns/captep: Forbidden: HTTP 403: the ServiceAccount needs get, create and patch on leases"]


def test_a_leader_wakes_for_its_deadline() -> None:
    """It says that it no longer leads when that is so, not a retry period later."""
    elector = LeaderElector(
        transport_to(refused_port()), namespace="ns", name="captep", identity="a", clock=lambda: 100.0, random=lambda: 0.5
    )
    pauses = []
    for left in (-1.0, 0.5, 9.0):
        elector._elector = evolve(elector._elector, leading_until=100.0 + left)
        pauses.append(elector._pause())
    assert pauses == pytest.approx([2.2, 0.5, 2.2])


class Broken:
    """A transport that raises what none may."""

    def request(self, *_: Any, **__: Any) -> RawResponse:  # noqa: ANN401  # options of Transport
        """Raise."""
        raise LookupError

    stream = request


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_by_itself_is_a_problem() -> None:
    """Before the start, while it runs and after `stop` there is none: only what nobody asked to end is missed."""
    elector = LeaderElector(Broken(), namespace="ns", name="captep", identity="a")
    assert elector.problems() == ()
    elector.start()
    eventually(lambda: not elector.is_alive)
    assert elector.problems() == ("the thread that renews the lease ns/captep has ended",)
    with serving(Leases()) as server:
        one = Candidate(server.url, "a").elector
        assert one.problems() == ()
        one.stop()
        assert (one.is_alive, one.problems()) == (False, ())
