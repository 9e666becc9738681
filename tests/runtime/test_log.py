"""Lines of the log: one per change, none per quiet pass, never a body."""

import io
import json
import logging
import re

import pytest
from attrs import evolve

from captep_core import JSON, ReconcileState, refusal_of, write_of
from captep_core.errors import CaptepError
from captep_core.ports import Answer
from captep_runtime import JSONFormatter, Logger, Pass, TextFormatter, run_pass
from captep_runtime._log import Line, described, lines
from tests.runtime.toys import KEY, NOW, OK, Said, Server, create, event, patch, wants


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
        ReconcileState(),
        now=NOW,
    )


def test_one_json_line_per_change() -> None:
    """Writes that changed something, and the verdict as a warning where its Event is one; controller-runtime's fields in each."""
    log = Log(JSONFormatter())
    log.reporter.passed(KEY, "id-1", "", ran(OK, Answer(200, changed=False)))
    told = [json.loads(line) for line in log.lines()]
    about = {
        "logger": "captep",
        "controller": "captcontrolplane",
        "namespace": "fleet",
        "name": "tokyo",
        "reconcileID": "id-1",
    }
    assert all(
        about.items() <= line.items() and set(line) >= {"time", "level", "message"} for line in told
    )
    assert [(line["level"], line["message"]) for line in told] == [
        ("info", "create ConfigMap fleet/a: want a"),
        ("warning", "verdict: Failed"),
    ]


def test_a_quiet_pass_writes_nothing() -> None:
    """Nothing sent, the same verdict: no line."""
    log = Log(TextFormatter())
    log.reporter.passed(
        KEY,
        "id-1",
        "Waiting",
        run_pass(wants(), Server(), KEY, ReconcileState((), "Waiting"), now=NOW),
    )
    assert log.lines() == []


def test_a_refusal_is_told_while_it_is_new() -> None:
    """The first time as a warning; the pass that meets it again writes nothing; a conflict is no news."""
    log = Log(TextFormatter())
    decide = wants(create("a"))
    first = run_pass(
        decide, Server(Answer(403, changed=False)), KEY, ReconcileState((), "Waiting"), now=NOW
    )
    log.reporter.passed(KEY, "id-1", "Waiting", first)
    (line,) = log.lines()
    assert (
        "WARNING create ConfigMap fleet/a is refused: HTTP 403 controller=captcontrolplane namespace=fleet name=tokyo"
        in line
    )
    again = run_pass(decide, Server(Answer(403, changed=False)), KEY, first.state, now=NOW)
    log.reporter.passed(KEY, "id-2", "Waiting", again)
    log.reporter.passed(
        KEY,
        "id-3",
        "Waiting",
        run_pass(decide, Server(Answer(409, changed=False)), KEY, ReconcileState(), now=NOW),
    )
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


def record(message: str, **fields: object) -> logging.LogRecord:
    """A record of half a second past the hour."""
    about = {
        "name": "captep",
        "levelname": "INFO",
        "msg": message,
        "created": 1767225600.5,
        "captep_fields": fields,
    }
    return logging.makeLogRecord(about)


def test_a_line_of_text() -> None:
    """Time in UTC with milliseconds, level, message, then the fields that say something."""
    assert TextFormatter().format(record("it  is\nso", namespace="fleet", name="", status=403)) == (
        "2026-01-01T00:00:00.500Z INFO    it is so namespace=fleet status=403"
    )
    bare = logging.makeLogRecord(
        {"levelname": "WARNING", "msg": "%s", "args": ("of others",), "created": 0.0}
    )
    assert TextFormatter().format(bare) == "1970-01-01T00:00:00.000Z WARNING of others"


def test_a_line_of_json() -> None:
    """The same, with all fields, and text as it is."""
    assert JSONFormatter().format(record("東京", name="", status=403)) == (
        '{"time": "2026-01-01T00:00:00.500Z", "level": "info", "logger": "captep", "message": "東京", "name": "", "status": 403}'
    )


class QuarrelError(CaptepError):
    """One of captep's own."""


def raised(error: Exception, depth: int = 0) -> Exception:
    """Return an error that was raised some calls deep."""

    def deeper(left: int) -> None:
        if left == 0:
            raise error
        deeper(left - 1)

    try:
        deeper(depth)
    except Exception as caught:  # noqa: BLE001 - it is given back
        return caught
    raise AssertionError


def test_what_is_told_of_an_exception() -> None:
    """Its type and the five innermost places, the last first; one of captep's own by its message, one that was never raised by its type."""
    told = described(raised(LookupError("canary"), depth=9))
    assert re.fullmatch(
        r"LookupError at test_log\.py:\d+ deeper( < test_log\.py:\d+ deeper){4}", told
    )
    inner, outer = re.findall(r":(\d+)", described(raised(LookupError("canary"))))
    assert int(inner) < int(outer)
    assert described(QuarrelError("so it is")) == "QuarrelError: so it is"
    assert described(LookupError("canary")) == "LookupError"


def test_what_each_line_of_a_pass_says() -> None:
    """What changed, what is refused, what the verdict says now, each with its level and fields; the same verdict again says nothing."""
    done = run_pass(
        wants(create("a"), create("b", {"data": {}}), reason="Failed"),
        Server(OK, Answer(422, changed=False)),
        KEY,
        ReconcileState(),
        now=NOW,
    )
    quiet = evolve(done, decision=evolve(done.decision, verdict=Said("Failed", "it broke")))
    assert lines("Failed: it broke", quiet) == (
        Line(logging.INFO, "create ConfigMap fleet/a: want a", {"status": 200}),
        Line(logging.WARNING, "create ConfigMap fleet/b is refused: HTTP 422", {"status": 422}),
    )
    assert lines("Failed", quiet)[2:] == (
        Line(logging.INFO, "verdict: Failed: it broke", {"verdict": "Failed"}),
    )


@pytest.mark.parametrize(
    ("statuses", "level"),
    [((409,), logging.DEBUG), ((409, 403), logging.WARNING), ((403,), logging.WARNING)],
)
def test_only_conflicts_are_whispered(statuses: tuple[int, ...], level: int) -> None:
    """They are everyday; beside another refusal they are told as well."""
    done = run_pass(wants(reason="Same"), Server(), KEY, ReconcileState(), now=NOW)
    refusals = tuple(refusal_of(write_of(create("a")), status) for status in statuses)
    told = lines("Same", evolve(done, new_refusals=refusals))
    assert [(line.level, line.fields) for line in told] == [
        (level, {"status": status}) for status in statuses
    ]


@pytest.mark.parametrize(
    ("kind", "level"), [("Normal", logging.INFO), ("Warning", logging.WARNING)]
)
def test_a_verdict_is_as_grave_as_its_event(kind: str, level: int) -> None:
    """A warning where a Warning is recorded."""
    done = run_pass(
        wants(event("Failed", kind), reason="Failed"), Server(), KEY, ReconcileState(), now=NOW
    )
    assert lines("", done) == (Line(level, "verdict: Failed", {"verdict": "Failed"}),)


def test_an_alarm_and_a_failure_are_lines() -> None:
    """With their levels, and how many passes it took."""
    log = Log(JSONFormatter())
    log.reporter.failed(KEY, "id-1", "LookupError")
    log.reporter.alarmed(evolve(KEY, namespace=None), "id-2", 21)
    told = [json.loads(line) for line in log.lines()]
    assert [
        (line["level"], line["message"], line["reconcileID"], line["namespace"], line.get("passes"))
        for line in told
    ] == [
        ("error", "the pass failed and will be retried: LookupError", "id-1", "fleet", None),
        (
            "warning",
            "21 passes in a row changed something: resting before the next one",
            "id-2",
            "",
            21,
        ),
    ]
