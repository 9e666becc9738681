"""From the command line to an exit status: a command prints its whole result, or one line of error.

A command computes its text before it prints, so that standard output stays empty after an error.
"""

import argparse
import importlib
import io
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from captep_cli._options import parse
from captep_core.errors import CaptepError
from captep_operator.command._errors import InputError, UsageError, one_line

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = argparse.Namespace()
    try:
        options = parse(argv)
        text, status = _COMMANDS[options.command](options)
        return _printed(text, status)
    except UsageError as exc:
        print(f"captep: {one_line(str(exc))}", file=sys.stderr)
        return 2
    except (InputError, CaptepError) as exc:
        print(_error(options, one_line(str(exc))), file=sys.stderr)
        return 1
    except BrokenPipeError:
        _discard_output()
        return 0
    except KeyboardInterrupt:
        print("captep: interrupted", file=sys.stderr)
        return 130


def _error(options: argparse.Namespace, message: str) -> str:
    """Return the line of an error, as a JSON object if the log has this format."""
    if getattr(options, "log_format", "text") != "json":
        return f"captep: {message}"
    from captep_operator.command._logging import error_line  # noqa: PLC0415 - --help loads no runtime

    return error_line("json", message)


def _plan(options: argparse.Namespace) -> tuple[str, int]:
    from captep_cli._policy import deciding  # noqa: PLC0415
    from captep_cli._text import decision_text  # noqa: PLC0415
    from captep_core import ReconcileState, control_plane_ref  # noqa: PLC0415
    from captep_operator.command._json import decision_json  # noqa: PLC0415 - --help loads no decision
    from captep_operator.command._mask import as_it_is, masked  # noqa: PLC0415

    show = as_it_is if options.show_secrets else masked
    if options.live:
        key, now = control_plane_ref(*options.name), datetime.now(UTC)
        read = _later("_run").live_read(options.kubeconfig, options.context)
    else:
        from captep_cli._input_world import read_world  # noqa: PLC0415

        settings = _world_settings(options)
        world, now = read_world(settings), settings.now
        key, read = world.key, world.gateway.read
    decide = deciding(options.publish_to_cluster)
    decision = decide(key, read, ReconcileState(), now=now)
    if options.output == "json":
        return _json(decision_json(decision, show)), 0
    return decision_text(key, decision, read, show), 0


def _simulate(options: argparse.Namespace) -> tuple[str, int]:
    from captep_cli._input_world import read_world  # noqa: PLC0415
    from captep_cli._policy import deciding  # noqa: PLC0415
    from captep_cli._simulate import simulate, simulation_json  # noqa: PLC0415
    from captep_cli._text import simulation_text  # noqa: PLC0415
    from captep_operator.command._mask import as_it_is, masked  # noqa: PLC0415

    settings = _world_settings(options)
    world = read_world(settings)
    decide = deciding(options.publish_to_cluster)
    simulation = simulate(world, settings.now, options.passes, decide)
    status = 3 if simulation.settled_after is None else 0
    if options.output == "json":
        show = as_it_is if options.show_secrets else masked
        return _json(simulation_json(simulation, show)), status
    return simulation_text(world.key, simulation), status


def _demo(options: argparse.Namespace) -> tuple[str, int]:
    from captep_demo import demo  # noqa: PLC0415 - the demo loads the in-memory server

    return "", demo(
        options.control_planes, options.hours, options.seed, options.plot, options.report
    )


def _run(options: argparse.Namespace) -> tuple[str, int]:
    from captep_operator.command._logging import log_to_stderr  # noqa: PLC0415 - --help loads no runtime

    # Before the client is imported: it may warn.
    with log_to_stderr(options.log_format):
        return "", _later("_run").run(options)


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
        return _json(report_json(log, verdict)), status
    return report_text(log, verdict), status


_COMMANDS = {
    "plan": _plan,
    "simulate": _simulate,
    "demo": _demo,
    "run": _run,
    "serve": _serve,
    "audit": _audit,
}


# From a missing module to the extra that installs it. The client brings PyYAML and urllib3 too.
_EXTRAS = {
    "kubernetes": "kubernetes",
    "urllib3": "kubernetes",
    "yaml": "kubernetes",
    "prometheus_client": "metrics",
}


def _later(module: str) -> Any:  # noqa: ANN401 - a module
    """Import a module that only one command needs, and name the extra that it lacks.

    Raises:
        InputError: a package of an extra is not installed.
    """
    try:
        return importlib.import_module(f"captep_cli.{module}")
    except ModuleNotFoundError as exc:
        if exc.name not in _EXTRAS:
            raise
        raise InputError(
            f"{exc.name} is not installed;"
            f" to use this command: pip install 'captep[{_EXTRAS[exc.name]}]'"
        ) from None


def _world_settings(options: argparse.Namespace) -> Any:  # noqa: ANN401 - imported late
    from captep_cli._input_world import WorldSettings  # noqa: PLC0415
    from captep_memory import ObjectMatch  # noqa: PLC0415

    return WorldSettings(
        files=tuple(options.files),
        control_plane=options.control_plane,
        now=options.now or datetime.now(UTC),
        unreadable={ObjectMatch(*what): reason for what, reason in options.unreadable},
        refuse={
            (verb, ObjectMatch(*what)): status
            for verb, what, status in getattr(options, "refuse", ())
        },
    )


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _printed(text: str, status: int) -> int:
    """Print `text` and return `status`; a reader that closes the pipe early is no error.

    Raises:
        InputError: writing to standard output failed.
    """
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        # UTF-8 in every locale; a lone surrogate is printed as JSON escapes it.
        out.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as exc:
        _discard_output()
        raise InputError(f"standard output: cannot be written: {exc.strerror}") from None
    return status


def _discard_output() -> None:
    """Keep the interpreter from flushing, and complaining, once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
