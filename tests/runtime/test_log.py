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
from tests.runtime.toys import KEY, NOW, OK, Said, ToyServer, create, event, patch, wants


class Log:
    """A logger that writes to a string."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._text = io.StringIO()
        handler = logging.StreamHandler(self._text)
        handler.setFormatter(formatter)
        self.logger = logging.Logger("captep", logging.INFO)  # noqa: LOG001 - one for each test
        self.logger.addHandler(handler)
        self.reporter = Logger(self.logger, "toy")

    def lines(self) -> list[str]:
        """Return the lines so far."""
        return self._text.getvalue().splitlines()


def ran(*answers: Answer) -> Pass:
    """Run a pass that writes twice and records an Event."""
    body: dict[str, JSON] = {"data": {"token": "canary"}}
    return run_pass(
        wants(create("a", body), patch("b", body), event("Failed", "Warning"), reason="Failed"),
        ToyServer(*answers),
        KEY,
        ReconcileState(),
        now=NOW,
    )


def test_one_json_line_per_change() -> None:
    """Each line has controller-runtime's fields; a verdict with a Warning Event is a warning."""
    log = Log(JSONFormatter())
    log.reporter.passed(KEY, "id-1", "", ran(OK, Answer(200, changed=False)))
    written = [json.loads(line) for line in log.lines()]
    about = {
        "logger": "captep",
        "controller": "toy",
        "namespace": "fleet",
        "name": "tokyo",
        "reconcileID": "id-1",
    }
    assert all(
        about.items() <= line.items() and set(line) >= {"time", "level", "message"}
        for line in written
    )
    assert [(line["level"], line["message"]) for line in written] == [
        ("info", "create ConfigMap fleet/a: want a"),
        ("warning", "verdict: Failed"),
    ]


def test_a_quiet_pass_writes_nothing() -> None:
    """The pass sent nothing and has the same verdict."""
    log = Log(TextFormatter())
    log.reporter.passed(
        KEY,
        "id-1",
        "Waiting",
        run_pass(wants(), ToyServer(), KEY, ReconcileState((), "Waiting"), now=NOW),
    )
    assert log.lines() == []


def test_a_refusal_is_logged_while_it_is_new() -> None:
    """The first pass logs a warning; the next one logs nothing, and neither does a conflict."""
    log = Log(TextFormatter())
    decide = wants(create("a"))
    first = run_pass(
        decide, ToyServer(Answer(403, changed=False)), KEY, ReconcileState((), "Waiting"), now=NOW
    )
    log.reporter.passed(KEY, "id-1", "Waiting", first)
    (line,) = log.lines()
    assert (
        "WARNING create ConfigMap fleet/a is refused: HTTP 403 "
        "controller=toy namespace=fleet name=tokyo"
    ) in line
    again = run_pass(decide, ToyServer(Answer(403, changed=False)), KEY, first.state, now=NOW)
    log.reporter.passed(KEY, "id-2", "Waiting", again)
    log.reporter.passed(
        KEY,
        "id-3",
        "Waiting",
        run_pass(decide, ToyServer(Answer(409, changed=False)), KEY, ReconcileState(), now=NOW),
    )
    assert log.lines() == [line]


def test_a_refusal_is_logged_with_the_words_of_the_server() -> None:
    """They say whom to ask, so that nobody has to repeat the request by hand."""
    log = Log(TextFormatter())
    message = "team quota: only 3 databases per team, ask #platform"
    answer = Answer(422, changed=False, reason="Invalid", message=message)
    done = run_pass(wants(create("a")), ToyServer(answer), KEY, ReconcileState(), now=NOW)
    log.reporter.passed(KEY, "id-1", "Waiting", done)
    assert f"create ConfigMap fleet/a is refused: HTTP 422 Invalid: {message} " in log.lines()[0]


@pytest.mark.parametrize("formatter", [TextFormatter(), JSONFormatter()])
def test_no_body_and_no_text_of_an_exception_is_ever_written(formatter: logging.Formatter) -> None:
    """That holds for passes, failures, busy keys and logged exceptions; each record is one line."""
    log = Log(formatter)
    log.logger.setLevel(logging.DEBUG)
    log.reporter.passed(KEY, "id", "", ran(OK, Answer(422, changed=False)))
    log.reporter.failed(KEY, "id", "LookupError at x.py:1 decide")
    log.reporter.too_busy(KEY, "id", 21)
    try:
        int("canary")
    except ValueError:
        log.logger.exception("line\nbreak")
    assert len(log.lines()) == 6
    assert "canary" not in "".join(log.lines())
    assert "line break: ValueError at test_log.py:" in log.lines()[-1]


def record(message: str, **fields: object) -> logging.LogRecord:
    """Return a record of half a second past the hour."""
    about = {
        "name": "captep",
        "levelname": "INFO",
        "msg": message,
        "created": 1767225600.5,
        "captep_fields": fields,
    }
    return logging.makeLogRecord(about)


def test_a_line_of_text_has_time_level_message_and_fields() -> None:
    """The time is UTC with milliseconds; empty fields are left out."""
    assert TextFormatter().format(record("it  is\nso", namespace="fleet", name="", status=403)) == (
        "2026-01-01T00:00:00.500Z INFO    it is so namespace=fleet status=403"
    )
    bare = logging.makeLogRecord(
        {"levelname": "WARNING", "msg": "%s", "args": ("of others",), "created": 0.0}
    )
    assert TextFormatter().format(bare) == "1970-01-01T00:00:00.000Z WARNING of others"


def test_a_line_of_json_has_all_fields() -> None:
    """Text that is not ASCII stays readable."""
    assert JSONFormatter().format(record("東京", name="", status=403)) == (
        '{"time": "2026-01-01T00:00:00.500Z", "level": "info", "logger": "captep", '
        '"message": "東京", "name": "", "status": 403}'
    )


class OwnError(CaptepError):
    """An exception of captep."""


def raised(error: Exception, depth: int = 0) -> Exception:
    """Return an error with a traceback of that depth."""

    def deeper(left: int) -> None:
        if left == 0:
            raise error
        deeper(left - 1)

    try:
        deeper(depth)
    except Exception as caught:  # noqa: BLE001 - the caller gets it
        return caught
    raise AssertionError


def test_an_exception_is_described_by_type_and_the_five_innermost_places() -> None:
    """The innermost place comes first; captep's own exceptions appear with their message."""
    text = described(raised(LookupError("canary"), depth=9))
    assert re.fullmatch(
        r"LookupError at test_log\.py:\d+ deeper( < test_log\.py:\d+ deeper){4}", text
    )
    inner, outer = re.findall(r":(\d+)", described(raised(LookupError("canary"))))
    assert int(inner) < int(outer)
    assert described(OwnError("so it is")) == "OwnError: so it is"
    assert described(LookupError("canary")) == "LookupError"


def test_a_pass_has_lines_for_changes_refusals_and_a_new_verdict() -> None:
    """Each line has its level and fields; the same verdict has no line."""
    done = run_pass(
        wants(create("a"), create("b", {"data": {}}), reason="Failed"),
        ToyServer(OK, Answer(422, changed=False)),
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
def test_conflicts_are_logged_at_debug_unless_another_refusal_is_new(
    statuses: tuple[int, ...], level: int
) -> None:
    """A conflict alone is everyday."""
    done = run_pass(wants(reason="Same"), ToyServer(), KEY, ReconcileState(), now=NOW)
    refusals = tuple(refusal_of(write_of(create("a")), status) for status in statuses)
    written = lines("Same", evolve(done, new_refusals=refusals))
    assert [(line.level, line.fields) for line in written] == [
        (level, {"status": status}) for status in statuses
    ]


@pytest.mark.parametrize(
    ("kind", "level"), [("Normal", logging.INFO), ("Warning", logging.WARNING)]
)
def test_a_verdict_has_the_level_of_its_event(kind: str, level: int) -> None:
    """A verdict with a Warning Event is a warning."""
    done = run_pass(
        wants(event("Failed", kind), reason="Failed"), ToyServer(), KEY, ReconcileState(), now=NOW
    )
    assert lines("", done) == (Line(level, "verdict: Failed", {"verdict": "Failed"}),)


def test_a_failure_is_an_error_and_a_busy_key_a_warning() -> None:
    """The warning has the number of passes."""
    log = Log(JSONFormatter())
    log.reporter.failed(KEY, "id-1", "LookupError")
    log.reporter.too_busy(evolve(KEY, namespace=None), "id-2", 21)
    written = [json.loads(line) for line in log.lines()]
    assert [
        (line["level"], line["message"], line["reconcileID"], line["namespace"], line.get("passes"))
        for line in written
    ] == [
        ("error", "the pass failed and will be retried: LookupError", "id-1", "fleet", None),
        (
            "warning",
            "21 passes in a row made progress: the next one waits for a cooldown",
            "id-2",
            "",
            21,
        ),
    ]
