"""Whether the watches of a process are current: for readiness probes and a gauge.

One kind that cannot be watched does not make the process unready: its objects are unreadable, and
everything else goes on. When no watch at all is current for a minute, the process sees nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from captep_kubernetes._informer import Informer

__all__ = ["WatchHealth"]

_log = logging.getLogger("captep.kubernetes")
# Longer than a restart of an API server takes; a Pod that is taken out of service cures nothing.
_BLIND_SECONDS: Final = 60.0


class WatchHealth:
    """The health of all watches of a process. Safe to use from many threads.

    Args:
        informers: returns the caches of the process.
        clock: the clock of the informers, in seconds.
    """

    def __init__(
        self,
        informers: Callable[[], Iterable[Informer]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._informers = informers
        self._clock = clock
        self._was_blind = False
        self._lock = threading.Lock()

    def failing(self) -> tuple[str, ...]:
        """Return a line for each watch that is not current, with the reason."""
        return tuple(
            f"{_name(informer)}: {informer.problem or 'not listed yet'}"
            for informer in self._informers()
            if informer.failing_since is not None
        )

    def kinds(self) -> Mapping[str, bool]:
        """Return by kind whether all its watches are current."""
        kinds: dict[str, bool] = {}
        for informer in self._informers():
            name = str(informer.resource)
            kinds[name] = kinds.get(name, True) and informer.failing_since is None
        return kinds

    def problems(self) -> tuple[str, ...]:
        """Return the failing watches when none is current for a minute, else nothing.

        The beginning and the end of that state are logged, one line each.
        """
        since = [informer.failing_since for informer in self._informers()]
        failing = [moment for moment in since if moment is not None]
        is_blind = (
            bool(failing)
            and len(failing) == len(since)
            and self._clock() - max(failing) >= _BLIND_SECONDS
        )
        lines = self.failing() if is_blind else ()
        with self._lock:
            is_news = is_blind is not self._was_blind
            self._was_blind = is_blind
        if is_news and is_blind:
            _log.error("no watch had a good answer for a minute: %s", "; ".join(lines))
        elif is_news:
            _log.info("a watch has a good answer again")
        return lines


def _name(informer: Informer) -> str:
    where = f" in the namespace {informer.namespace}" if informer.namespace else ""
    return f"{informer.resource}{where}"
