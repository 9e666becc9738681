"""`captep run`: the controller as a process.

Rules of this module:

1. The main thread waits for messages and for nothing else. Everything that ends the run is a
   message: a signal, a lost lease.
2. The end always has this order: no new pass, the passes under way, the lease, the watches, the
   servers. It takes at most ten seconds.
3. A second signal ends the process at once.
"""

import argparse
import logging
import os
import queue
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Final

from captep_cli._live import live_reader
from captep_cli._policy import deciding
from captep_core.capt._resources import CONTROL_PLANES, WATCHED
from captep_core.errors import GatewayError
from captep_core.ports import Read
from captep_kubernetes import DryRun, LeaderElector, Transport, WatchHealth, load_transport
from captep_operator import (
    Controller,
    CountingTransport,
    check_cluster,
    check_lease,
    fatal_problem,
)
from captep_operator._metrics_access import MetricsAccess
from captep_runtime import (
    NO_METRICS,
    Access,
    Certificate,
    Metrics,
    Page,
    PageServer,
    PrometheusMetrics,
    metrics_page,
    parse_bind_address,
    probe_page,
)

__all__ = ["live_read", "run"]

_log = logging.getLogger("captep.run")
_NAME: Final = "captcontrolplane"
"""The controller in logs and metrics, named as controller-runtime names it: by its kind."""
# Six and two of the ten seconds that rule 2 allows; closing watches and servers takes the rest.
# Kubernetes kills a pod 30 s after SIGTERM.
_PASSES_END_WITHIN: Final = timedelta(seconds=6)
_LEASE_ENDS_WITHIN: Final = 2.0
_LOOK_SECONDS: Final = 0.05
"""The interval at which a start checks its caches: too short for a visible delay."""
_REPORT_SECONDS: Final = 10.0
"""The interval at which a start logs the caches that it waits for."""
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_OUTSIDE: Final = "kube-system"
# A conversion webhook that is down keeps one kind from being listed, perhaps for hours.
_BEGIN_SECONDS: Final = 30.0
_TEXT: Final = "text/plain; charset=utf-8"
"""The Lease's namespace outside a pod."""


class _Message(Enum):
    """A message to the main thread."""

    SIGNALLED = "signalled"
    LEADS = "leads"
    LOST = "lost"


def live_read(kubeconfig: str | None, context: str | None) -> Read:
    """Return a `read` of the cluster that the options name; see `live_reader`.

    Raises:
        GatewayError: no cluster answers; one line says what to do.
    """
    return live_reader(load_transport(Path(kubeconfig) if kubeconfig else None, context))


def run(options: argparse.Namespace) -> int:
    """Run the controller until a signal arrives or its lease is lost; return the exit status.

    Raises:
        GatewayError: the start failed; one line says what to do.
    """
    messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
    with _signals(messages):
        return _Process(options, messages).run()


class _Process:
    """One run, from the options to the exit status."""

    def __init__(
        self, options: argparse.Namespace, messages: "queue.SimpleQueue[_Message]"
    ) -> None:
        self._options, self._messages = options, messages
        self._namespaces = sorted(set(options.namespace))
        self._metrics, exposition = _metrics(options.metrics_bind_address)
        watches = len(WATCHED) * max(1, len(self._namespaces))
        transport = load_transport(
            Path(options.kubeconfig) if options.kubeconfig else None,
            options.context,
            connection_pool_maxsize=options.workers + watches + 4,
        )
        self._transport: Transport = CountingTransport(transport, self._metrics)
        # A dry run writes nothing, so it must not keep another process from leading.
        self._elector = (
            self._candidate() if options.leader_elect and options.dry_run == "none" else None
        )
        self._controller = Controller(
            self._transport,
            name=_NAME,
            primary=CONTROL_PLANES,
            watched=WATCHED,
            namespaces=self._namespaces,
            dry_run=DryRun(options.dry_run),
            metrics=self._metrics,
            may_write=self._elector.is_leading if self._elector else lambda: True,
            decide=deciding(options.publish_to_cluster),
        )
        self._exposition = exposition
        self._health = WatchHealth(lambda: self._controller.informers)
        self._has_begun = False

    def run(self) -> int:
        """Check, serve, watch, wait for the lease, work; end in the reverse order."""
        for name in check_cluster(self._transport, self._namespaces):
            _log.warning(
                "no permission to see whether the namespace %s exists:"
                " grant get on namespaces, in a Role there",
                name,
            )
        if self._elector:
            check_lease(self._transport, self._lease_namespace(), self._options.leader_election_id)
        servers = self._serve()
        started_at = time.monotonic()
        try:
            # Until the caches are full, `_synced` logs their problems, in one line for all.
            logging.getLogger("captep.kubernetes").setLevel(logging.ERROR)
            self._controller.watch()
            if not self._synced():
                return self._end(0)
            self._has_begun = True
            took = time.monotonic() - started_at
            if self._controller.has_synced:
                _log.info("all caches are synced after %.1f s", took)
            else:
                _log.warning("beginning after %.1f s without %s", took, "; ".join(self._missing()))
            return self._end(self._lead() if self._elector else self._work())
        finally:
            self._controller.stop()
            for server in servers:
                server.close()

    def _synced(self) -> bool:
        """Wait until all caches are synced, or some after 30 s; False when a signal comes first.

        The objects of a kind that cannot be listed are unreadable to decisions; everything that
        does not need them goes on.
        """
        started_at = reported_at = time.monotonic()
        while not self._controller.has_synced:
            is_late = time.monotonic() - started_at >= _BEGIN_SECONDS
            if is_late and any(informer.has_synced for informer in self._controller.informers):
                break
            problem = fatal_problem(self._transport, self._controller.informers)
            if problem is not None:
                raise GatewayError(problem)
            if time.monotonic() - reported_at >= _REPORT_SECONDS:
                reported_at = time.monotonic()
                _log.warning("still waiting for %s", "; ".join(self._missing()))
            if self._message(_LOOK_SECONDS) is _Message.SIGNALLED:
                return False
        logging.getLogger("captep.kubernetes").setLevel(logging.NOTSET)
        return True

    def _missing(self) -> Iterator[str]:
        for informer in self._controller.informers:
            if not informer.has_synced:
                problem = informer.problem
                yield f"{informer.resource}: {'not listed yet' if problem is None else problem}"

    def _lead(self) -> int:
        """Wait for the lease, then work; return 1 when the lease is lost."""
        if self._elector is None:
            return self._work()
        _log.info(
            "waiting for the lease %s/%s", self._lease_namespace(), self._options.leader_election_id
        )
        self._elector.start()
        while (message := self._message()) is not _Message.LEADS:
            if message is _Message.SIGNALLED:
                return 0
        return self._work()

    def _work(self) -> int:
        self._controller.work(self._options.workers)
        _log.info("working with %d workers", self._options.workers)
        if self._message() is _Message.LOST:
            _log.error(
                "the lease %s/%s is lost: this process ends and expects to be restarted",
                self._lease_namespace(),
                self._options.leader_election_id,
            )
            return 1
        return 0

    def _end(self, status: int) -> int:
        ended = self._controller.rest(_PASSES_END_WITHIN)
        if not ended:
            _log.warning("a pass did not end within %d s", _PASSES_END_WITHIN.total_seconds())
        elif self._elector is not None:
            # Only after the last write: the next leader starts at once. Released after a loss too:
            # the elector may have won the lease again while the last pass ended.
            self._elector.stop(_LEASE_ENDS_WITHIN)
        _log.info("ended")
        return status

    def _message(self, timeout: float | None = None) -> _Message | None:
        try:
            return self._messages.get(timeout=timeout)
        except queue.Empty:
            return None

    def _candidate(self) -> LeaderElector:
        name = self._options.leader_election_id

        def send(message: _Message, leads: int) -> None:
            self._metrics.set("leader_election_master_status", {"name": name}, leads)
            self._messages.put(message)

        self._metrics.set("leader_election_master_status", {"name": name}, 0)
        return LeaderElector(
            self._transport,
            namespace=self._lease_namespace(),
            name=name,
            identity=f"{socket.gethostname()}_{uuid.uuid4()}",
            on_started_leading=lambda: send(_Message.LEADS, 1),
            on_stopped_leading=lambda: send(_Message.LOST, 0),
        )

    def _lease_namespace(self) -> str:
        chosen: str | None = self._options.leader_election_namespace
        if chosen:
            return chosen
        return _POD_NAMESPACE.read_text("utf-8").strip() if _POD_NAMESPACE.is_file() else _OUTSIDE

    def _readiness(self) -> tuple[int, str, bytes]:
        """Return 503 before the work begins and while no watch is current, else 200.

        The body names the watches that are not current.
        """
        failing = "".join(f"not current: {line}\n" for line in self._health.failing())
        is_ready = self._has_begun and not self._health.problems()
        if is_ready:
            return 200, _TEXT, f"ok\n{failing}".encode() if failing else b"ok"
        return 503, _TEXT, (failing or "the caches are not synced yet\n").encode()

    def _problems(self) -> tuple[str, ...]:
        return (*self._controller.problems(), *(self._elector.problems() if self._elector else ()))

    def _serve(self) -> list[PageServer]:
        """Serve metrics and probes.

        Raises:
            GatewayError: an address is taken.
        """
        secure: dict[str, tuple[Certificate, Access]] = {}
        if self._options.metrics_secure:
            certificate = Certificate(Path(self._options.metrics_cert_dir))
            access = MetricsAccess(self._transport)
            secure[self._options.metrics_bind_address] = (certificate, access)
        return _listening(self._pages(), secure)

    def _pages(self) -> dict[str, dict[str, Page]]:
        """Return the pages by the address that serves them."""
        probes = {
            "/healthz": probe_page(self._problems),
            "/readyz": self._readiness,
        }
        pages: dict[str, dict[str, Page]] = {self._options.health_probe_bind_address: probes}
        if self._exposition is not None:
            expose = self._exposition

            def exposed() -> bytes:
                self._controller.measure()
                for kind, is_current in self._health.kinds().items():
                    self._metrics.set("captep_watch_healthy", {"kind": kind}, is_current)
                return expose()

            pages.setdefault(self._options.metrics_bind_address, {})["/metrics"] = metrics_page(
                exposed
            )
        return pages


def _metrics(address: str) -> tuple[Metrics, Callable[[], bytes] | None]:
    """Return the metrics and the function that exposes them, or no metrics and None.

    A missing prometheus_client is no error: metrics are an extra, reconciling is not.
    """
    if parse_bind_address(address) is None:
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


@contextmanager
def _signals(messages: "queue.SimpleQueue[_Message]") -> Iterator[None]:
    """Send a message at the first SIGTERM or SIGINT; the second ends the process at once."""
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        # SimpleQueue.put is reentrant; threading.Event.set takes a lock and is not.
        messages.put(_Message.SIGNALLED)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
