"""Errors that end a command with status 1, and the text of their one line."""

from collections.abc import Iterable

__all__ = ["InputError", "UsageError", "one_line", "printable", "suggestion"]


class InputError(Exception):
    """Unusable input: the message says what, where and what was expected, no value of a Secret."""


class UsageError(Exception):
    """Unusable arguments; the command ends with status 2.

    `command` is the name before the message, "" for that of the program.
    """

    def __init__(self, message: str, *, command: str = "") -> None:
        super().__init__(message)
        self.command = command


def one_line(text: str) -> str:
    """Return `text` as one line: whitespace folded, unprintable characters escaped."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return `text` safe for a terminal: unprintable characters and line breaks escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return `, did you mean X?` for the closest of `known`, or an empty text."""
    import difflib  # noqa: PLC0415 - only errors need it

    close = difflib.get_close_matches(given, sorted(known), n=1)
    return f", did you mean {close[0]}?" if close else ""
