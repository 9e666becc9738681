"""Bind addresses, probes over HTTP, and metrics in the format of Prometheus."""

import errno
import re
import socket
import struct
import subprocess
import sys
import threading
from datetime import timedelta
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from captep_runtime import (
    Address,
    InMemoryMetrics,
    Loop,
    PageServer,
    PrometheusMetrics,
    metrics_page,
    parse_bind_address,
    probe_page,
)
from captep_runtime._health import _DualStackServer
from captep_runtime._metrics import CATALOG
from tests.runtime.toys import KEY, NOW, Clock, ToyServer, wants


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", Address("", 8080)),
        (":65535", Address("", 65535)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("localhost:8081", Address("localhost", 8081)),
        ("[::1]:8080", Address("::1", 8080)),
        ("0", None),
    ],
)
def test_a_bind_address_is_read_as_controller_runtime_reads_it(
    text: str, address: Address | None
) -> None:
    """`0` switches the server off."""
    assert parse_bind_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "localhost",
        ":",
        ":-1",
        ":65536",
        ":80a",
        "::1:8080",
        "[::1:8080",
        "::1]:8080",
        ":٣",
        "a:b:1",
    ],
)
def test_a_text_that_is_no_bind_address_raises(text: str) -> None:
    """The message names the expected forms and quotes the text."""
    with pytest.raises(
        ValueError, match=f"^expected HOST:PORT, :PORT or 0, not {re.escape(repr(text))}$"
    ):
        parse_bind_address(text)


def fetched(server: PageServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Return status and body of a page."""
    try:
        with urlopen(
            Request(f"http://127.0.0.1:{server.port}{path}", method=method), timeout=10
        ) as answer:
            return answer.status, answer.read()
    except HTTPError as exc:
        with exc:
            return exc.code, exc.read()


def test_the_server_answers_probes_and_metrics() -> None:
    """It answers 200 and ok, 503 and the problems, 404 for other paths; it ignores a query."""
    problems: list[str] = []
    metrics = PrometheusMetrics()
    pages = {
        "/readyz": probe_page(lambda: tuple(problems)),
        "/metrics": metrics_page(metrics.exposition),
    }
    server = PageServer(Address("127.0.0.1", 0), pages)
    try:
        assert fetched(server, "/readyz?verbose") == (200, b"ok")
        assert fetched(server, "/readyz", "HEAD") == (200, b"")
        problems += ["not synced", "no lease"]
        assert fetched(server, "/readyz") == (503, b"not synced\nno lease\n")
        assert fetched(server, "/else") == (404, b"not found\n")
        status, body = fetched(server, "/metrics")
        assert (status, b"# TYPE controller_runtime_reconcile_total counter" in body) == (200, True)
    finally:
        server.close()


def test_an_empty_host_listens_on_ipv4_and_ipv6() -> None:
    """An IPv6-only cluster probes over IPv6, the others over IPv4."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("the system has no dual stack")
    server = PageServer(Address("", 0), {"/page": probe_page(tuple)})
    try:
        for host in ("127.0.0.1", "[::1]"):
            with urlopen(f"http://{host}:{server.port}/page", timeout=10) as answer:
                assert answer.read() == b"ok"
    finally:
        server.close()


@pytest.mark.parametrize("failure", ["no stack", "no address"])
def test_an_empty_host_listens_on_ipv4_alone_where_ipv6_is_missing(
    failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system may have no dual stack, or a kernel without any IPv6 address."""

    def refuse(_: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: failure == "no address")
    monkeypatch.setattr(_DualStackServer, "server_bind", refuse)
    server = PageServer(Address("", 0), {"/page": probe_page(tuple)})
    try:
        assert fetched(server, "/page") == (200, b"ok")
    finally:
        server.close()


def test_a_port_that_is_taken_raises() -> None:
    """Dual stack does not hide it."""
    server = PageServer(Address("", 0), {})
    try:
        with pytest.raises(OSError, match="in use"):
            PageServer(Address("", server.port), {})
    finally:
        server.close()


def test_pages_have_their_content_types() -> None:
    """Prometheus chooses its parser by the version in the content type."""
    pages = {"/readyz": probe_page(tuple), "/metrics": metrics_page(lambda: b"x 1\n")}
    server = PageServer(Address("127.0.0.1", 0), pages)
    types = list[str]()
    try:
        for path in pages:
            with urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
                types.append(answer.headers["Content-Type"])
    finally:
        server.close()
    assert types == ["text/plain; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"]


def asking(server: PageServer) -> socket.socket:
    """Ask for /page without reading the answer."""
    asker = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    asker.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
    return asker


def test_a_client_that_goes_away_before_the_answer_leaves_no_trace(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither log nor standard error have a word of it, and the server answers the next client."""
    before = {*threading.enumerate()}
    asked, gone = threading.Event(), threading.Event()

    def page() -> tuple[int, str, bytes]:
        asked.set()
        assert gone.wait(10)
        return 200, "text/plain", b"late"

    server = PageServer(Address("127.0.0.1", 0), {"/page": page})
    try:
        asker = asking(server)
        assert asked.wait(10)
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asker.close()
        gone.set()
        assert fetched(server, "/page") == (200, b"late")
    finally:
        server.close()
    joined(before)
    assert (capfd.readouterr().err, caplog.messages) == ("", [])


def test_a_page_that_raises_is_logged_by_type_and_place(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The log has neither text nor traceback; the connection ends, and other pages work."""
    before = {*threading.enumerate()}

    def page() -> tuple[int, str, bytes]:
        raise LookupError("not-to-be-seen")

    server = PageServer(Address("127.0.0.1", 0), {"/page": page, "/ok": probe_page(tuple)})
    try:
        with asking(server) as asker:
            assert asker.recv(100) == b""
        assert fetched(server, "/ok") == (200, b"ok")
    finally:
        server.close()
    joined(before)
    (message,) = caplog.messages
    assert message.startswith("a page failed: LookupError at test_health.py:")
    assert "not-to-be-seen" not in message + capfd.readouterr().err


def joined(before: set[threading.Thread]) -> None:
    """Wait until the threads that answer requests have ended; those `before` are of other tests."""
    for thread in {*threading.enumerate()} - before:
        if "process_request_thread" in thread.name:
            thread.join(10)


def test_prometheus_gets_the_series_of_controller_runtime() -> None:
    """Names and labels fit its dashboards, and there are no *_created series."""
    metrics = PrometheusMetrics()
    loop = Loop(wants(after=30), ToyServer(), Clock(), name="toy", metrics=metrics)
    loop.add(KEY)
    loop.run_due(NOW)
    loop.measure()
    series = metrics.exposition().decode().splitlines()
    for line in (
        'controller_runtime_reconcile_total{controller="toy",result="requeue_after"} 1.0',
        'controller_runtime_reconcile_time_seconds_bucket{controller="toy",le="0.005"} 1.0',
        'workqueue_depth{controller="toy",name="toy"} 0.0',
        'workqueue_adds_total{controller="toy",name="toy"} 1.0',
    ):
        assert line in series
    assert not any("_created" in line for line in series)


def test_a_series_outside_the_catalog_raises() -> None:
    """A wrong label or name is a mistake of the caller."""
    metrics = InMemoryMetrics()
    with pytest.raises(ValueError, match="controller, result"):
        metrics.count("controller_runtime_reconcile_total", {"controller": "x"})
    with pytest.raises(KeyError):
        metrics.set("unheard_of", {}, 1)
    metrics.set("leader_election_master_status", {"name": "captep"}, 1)
    assert metrics.value("leader_election_master_status", {"name": "captep"}) == 1
    assert all((metric.kind == "histogram") == bool(metric.buckets) for metric in CATALOG.values())


def test_importing_the_runtime_does_not_import_prometheus() -> None:
    """The client library is an extra; only `PrometheusMetrics` imports it."""
    program = "import sys, captep_runtime; sys.exit('prometheus_client' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    assert (
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=False, timeout=60
        ).returncode
        == 0
    )


def test_a_loop_without_workers_has_no_problem() -> None:
    """No thread has started, so none can have died."""
    assert Loop(wants(), ToyServer(), Clock()).problems(longest_run=timedelta(seconds=1)) == ()
