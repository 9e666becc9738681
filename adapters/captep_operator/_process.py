"""One run of an operator on a cluster, from its settings to its end.

Rules of this module:

1. The thread of `run` waits for messages, and looks at the health of the watches meanwhile.
   Everything that ends the run is a message: a call of `stop`, a lost lease.
2. The end always has this order: no new pass, the passes under way, the lease, the watches, the
   servers. It takes at most ten seconds.
"""

import logging
import queue
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final

from attrs import field, frozen
from attrs.validators import ge

from captep_core.errors import GatewayError
from captep_core.ports import Decide
from captep_kubernetes import DryRun, LeaderElector, Transport, WatchHealth, load_transport
from captep_operator._controller import Controller
from captep_operator._counting import counting
from captep_operator._discovery import discovered
from captep_operator._identity import Identity
from captep_operator._kind import Kind
from captep_operator._leadership import Lease, candidate_for
from captep_operator._messages import Message, Messages, forget_earlier_runs
from captep_operator._preflight import check_cluster, check_lease, check_shards
from captep_operator._serving import Pages, Serving, measured, serve
from captep_operator._shard import Shard
from captep_operator._start import synced
from captep_runtime import Metrics, PageServer

__all__ = ["Process", "Settings"]

_log = logging.getLogger("captep.run")
# Six and two of the ten seconds that rule 2 allows; closing watches and servers takes the rest.
# Kubernetes kills a pod 30 s after SIGTERM.
_PASSES_END_WITHIN: Final = timedelta(seconds=6)
_LEASE_ENDS_WITHIN: Final = 2.0
# The log has a line about blind watches soon, also where nobody asks for /readyz.
_LOOK_SECONDS: Final = 5.0


@frozen
class Settings:
    """How to run; see `Operator.run`."""

    kubeconfig: str | None
    context: str | None
    transport: Transport | None
    namespaces: tuple[str, ...]
    workers: int = field(validator=ge(1))
    lease: Lease | None
    shard: Shard
    dry_run: DryRun
    metrics: Metrics | None
    serving: Serving
    warnings: Callable[[Transport], Iterable[str]]


class Process:
    """One run; `identity`, `decide` and `kinds` are those of the operator, the primary first."""

    def __init__(
        self,
        identity: Identity,
        decide: Decide,
        kinds: tuple[Kind, ...],
        settings: Settings,
        messages: Messages,
    ) -> None:
        self._identity = identity
        self._decide, self._kinds = decide, kinds
        self._settings, self._messages = settings, messages
        exposed, self._exposition = measured(settings.serving)
        self._metrics: Metrics = settings.metrics or exposed
        transport = settings.transport or self._connected()
        self._transport = counting(transport, self._metrics)
        # A dry run writes nothing, so it must not keep another process from leading.
        self._fleet = settings.lease if settings.dry_run is DryRun.NONE else None
        self._lease = None if self._fleet is None else self._fleet.of(settings.shard)
        self._elector = None if self._lease is None else self._candidate(self._lease)
        self._has_begun = False

    def run(self) -> None:
        """Check, watch, serve, wait for the lease, work; end in the reverse order.

        Raises:
            GatewayError: the start failed, or the lease is lost; one line says what to do.
        """
        forget_earlier_runs(self._messages)
        self._check()
        controller = self._controller()
        health = WatchHealth(lambda: controller.informers)
        servers = list[PageServer]()
        try:
            servers += self._serve(controller, health)
            try:
                if self._begins(controller) and self._leads(health):
                    self._work(controller, health)
            finally:
                self.end(controller)
        finally:
            controller.stop()
            for server in servers:
                server.close()

    def problems(self, controller: Controller) -> tuple[str, ...]:
        """Return every problem that only a restart solves, one line each."""
        return (*controller.problems(), *(self._elector.problems() if self._elector else ()))

    def end(self, controller: Controller) -> None:
        """End the passes under way, then give the lease back."""
        if not controller.rest(_PASSES_END_WITHIN):
            _log.warning("a pass did not end within %d s", _PASSES_END_WITHIN.total_seconds())
        elif self._elector is not None:
            # Only after the last write: the next leader starts at once. Released after a loss too:
            # the elector may have won the lease again while the last pass ended.
            self._elector.stop(_LEASE_ENDS_WITHIN)
        _log.info("ended")

    def _check(self) -> None:
        for name in check_cluster(self._transport, self._settings.namespaces):
            _log.warning(
                "no permission to see whether the namespace %s exists:"
                " grant get on namespaces, in a Role there",
                name,
            )
        for line in self._settings.warnings(self._transport):
            _log.warning(line)
        shard = self._settings.shard
        if self._fleet is not None and self._lease is not None:
            check_lease(self._transport, self._lease.namespace, self._lease.name)
            check_shards(self._transport, self._fleet, shard)
        if shard.count > 1:
            _log.info("shard %s: reconciles its share of the %s", shard, self._kinds[0])
            labels = {"shard": str(shard.index), "shards": str(shard.count)}
            self._metrics.set("captep_shard_info", labels, 1)

    def _controller(self) -> Controller:
        watched = discovered(self._transport, self._kinds)
        return Controller(
            self._transport,
            name=self._identity.controller,
            decide=self._decide,
            primary=watched[0].resource,
            watched=watched,
            component=self._identity.name,
            namespaces=self._settings.namespaces,
            owns=self._settings.shard.owns,
            dry_run=self._settings.dry_run,
            metrics=self._metrics,
            may_write=self._elector.is_leading if self._elector else lambda: True,
        )

    def _begins(self, controller: Controller) -> bool:
        """Fill the caches; return False when `stop` comes first."""
        started_at = time.monotonic()

        def is_stopped(seconds: float) -> bool:
            return self._message(seconds) is Message.STOPPED

        missing = synced(controller, self._transport, is_stopped)
        if missing is None:
            return False
        self._has_begun = True
        took = time.monotonic() - started_at
        if missing:
            _log.warning("beginning after %.1f s without %s", took, "; ".join(missing))
        else:
            _log.info("all caches are synced after %.1f s", took)
        return True

    def _leads(self, health: WatchHealth) -> bool:
        """Wait for the lease; return False when `stop` comes first."""
        if self._elector is None:
            return True
        _log.info("waiting for the lease %s", self._lease)
        self._elector.start()
        while (message := self._message_under(health)) is not Message.LEADS:
            if message is Message.STOPPED:
                return False
        return True

    def _work(self, controller: Controller, health: WatchHealth) -> None:
        controller.work(self._settings.workers)
        _log.info("working with %d workers", self._settings.workers)
        if self._message_under(health) is Message.LOST:
            raise GatewayError(
                f"the lease {self._lease} is lost: this process ends and expects to be restarted"
            )

    def _message_under(self, health: WatchHealth) -> Message:
        """Wait for a message; log meanwhile when all watches go blind, and when they recover."""
        while (message := self._message(_LOOK_SECONDS)) is None:
            health.problems()
        return message

    def _message(self, timeout: float) -> Message | None:
        try:
            return self._messages.get(timeout=timeout)
        except queue.Empty:
            return None

    def _connected(self) -> Transport:
        # Each watch keeps one connection, each worker another; four are for the lease and the rest.
        watches = len(self._kinds) * max(1, len(self._settings.namespaces))
        kubeconfig = self._settings.kubeconfig
        return load_transport(
            Path(kubeconfig) if kubeconfig else None,
            self._settings.context,
            connection_pool_maxsize=self._settings.workers + watches + 4,
            field_manager=self._identity.name,
            user_agent=self._identity.user_agent(),
        )

    def _candidate(self, lease: Lease) -> LeaderElector:
        return candidate_for(
            lease,
            self._identity.name,
            self._transport,
            self._metrics,
            shards=self._settings.shard.count,
            leads=lambda: self._messages.put(Message.LEADS),
            lost=lambda: self._messages.put(Message.LOST),
        )

    def _serve(self, controller: Controller, health: WatchHealth) -> list[PageServer]:
        pages = Pages(
            problems=lambda: self.problems(controller),
            has_begun=lambda: self._has_begun,
            failing=health.failing,
            blind=health.problems,
            exposition=self._exposed(controller, health),
        )
        return serve(pages, self._settings.serving, self._transport)

    def _exposed(self, controller: Controller, health: WatchHealth) -> Callable[[], bytes] | None:
        expose = self._exposition
        if expose is None:
            return None

        def exposed() -> bytes:
            controller.measure()
            for kind, is_current in health.kinds().items():
                self._metrics.set("captep_watch_healthy", {"kind": kind}, is_current)
            return expose()

        return exposed
