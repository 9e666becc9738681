"""A wrong configuration gives one line that says what to do."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from captep_core.errors import GatewayError
from captep_kubernetes import check_connection, load_transport
from tests.kubernetes.scripted import Reply, raw, refused_port, replying, serving, transport_to

TOKEN = "hunter2hunter2"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration but what a test makes."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def kubeconfig(tmp_path: Path, *, name: str = "config", **changes: Any) -> Path:  # noqa: ANN401  # any part of a kubeconfig
    """Write a good kubeconfig with `changes` to its top level."""
    parts = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "blue",
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [
            {"name": "blue", "context": {"cluster": "c", "user": "u"}},
            {"name": "lost", "context": {"cluster": "gone", "user": "u"}},
        ],
    }
    path = tmp_path / name
    path.write_text(yaml.safe_dump(parts | changes))
    return path


def problem(path: Path | None, context: str | None = None) -> str:
    """Return the one line with which loading fails."""
    with pytest.raises(GatewayError) as failed:
        load_transport(path, context)
    message = str(failed.value)
    assert "\n" not in message
    assert TOKEN not in message
    return message


def test_a_good_kubeconfig_names_the_server(tmp_path: Path) -> None:
    """By path, by KUBECONFIG, and in the home directory, in this order."""
    assert load_transport(kubeconfig(tmp_path)).host == "https://192.0.2.1:6443"


def test_the_environment_names_kubeconfigs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$KUBECONFIG may list files; those that do not exist are passed over."""
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{kubeconfig(tmp_path)}")
    assert load_transport().host == "https://192.0.2.1:6443"


def test_the_home_directory_holds_a_kubeconfig(tmp_path: Path) -> None:
    """~/.kube/config is the last place but the Pod."""
    (tmp_path / "home" / ".kube").mkdir(parents=True)
    kubeconfig(tmp_path, name="home/.kube/config")
    assert load_transport(context="blue").host == "https://192.0.2.1:6443"


def test_a_context_chooses_its_cluster(tmp_path: Path) -> None:
    """The one that is named, and http is an address too; the pool is as large as was said."""
    clusters = [
        {"name": name, "cluster": {"server": f"http://{name}.example"}} for name in ("c", "d")
    ]
    contexts = [
        {"name": name, "context": {"cluster": cluster, "user": "u"}}
        for name, cluster in (("blue", "c"), ("green", "d"))
    ]
    path = kubeconfig(tmp_path, clusters=clusters, contexts=contexts)
    chosen = load_transport(path, "green", connection_pool_maxsize=7)
    assert (load_transport(path).host, chosen.host) == ("http://c.example", "http://d.example")
    assert chosen._configuration.connection_pool_maxsize == 7


def test_of_several_files_the_first_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its current context, though the second has one too."""
    second = [{"name": "c", "cluster": {"server": "https://second.example"}}]
    files = (
        kubeconfig(tmp_path),
        kubeconfig(tmp_path, name="other", clusters=second, **{"current-context": "lost"}),
    )
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
    assert load_transport().host == "https://192.0.2.1:6443"


def test_a_credential_plugin_gives_a_token(tmp_path: Path) -> None:
    """By its name or by its path, its token is used."""
    credential = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        '"status": {"token": "fresh"}}'
    )
    for command in ("sh", "/bin/sh"):
        run = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": command,
            "args": ["-c", f"echo '{credential}'"],
        }
        transport = load_transport(
            kubeconfig(tmp_path, users=[{"name": "u", "user": {"exec": run}}])
        )
        assert transport._credentials.current().authorization == "Bearer fresh"


def test_a_pipe_may_hold_the_kubeconfig(tmp_path: Path) -> None:
    """A shell passes the output of a command as a file that is a pipe."""
    reading, writing = os.pipe()
    os.write(writing, kubeconfig(tmp_path).read_bytes())
    os.close(writing)
    try:
        assert load_transport(Path(f"/dev/fd/{reading}")).host == "https://192.0.2.1:6443"
    finally:
        os.close(reading)


def test_json_with_tabs_is_a_kubeconfig(tmp_path: Path) -> None:
    """Go reads it; a parser of YAML alone refuses a tab before a token."""
    path = kubeconfig(tmp_path)
    path.write_text(json.dumps(yaml.safe_load(path.read_text()), indent="\t"))
    assert load_transport(path).host == "https://192.0.2.1:6443"


def test_a_key_of_json_is_there_once(tmp_path: Path) -> None:
    """The second `users` would replace the first in silence."""
    path = tmp_path / "config"
    path.write_text('{"users": [], "users": []}')
    with pytest.raises(GatewayError, match="the key 'users' is there twice"):
        load_transport(path)


def test_the_home_of_an_unknown_user_is_a_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the path as it was given."""
    monkeypatch.setenv("KUBECONFIG", "~no-such-user/config")
    with pytest.raises(GatewayError) as raised:
        load_transport()
    assert str(raised.value) == (
        "~no-such-user/config: no such file: $KUBECONFIG wants a kubeconfig"
    )


def test_a_missing_configuration_is_an_error() -> None:
    """Nothing given, nothing found."""
    assert (
        problem(None) == "no cluster: give --kubeconfig FILE, set KUBECONFIG, or run inside a Pod"
    )


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """--kubeconfig names nothing."""
    assert (
        problem(tmp_path / "none")
        == f"{tmp_path / 'none'}: no such file: --kubeconfig wants a kubeconfig"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: [", ":1:5: not YAML: expected the node content, but found '<stream end>'"),
        (b"\xff\xfe\x00\xd8", ": not YAML: not UTF-8 text"),
        (b"", ": not a kubeconfig: the whole file is NoneType, expected a mapping"),
        (b"- a", ": not a kubeconfig: the whole file is list, expected a mapping"),
        (b"{}", ": no current-context: give --context, one of none"),
        (b"contexts: 5\ncurrent-context: x", ": contexts: expected a list, found a number"),
        (b"current-context: x", ": no context 'x': expected one of none"),
        (b"a: 1\na: 2", ":2:1: not YAML: the key 'a' is there twice"),
    ],
)
def test_a_file_of_another_shape_is_an_error(tmp_path: Path, content: bytes, expected: str) -> None:
    """Broken YAML with line and column, not UTF-8, empty, not a mapping, without contexts."""
    path = tmp_path / "config"
    path.write_bytes(content)
    assert problem(path) == f"{path}{expected}"


def test_an_unknown_context_is_an_error(tmp_path: Path) -> None:
    """The known ones are named."""
    path = kubeconfig(tmp_path)
    assert problem(path, "green") == f"{path}: no context 'green': expected one of blue, lost"


def test_a_context_without_its_cluster_is_an_error(tmp_path: Path) -> None:
    """A context may name a cluster that the file does not have."""
    path = kubeconfig(tmp_path)
    assert (
        problem(path, "lost")
        == f"{path}: context 'lost' names the cluster 'gone', which the file does not have"
    )


def test_a_cluster_without_a_server_is_an_error(tmp_path: Path) -> None:
    """The client would talk to localhost."""
    path = kubeconfig(tmp_path, clusters=[{"name": "c", "cluster": {}}])
    assert problem(path) == f"{path}: the cluster 'c' has no server: expected an https:// address"


def plugin(command: str) -> dict[str, Any]:
    """A user that logs in by running a command."""
    return {
        "users": [
            {
                "name": "u",
                "user": {
                    "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command}
                },
            }
        ]
    }


def test_a_missing_credential_plugin_is_an_error(tmp_path: Path) -> None:
    """The client would log an error and go on as nobody."""
    path = kubeconfig(tmp_path, **plugin("aws-that-is-not-there"))
    assert (
        problem(path) == f"{path}: the credential plugin 'aws-that-is-not-there' is not on PATH: "
        "install it or choose another --context"
    )


def test_a_failing_credential_plugin_is_an_error(tmp_path: Path) -> None:
    """It runs and gives nothing."""
    path = kubeconfig(tmp_path, **plugin("false"))
    assert (
        problem(path)
        == f"{path}: the credential plugin 'false' gave no credentials: run it by hand to see why"
    )


def test_a_pod_without_a_service_account_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBERNETES_SERVICE_HOST says that this is a Pod."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert problem(None).startswith("in a Pod, but without a usable ServiceAccount (")


def test_a_healthy_server_passes_the_check() -> None:
    """200 is a server, 403 one that keeps its version to itself."""
    for status in (200, 403):
        with serving(replying(status, {"gitVersion": "v1.37.2"})) as server:
            check_connection(transport_to(server.url))


@pytest.mark.parametrize(
    "reply",
    [
        raw(200, b"<html>sign in</html>", Content_Type="text/html"),
        raw(200, b"[]"),
        replying(200, {"hello": "world"}),
        raw(403, b"<html>sign in</html>", Content_Type="text/html"),
    ],
)
def test_a_sign_in_page_is_no_api_server(reply: Reply) -> None:
    """HTML, or JSON of something else, on every path: one line instead of waiting for ever."""
    with serving(reply) as server, pytest.raises(GatewayError) as failed:
        check_connection(transport_to(server.url))
    assert str(failed.value).startswith(
        "what answers at this address is no API server: GET /version: HTTP "
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            401,
            (
                "the API server refuses the credentials (401): they are expired or wrong; "
                "log in again or choose another --context"
            ),
        ),
        (502, "what answers at this address is no healthy API server: GET /version: HTTP 502"),
    ],
)
def test_a_refusing_server_fails_the_check(status: int, expected: str) -> None:
    """Expired credentials, or something else that answers."""
    with serving(raw(status, b"")) as server, pytest.raises(GatewayError) as failed:
        check_connection(transport_to(server.url))
    assert str(failed.value) == expected


def test_a_silent_server_fails_the_check() -> None:
    """The address is in the kubeconfig, the server is not there."""
    with pytest.raises(
        GatewayError,
        match=r"^the API server does not answer: GET /version: NewConnectionError: "
        r"Connection refused: check that",
    ):
        check_connection(transport_to(refused_port()))
