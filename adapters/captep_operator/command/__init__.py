"""The command line of an operator: flags, worlds from files, output."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from captep_core.ports import Decide

if TYPE_CHECKING:
    from captep_operator._operator import Operator

__all__ = ["main"]


def main(
    operator: "Operator",
    argv: Sequence[str] | None,
    *,
    flags: argparse.ArgumentParser | None = None,
    deciding: Callable[[argparse.Namespace], Decide] | None = None,
) -> int:
    """Run a command of an operator and return its exit status; see `Operator.main`."""
    from captep_operator.command._commands import commands_of  # noqa: PLC0415 - as in captep_cli
    from captep_operator.command._main import main as run  # noqa: PLC0415
    from captep_operator.command._program import Program  # noqa: PLC0415

    kind = operator.primary.kind
    prog = operator.name
    return run(
        argv,
        commands_of(Program(operator, prog, flags, deciding)),
        prog=prog,
        about=f"The operator of {kind} objects: show its decisions, simulate it, run it.",
        examples=_EXAMPLES.format(prog=prog, file=f"{kind.lower()}.yaml"),
        version=lambda: operator.identity.user_agent().replace("/", " "),
    )


_EXAMPLES = """\
examples:
  {prog} plan -f {file}            show what the loop would do now, and why
  {prog} simulate -f {file}        run the loop alone until it settles
  {prog} plan --live fleet/tokyo   show the same for a cluster
  {prog} run --leader-elect        reconcile on a cluster until SIGTERM

exit status: 0 done, 1 error, 2 wrong usage, 3 not settled, 130 interrupted"""
