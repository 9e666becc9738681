"""A kubeconfig is honoured as kubectl honours it, or refused with the name of the field."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from captep_core.errors import GatewayError
from captep_kubernetes import load_transport
from captep_kubernetes._kubeconfig import read_settings
from tests.kubernetes.scripted import Scripted, replying, serving

SECRET = "hunter2hunter2"
PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
PLUGIN = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh"}


def write(folder: Path, **parts: Any) -> Path:  # noqa: ANN401  # any part of a kubeconfig
    """Write a kubeconfig with this cluster, user and context, in JSON, which is YAML."""
    path = folder / "config"
    document = {
        "current-context": "blue",
        "clusters": [
            {"name": "c", "cluster": {"server": "https://192.0.2.1", **parts.get("cluster", {})}}
        ],
        "users": [{"name": "other", "user": {}}, {"name": "u", "user": parts.get("user", {})}],
        "contexts": [
            {
                "name": "blue",
                "context": {"cluster": "c", "user": "u", **parts.get("context", {})},
            }
        ],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def refusal(path: Path) -> str:
    """Return the one line with which reading fails, without the path of the file."""
    with pytest.raises(GatewayError) as failed:
        load_transport(path)
    message = str(failed.value)
    assert "\n" not in message
    assert SECRET not in message
    return message.removeprefix(f"{path}: ").replace(str(path.parent), "FOLDER")


@pytest.mark.parametrize("value", ["false", "true", 0, 1, "", [], {}, 1.5])
def test_verification_ends_only_with_a_boolean(tmp_path: Path, value: object) -> None:
    """The text "false" is true to many a reader, and would switch verification off."""
    path = write(tmp_path, cluster={"insecure-skip-tls-verify": value})
    assert refusal(path).startswith(
        "clusters[0].cluster.insecure-skip-tls-verify: expected true or false, found "
    )


@pytest.mark.parametrize(("value", "is_verified"), [(True, False), (False, True), (None, True)])
def test_a_boolean_decides_about_verification(
    tmp_path: Path, value: bool | None, is_verified: bool
) -> None:
    """Only the boolean true switches it off."""
    path = write(tmp_path, cluster={"insecure-skip-tls-verify": value})
    assert read_settings([path], None).cluster.is_verified is is_verified
    assert load_transport(path)._configuration.verify_ssl is is_verified


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"as": 5}, "users[1].user.as: expected a string, found a number"),
        ({"as": ["jane"]}, "users[1].user.as: expected a string, found a list"),
        (
            {"as": "jane\nroot"},
            "users[1].user.as: holds a control character, which no header can carry",
        ),
        ({"as": " "}, "users[1].user.as: expected more than white space"),
        ({"as": "\u00a0\t"}, "users[1].user.as: expected more than white space"),
        ({"as": "jane", "as-uid": " "}, "users[1].user.as-uid: expected more than white space"),
        ({"token": " \n"}, "users[1].user.token: expected more than white space"),
        ({"as-groups": ["a"]}, "users[1].user.as-groups: expected `as` with it"),
        ({"as-uid": "5"}, "users[1].user.as-uid: expected `as` with it"),
        ({"as-user-extra": {"a": ["b"]}}, "users[1].user.as-user-extra: expected `as` with it"),
        (
            {"as": "jane", "as-groups": "a"},
            "users[1].user.as-groups: expected a list of strings, found a string",
        ),
        (
            {"as": "jane", "as-groups": [5]},
            "users[1].user.as-groups[0]: expected a string, found a number",
        ),
        (
            {"as": "jane", "as-groups": ["a\r"]},
            "users[1].user.as-groups[0]: holds a control character, which no header can carry",
        ),
        (
            {"as": "jane", "as-user-extra": []},
            "users[1].user.as-user-extra: expected a mapping, found a list",
        ),
        (
            {"as": "jane", "as-user-extra": {"a": "b"}},
            "users[1].user.as-user-extra.a: expected a list of strings, found a string",
        ),
        (
            {"as": "jane", "as-user-extra": {5: ["b"]}},
            "users[1].user.as-user-extra: expected names that are strings",
        ),
        ({"impersonate": "jane"}, "users[1].user.impersonate: an unknown field: remove it"),
        ({"As": "jane"}, "users[1].user.As: an unknown field: remove it"),
        ({5: "jane"}, "users[1].user.5: an unknown field: remove it"),
        (
            {"auth-provider": {"name": "oidc"}},
            "users[1].user.auth-provider: not supported: use an exec plugin or a token",
        ),
        (
            {"auth-provider": {}},
            "users[1].user.auth-provider: not supported: use an exec plugin or a token",
        ),
        ({"token": 5}, "users[1].user.token: expected a string, found a number"),
        (
            {"token": f"{SECRET}\nx"},
            "users[1].user.token: holds a control character, which no header can carry",
        ),
        (
            {"token": f"{SECRET}\u2026"},
            "users[1].user.token: expected a token: ASCII without spaces",
        ),
        (
            {"token": f"{SECRET} {SECRET}"},
            "users[1].user.token: expected a token: ASCII without spaces",
        ),
        (
            {"token": SECRET, "username": "u"},
            "users[1].user: token and username: expected one of them",
        ),
        ({"tokenFile": "t", "exec": PLUGIN}, "users[1].user: token and exec: expected one of them"),
        (
            {"tokenFile": "absent"},
            "users[1].user.tokenFile: FOLDER/absent: No such file or directory",
        ),
        ({"tokenFile": "."}, "users[1].user.tokenFile: FOLDER: Is a directory"),
        (
            {"client-certificate-data": SECRET + "!"},
            "users[1].user.client-certificate-data: expected base64",
        ),
        (
            {"client-certificate-data": PEM},
            "users[1].user.client-key: missing, but client-certificate is there",
        ),
        (
            {"client-key-data": PEM},
            "users[1].user.client-certificate: missing, but client-key is there",
        ),
        (
            {"client-certificate-data": PEM, "client-key-data": PEM},
            (
                "users[1].user.client-certificate-data: expected a certificate and its key in PEM "
                "form, without a password"
            ),
        ),
        (
            {"client-certificate": "absent.crt", "client-key-data": PEM},
            "users[1].user.client-certificate: FOLDER/absent.crt: No such file or directory",
        ),
        (
            {"client-certificate-data": PEM, "client-certificate": "a"},
            (
                "users[1].user.client-certificate: client-certificate-data is there too: "
                "remove one of them"
            ),
        ),
        ({"exec": {}}, "users[1].user.exec.command: missing: expected the plugin's command"),
        ({"exec": "sh"}, "users[1].user.exec: expected a mapping, found a string"),
        (
            {"exec": {**PLUGIN, "interactiveMode": "Always"}},
            "users[1].user.exec.interactiveMode: expected Never or IfAvailable",
        ),
        (
            {"exec": {**PLUGIN, "apiVersion": "client.authentication.k8s.io/v1alpha1"}},
            (
                "users[1].user.exec.apiVersion: expected client.authentication.k8s.io/v1 or "
                "client.authentication.k8s.io/v1beta1"
            ),
        ),
        (
            {"exec": {**PLUGIN, "args": "a"}},
            "users[1].user.exec.args: expected a list of strings, found a string",
        ),
        (
            {"exec": {**PLUGIN, "env": {}}},
            "users[1].user.exec.env: expected a list, found a mapping",
        ),
        (
            {"exec": {**PLUGIN, "env": [5]}},
            "users[1].user.exec.env[0]: expected a mapping, found a number",
        ),
        (
            {"exec": {**PLUGIN, "env": [{"value": "x"}]}},
            "users[1].user.exec.env[0].name: expected the name of a variable",
        ),
        (
            {"exec": {**PLUGIN, "env": [{"name": "A", "value": 5}]}},
            "users[1].user.exec.env[0].value: expected a string, found a number",
        ),
        (
            {"exec": {**PLUGIN, "provideClusterInfo": "true"}},
            "users[1].user.exec.provideClusterInfo: expected true or false, found a string",
        ),
        (
            {"exec": {**PLUGIN, "stdin": True}},
            "users[1].user.exec.stdin: an unknown field: remove it",
        ),
    ],
)
def test_a_field_of_a_user_is_honoured_or_named(
    tmp_path: Path, user: dict[str, Any], expected: str
) -> None:
    """Nothing that limits or proves who asks is dropped, whatever its type."""
    assert refusal(write(tmp_path, user=user)) == expected


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (
            {"certificate-authority": "absent"},
            "clusters[0].cluster.certificate-authority: FOLDER/absent: No such file or directory",
        ),
        (
            {"certificate-authority": "/dev/null"},
            (
                "clusters[0].cluster.certificate-authority: /dev/null: "
                "expected PEM, the file is empty"
            ),
        ),
        (
            {"certificate-authority-data": " \n"},
            ("clusters[0].cluster.certificate-authority-data: expected PEM, found white space"),
        ),
        (
            {"certificate-authority-data": "a"},
            "clusters[0].cluster.certificate-authority-data: expected base64",
        ),
        (
            {"certificate-authority-data": "YQ=="},
            "clusters[0].cluster.certificate-authority-data: expected certificates in PEM form",
        ),
        (
            {"certificate-authority-data": b"a"},
            "clusters[0].cluster.certificate-authority-data: expected a string, found bytes",
        ),
        (
            {"certificate-authority-data": PEM, "insecure-skip-tls-verify": True},
            (
                "clusters[0].cluster.insecure-skip-tls-verify: true, but FOLDER/config: "
                "clusters[0].cluster.certificate-authority-data would verify the server: "
                "remove one of them"
            ),
        ),
        (
            {"tls-server-name": 5},
            "clusters[0].cluster.tls-server-name: expected a string, found a number",
        ),
        (
            {"disable-compression": "no"},
            "clusters[0].cluster.disable-compression: expected true or false, found a string",
        ),
        ({"insecure": True}, "clusters[0].cluster.insecure: an unknown field: remove it"),
        ({"proxy-url": 5}, "clusters[0].cluster.proxy-url: expected a string, found a number"),
        (
            {"proxy-url": f"http://u:{SECRET}@[::1"},
            "clusters[0].cluster.proxy-url: expected an http:// or https:// address of a proxy",
        ),
        (
            {"server": "192.0.2.1:6443"},
            "the cluster 'c' has no server: expected an https:// address",
        ),
        (
            {"server": "https://two words"},
            "the cluster 'c' has no server: expected an https:// address",
        ),
        (
            {"server": f"https://u:{SECRET}@192.0.2.1"},
            (
                "clusters[0].cluster.server: holds a user: "
                "move it to username and password of the user"
            ),
        ),
        (
            {"server": "https://192.0.2.1?a=b"},
            "clusters[0].cluster.server: expected an address without ? and #",
        ),
    ],
)
def test_a_field_of_a_cluster_is_honoured_or_named(
    tmp_path: Path, cluster: dict[str, Any], expected: str
) -> None:
    """Nothing that says how to know the server is dropped."""
    assert refusal(write(tmp_path, cluster=cluster)) == expected


def test_the_scheme_of_the_server_may_be_in_capitals(tmp_path: Path) -> None:
    """Its certificate is verified as that of https:// is, with the authorities of the file."""
    path = write(tmp_path, cluster={"server": "HTTPS://192.0.2.1:6443/k8s/"})
    assert load_transport(path).host == "https://192.0.2.1:6443/k8s"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("users: [{name: u, token: x}]", "users[0].token: an unknown field: remove it"),
        ("users: [{user: {}}]", "users[0].name: missing: expected a string"),
        ("users: [{name: u}, {name: u}]", "users[1].name: 'u' is there twice"),
        ("users: [5]", "users[0]: expected a mapping, found a number"),
        ("users: {}", "users: expected a list, found a mapping"),
        ("users: [{name: u, user: []}]", "users[0].user: expected a mapping, found a list"),
        (
            "contexts: [{name: a, context: {cluster: c, as: jane}}]\ncurrent-context: a",
            "contexts[0].context.as: an unknown field: remove it",
        ),
        (
            (
                "contexts: [{name: a, context: {cluster: c, user: gone}}]\n"
                "clusters: [{name: c, cluster: {}}]\ncurrent-context: a"
            ),
            "context 'a' names the user 'gone', which the file does not have",
        ),
        ("current-context: 5", ".current-context: expected a string, found a number"),
    ],
)
def test_an_entry_of_another_shape_is_named(tmp_path: Path, document: str, expected: str) -> None:
    """A token next to `user`, an entry without a name, a user that is not there."""
    path = tmp_path / "config"
    path.write_text(document)
    assert refusal(path) == expected


def test_every_request_impersonates(tmp_path: Path) -> None:
    """User, uid, each group on its own, and each value of extra, on reads, writes and watches."""
    user = {
        "token": "t",
        "as": "jané",
        "as-uid": "42",
        "as-groups": ["developers", "a, b"],
        "as-user-extra": {"scopes": ["one", "two"], "acme.com/Projekt ü": ["x"]},
    }
    with serving(replying(200, {})) as server:
        path = write(tmp_path, user=user, cluster={"server": server.url})
        transport = load_transport(path)
        transport.request("GET", "/a", timeout=5)
        transport.request("PATCH", "/a", body={}, timeout=5)
        transport.stream("/a", timeout=5)
        assert [_impersonation(server, number) for number in range(3)] == [
            [
                ("Impersonate-User", "jané".encode().decode("latin-1")),
                ("Impersonate-Uid", "42"),
                ("Impersonate-Group", "developers"),
                ("Impersonate-Group", "a, b"),
                ("Impersonate-Extra-acme.com%2FProjekt%20%C3%BC", "x"),
                ("Impersonate-Extra-scopes", "one"),
                ("Impersonate-Extra-scopes", "two"),
            ]
        ] * 3


def _impersonation(server: Scripted, number: int) -> list[tuple[str, str]]:
    return [line for line in server.asked[number].lines if line[0].startswith("Impersonate")]


def test_a_user_with_a_password_sends_both(tmp_path: Path) -> None:
    """RFC 7617, as kubectl does."""
    with serving(replying(200, {})) as server:
        path = write(
            tmp_path, user={"username": "u", "password": "p"}, cluster={"server": server.url}
        )
        load_transport(path).request("GET", "/a", timeout=5)
        assert server.asked[0].headers["authorization"] == "Basic dTpw"


def test_relative_paths_start_at_the_kubeconfig(tmp_path: Path) -> None:
    """Also that of a plugin, when it is a path and no name."""
    (tmp_path / "token").write_text("t")
    settings = read_settings([write(tmp_path, user={"tokenFile": "token"})], None)
    assert settings.user.token_file == tmp_path / "token"
    for command, expected in (("./bin/it", str(tmp_path / "bin/it")), ("it", "it")):
        path = write(tmp_path, user={"exec": {**PLUGIN, "command": command}})
        plugin = read_settings([path], None).user.plugin
        assert plugin is not None
        assert plugin.command == expected


def test_a_missing_file_of_the_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KUBECONFIG is set, so "set KUBECONFIG" would help nobody."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(GatewayError) as failed:
        load_transport()
    assert (
        str(failed.value) == f"{tmp_path / 'absent'}: no such file: $KUBECONFIG wants a kubeconfig"
    )


def test_no_repr_of_the_settings_shows_a_secret(tmp_path: Path) -> None:
    """Token, password, arguments and environment of a plugin, a proxy's password."""
    plugin = {**PLUGIN, "args": [SECRET], "env": [{"name": "A", "value": SECRET}]}
    users: list[dict[str, Any]] = [
        {"token": SECRET},
        {"username": "u", "password": SECRET},
        {"exec": plugin},
    ]
    for user in users:
        path = write(tmp_path, user=user, cluster={"proxy-url": f"http://u:{SECRET}@p"})
        assert SECRET not in repr(read_settings([path], None))
