"""Search our own core within the bounds of `make prove`, and print the certificate.

An interrupted search continues: its file lies in the directory of the first argument.
"""

# ruff: noqa: T201 - the certificate is the output
import argparse
import sys
from functools import partial
from pathlib import Path

from captep_testing import Progress, explore
from tests.testing.captep_domain import captep, captep_worlds


def _show(moment: str, progress: Progress) -> None:
    rate = f"{progress.rate:.0f} a second, at least {progress.seconds_left:.0f} s left"
    text = f"{moment}: {progress.states:,} states, {progress.frontier:,} to expand, {rate}"
    print(text, file=sys.stderr, end="\r", flush=True)


def main() -> int:
    """Search from every moment; return 1 when one of them does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--faults", type=int, default=2)
    parser.add_argument("--events", type=int, default=1)
    parser.add_argument("--lag", type=int, default=0)
    parser.add_argument("--limit", type=int, default=1_000_000)
    parser.add_argument("moments", nargs="*", default=sorted(captep_worlds()))
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    held = True
    for moment in given.moments:
        report = explore(
            captep(moment, all_moves=given.events > 1),
            faults=given.faults,
            events=given.events,
            lag=given.lag,
            limit=given.limit,
            progress=partial(_show, moment),
            checkpoint=given.directory / f"{moment}.search",
        )
        held = held and report.holds
        print(f"{moment}: {report.certificate or report}", flush=True)
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
