"""argparse with suggestions, without abbreviations, and errors of one line."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

from captep_operator.command._errors import UsageError, one_line, suggestion

__all__ = ["Command", "Parser", "Subparsers", "parse"]

Subparsers: TypeAlias = Any
"""What `add_subparsers` returns; argparse does not name the type."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and whose flags have no abbreviations."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(
            **{
                **settings,
                "allow_abbrev": False,
                "formatter_class": argparse.RawDescriptionHelpFormatter,
            }
        )

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError: the line has the format of the log."""
        raise UsageError(f"{one_line(message)}; see {self.prog} --help", command=self.prog)

    def flags(self) -> frozenset[str]:
        """Return the names of all flags."""
        return frozenset(self._option_string_actions)

    def reject(self, unknown: Sequence[str]) -> NoReturn:
        """Raise a UsageError for unknown arguments that suggests the closest flag."""
        meant = (
            suggestion(unknown[0].partition("=")[0], self.flags())
            if unknown[0].startswith("-")
            else ""
        )
        self.error(f"unknown argument {' '.join(unknown)}{meant}")


def _no_check(_parser: Parser, _options: argparse.Namespace) -> None:
    """Accept every combination of flags."""


class Command(NamedTuple):
    """One command of a program.

    `line`: its line in the help of the program. `add`: adds its parser under its name, with its
    line; the help of the program needs none of the flags and loads none.
    `act`: from its options to the text that it prints and its exit status. `check`: refuses flags
    that do not go together.
    """

    line: str
    add: Callable[[Subparsers, str, str], Parser]
    act: Callable[[argparse.Namespace], tuple[str, int]]
    check: Callable[[Parser, argparse.Namespace], None] = _no_check


class _Version(argparse.Action):
    """Prints a version; it is looked up only then, which takes a while."""

    def __init__(self, *, const: Callable[[], str], **settings: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(**{**settings, "nargs": 0})
        self._version = const

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """End with status 0."""
        print(self._version())
        parser.exit(0)


def parse(
    argv: Sequence[str] | None,
    commands: Mapping[str, Command],
    *,
    prog: str,
    about: str,
    examples: str,
    version: Callable[[], str],
) -> argparse.Namespace:
    """Read a command line; `--help` and `--version` end the process with status 0.

    Raises:
        UsageError: wrong usage, in one line.
        ValueError: two parts of a command add the same flag.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    parser = Parser(prog=prog, description=about, epilog=examples)
    parser.add_argument(
        "--version", action=_Version, const=version, help="show the version and exit"
    )
    added = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    asked = words[0] if words else ""
    try:
        made = {
            name: command.add(added, name, command.line)
            if asked in commands
            else added.add_parser(name, help=command.line)
            for name, command in commands.items()
        }
    except argparse.ArgumentError as error:
        raise ValueError(
            f"the flags of {prog} clash with those that every operator has: {error}"
            " (a parser of further flags needs add_help=False)"
        ) from None
    if asked not in made and not asked.startswith("-") and words:
        parser.error(
            f"no command {asked!r}, expected one of {', '.join(made)}{suggestion(asked, made)}"
        )
    _reject_unknown_flags(made, words)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        made[options.command].reject(unknown)
    commands[options.command].check(made[options.command], options)
    return options


def _reject_unknown_flags(made: Mapping[str, Parser], words: list[str]) -> None:
    """Report a misspelt flag before argparse reports its value as a surplus argument."""
    if words and words[0] in made:
        known = made[words[0]].flags()
        unknown = [
            word
            for word in words[1:]
            if word.startswith("--") and word != "--" and word.partition("=")[0] not in known
        ]
        if unknown:
            made[words[0]].reject(unknown)
