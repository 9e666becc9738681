"""One request, one answer: the official client behind a typed Protocol.

Rules of this module:

1. An HTTP status is an answer and never an exception. `UnansweredError` means that no answer came,
   and says whether a write may have landed.
2. Nothing is sent twice: urllib3's own retries deliver a PUT or DELETE up to four times when its
   answer is lost.
3. Every call has a timeout, an explicit content type, the operator's field manager and its user
   agent.
4. JSON passes as the server sent it; no model of the client reads or writes it. Bodies stay out of
   every repr and message.
"""

import json
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol, TypeAlias
from urllib.parse import urlencode

import urllib3
from attrs import field, frozen
from kubernetes import client
from kubernetes.client import rest

from captep_core._actions import JSON
from captep_core._request import RawResponse
from captep_core.errors import CaptepError, GatewayError
from captep_kubernetes._credentials import (
    Access,
    ConfigurationCredentials,
    Credentials,
    TLSMaterial,
    tls_context,
)

__all__ = [
    "FIELD_MANAGER",
    "MERGE_PATCH",
    "KubernetesTransport",
    "MalformedStreamError",
    "Query",
    "Stream",
    "Transport",
    "UnansweredError",
]

FIELD_MANAGER = "captep"
MERGE_PATCH = "application/merge-patch+json"
_JSON_TYPE = "application/json"
# A server that does not accept a connection for so long is not there.
_CONNECT_SECONDS: Final = 5.0
_CHUNK_BYTES: Final = 1 << 16
# An object has at most 1.5 MB in etcd, its JSON a little more: no server sends such a line.
_LONGEST_LINE: Final = 16 << 20
# A page of a list has at most 500 objects, a few KB each: only a broken server sends so much.
_LONGEST_ANSWER: Final = 128 << 20
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


class MalformedStreamError(UnansweredError):
    """What the server streams is no line that an API server sends."""

    def __init__(self, message: str) -> None:
        super().__init__(message, may_have_landed=False)


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
    """`Transport` over the connections of the official client, for sync code and threads.

    A read that is answered with 401 is repeated once when the credentials changed. Connections and
    open streams end when certificates or authorities change.

    Args:
        configuration: where the server is; it becomes this transport's own.
        credentials: what authenticates each request, None for those in `configuration`.
        headers: sent with each request, before all others; a name may be there twice.
        field_manager: owns the fields that this process writes.
        user_agent: None for `captep/VERSION`.
        connection_pool_maxsize: connections kept open; at least one a worker and one a watch.
    """

    def __init__(
        self,
        configuration: client.Configuration,
        credentials: Credentials | None = None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        connection_pool_maxsize: int = 32,
        field_manager: str = FIELD_MANAGER,
        user_agent: str | None = None,
    ) -> None:
        configuration.retries = False
        configuration.connection_pool_maxsize = connection_pool_maxsize
        configuration.keep_alive = True
        self.host: str = configuration.host
        self._configuration = configuration
        self._credentials = credentials or ConfigurationCredentials(configuration)
        self._field_manager = field_manager
        always = (*headers, ("User-Agent", user_agent or f"captep/{_version()}"))
        self._always = tuple((name, _latin(value)) for name, value in always)
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[_HTTPStream] = weakref.WeakSet()
        self._connections: tuple[TLSMaterial, rest.RESTClientObject] | None = None

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
        request = _Request(method, path, query, _encoded(method, path, body), content_type, accept)
        with _answered(method, path):
            raw = self._authenticated(request, timeout)
            return _response(raw, method, path)

    def stream(
        self, path: str, *, query: Query = (), accept: str = _JSON_TYPE, timeout: float
    ) -> Stream | RawResponse:
        """Open a stream of lines; see `Transport.stream`."""
        request = _Request("GET", path, query, None, None, accept)
        with _answered("GET", path):
            raw = self._authenticated(request, timeout)
            if raw.status != 200:
                return _response(raw, "GET", path)
            stream = _HTTPStream(raw, path, self._look)
            with self._lock:
                self._streams.add(stream)
            return stream

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            if self._connections is not None:
                self._connections[1].close()

    def _authenticated(self, request: "_Request", timeout: float) -> urllib3.BaseHTTPResponse:
        access = self._credentials.current()
        answer = self._send(request, access, timeout)
        if answer.status != 401:
            self._credentials.accepted()
        elif self._credentials.refused(access) and request.method == "GET":
            answer.drain_conn()
            answer = self._send(request, self._credentials.current(), timeout)
        return answer

    def _send(
        self, request: "_Request", access: Access, timeout: float
    ) -> urllib3.BaseHTTPResponse:
        sent = (*self._always, *request.headers())
        if access.authorization:
            sent = (("Authorization", access.authorization), *sent)
        headers: Mapping[str, str] = dict(sent)
        if len(headers) < len(sent):
            # A name that is there twice. The headers of urllib3 take three times as long.
            headers = urllib3.HTTPHeaderDict()
            for name, value in sent:
                headers.add(name, value)
        answer: urllib3.BaseHTTPResponse = self._pool(access.tls).request(
            request.method,
            f"{self.host}{request.path}{request.parameters(self._field_manager)}",
            headers=headers,
            body=request.body,
            timeout=_timeout(timeout),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        return answer

    def _look(self) -> None:
        """End connections and streams whose certificates were replaced; a read that fails waits."""
        with suppress(GatewayError, ssl.SSLError):
            self._pool(self._credentials.current().tls)

    def _pool(self, material: TLSMaterial) -> urllib3.PoolManager:
        """Return the connections for `material`; those for another end."""
        with self._lock:
            before = self._connections
            if before is None or before[0] != material:
                self._connections = (material, self._connected(material))
            current = self._connections
            ended = [*self._streams] if before is not None and current is not before else []
        if before is not None and current is not before:
            before[1].close()
            for stream in ended:
                stream.close()
        manager: urllib3.PoolManager = current[1].pool_manager  # type: ignore[index]
        return manager

    def _connected(self, material: TLSMaterial) -> rest.RESTClientObject:
        connections = rest.RESTClientObject(self._configuration)
        if self.host.startswith("https:"):
            context = tls_context(material, is_verified=self._configuration.verify_ssl)
            connections.pool_manager.connection_pool_kw["ssl_context"] = context
        return connections


@frozen
class _Request:
    """One request as the caller meant it, without credentials."""

    method: str
    path: str
    query: Query
    body: bytes | None = field(repr=False)
    content_type: str | None
    accept: str

    def headers(self) -> tuple[tuple[str, str], ...]:
        content_type = self.content_type or _JSON_TYPE
        return (("Accept", self.accept), ("Content-Type", content_type))

    def parameters(self, field_manager: str) -> str:
        query = [*self.query]
        if self.method in _WRITES and "fieldManager" not in dict(self.query):
            query.append(("fieldManager", field_manager))
        return f"?{urlencode(query)}" if query else ""


class _HTTPStream:
    def __init__(
        self, answer: urllib3.BaseHTTPResponse, path: str, look: Callable[[], None]
    ) -> None:
        self._answer = answer
        self._path = path
        self._look = look
        self._is_closed = False

    def lines(self) -> Iterator[bytes]:
        pending = bytearray()
        with _answered("GET", self._path):
            try:
                while chunk := self._chunk():
                    *complete, rest = chunk.split(b"\n")
                    for line in complete:
                        yield bytes(pending + line)
                        pending.clear()
                    pending += rest
                    # A process at rest sends no request, but a watch has a bookmark every minute.
                    self._look()
                    if len(pending) > _LONGEST_LINE:
                        raise MalformedStreamError(
                            f"GET {self._path}: a line of more than {_LONGEST_LINE >> 20} MB"
                        )
                if pending and not self._is_closed:
                    # A sign-in page has no line break at its end. An API server ends each event
                    # with one, and a connection that breaks raises.
                    raise MalformedStreamError(f"GET {self._path}: ended within a line")
            finally:
                self._answer.close()

    def _chunk(self) -> bytes:
        try:
            return self._answer.read1(_CHUNK_BYTES)
        except (urllib3.exceptions.HTTPError, OSError):
            if self._is_closed:
                return b""
            raise

    def close(self) -> None:
        self._is_closed = True
        # Shutting the socket down wakes a thread that is blocked in a read; closing it does not.
        with suppress(OSError, ValueError, RuntimeError):
            self._answer.shutdown()


@contextmanager
def _answered(method: str, path: str) -> Iterator[None]:
    """Translate the exceptions of urllib3 and of the credentials; the one place that does."""
    is_read = method == "GET"
    try:
        yield
    except (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.LocationValueError,
        urllib3.exceptions.ProxyError,
    ) as error:
        raise UnansweredError(_message(method, path, error), may_have_landed=False) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        sent = not is_read and not any(problem in str(error) for problem in _NEVER_SENT)
        raise UnansweredError(_message(method, path, error), may_have_landed=sent) from error
    except GatewayError as error:
        raise UnansweredError(f"{method} {path}: {error}", may_have_landed=False) from None
    except ValueError:
        # The text quotes the header that cannot be sent, token and all.
        raise UnansweredError(
            f"{method} {path}: the credentials are malformed", may_have_landed=not is_read
        ) from None


def _encoded(method: str, path: str, body: Mapping[str, JSON] | None) -> bytes | None:
    if body is None:
        return None
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # The text names a type or says "nan"; it quotes no value.
        raise GatewayError(f"{method} {path}: the body is no JSON: {error}") from None


def _latin(value: str) -> str:
    """Return a value as Go sends it, in UTF-8; http.client takes characters of Latin-1 alone."""
    return value.encode(errors="surrogatepass").decode("latin-1")


def _timeout(seconds: float) -> urllib3.Timeout:
    return urllib3.Timeout(connect=min(seconds, _CONNECT_SECONDS), read=seconds)


def _message(method: str, path: str, error: Exception) -> str:
    """Describe an error in one line, in the operating system's words where it caused the error."""
    text = _one_line(error)
    raised: BaseException | None = error
    while raised is not None:
        if isinstance(raised, OSError):
            text = raised.strerror or _one_line(raised)
        raised = raised.__cause__ or raised.__context__
    return f"{method} {path}: {type(error).__name__}: {text}"


def _one_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _response(raw: urllib3.BaseHTTPResponse, method: str, path: str) -> RawResponse:
    content = raw.read(_LONGEST_ANSWER + 1)
    if len(content) > _LONGEST_ANSWER:
        raw.close()
        problem = f"{method} {path}: an answer of more than {_LONGEST_ANSWER >> 20} MB"
        raise UnansweredError(problem, may_have_landed=method != "GET")
    return RawResponse(raw.status, _headers(raw.headers), _parsed(content))


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
