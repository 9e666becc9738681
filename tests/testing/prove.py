"""Search our own core within the bounds of `make prove`, and record the certificates.

An interrupted search continues: its file lies in the directory of the first argument. A search that
is recorded for the present code is not repeated. `--list` says which certificates are of other
code.
"""

# ruff: noqa: T201 - the certificate is the output
import argparse
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import process_time
from typing import Final

from attrs import asdict, fields, frozen

from captep_core import decide
from captep_testing import Progress, Report, explore
from captep_testing._code import code_hash
from tests.testing.captep_domain import captep, captep_worlds

__all__ = ["BOUNDS", "CERTIFICATES", "Certificate", "Proof", "certificates", "main", "stale"]

CERTIFICATES: Final = Path(__file__).parents[2] / "docs" / "certificates.md"
_HEAD: Final = """# Certificates

`make prove` searched our own core from each moment to the end, within the bounds of the row, and
every property of [properties.md](properties.md) held in every state. A waiver names what is out of
reach from that moment. `code` is the hash of the core that was searched; `make prove` searches
again what was recorded for other code, and `python -m tests.testing.prove --list .prove` says which
rows those are. The command writes this file.

"""


@frozen
class Proof:
    """One search: the moment and the bounds."""

    moment: str
    faults: int
    events: int
    lag: int


@frozen
class Certificate:
    """One row: a search that reached its end, its size, the code, the day, and the waivers.

    `cpu_seconds`: of the last run, for a search that was interrupted.
    """

    moment: str
    faults: int
    events: int
    lag: int
    states: int
    edges: int
    cpu_seconds: int
    code: str
    day: str
    waived: str

    @property
    def proof(self) -> Proof:
        """The search that the row certifies."""
        return Proof(self.moment, self.faults, self.events, self.lag)


_NAMES: Final = tuple(each.name for each in fields(Certificate))
_COUNTS: Final = frozenset(each.name for each in fields(Certificate) if each.type is int)

# Faults, events and lag. One event more, or stale views with two faults, takes hours.
BOUNDS: Final = ((1, 2, 1), (2, 1, 0))


def certificates(text: str) -> list[Certificate]:
    """Return the rows of a file.

    Raises:
        ValueError: a row has other columns.
    """
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    found = []
    for row in rows[1:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        named = zip(_NAMES, cells, strict=True)
        values = {
            name: int(cell.replace(",", "")) if name in _COUNTS else cell for name, cell in named
        }
        found.append(Certificate(**values))  # type: ignore[arg-type]  # by the types of the fields
    return found


def stale(recorded: Iterable[Certificate], code: str) -> list[Certificate]:
    """Return the certificates of other code."""
    return [each for each in recorded if each.code != code]


def _text(recorded: Iterable[Certificate]) -> str:
    lines = [f"| {' | '.join(_NAMES)} |", "|---" * len(_NAMES) + "|"]
    order = sorted(recorded, key=lambda each: (each.faults, each.events, each.lag, each.moment))
    for each in order:
        cells = (
            f"{value:,}" if isinstance(value, int) else value for value in asdict(each).values()
        )
        lines.append(f"| {' | '.join(cells)} |")
    return _HEAD + "\n".join(lines) + "\n"


def _record(certificate: Certificate) -> None:
    known = _recorded()
    others = [each for each in known if each.proof != certificate.proof]
    CERTIFICATES.write_text(_text([*others, certificate]))


def _recorded() -> list[Certificate]:
    return certificates(CERTIFICATES.read_text()) if CERTIFICATES.exists() else []


def _show(proof: Proof, progress: Progress) -> None:
    rate = f"{progress.rate:.0f} a second, at least {progress.seconds_left:.0f} s left"
    text = f"{proof}: {progress.states:,} states, {progress.frontier:,} to expand, {rate}"
    print(text, file=sys.stderr, end="\r", flush=True)


def _search(proof: Proof, directory: Path, limit: int, code: str) -> Report:
    name = f"{proof.moment}-{proof.faults}-{proof.events}-{proof.lag}.search"
    kit = captep(proof.moment, all_moves=proof.events > 1)
    began = process_time()
    report = explore(
        kit,
        faults=proof.faults,
        events=proof.events,
        lag=proof.lag,
        limit=limit,
        progress=partial(_show, proof),
        checkpoint=directory / name,
    )
    if report.holds and report.exhausted:
        _record(
            Certificate(
                proof.moment,
                proof.faults,
                proof.events,
                proof.lag,
                report.states,
                report.edges,
                round(process_time() - began),
                code,
                f"{datetime.now(UTC):%Y-%m-%d}",
                "; ".join(f"{name}: {reason}" for name, reason in sorted(kit.waive.items())),
            )
        )
    return report


def main() -> int:
    """Search what is not recorded for this code; return 1 when a search does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--list", action="store_true", help="name the certificates of other code")
    parser.add_argument("--limit", type=int, default=10_000_000)
    parser.add_argument("--bounds", type=int, nargs=3, action="append", metavar="N")
    parser.add_argument("moments", nargs="*", default=sorted(captep_worlds()))
    given = parser.parse_args()
    # A file that changes during a search of hours is not what was searched.
    code = code_hash(decide)
    old = [each.proof for each in stale(_recorded(), code)]
    for proof in old:
        print(f"{proof}: the certificate is of other code", flush=True)
    if given.list:
        return 0
    given.directory.mkdir(parents=True, exist_ok=True)
    done = {each.proof for each in _recorded()}.difference(old)
    held = True
    for bounds in given.bounds or BOUNDS:
        for moment in given.moments:
            proof = Proof(moment, *bounds)
            if proof not in done:
                report = _search(proof, given.directory, given.limit, code)
                held = held and report.holds and report.exhausted
                print(f"{proof}: {report.certificate or report}", flush=True)
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
