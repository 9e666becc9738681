"""`--dry-run`: decide and tell, but do not write."""

import logging
import threading
from datetime import datetime

from attrs import evolve

from captep_core import (
    Action,
    Decision,
    ObjectRef,
    ReconcileState,
    RecordEvent,
    purpose_of,
    write_of,
)
from captep_core.ports import Decide, Read
from captep_kubernetes import DryRun, KubernetesGateway

__all__ = ["DryRunDecide"]


class DryRunDecide:
    """A `decide` that keeps its actions to itself: each is logged, once for as long as it is wanted, and none is left for the executor.

    With `DryRun.SERVER` the server is asked whether it would take them.
    """

    def __init__(
        self, decide: Decide, gateway: KubernetesGateway, dry_run: DryRun, logger: logging.Logger
    ) -> None:
        self._decide, self._gateway, self._dry_run, self._logger = decide, gateway, dry_run, logger
        self._lock = threading.Lock()
        self._told: dict[ObjectRef, tuple[Action, ...]] = {}

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Decide; see `captep_core.ports.Decide`."""
        decision = self._decide(key, read, state, now=now)
        with self._lock:
            known = self._told.pop(key, ())
            if decision.actions:
                self._told[key] = decision.actions
        if [write_of(action) for action in decision.actions] != [
            write_of(action) for action in known
        ]:
            self._tell(key, decision.actions)
        return evolve(decision, actions=(), outstanding=())

    def _tell(self, key: ObjectRef, actions: tuple[Action, ...]) -> None:
        for action in actions:
            status = self._gateway.send(action).status if self._dry_run is DryRun.SERVER else None
            answered = "" if status is None else f" (HTTP {status})"
            self._logger.info(
                "%s: would %s: %s%s", key, write_of(action), purpose_of(action), answered
            )
            if status is not None and status >= 300 and not isinstance(action, RecordEvent):
                return
