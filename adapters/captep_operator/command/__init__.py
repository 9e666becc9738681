"""The command line of an operator: flags, worlds from files, output.

`main` is that of one operator. A command with more to offer puts `commands_of` its `Program` next
to commands of its own and calls `run`, as `captep` does.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from captep_core.ports import Decide
from captep_operator.command._commands import commands_of, json_text
from captep_operator.command._errors import InputError, UsageError
from captep_operator.command._main import run
from captep_operator.command._manifests import read_manifests
from captep_operator.command._parser import Command, Parser, Subparsers
from captep_operator.command._program import Program
from captep_operator.command._values import count_from

if TYPE_CHECKING:
    from captep_operator._operator import Operator

__all__ = [
    "Command",
    "InputError",
    "Parser",
    "Program",
    "Subparsers",
    "UsageError",
    "commands_of",
    "count_from",
    "json_text",
    "main",
    "read_manifests",
    "run",
]

_EXAMPLES: Final = """\
examples:
  {prog} plan -f {file}            show what the loop would do now, and why
  {prog} simulate -f {file}        run the loop alone until it settles
  {prog} plan --live fleet/tokyo   show the same for a cluster
  {prog} run --leader-elect        reconcile on a cluster until SIGTERM

exit status: 0 done, 1 error, 2 wrong usage, 3 not settled, 130 interrupted"""


def main(
    operator: "Operator",
    argv: Sequence[str] | None,
    *,
    flags: argparse.ArgumentParser | None = None,
    deciding: Callable[[argparse.Namespace], Decide] | None = None,
) -> int:
    """Run a command of an operator and return its exit status; see `Operator.main`."""
    kind, prog = operator.primary.kind, operator.name
    return run(
        argv,
        commands_of(Program(operator, prog, flags, deciding)),
        prog=prog,
        about=f"The operator of {kind} objects: show its decisions, simulate it, run it.",
        examples=_EXAMPLES.format(prog=prog, file=f"{kind.lower()}.yaml"),
        version=lambda: operator.identity.user_agent().replace("/", " "),
    )
