"""The controller: caches, loop, and which change of an object wakes which key.

Rules of this module:

1. The cache decides whether an object of the primary kind belongs to the loop. Two threads may
   deliver an addition and a deletion in either order, so the order of the calls decides nothing.
2. A change wakes the keys whose last decision read the object. A change in the server's bookkeeping
   alone (resourceVersion, managedFields) wakes none.
3. The controller writes only while it holds the lease for certain.
4. The loop has the keys of its shard alone. The caches hold the objects of all shards: the API
   server selects no objects by a hash.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from captep_core._actions import JSON, Action, ObjectRef
from captep_core._observation import Observed
from captep_core._resources import Resource, Watched
from captep_core.errors import GatewayError
from captep_core.ports import Answer, Decide, Read
from captep_kubernetes import (
    FIELD_MANAGER,
    CacheChange,
    DryRun,
    Informer,
    KubernetesGateway,
    Transport,
)
from captep_operator._declared import only_declared
from captep_operator._discovery import served_kind
from captep_operator._dry_run import DryRunDecide
from captep_runtime import Logger, Loop, Metrics, Tuning

__all__ = ["Controller"]

_TICK_SECONDS = 1.0
"""Wake-ups of a fleet at rest share one tick: one second is a thirtieth of the shortest interval at
rest, and 1,000 keys then cost one wake-up of a thread a second instead of 33."""
_LONGEST_PASS = timedelta(minutes=5)
"""A pass has at most some twenty requests of ten seconds each; a longer one hangs."""


class SystemClock:
    """The time of the machine."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)


class _Fence:
    """A gateway that writes only while `may_write` says so."""

    def __init__(self, gateway: KubernetesGateway, may_write: Callable[[], bool]) -> None:
        self.read: Read = gateway.read
        self.read_live: Callable[[ObjectRef], Observed[dict[str, JSON]]] = gateway.read_live
        self._gateway = gateway
        self._may_write = may_write

    def send(self, action: Action) -> Answer:
        """Send one action.

        Raises:
            GatewayError: this process has lost the lease.
        """
        if not self._may_write():
            raise GatewayError("the lease is lost: this process sends no more writes")
        return self._gateway.send(action)


class Controller:
    """Reconciles every object of a kind, in a cluster or in some namespaces.

    Args:
        transport: sends the requests to the API server.
        name: of the controller, in logs and metrics.
        decide: the pure reconcile function.
        primary: the kind that is reconciled, one of `watched`.
        watched: the kinds that `decide` reads and writes.
        component: the name that Events carry.
        namespaces: the namespaces to watch; empty for the whole cluster.
        owns: whether a key of the primary kind is of this process's shard.
        dry_run: whether to send writes, and whether the server keeps them.
        metrics: receives the measurements.
        may_write: called before each write; false refuses it.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        name: str,
        decide: Decide,
        primary: Resource,
        watched: Iterable[Watched],
        component: str = FIELD_MANAGER,
        namespaces: Iterable[str],
        owns: Callable[[ObjectRef], bool] = lambda _key: True,
        dry_run: DryRun,
        metrics: Metrics,
        may_write: Callable[[], bool],
    ) -> None:
        kinds = tuple(watched)
        self.primary = primary
        self._owns = owns
        self._gateway = KubernetesGateway(
            transport,
            watched=kinds,
            namespaces=namespaces,
            on_change=self._changed,
            discover=served_kind,
            dry_run=dry_run,
            component=component,
        )
        logger = logging.getLogger("captep.controller")
        declared = frozenset(
            (version, each.resource.kind)
            for each in kinds
            for version in (each.resource.api_version, *each.versions)
        )
        deciding = only_declared(decide, declared)
        if dry_run is not DryRun.NONE:
            deciding = DryRunDecide(deciding, self._gateway, dry_run, logger)
        self._loop = Loop(
            deciding,
            _Fence(self._gateway, may_write),
            SystemClock(),
            name=name,
            metrics=metrics,
            reporter=Logger(logger, name),
            seconds=time.monotonic,
            tuning=Tuning(align_to=_TICK_SECONDS),
            version=self._gateway.version,
            list_version=self._gateway.list_version,
        )
        self._keeping = threading.Lock()

    @property
    def informers(self) -> tuple[Informer, ...]:
        """The caches."""
        return self._gateway.informers

    @property
    def has_synced(self) -> bool:
        """Whether every cache has listed its kind once."""
        return self._gateway.has_synced

    def watch(self) -> None:
        """Start the watches. Call it once."""
        self._gateway.start()

    def work(self, workers: int) -> None:
        """Start to reconcile. Call it once, after `has_synced` is true."""
        # Objects in the caches live long. Frozen, they cost no further garbage collection.
        gc.collect()
        gc.freeze()
        self._loop.start(workers)

    def rest(self, grace: timedelta) -> bool:
        """Stop reconciling; return whether the passes under way ended within `grace`."""
        return self._loop.stop(grace)

    def stop(self) -> None:
        """Stop the watches."""
        self._gateway.stop()

    def problems(self) -> tuple[str, ...]:
        """Return every problem that only a restart solves, one line each."""
        dead = tuple(
            f"the watch of {informer.resource} has ended"
            for informer in self.informers
            if informer.has_ended
        )
        return (*dead, *self._loop.problems(longest_run=_LONGEST_PASS))

    def measure(self) -> None:
        """Set the gauges that change with time alone."""
        self._loop.measure()

    def _changed(self, change: CacheChange) -> None:
        if not self._gateway.is_relevant(change):
            return
        if (change.ref.api_version, change.ref.kind) == (
            self.primary.api_version,
            self.primary.kind,
        ) and self._owns(change.ref):
            self._keep(change.ref)
        # `_keep` has woken the object itself.
        self._loop.notify(change.ref, self._gateway.manifests(change), but=change.ref)

    def _keep(self, key: ObjectRef) -> None:
        with self._keeping:
            if self._gateway.exists(key):
                self._loop.add(key)
            else:
                self._loop.remove(key)
