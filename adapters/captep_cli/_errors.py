"""What ends a command with status 1."""

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "one_line", "printable", "suggestion"]


class InputError(Exception):
    """What was given cannot be worked with; the message says what, where and what was expected, never a value of a Secret."""


def one_line(text: str) -> str:
    """Return `text` as one line: whitespace folded, other characters that do not print escaped."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return `text` as a terminal shows it, with what does not print, a line break too, escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return `, did you mean X?` for the closest of `known`, or nothing."""
    close = difflib.get_close_matches(given, sorted(known), n=1)
    return f", did you mean {close[0]}?" if close else ""
