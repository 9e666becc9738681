"""`captep demo`: what it prints, what it draws, and that both are the same each time."""

import io
import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from captep_core import ObjectRef, Patch, Preconditions
from captep_demo._demo import _added_up, demo
from captep_demo._lanes import LANES, START, CaptepLoop, play
from captep_demo._ledger import Count, Ledger
from captep_memory import load
from captep_world import VirtualClock, WorldServer, stories

ROWS = [
    "passes",
    "objects looked up",
    "writes sent",
    "  that changed something",
    "  that changed nothing",
    "  refused",
    "log lines",
    "seconds until Ready with a kubeconfig",
    "seconds until the Secret was mended",
    "seconds until the failure was reported",
]
CLUSTER: dict[str, Any] = {
    "apiVersion": "cluster.x-k8s.io/v1beta1",
    "kind": "Cluster",
    "metadata": {"name": "tokyo", "namespace": "fleet"},
    "spec": {"size": 1},
}
SVG = "{http://www.w3.org/2000/svg}"


def table(printed: str) -> dict[str, list[str]]:
    """Return the rows of the table by their titles."""
    rows: dict[str, list[str]] = {}
    for title in ROWS:
        row = re.search(rf"^{title}  +(.*)$", printed, re.MULTILINE)
        assert row is not None, title
        rows[title] = row[1].split()
    return rows


def number(cell: str) -> int:
    """Return the number in a cell."""
    return int(cell.replace(",", ""))


def test_captep_writes_once_where_the_older_loops_write_ten_thousand_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing that it sends is refused or without effect, and it alone reports that Terraform fails."""
    assert demo(1, 1.0, 0, None) == 0
    cells = table(capsys.readouterr().out)
    before, alone, captep = (
        dict(zip(ROWS, column, strict=True)) for column in zip(*cells.values(), strict=True)
    )
    assert number(before["writes sent"]) > 400_000
    assert number(alone["passes"]) > 38_000
    assert number(captep["writes sent"]) < 50
    assert (captep["  that changed nothing"], captep["  refused"]) == ("0", "0")
    assert [
        column["seconds until the failure was reported"] for column in (before, alone, captep)
    ] == ["never", "never", "0.0"]
    assert all(
        float(column["seconds until the Secret was mended"]) < 1
        for column in (before, alone, captep)
    )


def test_every_write_is_one_that_changed_something_changed_nothing_or_was_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The three rows below add up to the one above, in each column."""
    demo(2, 0.2, 1, None)
    cells = table(capsys.readouterr().out)
    parts = zip(*(map(number, cells[title]) for title in ROWS[3:6]), strict=True)
    assert list(map(sum, parts)) == list(map(number, cells["writes sent"]))


def test_equal_arguments_print_and_draw_equal_bytes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And another seed other ones."""
    runs = []
    for seed in (5, 5, 6):
        assert demo(1, 0.2, seed, str(tmp_path / "picture.svg")) == 0
        runs.append((capsys.readouterr().out, (tmp_path / "picture.svg").read_bytes()))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]
    assert runs[0][1] != runs[2][1]


def test_it_says_how_many_passes_were_not_executed(capsys: pytest.CaptureFixture[str]) -> None:
    """Executed and counted passes add up to those in the table."""
    demo(1, 0.2, 0, None)
    printed = capsys.readouterr().out
    passes = table(printed)["passes"]
    told = re.search(
        r"passes, ([\d,]+) were executed, and ([\d,]+) were counted and not executed", printed
    )
    assert told is not None
    assert number(told[1]) + number(told[2]) == number(passes[0]) + number(passes[1])


def test_a_terminal_that_knows_ascii_alone_is_shown_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the encoding has no blocks, other characters stand for them."""
    printed: dict[str, str] = {}
    for encoding in ("ascii", "utf-8"):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding)
        monkeypatch.setattr("sys.stdout", stream)
        demo(1, 0.2, 0, None)
        stream.flush()
        printed[encoding] = raw.getvalue().decode()
    assert printed["ascii"].isascii()
    assert "█" in printed["utf-8"]
    assert printed["utf-8"].replace("─", "-").count("-") >= printed["ascii"].count("---")


def test_the_picture_shows_three_lanes_and_every_moment_of_the_story(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is well-formed, 1000 px wide, and every text in it lies within it."""
    demo(3, 0.5, 0, str(tmp_path / "picture.svg"))
    capsys.readouterr()
    root = ET.parse(tmp_path / "picture.svg").getroot()
    assert root.get("width") == "1000"
    texts = [
        (element.text or "", float(element.get("x", 0)), float(element.get("y", 0)))
        for element in root.iter(f"{SVG}text")
    ]
    told = [text for text, _, _ in texts]
    lanes = ["before CAPTEP-0016", "its intervals alone", "captep"]
    moments = [
        "created",
        "kubeconfig Secret deleted",
        "Terraform fails",
        "Terraform works again",
        "deleted",
        "gone",
    ]
    assert [text for text in told if text in lanes] == lanes
    assert [text for text in told if text in moments] == moments
    height = float(root.get("height", 0))
    assert all(0 < x < 1000 and 0 < y < height for _, x, y in texts)
    assert (
        sum(element.get("class", "").startswith("sent") for element in root.iter(f"{SVG}path")) == 3
    )


def test_no_area_of_the_picture_leaves_its_lane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However many control planes write: the scale grows with them."""
    demo(2, 0.2, 0, str(tmp_path / "picture.svg"))
    capsys.readouterr()
    root = ET.parse(tmp_path / "picture.svg").getroot()
    tops = [
        float(element.get("y", 0))
        for element in root.iter(f"{SVG}rect")
        if element.get("class") == "lane"
    ]
    for lane, top in enumerate(tops):
        path = next(
            element for element in root.iter(f"{SVG}path") if element.get("class") == f"sent{lane}"
        )
        heights = list(map(float, re.findall(r"V([\d.]+)", path.get("d", ""))))
        assert heights
        assert min(heights) >= top


def test_a_picture_that_cannot_be_written_is_an_error_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing on standard output."""
    assert demo(1, 0.2, 0, str(tmp_path / "none" / "picture.svg")) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("captep demo: ")


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        """Claim to be one."""
        return True


def test_progress_is_shown_on_a_terminal_when_there_is_much_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that is overwritten, and wiped at the end; none for one control plane."""
    shown = []
    for control_planes in (1, 3):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        demo(control_planes, 0.1, 0, None)
        shown.append(terminal.getvalue())
    capsys.readouterr()
    assert shown[0] == ""
    assert "control plane 3 of 3: captep" in shown[1]
    assert "\n" not in shown[1]
    assert shown[1].endswith(f"\r{' ' * 60}\r")


def test_no_credential_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Neither a token nor a certificate, on standard output or in the picture."""
    demo(1, 0.1, 0, str(tmp_path / "picture.svg"))
    captured = capsys.readouterr()
    everything = (
        captured.out + captured.err + (tmp_path / "picture.svg").read_text(encoding="utf-8")
    )
    assert not re.search(r"k8s-aws-v1|BEGIN CERTIFICATE|eks\.amazonaws\.com", everything)


def test_the_control_planes_are_added_up() -> None:
    """Counts, in all and in each slice; the longest wait of all counts, and one that never ends is never."""
    story = stories.life(timedelta(minutes=5))
    alone = [
        play(LANES[2], name, story=story, seed=0, limit=timedelta(hours=2))
        for name in ("tokyo", "osaka")
    ]
    both = _added_up(alone)
    assert both.total == alone[0].total + alone[1].total == sum(both.slices.values(), Count())
    assert both.usable_after == max(result.usable_after or 0 for result in alone)
    assert _added_up([alone[0], evolve(alone[1], usable_after=None)]).usable_after is None


def test_a_write_of_captep_is_counted_as_what_it_was() -> None:
    """Refused, without effect, or with one."""
    server, ledger = WorldServer(load([CLUSTER], now=START)), Ledger(START)
    loop = CaptepLoop(server, VirtualClock(START), ledger)
    ref = ObjectRef(CLUSTER["apiVersion"], "Cluster", "fleet", "tokyo")
    total = Count()
    for target, size, more in (
        (evolve(ref, name="none"), 1, Count(writes=1, refused=1)),
        (ref, 1, Count(writes=1)),
        (ref, 2, Count(writes=1, changed=1)),
    ):
        loop.send(Patch(target, {"spec": {"size": size}}, Preconditions(), "a test"))
        total += more
        assert ledger.total() == total
