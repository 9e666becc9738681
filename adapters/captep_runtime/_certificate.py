"""The certificate of an HTTPS server in files, read again after a replacement."""

import logging
import socket
import ssl
import threading
from pathlib import Path
from typing import Final, TypeAlias

from captep_core.errors import CaptepError

__all__ = ["Certificate", "CertificateError"]

_log = logging.getLogger("captep.health")
_CERTIFICATE: Final = "tls.crt"
_KEY: Final = "tls.key"
_Signature: TypeAlias = tuple[tuple[int, int, int], ...]


class CertificateError(CaptepError):
    """A certificate or its key is missing or unusable; the message names the file."""


class Certificate:
    """`tls.crt` and `tls.key` of a folder, as in a mounted Secret of the type kubernetes.io/tls.

    Files that change are read again at the next connection. While they do not fit, as in the middle
    of a replacement, the server keeps the certificate that it has.
    """

    def __init__(self, folder: Path) -> None:
        """Read the files.

        Raises:
            CertificateError: a file is missing, or the two do not make a certificate with its key.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._seen = self._signature()
        # The files whose problem is in the log; empty while one of them is missing.
        self._failed: _Signature | None = None
        self._context = self._loaded()

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return a connection with TLS, before its handshake."""
        return self._current().wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _current(self) -> ssl.SSLContext:
        with self._lock:
            try:
                signature = self._signature()
            except CertificateError as error:
                self._report(error, None)
                return self._context
            if signature in (self._seen, self._failed):
                return self._context
            try:
                self._context = self._loaded()
            except CertificateError as error:
                self._report(error, signature)
                return self._context
            self._seen = signature
            self._failed = None
            _log.info("the certificate in %s was replaced", self._folder)
            return self._context

    def _report(self, error: CertificateError, signature: _Signature | None) -> None:
        """Log a problem when it starts, not at every connection."""
        if self._failed is None:
            _log.warning("%s: the server keeps the certificate that it has", error)
        self._failed = signature or ()

    def _signature(self) -> _Signature:
        return tuple(_signature(self._folder / name) for name in (_CERTIFICATE, _KEY))

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # An empty password: OpenSSL would ask for one at the terminal.
            context.load_cert_chain(self._folder / _CERTIFICATE, self._folder / _KEY, password="")
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise CertificateError(
                f"{self._folder}: {_CERTIFICATE} and {_KEY} do not hold a certificate with its key:"
                f" {reason}"
            ) from None
        return context


def _signature(file: Path) -> tuple[int, int, int]:
    """Return what changes when a file is replaced, by a new link too."""
    try:
        found = file.stat()
    except OSError as error:
        raise CertificateError(f"{file}: cannot be read: {error.strerror}") from None
    return found.st_mtime_ns, found.st_ino, found.st_size
