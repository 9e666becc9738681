"""The pages of a process: probes, and metrics for Prometheus."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from captep_core.errors import GatewayError
from captep_kubernetes import Transport
from captep_operator._metrics_access import MetricsAccess
from captep_runtime import (
    NO_METRICS,
    Access,
    Certificate,
    Metrics,
    Page,
    PageServer,
    Probe,
    PrometheusMetrics,
    metrics_page,
    parse_bind_address,
    probe_page,
)

__all__ = ["Pages", "Serving", "measured", "serve"]

_log = logging.getLogger("captep.run")
_TEXT: Final = "text/plain; charset=utf-8"


@frozen
class Serving:
    """Where a process serves its pages: HOST:PORT, :PORT, or 0 for nowhere.

    `probes`: /healthz and /readyz. `metrics`: /metrics. `certificates`: a folder with tls.crt and
    tls.key; with it metrics go over HTTPS, to users that the API server allows to get them.
    """

    probes: str = "0"
    metrics: str = "0"
    certificates: Path | None = None


@frozen
class Pages:
    """The sources of the pages.

    `problems`: of /healthz, what only a restart mends. `has_begun`: whether the work has begun.
    `failing`: the watches that are not current. `blind`: the same, once none is for a minute.
    `exposition`: of /metrics, None without metrics.
    """

    problems: Probe
    has_begun: Callable[[], bool]
    failing: Probe
    blind: Probe
    exposition: Callable[[], bytes] | None

    def readiness(self) -> tuple[int, str, bytes]:
        """Return 503 before the work begins and while no watch is current, else 200.

        The body names the watches that are not current.
        """
        failing = "".join(f"not current: {line}\n" for line in self.failing())
        if self.has_begun() and not self.blind():
            return 200, _TEXT, f"ok\n{failing}".encode() if failing else b"ok"
        return 503, _TEXT, (failing or "the caches are not synced yet\n").encode()

    def by_address(self, serving: Serving) -> dict[str, dict[str, Page]]:
        """Return the pages by the address that serves them."""
        probes = {"/healthz": probe_page(self.problems), "/readyz": self.readiness}
        pages: dict[str, dict[str, Page]] = {serving.probes: probes}
        if self.exposition is not None:
            pages.setdefault(serving.metrics, {})["/metrics"] = metrics_page(self.exposition)
        return pages


def measured(serving: Serving) -> tuple[Metrics, Callable[[], bytes] | None]:
    """Return metrics and the function that exposes them, or no metrics and None.

    A missing prometheus_client is no error: metrics are an extra, reconciling is not.
    """
    if parse_bind_address(serving.metrics) is None:
        return NO_METRICS, None
    try:
        metrics = PrometheusMetrics()
    except ImportError:
        _log.warning(
            "no metrics: prometheus_client is not installed;"
            " pip install 'captep[metrics]', or --metrics-bind-address 0"
        )
        return NO_METRICS, None
    return metrics, metrics.exposition


def serve(pages: Pages, serving: Serving, transport: Transport) -> list[PageServer]:
    """Serve the pages until each server is closed.

    Raises:
        GatewayError: an address is taken.
    """
    secure: dict[str, tuple[Certificate, Access]] = {}
    if serving.certificates is not None:
        secure[serving.metrics] = (Certificate(serving.certificates), MetricsAccess(transport))
    return _listening(pages.by_address(serving), secure)


def _listening(
    pages: Mapping[str, Mapping[str, Page]], secure: Mapping[str, tuple[Certificate, Access]]
) -> list[PageServer]:
    """Serve the pages of each address; those in `secure` over HTTPS to users with access."""
    servers: list[PageServer] = []
    for text, served in pages.items():
        address = parse_bind_address(text)
        if address is None:
            continue
        certificate, access = secure.get(text, (None, None))
        try:
            servers.append(PageServer(address, served, certificate=certificate, access=access))
        except OSError as error:
            for server in servers:
                server.close()
            raise GatewayError(
                f"cannot listen on {text}: {error.strerror}:"
                f" choose another address for {', '.join(served)}, or 0"
            ) from error
        _log.info("%s on port %d", ", ".join(served), servers[-1].port)
    return servers
