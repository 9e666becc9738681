"""Count requests as client-go does."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from captep_core._actions import JSON
from captep_kubernetes import (
    KubernetesTransport,
    Query,
    RawResponse,
    Stream,
    Transport,
    UnansweredError,
)
from captep_runtime import Metrics

__all__ = ["CountingTransport", "counting"]


def counting(transport: Transport, metrics: Metrics) -> Transport:
    """Return a transport that counts its requests, where it knows the host of the label."""
    if isinstance(transport, KubernetesTransport):
        return CountingTransport(transport, metrics)
    return transport


class CountingTransport:
    """A transport that adds each request to `rest_client_requests_total`.

    A request without an answer gets the code `<error>`, as in client-go.
    """

    def __init__(self, transport: KubernetesTransport, metrics: Metrics) -> None:
        self._transport, self._metrics = transport, metrics
        self._host = urlsplit(transport.host).netloc

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Mapping[str, JSON] | None = None,
        content_type: str | None = None,
        accept: str = "application/json",
        timeout: float,
    ) -> RawResponse:
        """Send one request; see `captep_kubernetes.Transport`."""
        try:
            answer = self._transport.request(
                method,
                path,
                query=query,
                body=body,
                content_type=content_type,
                accept=accept,
                timeout=timeout,
            )
        except UnansweredError:
            self._count(method, "<error>")
            raise
        self._count(method, str(answer.status))
        return answer

    def stream(
        self, path: str, *, query: Query = (), accept: str = "application/json", timeout: float
    ) -> Stream | RawResponse:
        """Open a stream of lines; see `captep_kubernetes.Transport`."""
        try:
            stream = self._transport.stream(path, query=query, accept=accept, timeout=timeout)
        except UnansweredError:
            self._count("GET", "<error>")
            raise
        self._count("GET", str(stream.status) if isinstance(stream, RawResponse) else "200")
        return stream

    def _count(self, method: str, code: str) -> None:
        self._metrics.count(
            "rest_client_requests_total", {"code": code, "method": method, "host": self._host}
        )
