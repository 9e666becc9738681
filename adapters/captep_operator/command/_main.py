"""From the command line to an exit status: a command prints its whole result, or one line of error.

A command computes its text before it prints, so that standard output stays empty after an error.
"""

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from captep_core.errors import CaptepError
from captep_operator.command._errors import InputError, UsageError, one_line
from captep_operator.command._parser import Command, parse

__all__ = ["run"]


def run(
    argv: Sequence[str] | None,
    commands: Mapping[str, Command],
    *,
    prog: str,
    about: str,
    examples: str,
    version: Callable[[], str],
) -> int:
    """Run one of `commands`; return its exit status.

    Args:
        argv: the command line, None for that of the process.
        commands: by name.
        prog: the name in usage and errors.
        about, examples: the text of `--help`.
        version: the text of `--version`.
    """
    given = sys.argv[1:] if argv is None else argv
    form = "json" if _logs_json(given) else "text"
    try:
        options = parse(argv, commands, prog=prog, about=about, examples=examples, version=version)
        text, status = commands[options.command].act(options)
        return _printed(text, status)
    except UsageError as exc:
        print(_error(exc.command or prog, form, one_line(str(exc))), file=sys.stderr)
        return 2
    except (InputError, CaptepError) as exc:
        print(_error(prog, form, one_line(str(exc))), file=sys.stderr)
        return 1
    except BrokenPipeError:
        _discard_output()
        return 0
    except KeyboardInterrupt:
        print(_error(prog, form, "interrupted"), file=sys.stderr)
        return 130


def _logs_json(argv: Sequence[str]) -> bool:
    """Whether the arguments ask for a log in JSON, be the rest of them wrong."""
    asked = [" ".join(pair) for pair in pairwise(argv)]
    return list(argv[:1]) == ["run"] and (
        "--log-format json" in asked or "--log-format=json" in argv
    )


def _error(prog: str, form: str, message: str) -> str:
    """Return the line of an error, as a JSON object if the log has this format."""
    if form != "json":
        return f"{prog}: {message}"
    from captep_operator.command._logging import error_line  # noqa: PLC0415 - --help loads no runtime

    return error_line("json", message)


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
