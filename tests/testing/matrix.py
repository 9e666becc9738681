"""Print the kill matrix.

The property by which each level of the kit finds each piece of the museum.
"""

# ruff: noqa: T201 - the matrix is the output
import sys

from captep_testing import Kit, check, converge, explore, sweep
from tests.testing.museum import MUSEUM

LEVELS = ("check", "converge", "sweep", "explore")


def row(kit: Kit) -> tuple[str, str, str, str]:
    """Return the properties that fail at each level."""
    reports = (check(kit), converge(kit), sweep(kit), explore(kit, faults=1, events=1))
    first, second, third, fourth = (
        " ".join(sorted(report.properties)) or "-" for report in reports
    )
    return first, second, third, fourth


def main() -> int:
    """Print the matrix and the score; return 1 when a piece survives its property."""
    killed = 0
    width = max(len(piece.name) for piece in MUSEUM)
    print(f"{'':{width}}  {'  '.join(f'{level:18}' for level in LEVELS)}")
    for piece in MUSEUM:
        found = row(piece.kit)
        killed += piece.killed_by in {each for cell in found for each in cell.split()}
        print(f"{piece.name:{width}}  {'  '.join(f'{cell:18}' for cell in found)}", flush=True)
    print(f"{killed} of {len(MUSEUM)} killed")
    return int(killed < len(MUSEUM))


if __name__ == "__main__":
    sys.exit(main())
