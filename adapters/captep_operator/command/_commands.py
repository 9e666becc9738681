"""The commands `plan`, `simulate` and `run` of an operator.

Flags, operator and decisions load when one of them is asked for: the help of the program needs none
of them.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from captep_operator.command._parser import Command, Parser

if TYPE_CHECKING:
    from captep_operator.command._flags import Flags
    from captep_operator.command._program import Program

__all__ = ["commands_of"]


def commands_of(program: "Callable[[], Program]") -> Mapping[str, Command]:
    """Return the commands of an operator by name; `program` is called once, for any of them."""
    program = cache(program)

    def flags() -> "Flags":
        from captep_operator.command._flags import Flags  # noqa: PLC0415 - not for --help

        return Flags(program())

    def plan(options: argparse.Namespace) -> tuple[str, int]:
        from captep_operator.command import _acts  # noqa: PLC0415 - not for --help

        return _acts.plan(program(), options)

    def simulate(options: argparse.Namespace) -> tuple[str, int]:
        from captep_operator.command import _acts  # noqa: PLC0415 - not for --help

        return _acts.simulate(program(), options)

    def run(options: argparse.Namespace) -> tuple[str, int]:
        from captep_operator.command import _acts  # noqa: PLC0415 - not for --help

        return _acts.run(program(), options)

    return {
        "plan": Command(
            "show what the loop would do now, and why",
            lambda commands, name, line: flags().plan(commands, name, line),
            plan,
            lambda parser, options: flags().check_plan(parser, options),
        ),
        "simulate": Command(
            "run the loop in a world of files",
            lambda commands, name, line: flags().simulate(commands, name, line),
            simulate,
        ),
        "run": Command(
            "run the controller on a cluster",
            lambda commands, name, line: flags().run(commands, name, line),
            run,
            _check_run,
        ),
    }


def _check_run(parser: Parser, options: argparse.Namespace) -> None:
    from captep_operator.command._flags import check_run  # noqa: PLC0415 - not for --help

    check_run(parser, options)
