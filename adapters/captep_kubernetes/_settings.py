"""How to reach a cluster, and as whom: the values that a kubeconfig or a Pod gives."""

from pathlib import Path

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
]


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


def is_token(text: str) -> bool:
    """Say whether `text` can follow `Bearer` in a header (RFC 6750)."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def is_unicode(text: str) -> bool:
    """Say whether `text` can be sent: half of a pair of surrogates has no UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
