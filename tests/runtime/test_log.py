"""Lines of the log: one per change, none per quiet pass, never a body."""

import io
import json
import logging

import pytest

from captep_core import JSON, Recollection
from captep_core.ports import Answer
from captep_runtime import JSONFormatter, Logger, Pass, TextFormatter, run_pass
from tests.runtime.toys import KEY, NOW, OK, Server, create, event, patch, wants


class Log:
    """A logger that writes to a string."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._text = io.StringIO()
        handler = logging.StreamHandler(self._text)
        handler.setFormatter(formatter)
        self.logger = logging.Logger("captep", logging.INFO)  # noqa: LOG001 - one for each test
        self.logger.addHandler(handler)
        self.reporter = Logger(self.logger, "captcontrolplane")

    def lines(self) -> list[str]:
        """Return what was written."""
        return self._text.getvalue().splitlines()


def ran(*answers: Answer) -> Pass:
    """Run a pass that writes twice and records an Event."""
    body: dict[str, JSON] = {"data": {"token": "canary"}}
    return run_pass(
        wants(create("a", body), patch("b", body), event("Failed", "Warning"), reason="Failed"),
        Server(*answers),
        KEY,
        Recollection(),
        now=NOW,
    )


def test_one_json_line_per_change() -> None:
    """Writes that changed something, and the verdict as a warning where its Event is one; controller-runtime's fields in each."""
    log = Log(JSONFormatter())
    log.reporter.passed(KEY, "id-1", "", ran(OK, Answer(200, changed=False)))
    told = [json.loads(line) for line in log.lines()]
    about = {"logger": "captep", "controller": "captcontrolplane", "namespace": "fleet", "name": "tokyo", "reconcileID": "id-1"}
    assert all(about.items() <= line.items() and set(line) >= {"time", "level", "message"} for line in told)
    assert [(line["level"], line["message"]) for line in told] == [
        ("info", "create ConfigMap fleet/a: want a"),
        ("warning", "verdict: Failed"),
    ]


def test_a_quiet_pass_writes_nothing() -> None:
    """Nothing sent, the same verdict: no line."""
    log = Log(TextFormatter())
    log.reporter.passed(KEY, "id-1", "Waiting", run_pass(wants(), Server(), KEY, Recollection((), "Waiting"), now=NOW))
    assert log.lines() == []


def test_a_refusal_is_told_while_it_is_new() -> None:
    """The first time as a warning; the pass that meets it again writes nothing; a conflict is no news."""
    log = Log(TextFormatter())
    decide = wants(create("a"))
    first = run_pass(decide, Server(Answer(403, changed=False)), KEY, Recollection((), "Waiting"), now=NOW)
    log.reporter.passed(KEY, "id-1", "Waiting", first)
    (line,) = log.lines()
    assert "WARNING create ConfigMap fleet/a is refused: HTTP 403 controller=captcontrolplane namespace=fleet name=tokyo" in line
    again = run_pass(decide, Server(Answer(403, changed=False)), KEY, first.recollection, now=NOW)
    log.reporter.passed(KEY, "id-2", "Waiting", again)
    log.reporter.passed(KEY, "id-3", "Waiting", run_pass(decide, Server(Answer(409, changed=False)), KEY, Recollection(), now=NOW))
    assert log.lines() == [line]


@pytest.mark.parametrize("formatter", [TextFormatter(), JSONFormatter()])
def test_no_body_and_no_text_of_an_exception_is_ever_written(formatter: logging.Formatter) -> None:
    """Not by passes, failures and alarms, and not by a logged exception either; each line is one line."""
    log = Log(formatter)
    log.logger.setLevel(logging.DEBUG)
    log.reporter.passed(KEY, "id", "", ran(OK, Answer(422, changed=False)))
    log.reporter.failed(KEY, "id", "LookupError at x.py:1 decide")
    log.reporter.alarmed(KEY, "id", 21)
    try:
        int("canary")
    except ValueError:
        log.logger.exception("line\nbreak")
    assert len(log.lines()) == 6
    assert "canary" not in "".join(log.lines())
    assert "line break: ValueError at test_log.py:" in log.lines()[-1]
