"""`pytest --captep-replay FILE`: a recorded trace in place of the search."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captep_testing import converge, explore, save_trace
from captep_testing._replay import load_trace, request
from tests.show.reading import run_of
from tests.testing.museum import MUSEUM
from tests.testing.toy import toy

ROOT = Path(__file__).resolve().parents[2]
KIT = next(piece.kit for piece in MUSEUM if piece.name.startswith("M4 "))


def test_a_trace_survives_its_file(tmp_path: Path) -> None:
    """The file holds the labels for the machine and the steps for people."""
    found = explore(KIT, faults=1, events=0).counterexamples[0]
    file = tmp_path / "trace.json"
    save_trace(KIT, found, file)
    assert load_trace(file).labels == found.labels
    assert json.loads(file.read_text())["steps"] == [str(step) for step in found.steps]


def test_explore_replays_the_requested_trace(tmp_path: Path) -> None:
    """While a trace is requested, `explore` of its operator takes its steps and no others."""
    found = explore(KIT, faults=1, events=0).counterexamples[0]
    file = tmp_path / "trace.json"
    save_trace(KIT, found, file)
    request(load_trace(file))
    try:
        report = explore(KIT, faults=1, events=1)
    finally:
        request(None)
    assert report.properties == {found.property}
    assert str(report).startswith(f"exhausted a trace of {len(found.labels)} steps")


def test_a_file_without_a_trace_is_an_error(tmp_path: Path) -> None:
    """The message names the file and the missing field."""
    file = tmp_path / "empty.json"
    file.write_text("{}")
    with pytest.raises(ValueError, match=r"empty\.json: no trace: the field 'labels' is missing"):
        load_trace(file)


def test_the_option_refuses_a_missing_file() -> None:
    """pytest ends with a usage error and one line."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "captep_pytest",
            "--captep-replay",
            "no.json",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        timeout=120,
    )
    assert done.returncode == 4
    assert "--captep-replay: [Errno 2] No such file or directory: 'no.json'" in done.stderr


def test_a_counterexample_becomes_a_test() -> None:
    """The text is a pytest function that replays the trace."""
    report = explore(KIT, faults=1, events=0)
    names: dict[str, object] = {}
    exec(report.as_test(), names)  # the text is Python
    assert [name for name in names if name.startswith("test_")] == ["test_p1_holds_after_3_steps"]
    assert "replay(kit, trace).require()" in report.as_test()


def test_a_counterexample_becomes_a_page(tmp_path: Path) -> None:
    """The page has the property, the steps with their objects, and what followed without faults."""
    report = explore(KIT, faults=1, events=0)
    report.html(tmp_path / "trace.html")
    found = report.counterexamples[0]
    run = run_of((tmp_path / "trace.html").read_text("utf-8"))
    assert run["problem"] == f"{found.property}: {found.violation.message}"
    labels = [step.label for step in found.steps]
    labels += [f"without faults: {step.label}" for step in found.after]
    assert [step["label"] for step in run["steps"]] == labels
    changed = [bool(step.changes) for step in (*found.steps, *found.after)]
    assert [bool(step["changes"]) for step in run["steps"]] == changed
    assert any(changed)


def test_the_steps_that_repeat_are_marked() -> None:
    """A loop without an end goes in a circle: its last round is marked."""
    kit = next(piece.kit for piece in MUSEUM if piece.name.startswith("M1 "))
    found = converge(kit).counterexamples[0]
    run = found.run()
    assert run.repeats is not None
    first, last = run.repeats
    labels = [step.label for step in run.steps]
    length = last - first + 1
    assert last == len(labels) - 1
    assert labels[first:] == labels[first - length : first]


def test_a_report_that_holds_is_a_page_of_its_scope(tmp_path: Path) -> None:
    """The page says what the run covered."""
    report = converge(toy()).require()
    report.html(tmp_path / "fine.html")
    run = run_of((tmp_path / "fine.html").read_text("utf-8"))
    assert (run["scope"], run["steps"]) == (str(report), [])
