"""The controller: caches, loop, and which change of an object wakes which control plane.

Rules of this module:

1. A control plane is kept from when its cache knows it to when its cache knows it gone: what counts is the cache, not the order in which
   two threads come to tell of it.
2. A change wakes the control planes that looked at the object when they were decided on last; one in the bookkeeping of the server alone
   wakes nobody.
3. While another one leads, or might, nothing is written.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from captep_cli._dry_run import DryRunDecide
from captep_core import JSON, Action, ObjectRef, Observed, decide
from captep_core.capt._resources import WATCHED, is_control_plane
from captep_core.errors import GatewayError
from captep_core.ports import Answer, Decide
from captep_kubernetes import (
    CacheChange,
    DryRun,
    Informer,
    KubernetesGateway,
    Transport,
    content_changed,
)
from captep_runtime import Logger, Loop, Metrics, Tuning

__all__ = ["NAME", "Controller"]

NAME = "captcontrolplane"
_TICK_SECONDS = 1.0
_LONGEST_PASS = timedelta(minutes=5)


class SystemClock:
    """The time of the machine."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)


class _Fence:
    """A gateway that writes only while `may_write` says so."""

    def __init__(self, gateway: KubernetesGateway, may_write: Callable[[], bool]) -> None:
        self.read: Callable[[ObjectRef], Observed[dict[str, JSON]]] = gateway.read
        self._gateway, self._may_write = gateway, may_write

    def send(self, action: Action) -> Answer:
        """Send one action.

        Raises:
            GatewayError: this process does not lead any more.
        """
        if not self._may_write():
            raise GatewayError("the lease is lost: nothing more is written")
        return self._gateway.send(action)


class Controller:
    """Keeps all control planes of a cluster, or of some namespaces, where they should be.

    Args:
        transport: the way to the server.
        namespaces: where to look, none for everywhere.
        dry_run: whether writes are sent, and whether they count.
        metrics: where measurements go.
        may_write: asked before each write.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespaces: Iterable[str],
        dry_run: DryRun,
        metrics: Metrics,
        may_write: Callable[[], bool],
    ) -> None:
        self._gateway = KubernetesGateway(
            transport,
            watched=WATCHED,
            namespaces=namespaces,
            on_change=self._changed,
            dry_run=dry_run,
        )
        logger = logging.getLogger("captep.controller")
        deciding: Decide = (
            decide
            if dry_run is DryRun.NONE
            else DryRunDecide(decide, self._gateway, dry_run, logger)
        )
        self._loop = Loop(
            deciding,
            _Fence(self._gateway, may_write),
            SystemClock(),
            name=NAME,
            metrics=metrics,
            reporter=Logger(logger, NAME),
            seconds=time.monotonic,
            tuning=Tuning(align_to=_TICK_SECONDS),
            version=self._gateway.version,
        )
        self._keeping = threading.Lock()

    @property
    def informers(self) -> tuple[Informer, ...]:
        """The caches."""
        return self._gateway.informers

    @property
    def has_synced(self) -> bool:
        """Whether every cache has seen everything once."""
        return self._gateway.has_synced

    def watch(self) -> None:
        """Start to watch; once."""
        self._gateway.start()

    def work(self, workers: int) -> None:
        """Start to reconcile; once, and not before `has_synced`."""
        # What is in the caches stays: the garbage collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        self._loop.start(workers)

    def rest(self, grace: timedelta) -> bool:
        """Reconcile no more; return whether the passes under way have ended within `grace`."""
        return self._loop.stop(grace)

    def stop(self) -> None:
        """Stop to watch."""
        self._gateway.stop()

    def problems(self) -> tuple[str, ...]:
        """Say what is so wrong that only a restart helps."""
        dead = tuple(
            f"the watch of {informer.resource} has ended"
            for informer in self.informers
            if not informer.is_alive
        )
        return (*dead, *self._loop.problems(longest_run=_LONGEST_PASS))

    def measure(self) -> None:
        """Set the gauges that change while nothing happens."""
        self._loop.measure()

    def _changed(self, change: CacheChange) -> None:
        if not content_changed(change):
            return
        if is_control_plane(change.ref):
            self._keep(change.ref)
        else:
            self._loop.notify(change.ref)

    def _keep(self, key: ObjectRef) -> None:
        with self._keeping:
            if self._gateway.exists(key):
                self._loop.add(key)
            else:
                self._loop.remove(key)
