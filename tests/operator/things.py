"""An operator of Things as its author would write it: a module with a command line of its own.

Imported, it is what `--decide` names.
"""

import argparse
from datetime import datetime

from captep_core import Decision, ObjectRef, ReconcileState
from captep_core.ports import Decide, Read
from captep_operator import Kind, Operator
from tests.testing.toy import Verdict, keep

__all__ = ["broken", "decide", "empty", "main", "operator"]

decide = keep
operator = Operator(
    "things",
    keep,
    primary=Kind("example.dev/v1", "Thing", plural="things"),
    reads=[Kind("v1", "ConfigMap", plural="configmaps")],
)
empty = None


def broken(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Fail, with a text that nobody may see."""
    raise ValueError("canary")


def _flags() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument("--pause", action="store_true", help="change nothing")
    return flags


def _deciding(options: argparse.Namespace) -> Decide:
    def paused(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), None, Verdict("Paused"))

    return paused if options.pause else keep


def main(argv: list[str] | None = None) -> None:
    """Run the command line with the flag of this operator."""
    operator.main(argv, flags=_flags(), deciding=_deciding)


if __name__ == "__main__":
    main()
