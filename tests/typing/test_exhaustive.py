"""Types as a caller outside of captep meets them, under mypy --strict and pyright.

The checkers run on copies of `consumer.py` in a folder of their own, so that no configuration of
this project applies: an operator's author has none of it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

import captep_core

CONSUMER = Path(__file__).with_name("consumer.py")
CORE = Path(captep_core.__file__).parent
_CASE = re.compile(r"^ +case (\w+)\(.*\):\n.*\n", re.MULTILINE)
_TIMEOUT = 240  # seconds; the first run of a checker reads the whole standard library's stubs

Findings: TypeAlias = Mapping[str, list[str]]
"""The errors of each file, by its name."""
Checker: TypeAlias = Callable[[Path, Sequence[str]], Findings]


def _output(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=_TIMEOUT,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def mypy(folder: Path, files: Sequence[str]) -> Findings:
    """Run mypy --strict without a configuration, with the check of truthiness that we enable."""
    found: dict[str, list[str]] = {}
    options = ["--strict", "--config-file=", "--enable-error-code", "truthy-bool"]
    lines = _output(folder, "mypy", *options, "--no-error-summary", *files).splitlines()
    for line in lines:
        name, _, message = line.partition(":")
        found.setdefault(name, []).append(message)
    return found


def pyright(folder: Path, files: Sequence[str]) -> Findings:
    """Run pyright without a configuration."""
    found: dict[str, list[str]] = {}
    report = json.loads(
        _output(folder, "pyright", "--pythonpath", sys.executable, "--outputjson", *files)
    )
    for each in report["generalDiagnostics"]:
        found.setdefault(Path(each["file"]).name, []).append(each["message"])
    return found


def _without_a_case() -> Iterator[tuple[str, str, str]]:
    """Yield, for each case of the consumer: a file's name, the class, the source without it."""
    source = CONSUMER.read_text()
    for number, found in enumerate(_CASE.finditer(source)):
        kind = found[1]
        yield f"lacks_{number}_{kind.lower()}.py", kind, source.replace(found[0], "", 1)


@pytest.mark.parametrize("check", [mypy, pyright])
def test_every_match_over_a_union_of_the_core_is_exhaustive(check: Checker, tmp_path: Path) -> None:
    """The consumer has no error, though it lives outside of this project."""
    (tmp_path / "consumer.py").write_text(CONSUMER.read_text())
    assert check(tmp_path, ["consumer.py"]) == {}


@pytest.mark.parametrize("check", [mypy, pyright])
def test_a_forgotten_case_is_an_error_that_names_the_class(check: Checker, tmp_path: Path) -> None:
    """Each case in turn: one error, at the `assert_never` that the class reaches."""
    lacking = list(_without_a_case())
    assert len(lacking) == 11 + 5 + 4 + 4 + 3
    for name, _, source in lacking:
        (tmp_path / name).write_text(source)
    found = check(tmp_path, [name for name, _, _ in lacking])
    assert {name: len(found.get(name, ())) for name, _, _ in lacking} == {
        name: 1 for name, _, _ in lacking
    }
    for name, kind, _ in lacking:
        [message] = found[name]
        assert "Never" in message
        assert re.search(rf"\b{kind}\b", message), message


_TRUTHS = {
    "if": "    if observed:\n        return 1\n    return 0\n",
    "if not": "    if not observed:\n        return 0\n    return 1\n",
    "or": "    return 1 if (observed or default) is default else 0\n",
    "and": "    return 1 if (observed and default) is default else 0\n",
    "ternary": "    return 1 if observed else 0\n",
    "while": "    while observed:\n        return 1\n    return 0\n",
}
_HEADER = """from captep_core import APIEndpoint, Observed

def f(observed: Observed[APIEndpoint], default: APIEndpoint) -> int:
"""


def test_the_truth_of_an_observation_is_an_error(tmp_path: Path) -> None:
    """Absent and unreadable objects are as true as present ones, so mypy refuses the question."""
    names = {use: f"truth_of_{use.replace(' ', '_')}.py" for use in _TRUTHS}
    for use, body in _TRUTHS.items():
        (tmp_path / names[use]).write_text(_HEADER + body)
    found = mypy(tmp_path, list(names.values()))
    codes = {use: [line.rpartition("  ")[2] for line in found.get(names[use], ())] for use in names}
    assert codes == {use: ["[truthy-bool]"] for use in _TRUTHS}


def test_absent_and_unreadable_have_no_truth_value_of_their_own() -> None:
    """Neither class defines `__bool__` or `__len__`: an `if` sees objects like any other."""
    for kind in (captep_core.Absent, captep_core.Unreadable):
        assert not {"__bool__", "__len__"} & vars(kind).keys()
    assert bool(captep_core.ABSENT)
    assert bool(captep_core.Unreadable("Timeout"))


_FIFTH = '''
@frozen
class Scale:
    """Set the number of replicas of an object."""

    target: ObjectRef
    replicas: int
    reason: str
    subresource: None = field(default=None, init=False, repr=False)


Action: TypeAlias = Scale | '''


def test_a_fifth_action_is_an_error_in_write_of(tmp_path: Path) -> None:
    """mypy names the place and the class, before the first test or process runs."""
    actions = (CORE / "_actions.py").read_text()
    assert actions.count("\nAction: TypeAlias = ") == 1
    (tmp_path / "captep_core").symlink_to(CORE)
    (tmp_path / "actions.py").write_text(actions.replace("\nAction: TypeAlias = ", _FIFTH))
    errors = mypy(tmp_path, ["actions.py"])["actions.py"]
    never = [error for error in errors if '"assert_never"' in error]
    assert never, errors
    assert all('"Scale"' in error for error in never)
    lines = (tmp_path / "actions.py").read_text().splitlines()
    places = [int(error.partition(":")[0]) for error in never]
    functions = [
        next(line for line in reversed(lines[:place]) if line.startswith("def "))
        for place in places
    ]
    assert any("verb" in function or "write_of" in function for function in functions), functions
