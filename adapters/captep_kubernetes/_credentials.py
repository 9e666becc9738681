"""What authenticates the requests of this process now, read again when it may have changed.

Rules of this module:

1. Files are read again every 30 s, and a plugin is run again when its credentials expire. A 401
   does both at once, but not again within ten seconds unless a request succeeded in between: a
   plugin must not run at every request of a process that is locked out.
2. A source that fails keeps the credentials from before, if they have not expired. That is logged
   when it begins and when it ends.
3. Certificate and key count when they belong together: somebody who replaces two files replaces one
   of them first.
"""

import base64
import logging
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from attrs import evolve, field, frozen
from kubernetes import client
from kubernetes.config import ConfigException
from urllib3.util.ssl_ import create_urllib3_context

from captep_core.errors import GatewayError
from captep_kubernetes._plugin import PluginCredentials, run_plugin
from captep_kubernetes._settings import (
    ClusterEntry,
    Impersonation,
    Settings,
    UserEntry,
    is_token,
)

__all__ = [
    "Access",
    "ConfigurationCredentials",
    "Credentials",
    "FixedCredentials",
    "TLSMaterial",
    "UserCredentials",
    "impersonation_headers",
    "tls_context",
]

_log = logging.getLogger("captep.kubernetes")
# Half of the minute in which client-go notices a new token file: the next request may come late.
_FILES_SECONDS: Final = 30.0
_REFUSED_SECONDS: Final = 10.0
# The bytes of a header's name that need no escape (RFC 9110, token), without the percent sign.
_PLAIN: Final = frozenset(
    b"!#$&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


@frozen
class TLSMaterial:
    """PEM texts: the authorities that the server's certificate must have, and a client certificate.

    Without `authority` the system's authorities count.
    """

    authority: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


@frozen
class Access:
    """What authenticates a request at one moment; `authorization` is the header's value or ""."""

    authorization: str = field(default="", repr=False)
    tls: TLSMaterial = TLSMaterial()


class Credentials(Protocol):
    """Where a transport gets its `Access`. Safe to use from many threads."""

    def current(self) -> Access:
        """Return what authenticates a request now.

        Raises:
            GatewayError: there are no credentials now; one line that shows none.
        """
        ...

    def refused(self, access: Access) -> bool:
        """Learn that the server answered 401; returns whether `current` now differs."""
        ...

    def accepted(self) -> None:
        """Learn that the server took the credentials."""
        ...


@frozen
class FixedCredentials:
    """Credentials that never change."""

    access: Access = Access()

    def current(self) -> Access:
        """Return them."""
        return self.access

    def refused(self, access: Access) -> bool:  # noqa: ARG002 - the signature of the Protocol
        """Say that there are no others."""
        return False

    def accepted(self) -> None:
        """Nothing changes."""


class ConfigurationCredentials:
    """The credentials that a `Configuration` of the official client holds, read at each request.

    Its own hook renews its token; certificates are read from the files that it names.
    """

    def __init__(self, configuration: client.Configuration) -> None:
        self._configuration = configuration

    def current(self) -> Access:
        """Return the credentials of now.

        Raises:
            GatewayError: the configuration's hook fails, or a file cannot be read.
        """
        held = self._configuration
        try:
            setting = held.auth_settings().get("BearerToken")
        except ConfigException:
            # The text may quote what a plugin or a kubeconfig holds.
            raise GatewayError("the credentials could not be renewed") from None
        authorization = (setting["value"] if setting else None) or ""
        if not authorization and (held.username or held.password):
            authorization = held.get_basic_auth_token() or ""
        authority = held.ca_cert_data or _content(held.ssl_ca_cert)
        if isinstance(authority, str):
            authority = authority.encode()
        tls = TLSMaterial(authority, _content(held.cert_file), _content(held.key_file))
        return Access(authorization, tls)

    def refused(self, access: Access) -> bool:
        """Say whether there are others by now."""
        return self.current() != access

    def accepted(self) -> None:
        """Nothing changes."""


def _content(path: str | None) -> bytes:
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise GatewayError(f"{path}: {error.strerror}") from error


class UserCredentials:
    """The credentials of one user of a kubeconfig, or of a Pod's ServiceAccount.

    Args:
        settings: the user and the cluster.
        clock: seconds that only grow.
        now: the time, for expiry.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = settings.cluster
        self._user = settings.user
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._printed: PluginCredentials | None = None
        self._read_at = 0.0
        self._plugin_not_before = float("-inf")
        self._refused_not_before = float("-inf")
        self._problem: str | None = None

    def current(self) -> Access:
        """Return what authenticates a request now; see `Credentials`."""
        with self._lock:
            is_due = self._clock() - self._read_at >= _FILES_SECONDS
            if self._access is None or is_due or self._has_expired():
                self._refresh()
            if self._access is None:
                raise GatewayError(self._problem or "there are no credentials")
            if self._printed is not None and self._has_expired() and self._problem is not None:
                raise GatewayError(self._problem)
            return self._access

    def refused(self, access: Access) -> bool:
        """Read everything again; see `Credentials`."""
        with self._lock:
            if access is not self._access:
                return True
            if self._clock() < self._refused_not_before:
                return False
            self._refused_not_before = self._clock() + _REFUSED_SECONDS
            self._refresh(rerun=True)
            return self._access != access

    def accepted(self) -> None:
        """Allow the next 401 to read everything again at once."""
        self._refused_not_before = float("-inf")

    def _has_expired(self) -> bool:
        expires = self._printed.expires if self._printed else None
        return expires is not None and self._now() >= expires

    def _refresh(self, *, rerun: bool = False) -> None:
        self._read_at = self._clock()
        problem: str | None = None
        try:
            self._run_plugin(rerun=rerun)
            access = self._read()
            if self._access is None or access.tls != self._access.tls:
                check_material(self._cluster, self._user, access.tls)
            if access != self._access:
                self._access = access
        except GatewayError as error:
            problem = str(error)
        if problem is not None and self._problem is None and self._access is not None:
            _log.warning("the credentials could not be read again: %s", problem)
        elif problem is None and self._problem is not None:
            _log.info("the credentials could be read again")
        self._problem = problem

    def _run_plugin(self, *, rerun: bool) -> None:
        plugin = self._user.plugin
        if plugin is None:
            return
        if self._printed is not None and not rerun and not self._has_expired():
            return
        if not rerun and self._clock() < self._plugin_not_before:
            raise GatewayError(
                self._problem
                or f"{plugin.where}.command: expected credentials that have not expired"
            )
        # A plugin that fails, or prints what has expired, runs every ten seconds at most.
        self._plugin_not_before = self._clock() + _REFUSED_SECONDS
        self._printed = run_plugin(plugin, self._cluster)
        if not self._has_expired():
            self._plugin_not_before = float("-inf")

    def _read(self) -> Access:
        user = self._user
        printed = self._printed or PluginCredentials()
        authority = self._cluster.authority
        certificate = printed.certificate or (user.certificate.read() if user.certificate else b"")
        key = printed.key or (user.key.read() if user.key else b"")
        tls = TLSMaterial(authority.read() if authority else b"", certificate, key)
        return Access(self._authorization(printed.token), tls)

    def _authorization(self, printed: str) -> str:
        user = self._user
        if user.username or user.password:
            # RFC 7617; Go sends UTF-8.
            pair = f"{user.username}:{user.password}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        token = printed or user.token
        if user.token_file is not None:
            token = self._token_of(user.token_file, token)
        return f"Bearer {token}" if token else ""

    def _token_of(self, file: Path, otherwise: str) -> str:
        """Read the token file, which goes before `token` (client-go); keep `token` without it."""
        where = f"{self._user.where}.tokenFile: {file}"
        try:
            token = file.read_bytes().decode(errors="replace").strip()
        except OSError as error:
            if otherwise and self._access is None:
                return otherwise
            raise GatewayError(f"{where}: {error.strerror}") from error
        if not is_token(token):
            raise GatewayError(f"{where}: expected a token")
        return token


def check_material(cluster: ClusterEntry, user: UserEntry, material: TLSMaterial) -> None:
    """See that the PEM texts can be used.

    Raises:
        GatewayError: names the field that cannot.
    """
    if material.authority:
        where = cluster.authority.where if cluster.authority else cluster.where
        try:
            tls_context(evolve(material, certificate=b"", key=b""), is_verified=True)
        except (ssl.SSLError, ValueError, OSError):
            raise GatewayError(f"{where}: expected certificates in PEM form") from None
    if material.certificate or material.key:
        where = user.certificate.where if user.certificate else user.where
        try:
            tls_context(evolve(material, authority=b""), is_verified=False)
        except (ssl.SSLError, ValueError, OSError):
            raise GatewayError(
                f"{where}: expected a certificate and its key in PEM form, without a password"
            ) from None


def tls_context(material: TLSMaterial, *, is_verified: bool) -> ssl.SSLContext:
    """Return a context for connections to the server.

    Raises:
        ssl.SSLError: a text is no PEM, or certificate and key do not belong together.
    """
    context = create_urllib3_context()
    # Go accepts certificate authorities without the key usages that RFC 5280 asks for, which
    # OpenSSL refuses in strict mode, the default of Python 3.13.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif material.authority:
        with _private_file(material.authority) as name:
            context.load_verify_locations(cafile=name)
    else:
        context.load_default_certs()
    if material.certificate:
        # An empty password: OpenSSL would ask for one at the terminal.
        with _private_file(material.certificate) as name, _private_file(material.key) as key:
            context.load_cert_chain(name, key, password="")
    return context


@contextmanager
def _private_file(content: bytes) -> Iterator[str]:
    """Write a file that only this user can read, for as long as OpenSSL reads it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


def impersonation_headers(impersonation: Impersonation | None) -> tuple[tuple[str, str], ...]:
    """Return the headers that make the server treat a request as another user's."""
    if impersonation is None:
        return ()
    headers = [("Impersonate-User", impersonation.user)]
    if impersonation.uid:
        headers.append(("Impersonate-Uid", impersonation.uid))
    headers += [("Impersonate-Group", group) for group in impersonation.groups]
    headers += [
        (f"Impersonate-Extra-{_escaped(name)}", value)
        for name, values in impersonation.extra
        for value in values
    ]
    return tuple(headers)


def _escaped(name: str) -> str:
    octets = name.encode("utf-8", "surrogatepass")
    return "".join(chr(octet) if octet in _PLAIN else f"%{octet:02X}" for octet in octets)
