"""What `plan`, `simulate` and `run` do: from options to text and exit status.

Each imports what it needs, so that the help of a command loads no decision and a plan from files
loads no client.
"""

import argparse
import importlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from captep_operator.command._errors import InputError, UsageError
from captep_operator.command._program import Program, Target, operator_of, target_of
from captep_operator.command._values import Named

__all__ = ["json_text", "plan", "run", "simulate"]

# From a missing module to the extra that installs it. The client brings PyYAML and urllib3 too.
_EXTRAS: Final = {
    "kubernetes": "kubernetes",
    "urllib3": "kubernetes",
    "yaml": "kubernetes",
    "prometheus_client": "metrics",
}


def json_text(value: object) -> str:
    """Return a value as the commands print it."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def plan(program: Program, options: argparse.Namespace) -> tuple[str, int]:
    from captep_core._observation import ReconcileState  # noqa: PLC0415
    from captep_operator.command._json import decision_json  # noqa: PLC0415
    from captep_operator.command._text import decision_text  # noqa: PLC0415
    from captep_show import as_it_is, masked  # noqa: PLC0415

    target = target_of(program, options)
    show = as_it_is if options.show_secrets else masked
    if options.live:
        now = datetime.now(UTC)
        connect = _later("captep_operator.command._live").connected
        key, read = connect(target, options.name, options.kubeconfig, options.context)
    else:
        from captep_operator.command._world import read_world  # noqa: PLC0415

        settings = _world_settings(program, target, options)
        world, now = read_world(settings), settings.now
        key, read = world.key, world.gateway.read
    decision = target.decide(key, read, ReconcileState(), now=now)
    if options.output == "json":
        return json_text(decision_json(decision, show, now=now)), 0
    return decision_text(key, decision, read, show, now=now), 0


def simulate(program: Program, options: argparse.Namespace) -> tuple[str, int]:
    from captep_operator._simulation import simulated  # noqa: PLC0415
    from captep_operator.command._json import simulation_json  # noqa: PLC0415
    from captep_operator.command._text import simulation_text  # noqa: PLC0415
    from captep_operator.command._world import read_world, sorted_objects  # noqa: PLC0415
    from captep_show import as_it_is, masked  # noqa: PLC0415

    target = target_of(program, options)
    settings = _world_settings(program, target, options)
    world = read_world(settings)
    run = simulated(target.decide, world.gateway, world.key, settings.now, further=options.passes)
    objects = sorted_objects(run.world, world.malformed)
    status = 3 if run.settled_after is None else 0
    show = as_it_is if options.show_secrets else masked
    if options.html is not None:
        from captep_operator.command._page import simulation_page  # noqa: PLC0415

        _write(options.html, simulation_page(world.key, run, show))
    if options.output == "json":
        return json_text(simulation_json(run, objects, show)), status
    return simulation_text(world.key, run, objects), status


def _write(path: Path, text: str) -> None:
    from captep_show import write_file  # noqa: PLC0415

    try:
        write_file(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot write the page: {error.strerror}") from None


def run(program: Program, options: argparse.Namespace) -> tuple[str, int]:
    from captep_operator.command._logging import log_to_stderr  # noqa: PLC0415

    operator = operator_of(program, options)
    # Before the client is imported: it may warn.
    with log_to_stderr(options.log_format):
        _later("captep_operator.command._running").run(operator, options)
    return "", 0


def _world_settings(program: Program, target: Target, options: argparse.Namespace) -> Any:  # noqa: ANN401 - imported late
    from captep_memory import ObjectMatch  # noqa: PLC0415
    from captep_operator.command._world import WorldSettings  # noqa: PLC0415

    def match(named: Named) -> ObjectMatch:
        return ObjectMatch(named.kind, named.namespace, named.name, named.group)

    return WorldSettings(
        target=target,
        files=tuple(options.files),
        wanted=_wanted(target, options.object),
        choose_with=f"{program.alias} NS/NAME" if program.alias else "--object KIND/NS/NAME",
        now=options.now or datetime.now(UTC),
        unreadable={match(what): reason for what, reason in options.unreadable},
        refuse={
            (verb, match(what)): status for verb, what, status in getattr(options, "refuse", ())
        },
    )


def _wanted(target: Target, given: Named | tuple[str, str] | None) -> Named | None:
    """Return the object that the options name, which must be of the primary kind.

    Raises:
        UsageError: it is of another kind, or nobody named a kind.
    """
    primary = target.primary
    if isinstance(given, tuple):
        if primary is None:
            raise UsageError("--decide with a function needs --object KIND[.GROUP]/NS/NAME")
        return Named(primary.kind, *given, primary.group)
    if primary is None:
        if given is None:
            raise UsageError("--decide with a function needs --object KIND[.GROUP]/NS/NAME")
        return given
    if given is None:
        return None
    if given.kind != primary.kind or given.group not in (None, primary.group):
        kind = f"{given.kind}.{given.group}" if given.group else given.kind
        raise UsageError(
            f"--object: this operator reconciles {primary.kind}, not {kind};"
            f" expected {primary.kind}/NS/NAME"
        )
    return Named(primary.kind, given.namespace, given.name, primary.group)


def _later(module: str) -> Any:  # noqa: ANN401 - a module
    """Import a module that only one command needs, and name the extra that it lacks.

    Raises:
        InputError: a package of an extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name not in _EXTRAS:
            raise
        raise InputError(
            f"{exc.name} is not installed;"
            f" to use this command: pip install 'captep[{_EXTRAS[exc.name]}]'"
        ) from None
