"""One request, one answer: the official client behind a typed Protocol.

Rules of this module:

1. An HTTP status is an answer and never an exception. `UnansweredError` means that no answer came,
   and says whether a write may have landed.
2. Nothing is sent twice: urllib3's own retries deliver a PUT or DELETE up to four times when its
   answer is lost.
3. Every call has a timeout, an explicit content type, the field manager `captep` and the user agent
   `captep/VERSION`.
4. JSON passes as the server sent it; no model of the client reads or writes it. Bodies stay out of
   every repr and message.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeAlias

import urllib3
from kubernetes import client
from kubernetes.config import ConfigException
from kubernetes.dynamic import DynamicClient

from captep_core import JSON
from captep_core._request import RawResponse
from captep_core.errors import CaptepError

__all__ = [
    "FIELD_MANAGER",
    "MERGE_PATCH",
    "KubernetesTransport",
    "Query",
    "Stream",
    "Transport",
    "UnansweredError",
]

FIELD_MANAGER = "captep"
MERGE_PATCH = "application/merge-patch+json"
_JSON_TYPE = "application/json"
_CONNECT_SECONDS = 5.0
_CHUNK_BYTES = 1 << 16
_WRITES = ("POST", "PUT", "PATCH")
_NEVER_SENT = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "HANDSHAKE_FAILURE")

Query: TypeAlias = Sequence[tuple[str, str | int]]


class UnansweredError(CaptepError):
    """No answer came.

    `may_have_landed` is False for every read, and when the request surely did not reach the server.
    """

    def __init__(self, message: str, *, may_have_landed: bool) -> None:
        super().__init__(message)
        self.may_have_landed = may_have_landed


class Stream(Protocol):
    """A watch that the server accepted."""

    def lines(self) -> Iterator[bytes]:
        """Yield each line as it comes, until the server or `close` ends the stream.

        Raises:
            UnansweredError: the connection broke, or was silent for longer than the timeout.
        """
        ...

    def close(self) -> None:
        """End the stream, from any thread and at once."""
        ...


class Transport(Protocol):
    """The way to one API server. Safe to use from many threads."""

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Mapping[str, JSON] | None = None,
        content_type: str | None = None,
        accept: str = _JSON_TYPE,
        timeout: float,
    ) -> RawResponse:
        """Send one request; `timeout` is in seconds, for each wait on the network.

        Raises:
            UnansweredError: no answer came.
        """
        ...

    def stream(
        self, path: str, *, query: Query = (), accept: str = _JSON_TYPE, timeout: float
    ) -> Stream | RawResponse:
        """Open a stream of lines; every status but 200 is an answer.

        `timeout` is the longest silence in seconds.

        Raises:
            UnansweredError: no answer came.
        """
        ...


class KubernetesTransport:
    """`Transport` over the official client, for sync code and threads.

    Args:
        configuration: where the server is and who asks; it becomes this transport's own.
        connection_pool_maxsize: connections kept open; at least one a worker and one a watch.
    """

    def __init__(
        self, configuration: client.Configuration, *, connection_pool_maxsize: int = 32
    ) -> None:
        configuration.retries = False
        configuration.connection_pool_maxsize = connection_pool_maxsize
        configuration.keep_alive = True
        self.host: str = configuration.host
        self._api = client.ApiClient(configuration)
        self._api.user_agent = f"captep/{_version()}"
        self._dynamic = DynamicClient(self._api, discoverer=lambda _client, _cache_file: None)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Mapping[str, JSON] | None = None,
        content_type: str | None = None,
        accept: str = _JSON_TYPE,
        timeout: float,
    ) -> RawResponse:
        """Send one request; see `Transport.request`."""
        with _answered(method, path):
            try:
                raw = self._send(method, path, query, body, content_type, accept, timeout)
                return RawResponse(raw.status, _headers(raw.headers), _parsed(raw.data))
            except client.ApiException as refused:
                return _refused(refused)

    def stream(
        self, path: str, *, query: Query = (), accept: str = _JSON_TYPE, timeout: float
    ) -> Stream | RawResponse:
        """Open a stream of lines; see `Transport.stream`."""
        with _answered("GET", path):
            try:
                return _HTTPStream(
                    self._send("GET", path, query, None, None, accept, timeout), path
                )
            except client.ApiException as refused:
                return _refused(refused)

    def close(self) -> None:
        """Close the idle connections."""
        self._api.close()

    def _send(
        self,
        method: str,
        path: str,
        query: Query,
        body: object,
        content_type: str | None,
        accept: str,
        timeout: float,
    ) -> urllib3.HTTPResponse:
        manager = [("fieldManager", FIELD_MANAGER)] if method in _WRITES else []
        options: dict[str, Any] = {
            "query_params": [*query, *manager],
            "header_params": {"Accept": accept},
            "body": body,
        }
        wait = (min(timeout, _CONNECT_SECONDS), timeout)
        answer: urllib3.HTTPResponse = self._dynamic.request(
            method,
            path,
            serialize=False,
            content_type=content_type or _JSON_TYPE,
            _request_timeout=wait,
            **options,
        )
        return answer


class _HTTPStream:
    def __init__(self, answer: urllib3.HTTPResponse, path: str) -> None:
        self._answer, self._path = answer, path

    def lines(self) -> Iterator[bytes]:
        pending = bytearray()
        with _answered("GET", self._path):
            try:
                while chunk := self._answer.read1(_CHUNK_BYTES):
                    *complete, rest = chunk.split(b"\n")
                    for line in complete:
                        yield bytes(pending + line)
                        pending.clear()
                    pending += rest
            finally:
                self._answer.close()

    def close(self) -> None:
        # Shutting the socket down wakes a thread that is blocked in a read; closing it does not.
        with suppress(OSError, ValueError, RuntimeError):
            self._answer.shutdown()


@contextmanager
def _answered(method: str, path: str) -> Iterator[None]:
    """Translate the exceptions of urllib3 and the client; the one place that does."""
    is_read = method == "GET"
    try:
        yield
    except (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.LocationValueError,
    ) as error:
        raise UnansweredError(_message(method, path, error), may_have_landed=False) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UnansweredError(_message(method, path, error), may_have_landed=not is_read) from error
    except client.ApiException as error:
        sent = not is_read and not any(problem in str(error.reason) for problem in _NEVER_SENT)
        raise UnansweredError(_message(method, path, error), may_have_landed=sent) from error
    except ConfigException:
        # The text may quote what a plugin or a kubeconfig holds.
        raise UnansweredError(
            f"{method} {path}: the credentials could not be renewed", may_have_landed=False
        ) from None
    except ValueError:
        # The text quotes the header that cannot be sent, token and all.
        raise UnansweredError(
            f"{method} {path}: the credentials are malformed", may_have_landed=not is_read
        ) from None


def _refused(refused: client.ApiException) -> RawResponse:
    if not refused.status:
        # The client's way to say that TLS failed.
        raise refused
    return RawResponse(refused.status, _headers(refused.headers or {}), _parsed(refused.body or ""))


def _message(method: str, path: str, error: Exception) -> str:
    """Describe an error in one line, in the operating system's words where it caused the error."""
    if isinstance(error, client.ApiException):
        return f"{method} {path}: {' '.join(str(error.reason).split())}"
    text = _one_line(error)
    raised: BaseException | None = error
    while raised is not None:
        if isinstance(raised, OSError):
            text = raised.strerror or _one_line(raised)
        raised = raised.__cause__ or raised.__context__
    return f"{method} {path}: {type(error).__name__}: {text}"


def _one_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _parsed(content: bytes | str) -> dict[str, JSON] | None:
    try:
        parsed: JSON = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _version() -> str:
    try:
        return version("captep")
    except PackageNotFoundError:
        return "unknown"
