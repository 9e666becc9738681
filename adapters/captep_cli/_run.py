"""`captep run`: the controller as a process.

Rules of this module:

1. The main thread waits for notes and for nothing else. Whatever ends the run is a note: a signal, a lost lease.
2. The end is always in this order: no new pass, the passes under way, the lease, the watches, the servers; all of it inside ten seconds.
3. A second signal ends the process at once.
"""

import argparse
import logging
import os
import queue
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Final

from captep_cli._controller import Controller
from captep_cli._counting import CountingTransport
from captep_cli._live import live_reader
from captep_cli._preflight import check_cluster, check_lease, fatal_problem
from captep_core.capt._resources import WATCHED
from captep_core.errors import GatewayError
from captep_core.ports import Read
from captep_kubernetes import DryRun, LeaderElector, Transport, load_transport
from captep_runtime import (
    NO_METRICS,
    JSONFormatter,
    Metrics,
    Page,
    PageServer,
    PrometheusMetrics,
    TextFormatter,
    metrics_page,
    parse_bind_address,
    probe_page,
)

__all__ = ["live_read", "run"]

_log = logging.getLogger("captep.run")
_PASSES_END_WITHIN: Final = timedelta(seconds=6)
_LEASE_ENDS_WITHIN: Final = 2.0
_LOOK_SECONDS: Final = 0.05
_TELL_SECONDS: Final = 10.0
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_OUTSIDE: Final = "kube-system"


class _Note(Enum):
    """What the main thread is told."""

    SIGNALLED = "signalled"
    LEADS = "leads"
    LOST = "lost"


def live_read(kubeconfig: str | None, context: str | None) -> Read:
    """Return a `read` of the cluster that the options name; see `live_reader`.

    Raises:
        GatewayError: there is no cluster to be reached; one line that says what to do.
    """
    return live_reader(load_transport(Path(kubeconfig) if kubeconfig else None, context))


def run(options: argparse.Namespace) -> int:
    """Run the controller until a signal or until its lease is lost; return the exit status.

    Raises:
        GatewayError: it cannot start; one line that says what to do.
    """
    notes: queue.SimpleQueue[_Note] = queue.SimpleQueue()
    with _logging(options.log_format), _signals(notes):
        return _Process(options, notes).run()


class _Process:
    """One run, from the options to the exit status."""

    def __init__(self, options: argparse.Namespace, notes: "queue.SimpleQueue[_Note]") -> None:
        self._options, self._notes = options, notes
        self._namespaces = sorted(set(options.namespace))
        self._metrics, exposition = _metrics(options.metrics_bind_address)
        watches = len(WATCHED) * max(1, len(self._namespaces))
        transport = load_transport(
            Path(options.kubeconfig) if options.kubeconfig else None,
            options.context,
            connection_pool_maxsize=options.workers + watches + 4,
        )
        self._transport: Transport = CountingTransport(transport, self._metrics)
        # Who only looks keeps nobody from working.
        self._elector = (
            self._candidate() if options.leader_elect and options.dry_run == "none" else None
        )
        self._controller = Controller(
            self._transport,
            namespaces=self._namespaces,
            dry_run=DryRun(options.dry_run),
            metrics=self._metrics,
            may_write=self._elector.is_leading if self._elector else lambda: True,
        )
        self._exposition = exposition

    def run(self) -> int:
        """Check, serve, watch, wait for the lease, work; the other way round at the end."""
        for name in check_cluster(self._transport, self._namespaces):
            _log.warning(
                "whether there is a namespace %s cannot be seen: grant get on namespaces, in a Role there",
                name,
            )
        if self._elector:
            check_lease(self._transport, self._lease_namespace(), self._options.leader_election_id)
        servers = _serve(self._pages())
        started_at = time.monotonic()
        try:
            # What keeps the caches from being there is told by whoever waits for them, in one line for all.
            logging.getLogger("captep.kubernetes").setLevel(logging.ERROR)
            self._controller.watch()
            if not self._synced():
                return self._end(0)
            _log.info("every cache is there after %.1f s", time.monotonic() - started_at)
            return self._end(self._lead() if self._elector else self._work())
        finally:
            self._controller.stop()
            for server in servers:
                server.close()

    def _synced(self) -> bool:
        """Wait until every cache is there; False when a signal comes first."""
        told_at = time.monotonic()
        while not self._controller.has_synced:
            problem = fatal_problem(self._transport, self._controller.informers)
            if problem is not None:
                raise GatewayError(problem)
            if time.monotonic() - told_at >= _TELL_SECONDS:
                told_at = time.monotonic()
                _log.warning("still waiting for %s", "; ".join(self._missing()))
            if self._note(_LOOK_SECONDS) is _Note.SIGNALLED:
                return False
        logging.getLogger("captep.kubernetes").setLevel(logging.NOTSET)
        return True

    def _missing(self) -> Iterator[str]:
        for informer in self._controller.informers:
            if not informer.has_synced:
                yield f"{informer.resource}: {'not listed yet' if informer.problem is None else informer.problem}"

    def _lead(self) -> int:
        """Wait for the lease, then work; 1 when it is lost."""
        if self._elector is None:
            return self._work()
        _log.info(
            "waiting for the lease %s/%s", self._lease_namespace(), self._options.leader_election_id
        )
        self._elector.start()
        while (note := self._note()) is not _Note.LEADS:
            if note is _Note.SIGNALLED:
                return 0
        return self._work()

    def _work(self) -> int:
        self._controller.work(self._options.workers)
        _log.info("working with %d workers", self._options.workers)
        if self._note() is _Note.LOST:
            _log.error(
                "the lease %s/%s is lost: ending, to start anew",
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
            # Given back only after the last write: whoever comes next must find nobody at work. Who lost it may have won it again.
            self._elector.stop(_LEASE_ENDS_WITHIN)
        _log.info("ended")
        return status

    def _note(self, timeout: float | None = None) -> _Note | None:
        try:
            return self._notes.get(timeout=timeout)
        except queue.Empty:
            return None

    def _candidate(self) -> LeaderElector:
        name = self._options.leader_election_id

        def tell(note: _Note, leads: int) -> None:
            self._metrics.set("leader_election_master_status", {"name": name}, leads)
            self._notes.put(note)

        self._metrics.set("leader_election_master_status", {"name": name}, 0)
        return LeaderElector(
            self._transport,
            namespace=self._lease_namespace(),
            name=name,
            identity=f"{socket.gethostname()}_{uuid.uuid4()}",
            on_started_leading=lambda: tell(_Note.LEADS, 1),
            on_stopped_leading=lambda: tell(_Note.LOST, 0),
        )

    def _lease_namespace(self) -> str:
        chosen: str | None = self._options.leader_election_namespace
        if chosen:
            return chosen
        return _POD_NAMESPACE.read_text("utf-8").strip() if _POD_NAMESPACE.is_file() else _OUTSIDE

    def _problems(self) -> tuple[str, ...]:
        return (*self._controller.problems(), *(self._elector.problems() if self._elector else ()))

    def _pages(self) -> dict[str, dict[str, Page]]:
        """Return the pages by the address that serves them."""
        probes = {
            "/healthz": probe_page(self._problems),
            "/readyz": probe_page(
                lambda: () if self._controller.has_synced else ("the caches are not there yet",)
            ),
        }
        pages: dict[str, dict[str, Page]] = {self._options.health_probe_bind_address: probes}
        if self._exposition is not None:
            expose = self._exposition

            def exposed() -> bytes:
                self._controller.measure()
                return expose()

            pages.setdefault(self._options.metrics_bind_address, {})["/metrics"] = metrics_page(
                exposed
            )
        return pages


def _metrics(address: str) -> tuple[Metrics, Callable[[], bytes] | None]:
    """Return where measurements go, and what shows them; nowhere and None when nobody is to see them."""
    if parse_bind_address(address) is None:
        return NO_METRICS, None
    try:
        metrics = PrometheusMetrics()
    except ImportError:
        _log.warning(
            "no metrics: prometheus_client is not installed; pip install 'captep[metrics]', or --metrics-bind-address 0"
        )
        return NO_METRICS, None
    return metrics, metrics.exposition


def _serve(pages: Mapping[str, Mapping[str, Page]]) -> list[PageServer]:
    servers: list[PageServer] = []
    for text, served in pages.items():
        address = parse_bind_address(text)
        if address is None:
            continue
        try:
            servers.append(PageServer(address, served))
        except OSError as error:
            for server in servers:
                server.close()
            raise GatewayError(
                f"cannot listen on {text}: {error.strerror}: choose another address for {', '.join(served)}, or 0"
            ) from error
        _log.info("%s on port %d", ", ".join(served), servers[-1].port)
    return servers


@contextmanager
def _logging(form: str) -> Iterator[None]:
    """Write the log of captep, and warnings of others, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    root, ours = logging.getLogger(), logging.getLogger("captep")
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def _signals(notes: "queue.SimpleQueue[_Note]") -> Iterator[None]:
    """Make a note of the first SIGTERM or SIGINT; the second ends the process at once."""
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        # SimpleQueue.put may be called from a signal handler; an Event's set may not.
        notes.put(_Note.SIGNALLED)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
