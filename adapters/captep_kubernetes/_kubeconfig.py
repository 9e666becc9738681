"""One kubeconfig, read strictly: each field is honoured as kubectl honours it, or refused by name.

Rules of this module:

1. A field of a cluster, a user or a context that is not in the tables below is an error. A reader
   that ignores unknown fields would drop `as` and send every request with the full rights.
2. Types are checked, never converted: the text "false" is no boolean, and verification of the
   server's certificate ends only with the boolean true.
3. Errors name the file and the field and never quote a value that may be secret.

The validation follows client-go (tools/clientcmd/validation.go).
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import yaml
from attrs import field, frozen

from captep_core.errors import GatewayError

__all__ = [
    "ClusterEntry",
    "Impersonation",
    "Material",
    "Plugin",
    "Settings",
    "UserEntry",
    "is_token",
    "is_unicode",
    "read_settings",
]

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
class Material:
    """PEM text, inline or in a file; `where` is the field of the kubeconfig."""

    where: str
    path: Path | None = None
    data: bytes = field(default=b"", repr=False)

    def read(self) -> bytes:
        """Return the text as it is now.

        Raises:
            GatewayError: the file cannot be read, or it is empty.
        """
        if self.path is None:
            return self.data
        try:
            text = self.path.read_bytes()
        except OSError as error:
            raise GatewayError(f"{self.where}: {self.path}: {error.strerror}") from error
        if not text.strip():
            # Without authorities those of the system would count. A file that somebody is about
            # to write is empty for a moment.
            raise GatewayError(f"{self.where}: {self.path}: expected PEM, the file is empty")
        return text


@frozen
class ClusterEntry:
    """One server: how to reach it, and how to know it."""

    where: str
    name: str
    server: str
    tls_server_name: str
    is_verified: bool
    authority: Material | None
    proxy_url: str = field(repr=False)
    plugin_config: object = field(default=None, repr=False)


@frozen
class Plugin:
    """A command that prints credentials (KEP-541); `env` adds to this process's environment."""

    where: str
    api_version: str
    command: str
    args: tuple[str, ...] = field(repr=False)
    env: tuple[tuple[str, str], ...] = field(repr=False)
    provides_cluster_info: bool


@frozen
class Impersonation:
    """As whom the server treats the requests."""

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@frozen
class UserEntry:
    """One identity: everything that authenticates a request."""

    where: str
    certificate: Material | None = None
    key: Material | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    impersonation: Impersonation | None = None
    plugin: Plugin | None = None


@frozen
class Settings:
    """The cluster and the user of one context."""

    cluster: ClusterEntry
    user: UserEntry


@frozen
class _Node:
    """One mapping of a file, and its path there."""

    file: Path
    path: str
    value: Mapping[str, object] = field(repr=False)

    @property
    def where(self) -> str:
        return f"{self.file}: {self.path}"

    def at(self, name: str) -> str:
        return f"{self.where}.{name}"

    def check(self, known: Iterable[str]) -> None:
        for name in self.value:
            if name not in known:
                raise GatewayError(f"{self.at(str(name))}: an unknown field: remove it")

    def text(self, name: str) -> str:
        value = self.value.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise GatewayError(f"{self.at(name)}: expected a string, found {_kind(value)}")
        return value

    def header(self, name: str) -> str:
        """Return a text that travels in a header, without white space around it."""
        text = self.text(name)
        value = text.strip()
        if text and not value:
            # Taken for a missing `as`, it would give the requests the rights of the user itself.
            raise GatewayError(f"{self.at(name)}: expected more than white space")
        _check_header(self.at(name), value)
        return value

    def flag(self, name: str) -> bool:
        value = self.value.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise GatewayError(f"{self.at(name)}: expected true or false, found {_kind(value)}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return _texts(self.at(name), self.value.get(name))

    def data(self, name: str) -> bytes:
        given = self.text(name)
        text = "".join(given.split())
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise GatewayError(f"{self.at(name)}: expected base64") from None
        if given and not data.strip():
            raise GatewayError(f"{self.at(name)}: expected PEM, found white space")
        return data

    def file_path(self, name: str) -> Path | None:
        text = self.text(name)
        # Relative paths count from the kubeconfig's folder, as in kubectl.
        return self.file.parent / text if text else None

    def material(self, name: str) -> Material | None:
        """Return the field `name` or `name`-data; both at once are an error, as in kubectl."""
        path = self.file_path(name)
        data = self.data(f"{name}-data")
        if path is not None and data:
            raise GatewayError(f"{self.at(name)}: {name}-data is there too: remove one of them")
        if path is not None:
            return Material(self.at(name), path)
        return Material(self.at(f"{name}-data"), None, data) if data else None

    def node(self, name: str) -> "_Node | None":
        value = self.value.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise GatewayError(f"{self.at(name)}: expected a mapping, found {_kind(value)}")
        return _Node(self.file, f"{self.path}.{name}", value)


@frozen
class _Merged:
    """The entries of all files by name; the first file that has a name wins, as in kubectl."""

    names: str
    current: str
    contexts: Mapping[str, _Node]
    clusters: Mapping[str, _Node]
    users: Mapping[str, _Node]


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


def _cluster(node: _Node, name: str) -> ClusterEntry:
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


def _server(node: _Node, name: str) -> str:
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


def _user(node: _Node) -> UserEntry:
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


def _token(node: _Node) -> str:
    token = node.header("token")
    if token and not is_token(token):
        raise GatewayError(f"{node.at('token')}: expected a token: ASCII without spaces")
    return token


def is_token(text: str) -> bool:
    """Say whether `text` can follow `Bearer` in a header (RFC 6750)."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def is_unicode(text: str) -> bool:
    """Say whether `text` can be sent: half of a pair of surrogates has no UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _check_one_method(node: _Node, user: UserEntry) -> None:
    has_token = bool(user.token or user.token_file)
    has_password = bool(user.username or user.password)
    methods = {"token": has_token, "username": has_password, "exec": user.plugin is not None}
    used = [name for name, is_used in methods.items() if is_used]
    if len(used) > 1:
        raise GatewayError(f"{node.where}: {' and '.join(used)}: expected one of them")


def _impersonation(node: _Node) -> Impersonation | None:
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
        _check_header(f"{node.at('as-groups')}[{number}]", group)
    return Impersonation(user, uid, groups, extra)


def _extra(node: _Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
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
            _check_header(extra.at(name), value)
        found.append((name, values))
    return tuple(found)


def _plugin(node: _Node) -> Plugin | None:
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


def _environment(node: _Node) -> tuple[tuple[str, str], ...]:
    entries = node.value.get("env")
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise GatewayError(f"{node.at('env')}: expected a list, found {_kind(entries)}")
    found = []
    for number, entry in enumerate(entries):
        where = f"{node.path}.env[{number}]"
        if not isinstance(entry, dict):
            raise GatewayError(f"{node.file}: {where}: expected a mapping, found {_kind(entry)}")
        one = _Node(node.file, where, entry)
        one.check(("name", "value"))
        name = one.text("name")
        if not name or "=" in name or "\0" in name + one.text("value"):
            raise GatewayError(f"{one.at('name')}: expected the name of a variable")
        found.append((name, one.text("value")))
    return tuple(found)


def _plugin_config(node: _Node) -> object:
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
    documents = [(file, _document(file)) for file in files]
    names = ":".join(map(str, files))
    # Of several current contexts kubectl takes the first.
    current = ""
    for file, document in documents:
        current = current or _Node(file, "", document).text("current-context")
    return _Merged(
        names,
        current,
        _entries(documents, "contexts"),
        _entries(documents, "clusters"),
        _entries(documents, "users"),
    )


def _entries(
    documents: list[tuple[Path, Mapping[str, object]]], section: str
) -> Mapping[str, _Node]:
    merged: dict[str, _Node] = {}
    for file, document in documents:
        of_file = _entries_of(file, document.get(section), section)
        merged = {**of_file, **merged}
    return merged


def _entries_of(file: Path, entries: object, section: str) -> dict[str, _Node]:
    if entries is None:
        return {}
    if not isinstance(entries, list):
        raise GatewayError(f"{file}: {section}: expected a list, found {_kind(entries)}")
    found: dict[str, _Node] = {}
    inner = section[:-1]
    for number, entry in enumerate(entries):
        where = f"{section}[{number}]"
        if not isinstance(entry, dict):
            raise GatewayError(f"{file}: {where}: expected a mapping, found {_kind(entry)}")
        outer = _Node(file, where, entry)
        # A token next to `user` instead of in it would be no credential at all.
        outer.check(("name", inner))
        name = outer.text("name")
        if not name:
            raise GatewayError(f"{outer.at('name')}: missing: expected a string")
        if name in found:
            raise GatewayError(f"{outer.at('name')}: {name!r} is there twice")
        found[name] = outer.node(inner) or _Node(file, f"{where}.{inner}", {})
    return found


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: no dates, and no key twice in a mapping."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[object, object]:
    loader.flatten_mapping(node)
    keys = [loader.construct_object(key) for key, _ in node.value]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is there twice", node.value[number][0].start_mark
            )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _parsed(text: str) -> object:
    """Return the value of JSON or YAML; this YAML parser refuses JSON with tabs, Go's does not."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def _document(file: Path) -> Mapping[str, object]:
    try:
        document = _parsed(file.read_bytes().decode("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or "not UTF-8 text"
        raise GatewayError(f"{where}: not YAML: {problem}") from None
    except OSError as error:
        raise GatewayError(f"{file}: cannot be read: {error.strerror}") from error
    if not isinstance(document, dict):
        raise GatewayError(
            f"{file}: not a kubeconfig: the whole file is {type(document).__name__}, "
            "expected a mapping"
        )
    return document


def _texts(where: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise GatewayError(f"{where}: expected a list of strings, found {_kind(value)}")
    for number, entry in enumerate(value):
        if not isinstance(entry, str):
            raise GatewayError(f"{where}[{number}]: expected a string, found {_kind(entry)}")
    return tuple(value)


def _check_header(where: str, value: str) -> None:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise GatewayError(f"{where}: holds a control character, which no header can carry")
    if not is_unicode(value):
        raise GatewayError(f"{where}: holds a character that is no Unicode text")


_KINDS: Final[Mapping[type, str]] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}


def _kind(value: object) -> str:
    """Name the type of a value, which may be secret itself."""
    return _KINDS.get(type(value), type(value).__name__)
