"""The command line of an operator that is not captep's, and `captep --decide`."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from captep_cli import main as captep
from captep_core import Decision, ObjectRef, ReconcileState
from captep_core.ports import Read
from captep_memory import load
from captep_memory.http import HTTPFacade
from captep_memory.server import kubeconfig
from tests.gateways import eventually
from tests.operator import things
from tests.operator.test_operator import BUILTIN, DEFINITION, is_there
from tests.testing.toy import LATCH, NOW, THING, Verdict

MINUTE = timedelta(minutes=1)
MODULE = "tests.operator.things"
ROOT = Path(__file__).resolve().parents[2]
Ended = tuple[int, str, str]


@pytest.fixture
def world(tmp_path: Path) -> str:
    """The name of a file with one Thing."""
    path = tmp_path / "world.json"
    path.write_text(json.dumps(THING))
    return str(path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command line in this process; return exit status, output and errors."""

    def run(main: Callable[[list[str]], int | None], *words: str) -> Ended:
        try:
            status = main([*words]) or 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        return status, *capsys.readouterr()

    return run


def test_an_operator_plans_and_simulates_from_files(run: Callable[..., Ended], world: str) -> None:
    """The output has the form of captep's."""
    status, out, err = run(things.main, "plan", "-f", world, "-o", "json")
    assert (status, err) == (0, "")
    assert [each["target"]["kind"] for each in json.loads(out)["actions"]] == [
        "Thing",
        "ConfigMap",
        "ConfigMap",
    ]
    status, out, err = run(things.main, "simulate", "-f", world, "-o", "json")
    assert (status, err) == (0, "")
    assert json.loads(out)["settled"] is True
    status, out, err = run(things.main, "simulate", "-f", world)
    assert out.startswith("Thing fleet/a\n")


def test_a_plan_looks_again_at_the_deadline(
    run: Callable[..., Ended], world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline before the end of the interval is when the next look is due."""

    def until_then(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), timedelta(hours=1), Verdict("Waiting"), wakes_at=NOW + 3 * MINUTE)

    monkeypatch.setattr(things, "decide", until_then)
    words = ("plan", "-f", world, "--now", "2026-01-01T00:00:00Z", "--decide", f"{MODULE}:decide")
    chosen = ("--object", "Thing/fleet/a")
    _, out, _ = run(captep, *words, *chosen, "-o", "json")
    assert json.loads(out)["requeue_after"] == 180
    _, out, _ = run(captep, *words, *chosen)
    assert "looks again after 180 s\n" in out


def test_the_flags_of_the_author_reach_the_decision(run: Callable[..., Ended], world: str) -> None:
    """They are flags of all three commands."""
    _, out, _ = run(things.main, "plan", "-f", world, "--pause", "-o", "json")
    assert json.loads(out)["verdict"] == "Paused"
    for command in ("plan", "simulate", "run"):
        status, out, _ = run(things.main, command, "--help")
        assert status == 0
        assert "--pause" in out


@pytest.mark.parametrize(
    ("flags", "clash"),
    [
        (argparse.ArgumentParser(), "-h/--help"),
        (argparse.ArgumentParser(add_help=False), "--workers"),
    ],
)
def test_flags_of_the_author_that_clash_raise(flags: argparse.ArgumentParser, clash: str) -> None:
    """The author sees it at the first start, whatever the command."""
    flags.add_argument("--workers")
    with pytest.raises(ValueError, match=f"the flags of things clash .*{clash}"):
        things.operator.main(["plan", "--help"], flags=flags)


@pytest.mark.parametrize("command", ["", "plan", "simulate", "run"])
def test_help_teaches_by_examples_of_this_operator(run: Callable[..., Ended], command: str) -> None:
    """It names this operator and its kinds, and nothing of captep's own."""
    status, out, err = run(things.main, *filter(None, [command, "--help"]))
    assert (status, err) == (0, "")
    assert f"\n  things {command or 'plan'} " in out
    assert not re.search("captep|control.plane|publish", out, re.IGNORECASE)
    if command == "plan":
        assert "kubectl get things,configmaps -A -o yaml |\n" in out
        assert "things plan -f - --object Thing/fleet/tokyo" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "things: the following arguments are required: COMMAND; see things --help\n"),
        (["demo"], "things: no command 'demo', expected one of plan, simulate, run"),
        (["plan", "--control-plane", "a/b"], "things plan: unknown argument --control-plane"),
        (["run", "--publish-to-cluster=auto"], "unknown argument --publish-to-cluster=auto"),
        (["run", "--worker", "4"], "unknown argument --worker, did you mean --workers?"),
        (["plan", "-f", "x", "--decide", "a:b"], "unknown argument --decide"),
        (["plan", "--live"], "--live needs NS/NAME, the Thing to look at"),
        (["plan", "--live", "a"], "expected NS/NAME, not 'a'"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line_under_the_name_of_the_operator(
    run: Callable[..., Ended], words: list[str], expected: str
) -> None:
    """Flags of captep's own are unknown to another operator."""
    status, out, err = run(things.main, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert expected in err


@pytest.mark.parametrize(
    ("chosen", "status", "expected"),
    [
        ("Thing/fleet/a", 0, ""),
        ("Thing.example.dev/fleet/a", 0, ""),
        ("Thing/fleet/b", 1, "no Thing fleet/b in the files; they hold fleet/a, did you mean"),
        ("Thing.example.org/fleet/a", 2, "reconciles Thing, not Thing.example.org; expected Thing"),
        ("Gadget/fleet/a", 2, "reconciles Thing, not Gadget; expected Thing/NS/NAME"),
        ("fleet/a", 2, "expected KIND/NS/NAME"),
    ],
)
def test_the_object_is_named_by_kind_and_place(
    run: Callable[..., Ended], world: str, chosen: str, status: int, expected: str
) -> None:
    """The kind must be the one that this operator reconciles."""
    ended, _, err = run(things.main, "plan", "-f", world, "--object", chosen)
    assert ended == status, err
    assert expected in err
    assert err.count("\n") == bool(status)


def test_several_objects_are_listed_with_the_flag_that_chooses(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    """The line names all of them."""
    path = tmp_path / "two.json"
    other = {**THING, "metadata": {"name": "b"}}
    path.write_text(f"{json.dumps(THING)}\n{json.dumps(other)}")
    _, _, err = run(things.main, "plan", "-f", str(path))
    assert err == (
        "things: 2 objects of the kind Thing in the files: default/b, fleet/a;"
        " choose one with --object KIND/NS/NAME\n"
    )


def test_captep_decides_with_an_operator_of_another_module(
    run: Callable[..., Ended], world: str
) -> None:
    """It plans and simulates what the operator itself does."""
    for command in ("plan", "simulate"):
        own = run(things.main, command, "-f", world, "-o", "json", "--now", "2026-01-01T00:00:00Z")
        loaded = run(
            captep,
            *(command, "-f", world, "-o", "json", "--now", "2026-01-01T00:00:00Z"),
            *("--decide", f"{MODULE}:operator"),
        )
        assert loaded == own
        assert own[0] == 0


def test_captep_decides_with_a_function_for_a_named_object(
    run: Callable[..., Ended], world: str
) -> None:
    """Nobody declared its kinds, so the object needs a name, and every kind may be used."""
    words = ["simulate", "-f", world, "--decide", f"{MODULE}:decide"]
    status, out, err = run(captep, *words, "--object", "Thing.example.dev/fleet/a")
    assert (status, err) == (0, "")
    assert out.startswith("Thing fleet/a\n")
    for more in ([], ["--control-plane", "fleet/a"]):
        assert run(captep, *words, *more) == (
            2,
            "",
            "captep: --decide with a function needs --object KIND[.GROUP]/NS/NAME\n",
        )
    _, _, err = run(captep, *words, "--object", "Thing/fleet/b")
    assert err == (
        "captep: no Thing fleet/b in the files; they hold fleet/a, did you mean fleet/a?\n"
    )
    _, _, err = run(captep, "plan", "--live", "fleet/a", "--decide", f"{MODULE}:decide")
    assert err == (
        "captep: --live needs the kinds of an Operator: --decide MODULE:NAME with an Operator\n"
    )


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("things", "--decide: expected MODULE:NAME such as database:decide, not 'things'"),
        (":decide", "--decide: expected MODULE:NAME"),
        ("nowhere.at_all:decide", "--decide: no module nowhere: install it, or run"),
        (f"{MODULE}:decid", f"--decide: no decid in the module {MODULE}, did you mean decide?"),
        (f"{MODULE}:empty", f"--decide: {MODULE}:empty is of type NoneType, expected an Operator"),
        ("bad_import:decide", "--decide: bad_import needs the module nowhere_too: install it"),
        ("bad_module:decide", "--decide: importing bad_module raised ZeroDivisionError at bad_"),
        ("bad_syntax:decide", "--decide: importing bad_syntax raised SyntaxError"),
        (
            "bad_form:decide",
            "--decide: bad_form:decide: decide takes (key), expected (key, read, state, *, now)",
        ),
        ("bad_operator:it", "--decide: bad_operator: decide takes (key), expected (key, read,"),
        ("bad_kind:it", "--decide: bad_kind: 'kind' must match regex '[A-Z][A-Za-z0-9]*'"),
    ],
)
def test_a_decision_that_cannot_be_loaded_is_one_line(
    run: Callable[..., Ended],
    world: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    expected: str,
) -> None:
    """It says which part of MODULE:NAME is wrong; the current folder is searched too."""
    (tmp_path / "bad_import.py").write_text("import nowhere_too\n")
    (tmp_path / "bad_module.py").write_text("1 / 0\n")
    (tmp_path / "bad_syntax.py").write_text("def\n")
    (tmp_path / "bad_form.py").write_text("def decide(key): ...\n")
    kinds = "from captep_operator import Kind, Operator\n"
    made = f"{kinds}it = Operator('it', lambda key: None, primary=Kind('v1', 'Pod'))\n"
    (tmp_path / "bad_operator.py").write_text(made)
    (tmp_path / "bad_kind.py").write_text(f"{kinds}it = Kind('v1', 'pods')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    status, out, err = run(
        captep, "plan", "-f", world, "--object", "Thing/fleet/a", "--decide", named
    )
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("captep: ")
    assert expected in err


def test_a_simulation_shows_the_words_of_a_refusal(
    run: Callable[..., Ended], world: str, tmp_path: Path
) -> None:
    """The server says why, in the line after the write."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "fleet", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"finalizers": ["kubernetes"]},
    }
    ending = tmp_path / "namespace.json"
    ending.write_text(json.dumps(namespace))
    _, out, _ = run(things.main, "simulate", "-f", world, "-f", str(ending))
    lines = out.splitlines()
    refused = lines.index("    + 403 create ConfigMap fleet/a-config: it does not exist")
    assert lines[refused + 1] == (
        '        Forbidden: configmaps "a-config" is forbidden: unable to create new content in'
        " namespace fleet because it is being terminated"
    )


def test_a_decision_that_raises_is_one_line_with_its_place(
    run: Callable[..., Ended], world: str
) -> None:
    """The line has the type, the file and the line, and not the text, which may hold a Secret."""
    words = ["-f", world, "--object", "Thing/fleet/a", "--decide", f"{MODULE}:broken"]
    for command in ("plan", "simulate"):
        status, out, err = run(captep, command, *words)
        assert (status, out) == (1, "")
        assert re.fullmatch(
            r"captep: decide raised ValueError at things\.py:\d+ broken < .*\n", err
        ), err


def test_a_live_plan_reads_a_cluster_and_names_an_object_that_is_not_there(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    """A missing object is an error of the command, not of the decision."""
    path = tmp_path / "config"
    with HTTPFacade(load([DEFINITION, THING], now=NOW), kinds=BUILTIN) as server:
        path.write_text(kubeconfig(server.url))
        words = ["plan", "--live", "--kubeconfig", str(path)]
        status, out, err = run(things.main, *words, "fleet/a")
        assert (status, err) == (0, "")
        assert out.startswith("Thing fleet/a\n  verdict     Kept\n")
        status, out, err = run(things.main, *words, "fleet/b")
    assert (status, out) == (1, "")
    assert err.startswith("things: no Thing fleet/b in the cluster: ")


def test_an_operator_runs_as_a_process_until_a_signal(tmp_path: Path) -> None:
    """SIGTERM ends it with status 0 after the release of its lease, which bears its name."""
    with HTTPFacade(load([DEFINITION, THING], now=NOW), kinds=BUILTIN) as server:
        path = tmp_path / "config"
        path.write_text(kubeconfig(server.url))
        words = ["run", "--kubeconfig", str(path), "--log-format", "json"]
        off = ["--metrics-bind-address", "0", "--health-probe-bind-address", "127.0.0.1:0"]
        lease = ["--leader-elect", "--leader-election-namespace", "fleet"]
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *words, *off, *lease],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'adapters'}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            eventually(is_there(server, LATCH), "the latch is created", within=30)
            leases = [each for each in server.world.objects() if each["kind"] == "Lease"]
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, log
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines()]
    assert [each["metadata"]["name"] for each in leases] == ["things"]
    assert {each["controller"] for each in lines if "controller" in each} == {"things"}
    assert lines[-1]["message"] == "ended"
