"""The command line of one operator, and the operator that a command is about."""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from captep_core._actions import JSON
from captep_core.errors import CaptepError
from captep_core.ports import Decide
from captep_operator._kind import Kind
from captep_operator._operator import Operator
from captep_operator._signature import require_signature
from captep_operator.command._errors import UsageError, suggestion

__all__ = ["Program", "Target", "operator_of", "target_of"]

_CHECKED: Final = (Operator.__module__, Kind.__module__)


def _unknown_scope(_group: str, _kind: str) -> bool:
    return False


@frozen
class Program:
    """The command line of an operator.

    `prog`: its name in usage and errors. `flags`: a parser without help whose flags `run`, `plan`
    and `simulate` also take; `deciding` makes the `decide` that they ask for. `alias`: a flag that
    names an object of the primary kind by NS/NAME. `loads`: whether `--decide` may replace the
    operator. `is_namespaced`: whether a further kind, by group and name, is namespaced.
    """

    operator: Operator
    prog: str
    flags: argparse.ArgumentParser | None = None
    deciding: Callable[[argparse.Namespace], Decide] | None = None
    alias: str = ""
    loads: bool = False
    is_namespaced: Callable[[str, str], bool] = _unknown_scope


@frozen
class Target:
    """What `plan` and `simulate` are about.

    `primary`, `kinds`: the kind of the object, and all kinds; None and empty for a function whose
    kinds nobody declared.
    """

    decide: Decide
    primary: Kind | None
    kinds: tuple[Kind, ...]
    problems: Callable[[Mapping[str, JSON]], Sequence[str]]
    is_namespaced: Callable[[str, str], bool]


def operator_of(program: Program, options: argparse.Namespace) -> Operator:
    """Return the operator with the `decide` that the options ask for."""
    if program.deciding is None:
        return program.operator
    return evolve(program.operator, decide=program.deciding(options))


def target_of(program: Program, options: argparse.Namespace) -> Target:
    """Return the operator, or the function, that `plan` and `simulate` are about.

    Raises:
        UsageError: `--decide` names neither.
    """
    from captep_operator._declared import as_declared, checked  # noqa: PLC0415 - not for --help
    from captep_operator._guarded import guarded  # noqa: PLC0415

    path: str | None = getattr(options, "decide", None)
    loaded = operator_of(program, options) if path is None else _loaded(path)
    if isinstance(loaded, Operator):
        decide = as_declared(loaded.decide, loaded.kinds)
        return Target(
            guarded(decide), loaded.primary, loaded.kinds, loaded.problems, program.is_namespaced
        )
    return Target(guarded(checked(loaded)), None, (), lambda _: (), program.is_namespaced)


def _loaded(path: str) -> Operator | Decide:
    """Import MODULE:NAME, from the current folder too."""
    module_name, colon, name = path.partition(":")
    if not (colon and module_name and name):
        raise UsageError(f"--decide: expected MODULE:NAME such as database:decide, not {path!r}")
    module = _module(module_name)
    try:
        found: Any = getattr(module, name)
    except AttributeError:
        public = [each for each in vars(module) if not each.startswith("_")]
        raise UsageError(
            f"--decide: no {name} in the module {module_name}{suggestion(name, public)}"
        ) from None
    if isinstance(found, Operator):
        return found
    if callable(found):
        try:
            require_signature(found)
        except TypeError as error:
            raise UsageError(f"--decide: {path}: {error}") from None
        decide: Decide = found
        return decide
    raise UsageError(
        f"--decide: {path} is of type {type(found).__name__},"
        " expected an Operator or a function such as captep_core.ports.Decide"
    )


def _module(name: str) -> Any:  # noqa: ANN401 - a module
    if os.getcwd() not in sys.path:
        # A script's own folder stands there instead.
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"--decide: no module {error.name}: install it, or run the command in its folder"
            ) from None
        raise UsageError(f"--decide: {name} needs the module {error.name}: install it") from None
    except CaptepError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the module raises, it is its author's move
        from captep_runtime._log import described  # noqa: PLC0415

        if _is_ours(error):
            # A validator of attrs has the words first, and the attribute after them.
            raise UsageError(f"--decide: {name}: {error.args[0]}") from None
        raise UsageError(f"--decide: importing {name} raised {described(error)}") from None


def _is_ours(error: Exception) -> bool:
    """Whether `Operator` or `Kind` refused its arguments: the text has names, and no Secret."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") in _CHECKED for frame, _ in frames)
