"""`trial`: operators as processes, with a fault at each of their writes."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from captep_core import ObjectRef
from captep_memory import Key, Request, World, load, serve
from captep_testing import Kit, Report, moves
from captep_testing._ends import other_ends
from captep_testing._faults import HTTP_FAULTS
from captep_testing._report import Violation
from captep_testing.process import _unrest, elsewhere

ROOT = Path(__file__).resolve().parents[2]
COPIER = str(ROOT / "tests" / "testing" / "clients" / "copier.py")
SOURCE = ObjectRef("v1", "ConfigMap", "fleet", "colour")
COPY = ObjectRef("v1", "ConfigMap", "fleet", "copy")
Trial = Callable[..., Report]


def is_right(world: World) -> bool:
    """Whether the copy is that of the source, and gone once the source is."""
    source = world.get(Key("", "ConfigMap", "fleet", "colour"))
    copy = world.get(Key("", "ConfigMap", "fleet", "copy"))
    if source is None or "deletionTimestamp" in source["metadata"]:
        return source is copy is None
    return copy is not None and copy["data"] == source["data"]


KIT = Kit(
    elsewhere,
    keys=(SOURCE,),
    worlds={
        "new": load(
            [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "colour", "namespace": "fleet"},
                    "data": {"colour": "green"},
                }
            ],
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )
    },
    matches=is_right,
    owned={"ConfigMap": (("data",), ("metadata", "finalizers"))},
    moves={
        "somebody paints it red": moves.edit(SOURCE, {"data": {"colour": "red"}}),
        "somebody deletes the copy": moves.delete(COPY),
        "somebody deletes it": moves.delete(SOURCE),
    },
)


def tried(trial: Trial, kit: Kit, bug: str = "", fault: str | None = None) -> Report:
    """Return the report of the copier with a bug, over one fault or all."""
    return trial(
        kit,
        [sys.executable, "-S", COPIER, "{url}", bug],
        faults=[each for each in HTTP_FAULTS if fault in (None, each.name)],
        quiet=timedelta(seconds=0.15),
        patience=timedelta(seconds=3 if bug else 20),
        workers=8,
    )


def test_the_example_of_the_page_survives_every_fault_at_every_write(
    kube_trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/properties.md has it; the writes of the copier are the finalizer and the copy."""
    page = (ROOT / "docs" / "properties.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    monkeypatch.chdir(ROOT / "tests" / "testing" / "clients")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    names["test_the_copier"](partial(kube_trial, workers=8, faults=HTTP_FAULTS[::3]))


def test_a_correct_operator_follows_every_move(kube_trial: Trial) -> None:
    """Six writes: the finalizer, the copy, its colour, the copy again, and the way back."""
    report = tried(kube_trial, KIT, fault="conflict").require()
    assert str(report) == "exhausted 8 runs from 1 worlds, 1 faults at each write"


BUGS = {
    # the mistake: the fault that shows it, the properties that it breaks
    "writes always": ("", {"P2", "P2a"}),
    "remembers": ("", {"P1"}),
    "no version": ("", {"P8"}),
    "by name": ("", {"P8"}),
    "gives up": ("refused with 500", {"P1"}),
    "starts over": ("connection dropped after", {"P18", "P8"}),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_mistake_is_found(kube_trial: Trial, bug: str) -> None:
    """On a machine under load the copier may be late as well, and P1 counts that."""
    fault, properties = BUGS[bug]
    kit = evolve(KIT, moves={}) if fault else KIT
    assert tried(kube_trial, kit, bug, fault).properties >= properties


@pytest.mark.parametrize(
    ("is_right", "is_quiet", "found"),
    [
        (True, False, Violation("P2", "not at rest, although the world is right")),
        (False, False, Violation("P1", "does not come to rest; its last line: eh")),
        (
            False,
            True,
            Violation("P1", "rests in a world that `matches` finds wrong; its last line: eh"),
        ),
    ],
)
def test_a_run_without_an_end_says_why(is_right: bool, is_quiet: bool, found: Violation) -> None:
    """A loop that goes on in a right world, one that never ends, and one that ends too early."""
    assert _unrest("eh", is_right=is_right, is_quiet=is_quiet) == found


def made(world: World, kind: str, **metadata: object) -> tuple[World, str]:
    """Create an object; return its name as well."""
    body = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    after, answer = serve(world, Request("create", "v1", kind, "fleet", body=body))
    return after, answer.body["metadata"]["name"]


def test_generated_names_do_not_count_and_their_number_does() -> None:
    """Neither as names of objects nor where another object holds one."""
    empty = load([], now=datetime(2026, 1, 1, tzinfo=UTC))
    later = made(empty, "ConfigMap", name="other")[0]
    ends, names = [], set()
    for start in (empty, later):
        world, name = made(start, "ConfigMap", generateName="config-")
        names.add(name)
        ends.append(made(world, "Secret", name="user", labels={"config": name})[0])
    first, other = ends[0], ends[1].remove(Key("", "ConfigMap", "fleet", "other"))
    twice, second = made(other, "ConfigMap", generateName="config-")
    assert len(names) == 2
    assert list(other_ends(first, first, other)) == []
    (said,) = other_ends(first, first, twice)
    assert said.startswith("1 ConfigMap more, such as ConfigMap fleet/config-")
    assert second not in names
