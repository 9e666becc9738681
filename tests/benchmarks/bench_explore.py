"""Measures the search of the convergence kit: states per second of CPU, and memory per state.

Prints one JSON object per search; `--long` adds the pull-request bounds of our own core.
"""

import json
import resource
import sys
import time
from functools import partial

from captep_testing import explore
from tests.testing.captep_domain import captep
from tests.testing.toy import toy

# Name, kit, faults, events, lag.
_SHORT = (
    ("toy", toy, 1, 1, 0),
    ("captep ready", partial(captep, "ready"), 1, 1, 1),
)
_LONG = (
    ("captep ready", partial(captep, "ready", all_moves=True), 1, 2, 1),
    ("captep created", partial(captep, "created", all_moves=True), 1, 2, 1),
    ("captep leaving", partial(captep, "leaving", all_moves=True), 1, 2, 1),
)


def main() -> None:
    """Print the figures."""
    for name, kit, faults, events, lag in _SHORT + (_LONG if "--long" in sys.argv else ()):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        report = explore(kit(), faults=faults, events=events, lag=lag, limit=1_000_000)
        seconds = time.process_time() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        figures = {
            "search": f"{name}, faults {faults}, events {events}, lag {lag}",
            "states": report.states,
            "edges": report.edges,
            "cpu_seconds": round(seconds, 2),
            "states_per_second": round(report.states / seconds),
            "kilobytes_per_state": round(grown / report.states, 2),
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
