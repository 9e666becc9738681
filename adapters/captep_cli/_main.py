"""The command: an operator's `run`, `plan` and `simulate`, and `demo`, `serve` and `audit`."""

import argparse
from collections.abc import Mapping, Sequence

from captep_cli import _flags
from captep_cli._operator import PROGRAM
from captep_operator.command import Command, UsageError, commands_of, json_text, run

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
        version=lambda: PROGRAM.operator.identity.user_agent().replace("/", " "),
    )


def _commands() -> Mapping[str, Command]:
    of_operator = commands_of(PROGRAM)
    return {
        "plan": of_operator["plan"],
        "simulate": of_operator["simulate"],
        "demo": Command(_flags.demo, _demo),
        "run": of_operator["run"],
        "serve": Command(_flags.serve, _serve),
        "audit": Command(_flags.audit, _audit),
    }


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
