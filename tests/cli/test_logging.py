"""The log of `captep run`: with JSON every line is an object, those of libraries included."""

import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests.cli.command import Command

NOISE = """
import logging, os, sys, threading, warnings
from captep_operator.command._logging import log_to_stderr

class Finalized:
    def __del__(self):
        raise ValueError("canary")

def fail():
    raise ValueError("canary")

with log_to_stderr(sys.argv[1]):
    logging.getLogger("captep.run").info("two\\nlines")
    logging.getLogger("urllib3.connectionpool").warning("retrying %s", "x")
    logging.getLogger("library").debug("not shown")
    logging.error("from the root logger")
    logging.getLogger("library").warning("wrong arguments %d %d", "x")
    for _ in range(26):
        warnings.warn("unverified request", RuntimeWarning, stacklevel=1)
    warnings.warn("another", RuntimeWarning, stacklevel=1)
    thread = threading.Thread(target=fail, name="informer")
    thread.start()
    thread.join()
    Finalized()
    try:
        fail()
    except ValueError:
        logging.getLogger("captep.controller").exception("a pass failed")
    loader = os.path.join("", "kubernetes", "config", "kube_config.py")
    exec(compile("logging.error('exec: canary')", f"/x/{loader}", "exec"))
"""


def noise(form: str) -> list[str]:
    """Return the lines of a process in which everything writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", NOISE, form],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "canary" not in done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_every_line_of_the_json_log_is_an_object() -> None:
    """Records of any logger, warnings, ended threads, finalizers: each has the same fields."""
    records: list[dict[str, Any]] = [json.loads(line) for line in noise("json")]
    shown = [(each["level"], each["logger"], each["message"].split(" < ")[0]) for each in records]
    assert shown == [
        ("info", "captep.run", "two lines"),
        ("warning", "urllib3.connectionpool", "retrying x"),
        ("error", "root", "from the root logger"),
        ("warning", "py.warnings", "RuntimeWarning: unverified request"),
        ("warning", "py.warnings", "RuntimeWarning: another"),
        ("error", "captep.run", "the thread informer ended: ValueError at <string>:10 fail"),
        ("error", "captep.run", "a finalizer failed: ValueError at <string>:7 __del__"),
        ("error", "captep.controller", "a pass failed: ValueError at <string>:10 fail"),
        ("error", "root", "the client's loader of the kubeconfig reports a problem"),
    ]
    assert all(each["time"].endswith("Z") for each in records)


def test_the_text_log_has_one_line_for_each_record() -> None:
    """The same records, and no traceback between them."""
    lines = noise("text")
    assert len(lines) == len(noise("json"))
    assert all(line[:4].isdigit() for line in lines)


def test_an_error_at_the_start_is_a_json_object_too(captep: Command) -> None:
    """`run --log-format json` reports a missing kubeconfig in the format of its log."""
    ended = captep("run", "--log-format", "json", "--kubeconfig", "/no/such/file")
    assert (ended.status, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"]) == ("error", "captep.run")
    assert "/no/such/file" in record["message"]
    assert captep("run", "--kubeconfig", "/no/such/file").err.startswith("captep: ")


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_hooks_of_the_process_return_after_the_run(captep: Command, form: str) -> None:
    """A caller of `main` keeps its own handlers and hooks."""
    before = (sys.unraisablehook, threading.excepthook)
    captep("run", "--log-format", form, "--kubeconfig", "/no/such/file")
    assert (sys.unraisablehook, threading.excepthook) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--log-format", "json", "--nope"),
        ("run", "--log-format=json", "--workers", "0"),
        ("run", "--workers", "x", "--log-format", "json"),
        ("run", "--log-format", "json", "--metrics-secure"),
    ],
)
def test_wrong_usage_is_a_json_object_too(captep: Command, arguments: tuple[str, ...]) -> None:
    """Where the log is JSON, no line is anything else, and the status is that of wrong usage."""
    ended = captep(*arguments)
    assert ended.status == 2
    [line] = [json.loads(line) for line in ended.err.splitlines()]
    assert line["level"] == "error"


def test_a_fault_of_the_program_is_one_json_object() -> None:
    """It has the place of the fault and no text, which may quote a Secret."""
    script = (
        "from captep_operator.command._logging import log_to_stderr\n"
        "with log_to_stderr('json'):\n    raise ValueError('canary')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, line["level"]) == (1, "error")
    assert line["message"].startswith("ended by a fault of this program: ValueError at ")
    assert "canary" not in done.stderr
