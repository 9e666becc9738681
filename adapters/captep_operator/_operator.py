"""A pure reconcile function and its kinds, as one object that runs, plans and simulates.

Rules of this module:

1. `run` belongs in a thread of the caller's process: it installs no signal handler, writes no file
   and reads no command line. `stop` ends it from any other thread.
2. The end always has this order: no new pass, the passes under way, the lease, the watches.
3. `plan` and `simulate` need no server.
"""

import logging
import queue
import socket
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from captep_core._actions import Decision, ObjectRef
from captep_core._observation import ReconcileState
from captep_core._resources import Resource
from captep_core.errors import GatewayError
from captep_core.ports import Decide
from captep_kubernetes import DryRun, LeaderElector, Transport, load_transport
from captep_memory import MemoryGateway, load
from captep_operator._controller import Controller
from captep_operator._counting import CountingTransport
from captep_operator._declared import only_declared
from captep_operator._discovery import discovered
from captep_operator._kind import Kind
from captep_operator._preflight import check_cluster, check_lease, fatal_problem
from captep_operator._simulation import Simulation, simulated
from captep_runtime import NO_METRICS, Metrics

__all__ = ["Lease", "Operator"]

_log = logging.getLogger("captep.operator")
_PASSES_END_WITHIN: Final = timedelta(seconds=6)
_LEASE_ENDS_WITHIN: Final = 2.0
"""Together below ten seconds: Kubernetes kills a pod 30 s after SIGTERM."""
_LOOK_SECONDS: Final = 0.05
"""The interval at which a start checks its caches: too short for a visible delay."""


class _Message(Enum):
    """A message to the thread of `run`."""

    STOPPED = "stopped"
    LEADS = "leads"
    LOST = "lost"


@frozen
class Lease:
    """A Lease of coordination.k8s.io: only its holder writes."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def _as_tuple(kinds: Iterable[Kind]) -> tuple[Kind, ...]:
    return tuple(kinds)


@frozen(eq=False)
class Operator:
    """Reconciles every object of the kind `primary` with `decide`.

    `name`: of the operator, in logs, metrics and Events. `reads`: the further kinds that decisions
    read or write; `primary` need not be among them.

    Raises:
        ValueError: a kind is named twice.
    """

    name: str
    decide: Decide
    primary: Kind = field(kw_only=True)
    reads: tuple[Kind, ...] = field(default=(), converter=_as_tuple, kw_only=True)
    _messages: "queue.SimpleQueue[_Message]" = field(
        factory=queue.SimpleQueue, init=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        """Check the kinds."""
        named = [(kind.api_version, kind.kind) for kind in self._kinds()]
        twice = sorted({str(kind) for kind in self._kinds() if named.count(_id(kind)) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named twice among primary and reads")

    def run(
        self,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        transport: Transport | None = None,
        namespaces: Iterable[str] = (),
        workers: int = 4,
        lease: Lease | None = None,
        dry_run: DryRun = DryRun.NONE,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Reconcile until `stop` is called.

        Args:
            kubeconfig, context: the cluster, as kubectl reads them.
            transport: sends the requests; replaces the two.
            namespaces: the namespaces to watch, none for the whole cluster.
            workers: keys that are reconciled at the same time.
            lease: only its holder writes; None for a single process.
            dry_run: whether to send writes, and whether the server keeps them.
            metrics: receives the measurements.

        Raises:
            GatewayError: the start failed, or the lease is lost; one line says what to do.
        """
        chosen = sorted(set(namespaces))
        transport = transport or self._connected(kubeconfig, context, chosen, workers, metrics)
        check_cluster(transport, chosen)
        # A dry run writes nothing, so it must not keep another process from leading.
        is_candidate = lease is not None and dry_run is DryRun.NONE
        elector = self._candidate(transport, lease) if lease and is_candidate else None
        watched = discovered(transport, self._kinds())
        controller = Controller(
            transport,
            name=self.name,
            decide=self.decide,
            primary=watched[0].resource,
            watched=watched,
            component=self.name,
            namespaces=chosen,
            dry_run=dry_run,
            metrics=metrics,
            may_write=elector.is_leading if elector else lambda: True,
        )
        try:
            controller.watch()
            if self._synced(transport, controller) and self._leads(elector):
                controller.work(workers)
                _log.info("%s is working with %d workers", self.name, workers)
                self._until_the_end(lease)
        finally:
            self._end(controller, elector)

    def stop(self) -> None:
        """End `run`, from any thread; it returns when the passes under way have ended."""
        self._messages.put(_Message.STOPPED)

    def plan(
        self, objects: Iterable[Mapping[str, Any]], namespace: str | None, name: str, now: datetime
    ) -> Decision:
        """Decide once for the object `namespace/name` in a world of `objects`."""
        gateway = MemoryGateway(load(objects, now=now))
        decide = only_declared(self.decide, self._resources())
        return decide(self._key(namespace, name), gateway.read, ReconcileState(), now=now)

    def simulate(
        self,
        objects: Iterable[Mapping[str, Any]],
        namespace: str | None,
        name: str,
        now: datetime,
        *,
        further: int = 0,
    ) -> Simulation:
        """Run the loop of the object `namespace/name`, alone in a world of `objects`.

        `further`: passes after the loop has settled.
        """
        gateway = MemoryGateway(load(objects, now=now))
        decide = only_declared(self.decide, self._resources())
        return simulated(decide, gateway, self._key(namespace, name), now, further=further)

    def _kinds(self) -> tuple[Kind, ...]:
        return (self.primary, *self.reads)

    def _resources(self) -> list[Resource]:
        return [
            Resource(kind.api_version, kind.kind, kind.plural, kind.namespaced)
            for kind in self._kinds()
        ]

    def _key(self, namespace: str | None, name: str) -> ObjectRef:
        return ObjectRef(self.primary.api_version, self.primary.kind, namespace, name)

    def _connected(
        self,
        kubeconfig: str | None,
        context: str | None,
        namespaces: list[str],
        workers: int,
        metrics: Metrics,
    ) -> Transport:
        # Each watch keeps one connection, each worker another; four are for the lease and the rest.
        connections = workers + len(self._kinds()) * max(1, len(namespaces)) + 4
        transport = load_transport(
            Path(kubeconfig) if kubeconfig else None, context, connection_pool_maxsize=connections
        )
        return CountingTransport(transport, metrics)

    def _candidate(self, transport: Transport, lease: Lease) -> LeaderElector:
        check_lease(transport, lease.namespace, lease.name)
        return LeaderElector(
            transport,
            namespace=lease.namespace,
            name=lease.name,
            identity=f"{socket.gethostname()}_{uuid.uuid4()}",
            on_started_leading=lambda: self._messages.put(_Message.LEADS),
            on_stopped_leading=lambda: self._messages.put(_Message.LOST),
        )

    def _synced(self, transport: Transport, controller: Controller) -> bool:
        """Wait until all caches are synced; return False when `stop` comes first."""
        while not controller.has_synced:
            problem = fatal_problem(transport, controller.informers)
            if problem is not None:
                raise GatewayError(problem)
            if self._message(_LOOK_SECONDS) is _Message.STOPPED:
                return False
        return True

    def _leads(self, elector: LeaderElector | None) -> bool:
        """Wait for the lease; return False when `stop` comes first."""
        if elector is None:
            return True
        elector.start()
        while (message := self._message()) is not _Message.LEADS:
            if message is _Message.STOPPED:
                return False
        return True

    def _until_the_end(self, lease: Lease | None) -> None:
        if self._message() is _Message.LOST:
            raise GatewayError(f"the lease {lease} is lost: run the operator again")

    def _end(self, controller: Controller, elector: LeaderElector | None) -> None:
        has_ended = controller.rest(_PASSES_END_WITHIN)
        if not has_ended:
            _log.warning("a pass did not end within %d s", _PASSES_END_WITHIN.total_seconds())
        elif elector is not None:
            # Only after the last write: the next leader starts at once.
            elector.stop(_LEASE_ENDS_WITHIN)
        controller.stop()

    def _message(self, timeout: float | None = None) -> _Message | None:
        try:
            return self._messages.get(timeout=timeout)
        except queue.Empty:
            return None


def _id(kind: Kind) -> tuple[str, str]:
    return kind.api_version, kind.kind
