"""`--dry-run`: decide and log, but write nothing."""

import logging
import threading
from datetime import datetime

from attrs import evolve

from captep_core._actions import Action, ObjectRef, RecordEvent, purpose_of, write_of
from captep_core._decision import Decision
from captep_core._observation import ReconcileState
from captep_core.ports import Decide, Read
from captep_kubernetes import DryRun, KubernetesGateway

__all__ = ["DryRunDecide"]


class DryRunDecide:
    """A `decide` that logs its actions and returns a decision without them.

    It logs the actions of a key when they change, not at every pass. With
    `DryRun.SERVER` it sends them with `dryRun=All`, so that the log shows the server's answers.
    """

    def __init__(
        self, decide: Decide, gateway: KubernetesGateway, dry_run: DryRun, logger: logging.Logger
    ) -> None:
        self._decide = decide
        self._gateway = gateway
        self._dry_run = dry_run
        self._logger = logger
        self._lock = threading.Lock()
        self._logged: dict[ObjectRef, tuple[Action, ...]] = {}

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Decide; see `captep_core.ports.Decide`."""
        decision = self._decide(key, read, state, now=now)
        with self._lock:
            logged = self._logged.pop(key, ())
            if decision.actions:
                self._logged[key] = decision.actions
        if list(map(write_of, decision.actions)) != list(map(write_of, logged)):
            self._log(key, decision.actions)
        return evolve(decision, actions=(), outstanding=())

    def _log(self, key: ObjectRef, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if self._dry_run is not DryRun.SERVER:
                self._logger.info("%s: would %s: %s", key, write_of(action), purpose_of(action))
                continue
            status = self._gateway.send(action).status
            self._logger.info(
                "%s: would %s: %s (HTTP %d)", key, write_of(action), purpose_of(action), status
            )
            # A real pass stops at its first refusal too, unless an Event was refused.
            if status >= 300 and not isinstance(action, RecordEvent):
                return
