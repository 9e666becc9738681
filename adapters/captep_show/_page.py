"""One run as one HTML file."""

import json
from importlib import resources
from typing import Any

import attrs
from attrs import frozen

from captep_show._difference import Change

__all__ = ["Run", "Sent", "Step", "page"]

_RUN = "/*RUN*/"
_TITLE = "<!--TITLE-->"


@frozen
class Sent:
    """One write and its answer.

    `status` is the HTTP status, None where no answer came. `changed`: whether the server changed.
    """

    verb: str
    target: str
    status: int | None
    changed: bool
    reason: str = ""


@frozen
class Step:
    """One step: a pass of the loop, or the act of another.

    `at` is the time as the page shows it; `verdict` and `next` (when the loop looks again) are
    empty when unknown.
    """

    label: str
    at: str = ""
    verdict: str = ""
    next: str = ""
    sent: tuple[Sent, ...] = ()
    changes: tuple[Change, ...] = ()


@frozen
class Run:
    """A run as the page shows it.

    `problem` says what went wrong, if anything did. `repeats` are the indices of the first and the
    last step of a cycle.
    """

    title: str
    scope: str
    steps: tuple[Step, ...]
    problem: str = ""
    repeats: tuple[int, int] | None = None


def page(run: Run) -> str:
    """Return the page: self-contained HTML, for any browser, light and dark."""
    template = resources.files("captep_show").joinpath("page.html").read_text("utf-8")
    data: dict[str, Any] = attrs.asdict(run)
    # A `<` in a text would end the script, or begin a comment in it.
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    title = run.title.replace("&", "&amp;").replace("<", "&lt;")
    return template.replace(_TITLE, title, 1).replace(_RUN, text, 1)
