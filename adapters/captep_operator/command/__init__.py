"""The command line of an operator: flags, worlds from files, output.

`main` is that of one operator. A command with more to offer puts `commands_of` its `Program` next
to commands of its own and calls `run`, as `captep` does.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

    from captep_core.ports import Decide
    from captep_operator._operator import Operator
    from captep_operator.command._acts import json_text
    from captep_operator.command._commands import commands_of
    from captep_operator.command._errors import InputError, UsageError
    from captep_operator.command._main import run
    from captep_operator.command._manifests import read_manifests
    from captep_operator.command._parser import Command, Parser, Subparsers
    from captep_operator.command._program import Program
    from captep_operator.command._values import count_from

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

# Loaded on first use: the help of a program needs few of them.
_MODULES: Final = {
    "Command": "_parser",
    "InputError": "_errors",
    "Parser": "_parser",
    "Program": "_program",
    "Subparsers": "_parser",
    "UsageError": "_errors",
    "commands_of": "_commands",
    "count_from": "_values",
    "json_text": "_acts",
    "read_manifests": "_manifests",
    "run": "_main",
}
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
    flags: "argparse.ArgumentParser | None" = None,
    deciding: "Callable[[argparse.Namespace], Decide] | None" = None,
) -> int:
    """Run a command of an operator and return its exit status; see `Operator.main`."""
    from captep_operator.command._commands import commands_of  # noqa: PLC0415
    from captep_operator.command._main import run  # noqa: PLC0415
    from captep_operator.command._program import Program  # noqa: PLC0415

    kind, prog = operator.primary.kind, operator.name
    return run(
        argv,
        commands_of(lambda: Program(operator, prog, flags, deciding)),
        prog=prog,
        about=f"The operator of {kind} objects: show its decisions, simulate it, run it.",
        examples=_EXAMPLES.format(prog=prog, file=f"{kind.lower()}.yaml"),
        version=lambda: operator.identity.user_agent().replace("/", " "),
    )


def __getattr__(name: str) -> object:
    """Load a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
