"""The transport: one request, one answer, nothing lost and nothing twice."""

import json
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
import urllib3
from kubernetes import client

from captep_core import JSON
from captep_core.errors import GatewayError
from captep_kubernetes import MERGE_PATCH, KubernetesTransport, RawResponse, UnansweredError
from captep_kubernetes._credentials import TLSMaterial
from captep_kubernetes._transport import MalformedStreamError, _answered, _HTTPStream
from tests.kubernetes.scripted import (
    Asked,
    Reply,
    events,
    hang,
    raw,
    refused_port,
    replying,
    reset,
    serving,
    transport_to,
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATH = "/api/v1/namespaces/ns/secrets/one"


def send(reply: Reply, method: str = "GET", timeout: float = 5.0) -> RawResponse:
    """Send one request to a server that replies so."""
    with serving(reply) as server:
        return transport_to(server.url).request(method, PATH, timeout=timeout)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "status", [200, 201, 400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503, 504]
)
def test_a_status_is_an_answer(method: str, status: int) -> None:
    """Every status is returned once and as it came, Retry-After included, without a second try."""
    body = {"kind": "Status", "code": status}
    with serving(replying(status, body, Retry_After="0")) as server:
        answer = transport_to(server.url).request(method, PATH, timeout=5.0)
        assert (answer.status, answer.headers["retry-after"], answer.body) == (status, "0", body)
        assert len(server.asked) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_request_whose_answer_is_lost_is_sent_once(method: str) -> None:
    """A reset after the request: one delivery, and it may have landed unless it only read."""
    with serving(reset) as server:
        with pytest.raises(UnansweredError) as lost:
            transport_to(server.url).request(method, PATH, timeout=5.0)
        assert len(server.asked) == 1
    assert lost.value.may_have_landed is (method != "GET")


@pytest.mark.parametrize("method", METHODS)
def test_a_refused_connection_cannot_have_landed(method: str) -> None:
    """Nobody listens."""
    with pytest.raises(UnansweredError, match="Connection refused") as refused:
        transport_to(refused_port()).request(method, PATH, timeout=5.0)
    assert refused.value.may_have_landed is False


@pytest.mark.parametrize("token", ["not-a-secret\n", "not-a-secret\u2026"])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_an_unsendable_request_is_unanswered_and_shows_no_token(token: str, method: str) -> None:
    """A token with a line break or beyond Latin-1 is an outcome, no crash, and not in the text."""
    with serving(replying(200, {})) as server:
        with pytest.raises(UnansweredError) as unsent:
            transport_to(server.url, f"Bearer {token}").request(method, PATH, timeout=5.0)
        assert server.asked == []
    assert str(unsent.value) == f"{method} {PATH}: the credentials are malformed"
    assert unsent.value.may_have_landed is (method != "GET")
    assert "not-a-secret" not in "".join(traceback.format_exception(unsent.value))


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_silence_ends_at_the_timeout(method: str) -> None:
    """A server reads the request and says nothing: after the timeout the outcome is unknown."""
    started = time.monotonic()
    with pytest.raises(UnansweredError) as silent:
        send(hang, method, timeout=0.3)
    assert 0.25 < time.monotonic() - started < 3
    assert silent.value.may_have_landed is (method != "GET")


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    """Headers came, the body did not: a write may have landed."""

    def cut(_: Asked, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"kind"')
        handler.close_connection = True

    with pytest.raises(UnansweredError) as broken:
        send(cut, "PATCH")
    assert broken.value.may_have_landed is True


@pytest.mark.parametrize("status", [200, 404, 502])
@pytest.mark.parametrize(
    "content", [b"", b"<html>bad gateway</html>", b"\xff\xfe", b"[1]", b'"text"', b"[" * 100_000]
)
def test_an_answer_that_is_no_json_object_has_no_body(status: int, content: bytes) -> None:
    """A proxy's page, nothing, broken UTF-8, a list, too deep: only the status counts."""
    answer = send(raw(status, content))
    assert (answer.status, answer.body) == (status, None)


def in_chunks(content: bytes) -> Reply:
    """Answer without a length, as a server does that does not know it yet."""

    def reply(_: Asked, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in (content[:5], content[5:], b""):
            handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")

    return reply


@pytest.mark.parametrize(("method", "may_have_landed"), [("GET", False), ("PATCH", True)])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_without_an_end_is_no_answer(
    method: str, may_have_landed: bool, chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory that one answer takes is bounded; the connection is not used again."""
    monkeypatch.setattr("captep_kubernetes._transport._LONGEST_ANSWER", 10)
    fits = b'{"a": 123}'
    too_long = b'{"a": 1234}'

    def answer(content: bytes) -> Reply:
        return in_chunks(content) if chunked else raw(200, content)

    assert send(answer(fits), method).body == {"a": 123}
    with pytest.raises(UnansweredError, match="an answer of more than 0 MB") as caught:
        send(answer(too_long), method)
    assert caught.value.may_have_landed is may_have_landed


def test_json_passes_unchanged_both_ways() -> None:
    """null deletes in a merge patch, so it must arrive; numbers, times and unknown fields stay."""
    body: Mapping[str, JSON] = {
        "metadata": {"labels": {"gone": None}},
        "n": 1,
        "f": 1.0,
        "t": "2024-01-01T00:00:00Z",
        "e": {},
        "l": [],
        "ü": "日本",
    }
    with serving(replying(200, body)) as server:
        answer = transport_to(server.url).request(
            "PATCH", PATH, body=body, content_type=MERGE_PATCH, timeout=5.0
        )
        assert server.asked[0].json == body
        assert json.dumps(answer.body) == json.dumps(body)


def test_every_write_names_type_agent_and_manager() -> None:
    """Content type, field manager, user agent, token and the caller's query, each once."""
    with serving(replying(200, {})) as server:
        transport_to(server.url).request(
            "PATCH", PATH, query=[("dryRun", "All")], body={}, content_type=MERGE_PATCH, timeout=5.0
        )
        (asked,) = server.asked
    assert asked.query == (("dryRun", "All"), ("fieldManager", "captep"))
    assert asked.headers["content-type"] == MERGE_PATCH
    assert asked.headers["user-agent"] == f"captep/{version('captep')}"
    assert asked.headers["authorization"] == "Bearer not-a-secret"
    assert asked.headers["accept"] == "application/json"
    assert asked.content == b"{}"


def test_a_delete_names_no_field_manager() -> None:
    """The API server refuses fieldManager where nothing is written to fields."""
    with serving(replying(200, {})) as server:
        for method in METHODS:
            transport_to(server.url).request(method, PATH, timeout=5.0)
        manager = (("fieldManager", "captep"),)
        assert [(asked.method, asked.query) for asked in server.asked] == [
            *(("GET", ()), ("POST", manager), ("PUT", manager), ("PATCH", manager), ("DELETE", ()))
        ]


def test_query_and_accept_of_a_read_arrive() -> None:
    """Its representation, in a request and in a watch, and JSON where nothing else is said."""
    with serving(replying(200, {})) as server:
        transport = transport_to(server.url)
        transport.request("GET", PATH, accept="text/x", timeout=5.0)
        transport.stream(PATH, query=[("watch", 1)], accept="text/y", timeout=5.0)
        transport.request("POST", PATH, body={}, timeout=5.0)
        assert [asked.headers["accept"] for asked in server.asked] == [
            "text/x",
            "text/y",
            "application/json",
        ]
        assert (server.asked[1].query, server.asked[2].headers["content-type"]) == (
            (("watch", "1"),),
            "application/json",
        )


@pytest.mark.parametrize(
    ("timeout", "waits"), [(0.3, (0.3, 0.3)), (5.0, (5.0, 5.0)), (330.0, (5.0, 330.0))]
)
def test_connecting_is_given_up_after_five_seconds(
    timeout: float, waits: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch may be silent for minutes; a connection must be accepted within five seconds."""
    transport = transport_to(refused_port())
    given: list[object] = []
    ask = urllib3.PoolManager.request

    def noted(*arguments: Any, **options: Any) -> object:  # noqa: ANN401  # of urllib3
        given.append((options["timeout"].connect_timeout, options["timeout"].read_timeout))
        return ask(*arguments, **options)

    monkeypatch.setattr(urllib3.PoolManager, "request", noted)
    for send in (transport.request, transport.stream):
        with pytest.raises(UnansweredError):
            send(*(("GET", PATH) if send == transport.request else (PATH,)), timeout=timeout)
    assert given == [waits, waits]


def test_connections_are_kept_open_and_alive() -> None:
    """As many as workers and watches, each probed by the system while it is silent."""
    transport = KubernetesTransport(
        client.Configuration(host="http://127.0.0.1:1"), connection_pool_maxsize=7
    )
    options = transport._pool(TLSMaterial()).connection_pool_kw
    assert options["maxsize"] == 7
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options["socket_options"]


def test_a_transport_that_is_closed_keeps_no_connection() -> None:
    """Not even one that could be used again."""
    with serving(replying(200, {})) as server:
        transport = transport_to(server.url)
        transport.request("GET", PATH, timeout=5.0)
        pools = transport._pool(TLSMaterial()).pools
        assert len(pools) == 1
        transport.close()
        assert len(pools) == 0


def test_without_an_installed_version_the_user_agent_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run from a source tree."""

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("captep_kubernetes._transport.version", missing)
    with serving(replying(200, {})) as server:
        transport_to(server.url).request("GET", PATH, timeout=5.0)
        assert server.asked[0].headers["user-agent"] == "captep/unknown"


POOL = urllib3.HTTPConnectionPool("127.0.0.1", 1)
CONNECTION = urllib3.connection.HTTPConnection("127.0.0.1", 1)


def caused(error: Exception, cause: BaseException) -> Exception:
    """The same, raised from another."""
    error.__cause__ = cause
    return error


def met(error: Exception, context: BaseException) -> Exception:
    """The same, raised while another was handled."""
    error.__context__ = context
    return error


def tls(problem: str) -> urllib3.exceptions.SSLError:
    """Return the error of a handshake that failed."""
    return urllib3.exceptions.SSLError(f"[SSL: {problem}] it failed")


@pytest.mark.parametrize(
    ("error", "landed", "text"),
    [
        (
            urllib3.exceptions.NewConnectionError(CONNECTION, "refused"),
            False,
            "NewConnectionError: ",
        ),
        (urllib3.exceptions.ConnectTimeoutError(POOL, "too slow"), False, "ConnectTimeoutError: "),
        (
            urllib3.exceptions.LocationParseError("http://x:y"),
            False,
            "LocationParseError: Failed to parse: http://x:y",
        ),
        (
            urllib3.exceptions.ReadTimeoutError(POOL, "/x", "Read timed out"),
            True,
            "ReadTimeoutError: ",
        ),
        (urllib3.exceptions.ProtocolError("broken"), True, "ProtocolError: broken"),
        (
            caused(urllib3.exceptions.ProtocolError("broken"), OSError(104, "reset by peer")),
            True,
            "ProtocolError: reset by peer",
        ),
        (
            met(urllib3.exceptions.ProtocolError("broken"), OSError("no number")),
            True,
            "ProtocolError: no number",
        ),
        (
            caused(
                urllib3.exceptions.ProtocolError("broken"), met(ValueError("x"), OSError("root"))
            ),
            True,
            "ProtocolError: root",
        ),
        (
            caused(urllib3.exceptions.ProtocolError("ended early"), ValueError("int() of b''")),
            True,
            "ProtocolError: ended early",
        ),
        (urllib3.exceptions.ProtocolError("one\ntwo"), True, "ProtocolError: one"),
        (urllib3.exceptions.ProtocolError(), True, "ProtocolError: ProtocolError"),
        (OSError(2, "no such file"), True, "FileNotFoundError: no such file"),
        (
            tls("CERTIFICATE_VERIFY_FAILED"),
            False,
            "SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] it failed",
        ),
        (tls("WRONG_VERSION_NUMBER"), False, "SSLError: [SSL: WRONG_VERSION_NUMBER] it failed"),
        (
            tls("SSLV3_ALERT_HANDSHAKE_FAILURE"),
            False,
            "SSLError: [SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] it failed",
        ),
        (
            tls("UNEXPECTED_EOF_WHILE_READING"),
            True,
            "SSLError: [SSL: UNEXPECTED_EOF_WHILE_READING] it failed",
        ),
        (GatewayError("no token"), False, "no token"),
        (ValueError("hunter2"), True, "the credentials are malformed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_exception_becomes_an_unanswered_error(
    error: Exception, landed: object, text: str
) -> None:
    """Only an error that shows it says that a write did not land; the message is one line."""
    for method, expected in (("PATCH", landed), ("GET", False)):
        with pytest.raises(UnansweredError) as unanswered, _answered(method, PATH):
            raise error
        assert unanswered.value.may_have_landed is expected
        assert str(unanswered.value).startswith(f"{method} {PATH}: {text}")
        assert "\n" not in str(unanswered.value)
        assert "hunter2" not in "".join(traceback.format_exception(unanswered.value))


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_server_that_speaks_no_tls_has_taken_nothing(method: str) -> None:
    """https to a port where http is spoken."""
    with serving(replying(200, {})) as server:
        with pytest.raises(UnansweredError, match=f"^{method} {PATH}: SSLError: ") as refused:
            transport_to(server.url.replace("http:", "https:")).request(method, PATH, timeout=5.0)
        assert (refused.value.may_have_landed, server.asked) == (False, [])


def test_a_stream_that_cannot_be_opened_is_no_answer() -> None:
    """Nobody listens; the message says what was asked for."""
    with pytest.raises(
        UnansweredError, match=f"^GET {PATH}: NewConnectionError: Connection refused$"
    ) as refused:
        transport_to(refused_port()).stream(PATH, timeout=5.0)
    assert refused.value.may_have_landed is False


class Chunks:
    """A response of urllib3 that yields these, or raises them."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks, self.sizes, self.closed = list(chunks), list[int](), False

    def read1(self, size: int) -> bytes:
        """The next one."""
        self.sizes.append(size)
        chunk = self.chunks.pop(0) if self.chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self) -> None:
        """Say so."""
        self.closed = True

    def shutdown(self) -> None:
        """Raise."""
        self.read1(0)


def rest() -> None:
    """Nothing changes while a stream lives."""


def test_lines_are_put_together_from_any_chunks() -> None:
    """Several chunks to a line, several lines to a chunk."""
    chunks = Chunks(b"a", b"b", b"c\nde", b"f\ng\n\nh", b"\n")
    assert [*_HTTPStream(chunks, PATH, rest).lines()] == [b"abc", b"def", b"g", b"", b"h"]  # type: ignore[arg-type]  # stands for urllib3's
    assert (chunks.closed, {*chunks.sizes}) == (True, {65536})


def test_a_stream_that_ends_within_a_line_is_malformed() -> None:
    """A sign-in page without a line break is no watch that had nothing to say."""
    chunks = Chunks(b'a\n{"error":', b'"sign in"}')
    lines = _HTTPStream(chunks, PATH, rest).lines()  # type: ignore[arg-type]  # stands for urllib3's
    assert next(lines) == b"a"
    with pytest.raises(MalformedStreamError, match=f"^GET {PATH}: ended within a line$"):
        next(lines)
    assert chunks.closed


def test_a_line_without_an_end_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream ends before the line fills the memory."""
    monkeypatch.setattr("captep_kubernetes._transport._LONGEST_LINE", 5)
    chunks = Chunks(b"abc", b"de\nfg", b"hij", b"k", b"l")
    lines = _HTTPStream(chunks, PATH, rest).lines()  # type: ignore[arg-type]  # stands for urllib3's
    assert next(lines) == b"abcde"
    with pytest.raises(MalformedStreamError):
        next(lines)
    assert (chunks.chunks, chunks.closed) == ([b"l"], True)


def test_a_stream_that_breaks_is_no_answer() -> None:
    """The lines before the break arrive, then the error with the path; the response is closed."""
    chunks = Chunks(b"a\n", urllib3.exceptions.ProtocolError("broken"))
    lines = _HTTPStream(chunks, PATH, rest).lines()  # type: ignore[arg-type]  # stands for urllib3's
    assert next(lines) == b"a"
    with pytest.raises(UnansweredError, match=f"^GET {PATH}: ProtocolError: broken$") as broken:
        next(lines)
    assert (chunks.closed, broken.value.may_have_landed) == (True, False)


@pytest.mark.parametrize("error", [OSError(), ValueError(), RuntimeError()])
def test_a_stream_that_is_over_can_be_closed(error: Exception) -> None:
    """All that urllib3 raises for one whose socket is gone."""
    chunks = Chunks(error)
    _HTTPStream(chunks, PATH, rest).close()  # type: ignore[arg-type]  # stands for urllib3's
    assert chunks.sizes == [0]


def test_no_repr_shows_a_body() -> None:
    """Bodies hold Secrets."""
    answer = send(replying(200, {"data": {"value": "c2VjcmV0"}}, Set_Cookie="c2VjcmV0"))
    assert repr(answer) == "RawResponse(status=200)"


def test_a_redirect_is_not_followed() -> None:
    """The token goes to the server that the kubeconfig names and to nobody else."""
    with serving(replying(200, {})) as other:
        assert send(raw(302, b"", Location=other.url)).status == 302
        assert other.asked == []


def test_a_stream_yields_lines_as_they_come() -> None:
    """Lines are cut at newlines, however the bytes were packed; two in one packet, one in two."""
    with serving(events(b'{"a":1}\n{"b":', b"2}\n", hold=False)) as server:
        stream = transport_to(server.url).stream(PATH, timeout=5.0)
        assert not isinstance(stream, RawResponse)
        assert list(stream.lines()) == [b'{"a":1}', b'{"b":2}']


def test_a_stream_that_is_refused_is_an_answer() -> None:
    """410 comes as a status as well."""
    with serving(replying(410, {"reason": "Expired"})) as server:
        answer = transport_to(server.url).stream(PATH, timeout=5.0)
    assert isinstance(answer, RawResponse)
    assert (answer.status, answer.body) == (410, {"reason": "Expired"})


def test_a_silent_stream_ends_at_the_timeout() -> None:
    """A watch whose connection died without a word is noticed."""
    with serving(events(b"{}\n")) as server:
        stream = transport_to(server.url).stream(PATH, timeout=0.3)
        assert not isinstance(stream, RawResponse)
        lines = stream.lines()
        assert next(lines) == b"{}"
        with pytest.raises(UnansweredError):
            next(lines)


def test_closing_a_stream_wakes_its_reader_at_once() -> None:
    """A thread that waits for the next event returns within a second after the close."""
    with serving(events(b"{}\n")) as server:
        stream = transport_to(server.url).stream(PATH, timeout=60.0)
        assert not isinstance(stream, RawResponse)
        first, ended = threading.Event(), threading.Event()

        def read() -> None:
            try:
                for _ in stream.lines():
                    first.set()
            except UnansweredError:
                pass
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        assert first.wait(5)
        stream.close()
        assert ended.wait(1)


def test_many_threads_share_one_transport() -> None:
    """Sixteen threads, each gets its own answer."""

    def echo(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        replying(200, {"path": asked.path})(asked, handler)

    with serving(echo) as server:
        transport, wrong = transport_to(server.url), list[object]()

        def ask(number: int) -> None:
            for turn in range(20):
                path = f"/api/v1/namespaces/{number}/secrets/{turn}"
                if transport.request("GET", path, timeout=5.0).body != {"path": path}:
                    wrong.append(path)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert (wrong, len(server.asked)) == ([], 320)
