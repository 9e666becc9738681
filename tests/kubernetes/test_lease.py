"""The elector's thread: against a loopback server that keeps one Lease as the API server does."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from attrs import evolve

from captep_core import JSON
from captep_kubernetes import LeaderElector, LeaseTimes, RawResponse, UnansweredError
from tests.kubernetes.scripted import (
    Asked,
    hang,
    raw,
    refused_port,
    replying,
    reset,
    serving,
    transport_to,
)

TIMES = LeaseTimes(lease_duration=1.0, renew_deadline=0.6, retry_period=0.05)
PATH = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"


@pytest.fixture(autouse=True)
def a_tenth_of_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause is a tenth longer than the retry period."""
    monkeypatch.setattr(
        "captep_kubernetes._lease.jittered", lambda delay, _key, *, fraction: delay * 1.1
    )


class Leases:
    """One Lease with versions, 404 and 409; `holders` is its history, `cut` answers a candidate
    instead.
    """

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
            if (
                current
                and body["metadata"]["resourceVersion"] != current["metadata"]["resourceVersion"]
            ):
                return 409, {}
            version = int(current["metadata"]["resourceVersion"]) + 1 if current else 1
            spec = {**(current["spec"] if current else {}), **body["spec"]}
            self.lease = {
                "metadata": {
                    **(current or body)["metadata"],
                    "name": "captep",
                    "resourceVersion": str(version),
                },
                "spec": spec,
            }
            self.holders.append(spec["holderIdentity"])
            return (200 if current else 201), self.lease


class Candidate:
    """An elector with what it announced."""

    def __init__(self, url: str, identity: str, shards: int = 1) -> None:
        self.history: list[str] = []
        transport = transport_to(url, identity)
        self.elector = LeaderElector(
            transport,
            namespace="ns",
            name="captep",
            identity=identity,
            times=TIMES,
            shards=shards,
            on_started_leading=lambda: self.history.append("started"),
            on_stopped_leading=lambda: self.history.append("stopped"),
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
    """POST, PATCH after PATCH without reading, then a free lease; callbacks follow, the thread
    ends.
    """
    with serving(leases := Leases()) as server:
        one = Candidate(server.url, "a")
        eventually(lambda: len(leases.holders) >= 4)
        assert one.elector.is_leading()
        one.elector.stop()
        assert (one.history, one.elector.is_leading(), one.elector.is_alive) == (
            ["started", "stopped"],
            False,
            False,
        )
        assert [asked.method for asked in server.asked[:5]] == [
            "GET",
            "POST",
            "PATCH",
            "PATCH",
            "PATCH",
        ]
        assert (server.asked[1].path, server.asked[2].path) == (PATH, f"{PATH}/captep")
        assert leases.holders[-1] == ""


def test_a_lease_of_another_number_of_shards_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line says whose it is; the annotation is there from its creation."""
    with serving(leases := Leases()) as server:
        one = Candidate(server.url, "a", shards=2)
        eventually(one.elector.is_leading)
        one.elector.stop()
        two = Candidate(server.url, "b", shards=3)
        eventually(lambda: len(caplog.records))
        held = list(leases.holders)
        two.elector.stop()
    assert leases.lease is not None
    assert leases.lease["metadata"]["annotations"] == {"captep/shards": "2"}
    assert (held, leases.holders) == (["a", *["a"] * (len(held) - 2), ""], held)
    assert caplog.messages == ["lease ns/captep: it belongs to a fleet of 2, expected 3"]


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
    """Any answer or none: the leader stops at its deadline, the other one leads after the lease."""
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
        assert eventually(lambda: one.history == ["started", "stopped"]) < 1
        leases.cut.clear()
        two.elector.stop()
        eventually(one.elector.is_leading)
        assert one.history == ["started", "stopped", "started"]
        one.elector.stop()


def test_a_server_that_is_away_ends_nothing_but_leading(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens: the thread lives, logs one line, and stops within a second."""
    caplog.set_level(logging.INFO)
    one = Candidate(refused_port(), "a")
    eventually(lambda: len(caplog.messages) == 1)
    threading.Event().wait(0.3)
    assert one.elector.is_alive
    one.elector.stop(1.0)
    assert (one.elector.is_alive, one.history) == (False, [])
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]


def test_a_missing_permission_says_which(caplog: pytest.LogCaptureFixture) -> None:
    """403 is the usual mistake of a first installation."""
    with serving(raw(403, b"")) as server:
        one = Candidate(server.url, "a")
        eventually(lambda: caplog.messages)
        one.elector.stop()
    assert caplog.messages == [
        (
            "lease ns/captep: Forbidden: HTTP 403: "
            "the ServiceAccount needs get, create and patch on leases"
        )
    ]


def test_a_leader_wakes_for_its_deadline() -> None:
    """It says that it no longer leads when that is so, not a retry period later."""
    elector = LeaderElector(
        transport_to(refused_port()),
        namespace="ns",
        name="captep",
        identity="a",
        clock=lambda: 100.0,
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

    def stream(self, path: str, **_: Any) -> RawResponse:  # noqa: ANN401  # options of Transport
        """Raise."""
        raise LookupError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_by_itself_is_a_problem() -> None:
    """A thread is missed only when it ended and nobody had stopped it."""
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


def test_stopping_does_not_wait_for_a_server_that_hangs() -> None:
    """`stop` returns after its timeout, whatever the thread waits for."""
    with serving(hang) as server:
        one = Candidate(server.url, "a")
        eventually(lambda: server.asked)
        started = time.monotonic()
        one.elector.stop(0.05)
        assert time.monotonic() - started < 2
        assert one.elector.is_alive


NOW = datetime(2026, 1, 1, tzinfo=UTC)
WALL = "2026-01-01T00:00:00.000000Z"
HELD: dict[str, JSON] = {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": WALL}
NOBODY = RawResponse(404, {}, {"reason": "NotFound"})


def held(version: int, by: str = "a") -> RawResponse:
    """The Lease as it is answered."""
    return RawResponse(
        200,
        {},
        {"metadata": {"resourceVersion": str(version)}, "spec": {**HELD, "holderIdentity": by}},
    )


def lost() -> RawResponse:
    """No answer."""
    raise UnansweredError("nobody is there", may_have_landed=True)


class Alone:
    """One candidate in virtual time; each of `answers` answers a request, and it stops before the
    last.

    `history` is everything it did: requests as (seconds, method, path, content type, body,
    timeout), waits as seconds, and callbacks.
    """

    def __init__(
        self, *answers: RawResponse | Callable[[], RawResponse], takes: float = 0.0
    ) -> None:
        self.now, self.takes, self.answers = 0.0, takes, list(answers)
        self.history: list[object] = []
        self.elector = LeaderElector(
            self,
            namespace="ns",
            name="captep",
            identity="a",
            on_started_leading=lambda: self.history.append("started"),
            on_stopped_leading=lambda: self.history.append("stopped"),
            clock=lambda: self.now,
            now=lambda: NOW,
        )
        self.elector._stopping.wait = self.wait  # type: ignore[method-assign,assignment]  # the only wait of the thread

    def live(self) -> list[object]:
        """Return what it did until it was stopped."""
        self.elector._run()
        return self.history

    def request(self, method: str, path: str, **options: Any) -> RawResponse:  # noqa: ANN401  # options of Transport
        """Answer after a while."""
        self.history.append(
            (self.now, method, path, options["content_type"], options["body"], options["timeout"])
        )
        self.now += self.takes
        answer = self.answers.pop(0)
        if len(self.answers) == 1:
            self.elector._stopping.set()
        return answer() if callable(answer) else answer

    def stream(self, path: str, **_: Any) -> RawResponse:  # noqa: ANN401  # options of Transport
        """A lease is not watched."""
        raise NotImplementedError

    def wait(self, seconds: float) -> None:
        """Let the time pass."""
        self.history.append(seconds)
        self.now += seconds


def test_a_leader_reads_creates_renews_and_gives_back() -> None:
    """Read, create, renew without reading, release: bodies, times and timeouts."""
    one, merge = f"{PATH}/captep", "application/merge-patch+json"
    assert Alone(NOBODY, held(1), held(2), held(3), held(4)).live() == [
        (0.0, "GET", one, None, None, 5.0),
        (
            0.0,
            "POST",
            PATH,
            None,
            {
                "metadata": {"name": "captep"},
                "spec": {**HELD, "acquireTime": WALL, "leaseTransitions": 0},
            },
            5.0,
        ),
        "started",
        2.2,
        (
            2.2,
            "PATCH",
            one,
            merge,
            {"metadata": {"resourceVersion": "1"}, "spec": HELD},
            pytest.approx(3.9),
        ),
        2.2,
        (
            4.4,
            "PATCH",
            one,
            merge,
            {"metadata": {"resourceVersion": "2"}, "spec": HELD},
            pytest.approx(3.9),
        ),
        2.2,
        "stopped",
        (
            pytest.approx(6.6),
            "PATCH",
            one,
            merge,
            {
                "metadata": {"resourceVersion": "3"},
                "spec": {**HELD, "holderIdentity": "", "leaseDurationSeconds": 1},
            },
            5.0,
        ),
    ]


def test_a_leader_waits_no_longer_than_it_leads() -> None:
    """Its renewals are lost: it stops leading at its deadline, and asks again after that."""
    alone = Alone(held(1), held(2), lost, lost, lost, lost, takes=1.45)
    assert [one[:2] if isinstance(one, tuple) else one for one in alone.live()] == [
        *((0.0, "GET"), (1.45, "PATCH"), "started", 2.2),
        *((pytest.approx(5.1), "PATCH"), pytest.approx(2.2)),
        *((pytest.approx(8.75), "GET"), pytest.approx(1.25), "stopped"),
        *((pytest.approx(11.45), "GET"), 2.2),
    ]


@pytest.mark.parametrize(
    ("left", "timeout"),
    [(-1.0, 5.0), (0.0, 5.0), (0.1, 0.1), (1.0, 0.5), (6.0, 3.0), (10.0, 5.0), (12.0, 5.0)],
)
def test_connecting_and_reading_end_before_leading_does(left: float, timeout: float) -> None:
    """Each has half of the rest, a tenth of a second at least, and five seconds for a candidate."""
    alone = Alone(NOBODY, NOBODY)
    alone.elector._elector = evolve(alone.elector._elector, leading_until=left)
    alone.elector._read()
    assert alone.history == [(0.0, "GET", f"{PATH}/captep", None, None, timeout)]


@pytest.mark.parametrize(
    ("answers", "verbs", "logged"),
    [
        ([NOBODY, RawResponse(409, {}, {})], ["GET", "POST"], []),
        ([NOBODY, RawResponse(404, {}, {})], ["GET", "POST"], []),
        ([NOBODY, RawResponse(500)], ["GET", "POST"], ["InternalError: HTTP 500"]),
        ([NOBODY, RawResponse(200)], ["GET", "POST"], ["HTTP200: HTTP 200"]),
        ([NOBODY, RawResponse(201)], ["GET", "POST"], ["HTTP201: HTTP 201"]),
        ([NOBODY, RawResponse(405, {}, {})], ["GET", "POST"], ["MethodNotAllowed: HTTP 405"]),
        ([NOBODY, RawResponse(410, {}, {})], ["GET", "POST"], ["Expired: HTTP 410"]),
        ([held(1, "a"), lost], ["GET", "PATCH"], ["nobody is there"]),
        ([held(1, "b")], ["GET"], []),
        ([RawResponse(503)], ["GET"], ["ServiceUnavailable: HTTP 503"]),
        ([lost], ["GET"], ["nobody is there"]),
    ],
)
def test_a_claim_that_fails_is_followed_by_a_read(
    answers: list[RawResponse | Callable[[], RawResponse]],
    verbs: list[str],
    logged: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure is logged once, makes no leader and nothing to give back, and the next try reads
    first.
    """
    caplog.set_level(logging.INFO)
    history = Alone(*answers, *answers, held(3, "b"), NOBODY).live()
    assert [one[1] if isinstance(one, tuple) else one for one in history] == [
        *verbs,
        2.2,
        *verbs,
        2.2,
        "GET",
        2.2,
    ]
    again = ["lease ns/captep: reachable again"] if logged else []
    assert caplog.messages == [*(f"lease ns/captep: {line}" for line in logged), *again]


def test_a_lease_that_cannot_be_given_back_expires(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody answers at the end: the elector logs it, and the thread ends."""
    caplog.set_level(logging.INFO)
    assert [one for one in Alone(NOBODY, held(1), lost).live() if isinstance(one, str)] == [
        "started",
        "stopped",
    ]
    assert caplog.messages == [
        "lease ns/captep: a leads",
        "lease ns/captep: a no longer leads",
        "lease ns/captep: not given back, it will expire: nobody is there",
    ]


def test_a_lease_of_unknown_version_is_not_given_back() -> None:
    """After a renewal without an answer the version is unknown: the lease expires by itself."""
    history = Alone(NOBODY, held(1), lost, NOBODY).live()
    assert [one[1] for one in history if isinstance(one, tuple)] == ["GET", "POST", "PATCH"]


def test_a_callback_may_stop_its_elector() -> None:
    """`stop` neither waits for itself nor raises."""
    stopped = threading.Event()
    with serving(Leases()) as server:

        def stop() -> None:
            elector.stop()
            stopped.set()

        elector = LeaderElector(
            transport_to(server.url),
            namespace="ns",
            name="captep",
            identity="a",
            on_started_leading=stop,
        )
        elector.stop()
        elector._stopping.clear()
        elector.start()
        assert stopped.wait(5)
        eventually(lambda: not elector.is_alive)
