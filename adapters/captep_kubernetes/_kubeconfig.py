"""One kubeconfig, read strictly: each field is honoured as kubectl honours it, or refused by name.

Rules of this module:

1. A field of a cluster, a user or a context that is not in the tables below is an error. A reader
   that ignores unknown fields would drop `as` and send every request with the full rights.
2. Types are checked, never converted: the text "false" is no boolean, and verification of the
   server's certificate ends only with the boolean true.
3. Errors name the file and the field and never quote a value that may be secret.

The validation follows client-go (tools/clientcmd/validation.go).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from captep_core.errors import GatewayError
from captep_kubernetes._kubeconfig_fields import Node, check_header, kind_of, read_document
from captep_kubernetes._settings import (
    ClusterEntry,
    Impersonation,
    Plugin,
    Settings,
    UserEntry,
    is_token,
)

__all__ = ["read_settings"]

_CLUSTER_FIELDS: Final = frozenset(
    {
        "server",
        "tls-server-name",
        "insecure-skip-tls-verify",
        "certificate-authority",
        "certificate-authority-data",
        "proxy-url",
        # The server may compress or not: nothing that a request says depends on it.
        "disable-compression",
        "extensions",
        # Written by kubectl before 1.6, read by none since.
        "api-version",
    }
)
_USER_FIELDS: Final = frozenset(
    {
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
        "token",
        "tokenFile",
        "as",
        "as-uid",
        "as-groups",
        "as-user-extra",
        "username",
        "password",
        "auth-provider",
        "exec",
        "extensions",
    }
)
_CONTEXT_FIELDS: Final = frozenset({"cluster", "user", "namespace", "extensions"})
_PLUGIN_FIELDS: Final = frozenset(
    {
        "apiVersion",
        "command",
        "args",
        "env",
        "installHint",
        "provideClusterInfo",
        "interactiveMode",
    }
)
_PLUGIN_VERSIONS: Final = (
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
)
# Where a cluster says what its users' plugins need to know (client-go, clusterExtensionKey).
_PLUGIN_EXTENSION: Final = "client.authentication.k8s.io/exec"


@frozen
class _Merged:
    """The entries of all files by name; the first file that has a name wins, as in kubectl."""

    names: str
    current: str
    contexts: Mapping[str, Node]
    clusters: Mapping[str, Node]
    users: Mapping[str, Node]


def read_settings(files: list[Path], context: str | None) -> Settings:
    """Return the cluster and the user of `context`, None for the current context.

    Raises:
        GatewayError: one line that names the file and the field, and says what was expected.
    """
    merged = _merged(files)
    wanted = context or merged.current
    known = ", ".join(sorted(merged.contexts)) or "none"
    if not wanted:
        raise GatewayError(f"{merged.names}: no current-context: give --context, one of {known}")
    if wanted not in merged.contexts:
        raise GatewayError(f"{merged.names}: no context {wanted!r}: expected one of {known}")
    chosen = merged.contexts[wanted]
    chosen.check(_CONTEXT_FIELDS)
    cluster_name = chosen.text("cluster")
    if cluster_name not in merged.clusters:
        raise GatewayError(
            f"{merged.names}: context {wanted!r} names the cluster {cluster_name!r}, "
            "which the file does not have"
        )
    user_name = chosen.text("user")
    if user_name and user_name not in merged.users:
        # Requests without credentials would go out under the name of somebody.
        raise GatewayError(
            f"{merged.names}: context {wanted!r} names the user {user_name!r}, "
            "which the file does not have"
        )
    cluster = _cluster(merged.clusters[cluster_name], cluster_name)
    return Settings(
        cluster, _user(merged.users[user_name]) if user_name else UserEntry(merged.names)
    )


def _cluster(node: Node, name: str) -> ClusterEntry:
    node.check(_CLUSTER_FIELDS)
    server = _server(node, name)
    is_verified = not node.flag("insecure-skip-tls-verify")
    authority = node.material("certificate-authority")
    if authority is not None and not is_verified:
        raise GatewayError(
            f"{node.at('insecure-skip-tls-verify')}: true, but {authority.where} would verify the "
            "server: remove one of them"
        )
    node.flag("disable-compression")
    return ClusterEntry(
        node.where,
        name,
        server,
        node.text("tls-server-name"),
        is_verified,
        authority,
        node.text("proxy-url"),
        _plugin_config(node),
    )


def _server(node: Node, name: str) -> str:
    """Return the server's address with its scheme in small letters, without a slash at the end."""
    text = node.text("server").strip()
    problem = GatewayError(
        f"{node.file}: the cluster {name!r} has no server: expected an https:// address"
    )
    try:
        split = urlsplit(text)
        has_host = bool(split.hostname) and split.port != 0
    except ValueError:
        raise problem from None
    if split.scheme not in ("https", "http") or not has_host or len(text.split()) > 1:
        raise problem
    if split.username is not None:
        # kubectl sends it as a password; here it would appear in messages.
        raise GatewayError(
            f"{node.at('server')}: holds a user: move it to username and password of the user"
        )
    if split.query or split.fragment:
        raise GatewayError(f"{node.at('server')}: expected an address without ? and #")
    return f"{split.scheme}://{split.netloc}{split.path}".rstrip("/")


def _user(node: Node) -> UserEntry:
    node.check(_USER_FIELDS)
    if node.value.get("auth-provider") is not None:
        raise GatewayError(
            f"{node.at('auth-provider')}: not supported: use an exec plugin or a token"
        )
    user = UserEntry(
        node.where,
        node.material("client-certificate"),
        node.material("client-key"),
        _token(node),
        node.file_path("tokenFile"),
        node.header("username"),
        node.text("password"),
        _impersonation(node),
        _plugin(node),
    )
    if (user.certificate is None) is not (user.key is None):
        missing, given = ("client-key", "client-certificate")
        if user.certificate is None:
            missing, given = given, missing
        raise GatewayError(f"{node.at(missing)}: missing, but {given} is there")
    _check_one_method(node, user)
    return user


def _token(node: Node) -> str:
    token = node.header("token")
    if token and not is_token(token):
        raise GatewayError(f"{node.at('token')}: expected a token: ASCII without spaces")
    return token


def _check_one_method(node: Node, user: UserEntry) -> None:
    has_token = bool(user.token or user.token_file)
    has_password = bool(user.username or user.password)
    methods = {"token": has_token, "username": has_password, "exec": user.plugin is not None}
    used = [name for name, is_used in methods.items() if is_used]
    if len(used) > 1:
        raise GatewayError(f"{node.where}: {' and '.join(used)}: expected one of them")


def _impersonation(node: Node) -> Impersonation | None:
    user = node.header("as")
    uid = node.header("as-uid")
    groups = node.texts("as-groups")
    extra = _extra(node)
    if not user:
        for name, value in (("as-uid", uid), ("as-groups", groups), ("as-user-extra", extra)):
            if value:
                raise GatewayError(f"{node.at(name)}: expected `as` with it")
        return None
    for number, group in enumerate(groups):
        check_header(f"{node.at('as-groups')}[{number}]", group)
    return Impersonation(user, uid, groups, extra)


def _extra(node: Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
    extra = node.node("as-user-extra")
    if extra is None:
        return ()
    found = []
    names: list[object] = sorted(extra.value, key=str)
    for name in names:
        if not isinstance(name, str) or not name:
            raise GatewayError(f"{extra.where}: expected names that are strings")
        values = extra.texts(name)
        for value in values:
            check_header(extra.at(name), value)
        found.append((name, values))
    return tuple(found)


def _plugin(node: Node) -> Plugin | None:
    found = node.node("exec")
    if found is None:
        return None
    found.check(_PLUGIN_FIELDS)
    command = found.text("command")
    if not command:
        raise GatewayError(f"{found.at('command')}: missing: expected the plugin's command")
    api_version = found.text("apiVersion")
    if api_version not in _PLUGIN_VERSIONS:
        raise GatewayError(f"{found.at('apiVersion')}: expected {' or '.join(_PLUGIN_VERSIONS)}")
    mode = found.text("interactiveMode")
    if mode not in ("", "Never", "IfAvailable"):
        # Nobody sits at the terminal of a controller.
        raise GatewayError(f"{found.at('interactiveMode')}: expected Never or IfAvailable")
    found.text("installHint")
    if "/" in command:
        command = str(node.file.parent / command)
    return Plugin(
        found.where,
        api_version,
        command,
        found.texts("args"),
        _environment(found),
        found.flag("provideClusterInfo"),
    )


def _environment(node: Node) -> tuple[tuple[str, str], ...]:
    entries = node.value.get("env")
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise GatewayError(f"{node.at('env')}: expected a list, found {kind_of(entries)}")
    found = []
    for number, entry in enumerate(entries):
        where = f"{node.path}.env[{number}]"
        if not isinstance(entry, dict):
            raise GatewayError(f"{node.file}: {where}: expected a mapping, found {kind_of(entry)}")
        one = Node(node.file, where, entry)
        one.check(("name", "value"))
        name = one.text("name")
        if not name or "=" in name or "\0" in name + one.text("value"):
            raise GatewayError(f"{one.at('name')}: expected the name of a variable")
        found.append((name, one.text("value")))
    return tuple(found)


def _plugin_config(node: Node) -> object:
    extensions = node.value.get("extensions")
    for entry in extensions if isinstance(extensions, list) else ():
        if isinstance(entry, dict) and entry.get("name") == _PLUGIN_EXTENSION:
            extension = entry.get("extension")
            try:
                json.dumps(extension)
            except (TypeError, ValueError):
                raise GatewayError(f"{node.at('extensions')}: expected JSON") from None
            return extension
    return None


def _merged(files: list[Path]) -> _Merged:
    documents = [(file, read_document(file)) for file in files]
    names = ":".join(map(str, files))
    # Of several current contexts kubectl takes the first.
    current = ""
    for file, document in documents:
        current = current or Node(file, "", document).text("current-context")
    return _Merged(
        names,
        current,
        _entries(documents, "contexts"),
        _entries(documents, "clusters"),
        _entries(documents, "users"),
    )


def _entries(
    documents: list[tuple[Path, Mapping[str, object]]], section: str
) -> Mapping[str, Node]:
    merged: dict[str, Node] = {}
    for file, document in documents:
        of_file = _entries_of(file, document.get(section), section)
        merged = {**of_file, **merged}
    return merged


def _entries_of(file: Path, entries: object, section: str) -> dict[str, Node]:
    if entries is None:
        return {}
    if not isinstance(entries, list):
        raise GatewayError(f"{file}: {section}: expected a list, found {kind_of(entries)}")
    found: dict[str, Node] = {}
    inner = section[:-1]
    for number, entry in enumerate(entries):
        where = f"{section}[{number}]"
        if not isinstance(entry, dict):
            raise GatewayError(f"{file}: {where}: expected a mapping, found {kind_of(entry)}")
        outer = Node(file, where, entry)
        # A token next to `user` instead of in it would be no credential at all.
        outer.check(("name", inner))
        name = outer.text("name")
        if not name:
            raise GatewayError(f"{outer.at('name')}: missing: expected a string")
        if name in found:
            raise GatewayError(f"{outer.at('name')}: {name!r} is there twice")
        found[name] = outer.node(inner) or Node(file, f"{where}.{inner}", {})
    return found
