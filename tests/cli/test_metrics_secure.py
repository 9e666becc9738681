"""`--metrics-secure`: HTTPS with a certificate that may be replaced, for users with permission."""

import http.client
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from captep_kubernetes import RawResponse, UnansweredError
from captep_operator._metrics_access import MetricsAccess
from captep_runtime import Access, Address, Certificate, CertificateError, PageServer
from tests.cli.command import Command

TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
USER = {"username": "prometheus", "uid": "u-1", "groups": ["scrapers"], "extra": {"a": ["b"]}}
PAGES = {"/metrics": lambda: (200, "text/plain", b"up 1\n")}


class Reviewer:
    """A transport that answers reviews, and records them in `asked`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.users: dict[str, dict[str, Any]] = {"good": USER, "poor": {"username": "poor"}}
        self.allowed = {"prometheus"}
        self.status = 201
        self.answers = True

    def request(self, method: str, path: str, *, body: Any, timeout: float) -> RawResponse:  # noqa: ANN401
        """Answer a review."""
        self.asked.append((path, body["spec"]))
        if not self.answers:
            raise UnansweredError("refused", may_have_landed=False)
        if path == TOKENS:
            user = self.users.get(body["spec"]["token"])
            status: Any = {"authenticated": True, "user": user} if user else {"error": "unknown"}
        else:
            status = {"allowed": body["spec"]["user"] in self.allowed}
        return RawResponse(self.status, {}, {"status": status})


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


@pytest.fixture
def reviewer() -> Reviewer:
    """Return a reviewer that knows two users and allows one of them."""
    return Reviewer()


def access(reviewer: Reviewer, clock: Clock | None = None) -> MetricsAccess:
    """Return the decision over a reviewer."""
    return MetricsAccess(reviewer, seconds=clock or Clock())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic Z29vZA==", "good", "Bearer unknown"]
)
def test_a_request_without_a_valid_token_is_unauthorized(
    reviewer: Reviewer, header: str | None
) -> None:
    """The answer is 401, and only a bearer token is reviewed."""
    assert access(reviewer)("GET", "/metrics", header) == (401, "Unauthorized")
    assert [path for path, _ in reviewer.asked] == ([TOKENS] if header == "Bearer unknown" else [])


def test_the_user_of_a_token_needs_permission_to_get_the_path(reviewer: Reviewer) -> None:
    """The SubjectAccessReview carries all that the TokenReview says of the user."""
    decide = access(reviewer)
    assert decide("GET", "/metrics", "Bearer good") is None
    assert reviewer.asked == [
        (TOKENS, {"token": "good"}),
        (
            ACCESS,
            {
                "user": "prometheus",
                "uid": "u-1",
                "groups": ["scrapers"],
                "extra": {"a": ["b"]},
                "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
            },
        ),
    ]
    assert decide("GET", "/metrics", "bearer poor") == (403, "Authorization denied for user poor")


def test_an_answer_is_kept_for_a_minute_and_a_refusal_for_ten_seconds(reviewer: Reviewer) -> None:
    """Each path has its own; a token that was revoked works no longer than that."""
    clock = Clock()
    decide = access(reviewer, clock)
    decide("GET", "/metrics", "Bearer good")
    decide("GET", "/metrics", "Bearer poor")
    reviewer.users.clear()
    asked = len(reviewer.asked)
    clock.now = 9.9
    assert decide("GET", "/metrics", "Bearer poor") == (403, "Authorization denied for user poor")
    clock.now = 59.9
    assert decide("GET", "/metrics", "Bearer good") is None
    assert len(reviewer.asked) == asked
    assert decide("GET", "/other", "Bearer good") == (401, "Unauthorized")
    clock.now = 60.0
    assert decide("GET", "/metrics", "Bearer good") == (401, "Unauthorized")


def test_a_flood_of_tokens_does_not_fill_the_memory(reviewer: Reviewer) -> None:
    """At most a thousand answers are kept, none of them with a token."""
    decide = access(reviewer)
    for number in range(2500):
        decide("GET", "/metrics", f"Bearer t{number}")
    assert len(decide._known) <= 1000
    assert not any("t2499" in part for key in decide._known for part in key)


@pytest.mark.parametrize("breaks", ["status", "answers"])
def test_a_review_that_fails_is_a_500_and_logged_once(
    reviewer: Reviewer, caplog: pytest.LogCaptureFixture, breaks: str
) -> None:
    """Nobody passes, the answer is not kept, and the log has the start and the end."""
    caplog.set_level("INFO", "captep.metrics")
    decide = access(reviewer)
    setattr(reviewer, breaks, {"status": 403, "answers": False}[breaks])
    for _ in range(3):
        refusal = decide("GET", "/metrics", "Bearer good")
        assert refusal == (500, "the API server cannot review the request")
    setattr(reviewer, breaks, {"status": 201, "answers": True}[breaks])
    assert decide("GET", "/metrics", "Bearer good") is None
    assert [line.split(":")[0] for line in caplog.messages] == [
        "requests for metrics cannot be reviewed",
        "requests for metrics can be reviewed again",
    ]
    assert "good" not in caplog.text


def write(authority: trustme.CA, folder: Path) -> None:
    """Write a new certificate and its key."""
    issued = authority.issue_cert("127.0.0.1")
    (folder / "tls.crt").write_bytes(issued.cert_chain_pems[0].bytes())
    (folder / "tls.key").write_bytes(issued.private_key_pem.bytes())


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return the TLS of a client that trusts an authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def get(server: PageServer, context: ssl.SSLContext, token: str = "") -> tuple[int, bytes, bytes]:
    """Get /metrics; return the status, the body and the certificate of the server."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
    connection.connect()
    assert isinstance(connection.sock, ssl.SSLSocket)
    certificate = connection.sock.getpeercert(binary_form=True) or b""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, certificate


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority."""
    return trustme.CA()


def serving(folder: Path, guard: Access | None = None) -> Iterator[PageServer]:
    """Serve over HTTPS."""
    server = PageServer(
        Address("127.0.0.1", 0), PAGES, certificate=Certificate(folder), access=guard
    )
    yield server
    server.close()


def test_metrics_are_served_over_https_to_users_with_permission(
    authority: trustme.CA, tmp_path: Path, reviewer: Reviewer
) -> None:
    """Others get 401 or 403 and no metrics."""
    write(authority, tmp_path)
    for server in serving(tmp_path, access(reviewer)):
        context = trusting(authority)
        assert get(server, context)[:2] == (401, b"Unauthorized\n")
        assert get(server, context, "poor")[0] == 403
        assert get(server, context, "good")[:2] == (200, b"up 1\n")


def test_a_replaced_certificate_is_served_to_the_next_connection(
    authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the files do not fit, the server keeps the certificate that it has."""
    caplog.set_level("INFO", "captep.health")
    write(authority, tmp_path)
    for server in serving(tmp_path):
        context = trusting(authority)
        first = get(server, context)[2]
        assert get(server, context)[2] == first
        key = (tmp_path / "tls.key").read_bytes()
        (tmp_path / "tls.key").write_bytes(b"half of a key")
        assert [get(server, context)[2] for _ in range(3)] == [first] * 3
        (tmp_path / "tls.key").unlink()
        assert get(server, context)[2] == first
        write(authority, tmp_path)
        second = get(server, context)[2]
        assert second != first
        assert get(server, context)[:2] == (200, b"up 1\n")
    assert [line.rpartition(":")[2] for line in caplog.messages] == [
        " the server keeps the certificate that it has",
        f"the certificate in {tmp_path} was replaced",
    ]
    assert key.decode() not in caplog.text


def test_a_client_without_tls_delays_no_other(authority: trustme.CA, tmp_path: Path) -> None:
    """A connection that sends nothing, and one in plain HTTP, leave the server answering."""
    write(authority, tmp_path)
    for server in serving(tmp_path):
        with socket.create_connection(("127.0.0.1", server.port)) as silent:
            with socket.create_connection(("127.0.0.1", server.port)) as plain:
                plain.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
                assert get(server, trusting(authority))[:2] == (200, b"up 1\n")
                plain.settimeout(10)
                assert b"up 1" not in plain.recv(1000)
            assert silent.fileno() > 0


def test_a_key_with_a_password_is_an_error_and_no_question(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """OpenSSL would wait for the password at the terminal, in a process that nobody watches."""
    issued = authority.issue_cert("localhost")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "tls.crt").write_bytes(issued.cert_chain_pems[0].bytes())
    (tmp_path / "tls.key").write_bytes(locked)
    ours, theirs = os.openpty()
    code = (
        "import os, pathlib, sys; os.setsid(); os.open(sys.argv[2], os.O_RDWR);"
        "from captep_runtime import Certificate; Certificate(pathlib.Path(sys.argv[1]))"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path), os.ttyname(theirs)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        arguments, stdin=theirs, capture_output=True, env=environment, timeout=10, check=False
    )
    os.close(ours)
    os.close(theirs)
    assert b"do not hold a certificate with its key" in ended.stderr


def test_a_missing_or_wrong_file_is_named(authority: trustme.CA, tmp_path: Path) -> None:
    """The error names the folder and the file, and quotes none of the key."""
    with pytest.raises(CertificateError, match=r"tls\.crt: cannot be read: No such file"):
        Certificate(tmp_path)
    write(authority, tmp_path)
    (tmp_path / "tls.key").write_text("canary")
    with pytest.raises(CertificateError, match="do not hold a certificate with its key") as raised:
        Certificate(tmp_path)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--metrics-secure",), "--metrics-secure needs --metrics-cert-dir DIR"),
        (("--metrics-cert-dir", "/x"), "--metrics-cert-dir needs --metrics-secure"),
        (("--metrics-secure", "--metrics-cert-dir", "/no/folder"), "/no/folder/tls.crt: cannot"),
        (
            (
                "--metrics-secure",
                "--metrics-cert-dir",
                "/x",
                "--health-probe-bind-address",
                ":8080",
            ),
            "needs an address of its own",
        ),
    ],
    ids=["no folder", "not secure", "no files", "one address"],
)
def test_metrics_secure_without_what_it_needs_is_wrong_usage(
    captep: Command, args: tuple[str, ...], expected: str
) -> None:
    """The command ends with status 2 before it looks for a cluster."""
    ended = captep("run", *args)
    assert (ended.status, ended.out) == (2, "")
    assert expected in ended.err
