"""Credentials are read again: on a schedule, when they expire, and once on a 401."""

import json
import logging
import re
import stat
import textwrap
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import certifi
import pytest
from kubernetes import client
from kubernetes.config import ConfigException

from captep_core.errors import GatewayError
from captep_kubernetes import KubernetesTransport, UnansweredError, load_transport
from captep_kubernetes._credentials import (
    Access,
    ConfigurationCredentials,
    TLSMaterial,
    UserCredentials,
)
from captep_kubernetes._settings import ClusterEntry, Material, Plugin, Settings, UserEntry
from tests.kubernetes.scripted import Asked, events, raw, refused_port, replying, serving

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTER = ClusterEntry("config: clusters[0].cluster", "c", "http://c", "", True, None, "")
WHERE = "config: users[0].user"
V1 = "client.authentication.k8s.io/v1"
PEM, PEM_TOO = re.findall(
    rb"-----BEGIN CERT.+?-----END CERTIFICATE-----\n", Path(certifi.where()).read_bytes(), re.DOTALL
)[:2]


class Source:
    """Credentials of one user in virtual time."""

    def __init__(self, user: UserEntry, cluster: ClusterEntry = CLUSTER) -> None:
        self.seconds = 0.0
        self.credentials = UserCredentials(
            Settings(cluster, user),
            clock=lambda: self.seconds,
            now=lambda: NOW + timedelta(seconds=self.seconds),
        )

    def authorization(self, at: float | None = None) -> str:
        """Return the header at a time."""
        if at is not None:
            self.seconds = at
        return self.credentials.current().authorization


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A token file with white space around the token."""
    path = tmp_path / "token"
    path.write_text("  first\n")
    return path


def test_a_token_file_is_trimmed_and_goes_before_the_token(token_file: Path) -> None:
    """As in client-go; an editor leaves a line break at the end."""
    assert Source(UserEntry(WHERE, token="own", token_file=token_file)).authorization() == (
        "Bearer first"
    )


def test_a_token_file_is_read_again_within_a_minute(token_file: Path) -> None:
    """Not at every request, and at most half a minute after it changed."""
    source = Source(UserEntry(WHERE, token_file=token_file))
    assert source.authorization() == "Bearer first"
    token_file.write_text("second")
    assert source.authorization(29.9) == "Bearer first"
    assert source.authorization(30.0) == "Bearer second"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xff", b"a\x00b", None])
def test_a_bad_token_file_keeps_the_token_before(
    token_file: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is being replaced may be empty or away; the log has its beginning and its end."""
    caplog.set_level(logging.INFO)
    source = Source(UserEntry(WHERE, token_file=token_file))
    source.authorization()
    token_file.unlink() if content is None else token_file.write_bytes(content)
    assert {source.authorization(at) for at in (30, 60, 90)} == {"Bearer first"}
    token_file.write_text("second")
    assert source.authorization(120) == "Bearer second"
    problem = "No such file or directory" if content is None else "expected a token"
    assert caplog.messages == [
        f"the credentials could not be read again: {WHERE}.tokenFile: {token_file}: {problem}",
        "the credentials could be read again",
    ]


def test_a_token_counts_while_its_file_was_never_there(tmp_path: Path) -> None:
    """client-go reads the file in vain and uses `token`."""
    source = Source(UserEntry(WHERE, token="own", token_file=tmp_path / "absent"))
    assert source.authorization() == "Bearer own"


def test_a_missing_token_file_is_an_error(tmp_path: Path) -> None:
    """The error names field and path, now and at the next try."""
    source = Source(UserEntry(WHERE, token_file=tmp_path / "absent"))
    for _ in range(2):
        with pytest.raises(GatewayError) as failed:
            source.authorization()
        assert str(failed.value) == (
            f"{WHERE}.tokenFile: {tmp_path / 'absent'}: No such file or directory"
        )


class Script:
    """A credential plugin that prints the next of `outputs`, the last one again and again."""

    def __init__(self, folder: Path, *outputs: object) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        for number, output in enumerate(outputs):
            text = output if isinstance(output, str) else json.dumps(output)
            (folder / f"output{number}").write_text(text)
        self.path = folder / "plugin"
        self.path.write_text(
            textwrap.dedent(f"""\
                #!/bin/sh
                echo hunter2 >&2
                echo "$KUBERNETES_EXEC_INFO" >> {self._calls}
                number=$(($(wc -l < {self._calls}) - 1))
                [ $number -lt {len(outputs)} ] || number={len(outputs) - 1}
                cat {folder}/output$number
                """)
        )
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def user(self, **changes: bool) -> UserEntry:
        """Return a user that runs the script."""
        plugin = Plugin(
            f"{WHERE}.exec",
            V1,
            str(self.path),
            (),
            (),
            **{"provides_cluster_info": False, **changes},
        )
        return UserEntry(WHERE, plugin=plugin)

    @property
    def calls(self) -> list[str]:
        """What each run was given in KUBERNETES_EXEC_INFO."""
        return self._calls.read_text().splitlines() if self._calls.is_file() else []


def printed(token: str = "", **status: str) -> object:
    """Return an ExecCredential."""
    return {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": token, **status}}


def expiring(token: str, seconds: int) -> object:
    """Return an ExecCredential that expires."""
    at = (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return printed(token, expirationTimestamp=at)


def test_a_plugin_runs_again_when_its_token_expires(tmp_path: Path) -> None:
    """At the expiry that it printed, and not before."""
    script = Script(tmp_path, expiring("one", 100), expiring("two", 200), printed("three"))
    source = Source(script.user())
    tokens = [source.authorization(at) for at in (0, 50, 99, 100, 150, 200, 9999)]
    assert tokens == [
        f"Bearer {name}" for name in ("one", "one", "one", "two", "two", "three", "three")
    ]
    assert len(script.calls) == 3


def test_a_plugin_that_fails_at_expiry_is_an_error_once_in_ten_seconds(tmp_path: Path) -> None:
    """The expired token is not sent, and the plugin does not run at every request."""
    script = Script(tmp_path, expiring("one", 100), "no json", "no json", printed("two"))
    source = Source(script.user())
    source.authorization()
    for at in (100, 101, 109.9, 110):
        with pytest.raises(GatewayError, match="gave no credentials"):
            source.authorization(at)
    assert len(script.calls) == 3
    assert source.authorization(120) == "Bearer two"


def test_a_refused_token_runs_the_plugin_again(tmp_path: Path) -> None:
    """Once: a second 401 within ten seconds runs nothing, unless a request succeeded in between."""
    script = Script(tmp_path, printed("one"), printed("two"), printed("three"))
    source = Source(script.user())
    first = source.credentials.current()
    assert source.credentials.refused(first)
    assert source.credentials.refused(first)
    second = source.credentials.current()
    assert second.authorization == "Bearer two"
    assert not source.credentials.refused(second)
    assert len(script.calls) == 2
    source.credentials.accepted()
    assert source.credentials.refused(second)
    assert source.authorization() == "Bearer three"


def test_a_lasting_401_runs_the_plugin_every_ten_seconds(tmp_path: Path) -> None:
    """Not at every request of a process that is locked out."""
    script = Script(tmp_path, printed("one"))
    source = Source(script.user())
    for at in range(40):
        source.seconds = float(at)
        assert not source.credentials.refused(source.credentials.current())
    assert len(script.calls) == 1 + 4


@pytest.mark.parametrize(
    "output",
    [
        "hunter2",
        [],
        {"kind": "Config"},
        printed(),
        {"apiVersion": V1, "kind": "ExecCredential"},
        {"apiVersion": V1, "kind": "ExecCredential", "status": []},
        printed("hunter2", clientCertificateData="hunter2"),
        printed(clientKeyData="hunter2"),
        printed("hunter2", expirationTimestamp="tomorrow"),
        {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": 5}},
        printed("hunter2 hunter2"),
        printed("hunter2\nX-Header: a"),
        printed("hunter2\ud800"),
        printed("hunter2\u2026"),
        printed(clientCertificateData="hunter2\ud800", clientKeyData="hunter2"),
    ],
)
def test_a_plugin_without_credentials_is_an_error(
    tmp_path: Path,
    output: object,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No JSON, no status, half a key pair: one line, and not a word of the plugin's anywhere."""
    source = Source(Script(tmp_path, output).user())
    with pytest.raises(GatewayError) as failed:
        source.authorization()
    assert str(failed.value) == (
        "config: the credential plugin 'plugin' gave no credentials: run it by hand to see why"
    )
    assert "hunter2" not in "".join((*capfd.readouterr(), caplog.text))


def test_a_plugin_that_prints_what_has_expired_is_named(tmp_path: Path) -> None:
    """The first request goes out, as kubectl's does; from then on the field is named."""
    source = Source(Script(tmp_path, expiring("one", -5)).user())
    assert source.authorization() == "Bearer one"
    with pytest.raises(GatewayError) as failed:
        source.authorization()
    assert str(failed.value) == (
        f"{WHERE}.exec.command: expected credentials that have not expired"
    )


def test_a_plugin_of_another_version_is_an_error(tmp_path: Path) -> None:
    """client-go compares what is configured with what is printed."""
    output = {**dict(printed("t")), "apiVersion": "client.authentication.k8s.io/v1beta1"}  # type: ignore[call-overload]
    with pytest.raises(GatewayError, match="another apiVersion"):
        Source(Script(tmp_path, output).user()).authorization()


def test_a_plugin_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request would wait for it."""
    monkeypatch.setattr("captep_kubernetes._plugin._PLUGIN_SECONDS", 0.1)
    script = Script(tmp_path, printed("t"))
    script.path.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(GatewayError, match="did not end within 0 s"):
        Source(script.user()).authorization()


def test_a_plugin_learns_the_cluster_when_it_asks(tmp_path: Path) -> None:
    """provideClusterInfo: address, authorities and the cluster's extension (KEP-541)."""
    script = Script(tmp_path, printed("t"))
    cluster = ClusterEntry(
        "c", "c", "http://c", "name", True, Material("ca", data=b"PEM"), "", {"a": 1}
    )
    Source(script.user(provides_cluster_info=True)).authorization()
    bare = json.loads(script.calls[0])
    assert bare["spec"]["cluster"] == {"server": "http://c"}
    given = UserCredentials(Settings(cluster, script.user(provides_cluster_info=True)))
    with pytest.raises(GatewayError):
        given.current()
    assert json.loads(script.calls[1]) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {
                "server": "http://c",
                "tls-server-name": "name",
                "certificate-authority-data": "UEVN",
                "config": {"a": 1},
            },
        },
    }
    Source(script.user()).authorization()
    assert json.loads(script.calls[2])["spec"] == {"interactive": False}


def refusing(*tokens: str) -> Callable[[Asked, BaseHTTPRequestHandler], None]:
    """Answer 401 to these tokens, a watch with an open stream, and all else with 200."""

    def reply(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        token = asked.headers["authorization"].removeprefix("Bearer ")
        if token in tokens:
            raw(401, b"{}")(asked, handler)
        elif ("watch", "1") in asked.query:
            events()(asked, handler)
        else:
            replying(200, {"token": token})(asked, handler)

    return reply


def test_a_read_is_repeated_after_a_401_and_a_write_is_not(token_file: Path) -> None:
    """With the new token, once; the write is answered 401, and the next one has the new token."""
    source = Source(UserEntry(WHERE, token_file=token_file))
    with serving(refusing("first", "second")) as server:
        transport = KubernetesTransport(client.Configuration(host=server.url), source.credentials)
        source.authorization()
        token_file.write_text("third")
        answer = transport.request("GET", "/a", timeout=5)
        assert (answer.status, answer.body) == (200, {"token": "third"})
        token_file.write_text("first")
        source.authorization(30)
        token_file.write_text("fourth")
        assert transport.request("PATCH", "/a", body={}, timeout=5).status == 401
        assert transport.request("PATCH", "/a", body={}, timeout=5).status == 200
        assert [asked.method for asked in server.asked] == ["GET", "GET", "PATCH", "PATCH"]


def test_a_watch_is_opened_again_after_a_401(token_file: Path) -> None:
    """A stream is a read."""
    source = Source(UserEntry(WHERE, token_file=token_file))
    with serving(refusing("first")) as server:
        transport = KubernetesTransport(client.Configuration(host=server.url), source.credentials)
        source.authorization()
        token_file.write_text("second")
        stream = transport.stream("/a", query=[("watch", 1)], timeout=5)
        assert not hasattr(stream, "status")
        assert len(server.asked) == 2


class Turning:
    """Credentials whose certificate changes when a test says so."""

    def __init__(self) -> None:
        self.access = Access()

    def current(self) -> Access:
        """Return those of now."""
        return self.access

    def refused(self, access: Access) -> bool:
        """Nothing else."""
        return False

    def accepted(self) -> None:
        """Nothing."""


def test_a_new_certificate_ends_connections_and_streams() -> None:
    """The watch reconnects with the new certificate instead of living on with the old one."""
    turning = Turning()
    with serving(refusing()) as server:
        turning.access = Access("Bearer a")
        transport = KubernetesTransport(client.Configuration(host=server.url), turning)
        stream = transport.stream("/a", query=[("watch", 1)], timeout=30)
        assert not hasattr(stream, "status")
        ended = threading.Event()

        def follow() -> None:
            # The end of a connection that nobody needs any more is no problem to report.
            list(stream.lines())
            ended.set()

        threading.Thread(target=follow, daemon=True).start()
        transport.request("GET", "/a", timeout=5)
        assert not ended.wait(0.05)
        before = transport._pool(turning.access.tls)
        turning.access = Access("Bearer a", TLSMaterial(b"another"))
        transport.request("GET", "/a", timeout=5)
        assert ended.wait(5)
        assert transport._pool(turning.access.tls) is not before


def test_a_watch_at_rest_reconnects_with_a_new_certificate() -> None:
    """No request is sent: the bookmark of each minute is the reason to look."""
    turning, replaced = Turning(), threading.Event()

    def reply(_asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\n{}\n\r\n")
        replaced.wait(5)
        handler.wfile.write(b"3\r\n{}\n\r\n")
        handler.connection.settimeout(5)
        handler.close_connection = True
        # Nothing more comes from the client but the end of the connection.
        handler.connection.recv(1)

    with serving(reply) as server:
        transport = KubernetesTransport(client.Configuration(host=server.url), turning)
        stream = transport.stream("/a", query=[("watch", 1)], timeout=5)
        assert not hasattr(stream, "status")
        lines = stream.lines()
        assert next(lines) == b"{}"
        turning.access = Access("", TLSMaterial(b"another"))
        replaced.set()
        # The second line may be on its way when the connection ends.
        assert [*lines] in ([], [b"{}"])
        assert len(server.asked) == 1


def test_certificates_are_read_again_and_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A replaced authority counts after half a minute; one that is no PEM leaves the old one."""
    authority = tmp_path / "ca.crt"
    authority.write_bytes(PEM)
    cluster = ClusterEntry(
        "c", "c", "https://c", "", True, Material("c.certificate-authority", authority), ""
    )
    source = Source(UserEntry(WHERE), cluster)
    assert source.credentials.current().tls == TLSMaterial(PEM)
    authority.write_bytes(b"half a f")
    source.seconds = 30.0
    assert source.credentials.current().tls == TLSMaterial(PEM)
    authority.write_bytes(PEM_TOO)
    source.seconds = 60.0
    assert source.credentials.current().tls == TLSMaterial(PEM_TOO)
    assert len(caplog.messages) == 1


def test_unreadable_credentials_answer_no_request(tmp_path: Path) -> None:
    """No request goes out without them; a write cannot have landed."""
    source = Source(UserEntry(WHERE, token_file=tmp_path / "absent"))
    transport = KubernetesTransport(client.Configuration(host=refused_port()), source.credentials)
    with pytest.raises(UnansweredError, match="No such file") as failed:
        transport.request("PATCH", "/a", body={}, timeout=5)
    assert failed.value.may_have_landed is False


def test_a_pod_uses_the_token_and_the_authority_of_its_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is trimmed and read again."""
    (tmp_path / "token").write_text("pod\n")
    (tmp_path / "ca.crt").write_bytes(PEM)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name, file in (("TOKEN", "token"), ("CERT", "ca.crt")):
        monkeypatch.setattr(
            f"kubernetes.config.incluster_config.SERVICE_{name}_FILENAME", str(tmp_path / file)
        )
    transport = load_transport()
    assert transport.host == "https://[fd00::1]:443"
    assert transport._credentials.current() == Access("Bearer pod", TLSMaterial(PEM))


def test_a_configuration_s_own_credentials_are_sent(tmp_path: Path) -> None:
    """The official client's Configuration keeps its token, its hook and its password."""
    tokens = iter(["one", "two"])

    def renew(configuration: client.Configuration) -> None:
        configuration.api_key["authorization"] = next(tokens)

    with serving(refusing()) as server:
        fixed = client.Configuration(host=server.url)
        fixed.api_key = {"BearerToken": "Bearer fixed"}
        renewed = client.Configuration(host=server.url)
        renewed.api_key = {"authorization": ""}
        renewed.api_key_prefix = {"authorization": "Bearer"}
        renewed.refresh_api_key_hook = renew  # type: ignore[assignment]
        password = client.Configuration(host=server.url, username="u", password="p")
        for configuration, times in ((fixed, 1), (renewed, 2), (password, 1)):
            transport = KubernetesTransport(configuration)
            for _ in range(times):
                transport.request("GET", "/a", timeout=5)
        assert [asked.headers["authorization"] for asked in server.asked] == [
            "Bearer fixed",
            "Bearer one",
            "Bearer two",
            "Basic dTpw",
        ]


def test_a_configuration_s_own_certificates_are_read(tmp_path: Path) -> None:
    """Authorities as a file or as text; a missing file is an outcome with its path."""
    (tmp_path / "ca.crt").write_bytes(PEM)
    by_file = client.Configuration(host="https://c", ssl_ca_cert=str(tmp_path / "ca.crt"))
    by_text = client.Configuration(host="https://c", ca_cert_data=PEM.decode())
    for configuration in (by_file, by_text):
        assert ConfigurationCredentials(configuration).current() == Access("", TLSMaterial(PEM))
    lost = client.Configuration(host="https://c", cert_file=str(tmp_path / "absent"))
    with pytest.raises(UnansweredError, match="absent: No such file"):
        KubernetesTransport(lost).request("GET", "/a", timeout=5)


def test_a_failing_hook_is_an_outcome_without_its_text() -> None:
    """What the official loader says may quote a whole entry, token and all."""

    def fail(_: client.Configuration) -> None:
        raise ConfigException("hunter2")

    configuration = client.Configuration(host=refused_port())
    configuration.api_key = {"BearerToken": "x"}
    configuration.refresh_api_key_hook = fail  # type: ignore[assignment]
    with pytest.raises(UnansweredError) as failed:
        KubernetesTransport(configuration).request("GET", "/a", timeout=5)
    assert str(failed.value) == "GET /a: the credentials could not be renewed"
