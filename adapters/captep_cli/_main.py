"""The command: an operator's `run`, `plan` and `simulate`, and `demo`, `serve` and `audit`."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from captep_operator.command import Command, Parser, Subparsers, UsageError, commands_of, run

if TYPE_CHECKING:
    from captep_operator.command import Program

__all__ = ["main"]

_ABOUT = "The reconcile loop of the CAPTControlPlane: show its decisions, simulate it, run it."
_EXAMPLES = """\
examples:
  captep plan -f control-plane.yaml            show what the loop would do now, and why
  captep simulate -f control-plane.yaml        run the loop alone until it settles
  captep plan --live fleet/tokyo               show the same for a cluster
  captep demo                                  compare the loop before and after CAPTEP-0016

exit status: 0 done, 1 error, 2 wrong usage, 3 not settled, 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(
        argv,
        _commands(),
        prog="captep",
        about=_ABOUT,
        examples=_EXAMPLES,
        version=lambda: _program().operator.identity.user_agent().replace("/", " "),
    )


def _commands() -> Mapping[str, Command]:
    of_operator = commands_of(_program)
    return {
        "plan": of_operator["plan"],
        "simulate": of_operator["simulate"],
        "demo": Command("compare the loop before and after CAPTEP-0016", _flags("demo"), _demo),
        "run": of_operator["run"],
        "serve": Command("serve the in-memory API server on loopback", _flags("serve"), _serve),
        "audit": Command(
            "judge any operator by the audit log of an API server", _flags("audit"), _audit
        ),
    }


def _program() -> "Program":
    from captep_cli._operator import PROGRAM  # noqa: PLC0415 - not for --help

    return PROGRAM


def _flags(name: str) -> Callable[[Subparsers, str, str], Parser]:
    def add(commands: Subparsers, command: str, line: str) -> Parser:
        from captep_cli import _flags  # noqa: PLC0415 - not for --help

        made: Parser = getattr(_flags, name)(commands, command, line)
        return made

    return add


def _demo(options: argparse.Namespace) -> tuple[str, int]:
    from captep_demo import demo  # noqa: PLC0415 - the demo loads the in-memory server

    return "", demo(
        options.control_planes, options.hours, options.seed, options.plot, options.report
    )


def _serve(options: argparse.Namespace) -> tuple[str, int]:
    from captep_cli._serve import serve  # noqa: PLC0415 - no other command serves

    return "", serve(options)


def _audit(options: argparse.Namespace) -> tuple[str, int]:
    from captep_audit import (  # noqa: PLC0415 - the other commands need none of it
        AuditLogError,
        Judge,
        Log,
        read_events,
        report_json,
        report_text,
    )
    from captep_operator.command import json_text  # noqa: PLC0415

    log, judge = Log(), Judge(options.user, options.agent)
    try:
        for event in read_events(options.logs, log):
            judge.see(event)
    except AuditLogError as error:
        raise UsageError(str(error)) from None
    verdict = judge.verdict()
    status = 1 if verdict.findings else 0
    if options.output == "json":
        return json_text(report_json(log, verdict)), status
    return report_text(log, verdict), status
