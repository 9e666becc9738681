"""From started watches to full caches, or to one line about those that cannot be filled.

Rules of this module:

1. A problem that no retry solves ends the start; see `fatal_problem`.
2. A kind that the server does not have, forbids, or cannot list for half a minute delays the start
   no further: its objects are unreadable to decisions, its watch retries, and everything that does
   not need it goes on.
3. Until then one line names the problems of all caches; after that each watch reports its own.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from captep_core.errors import GatewayError
from captep_kubernetes import NOT_SERVED, Informer, Transport
from captep_operator._controller import Controller
from captep_operator._preflight import fatal_problem

__all__ = ["synced"]

_log = logging.getLogger("captep.run")
_watches = logging.getLogger("captep.kubernetes")
_LOOK_SECONDS: Final = 0.05
"""The interval at which a start checks its caches: too short for a visible delay."""
_REPORT_SECONDS: Final = 10.0
"""The interval at which a start logs the caches that it waits for."""
# A conversion webhook that is down keeps one kind from being listed, perhaps for hours.
_BEGIN_SECONDS: Final = 30.0
_HINTS: Final[Mapping[str, str]] = {NOT_SERVED: "", "Forbidden": ": grant list and watch"}
"""What to do, by the reason of a problem that lasts until somebody acts."""


def synced(
    controller: Controller, transport: Transport, is_stopped: Callable[[float], bool]
) -> tuple[str, ...] | None:
    """Start the watches and wait for the caches.

    Args:
        controller: of the caches; its watches are not started yet.
        transport: the way to the server.
        is_stopped: waits for so many seconds, and returns whether the process has to end.

    Returns:
        A line for each cache that the work begins without; None when the process has to end.

    Raises:
        GatewayError: a problem that no retry solves; one line says what to do.
    """
    with _quiet_watches():
        controller.watch()
        started_at = reported_at = time.monotonic()
        while not controller.has_synced:
            problem = fatal_problem(transport, controller.informers, controller.primary)
            if problem is not None:
                raise GatewayError(problem)
            now = time.monotonic()
            if _goes_on(controller, is_late=now - started_at >= _BEGIN_SECONDS):
                break
            if now - reported_at >= _REPORT_SECONDS:
                reported_at = now
                _log.warning("still waiting for %s", "; ".join(_missing(controller)))
            if is_stopped(_LOOK_SECONDS):
                return None
    return _missing(controller)


def _goes_on(controller: Controller, *, is_late: bool) -> bool:
    """Whether to begin with the caches that are there."""
    waiting = [informer for informer in controller.informers if not informer.has_synced]
    if len(waiting) == len(controller.informers):
        return False
    return is_late or all(_reason(informer) in _HINTS for informer in waiting)


def _reason(informer: Informer) -> str:
    return "" if informer.problem is None else informer.problem.reason


def _missing(controller: Controller) -> tuple[str, ...]:
    return tuple(
        f"{informer.resource}: {informer.problem or 'not listed yet'}"
        f"{_HINTS.get(_reason(informer), '')}"
        for informer in controller.informers
        if not informer.has_synced
    )


@contextmanager
def _quiet_watches() -> Iterator[None]:
    before = _watches.level
    _watches.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _watches.setLevel(before)
