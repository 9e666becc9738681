"""`captep demo`: its text, its picture, and that both are reproducible."""

import io
import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from captep_core import ObjectRef, Patch, Preconditions
from captep_core.errors import GatewayError
from captep_demo._demo import added_up, demo
from captep_demo._lanes import LANES, START, CaptepLoop, play
from captep_demo._report import criteria
from captep_demo._timeline import Count, Timeline
from captep_memory import load
from captep_world import VirtualClock, WorldServer, stories

ROWS = [
    "passes",
    "objects read",
    "writes sent",
    "  that changed something",
    "  that changed nothing",
    "  refused",
    "log lines",
    "seconds until Ready with a kubeconfig",
    "seconds until the Secret was restored",
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
    """None of its writes is refused or without effect, and it alone reports Terraform's failure."""
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
        float(column["seconds until the Secret was restored"]) < 1
        for column in (before, alone, captep)
    )


def test_effective_ineffective_and_refused_writes_add_up_to_all_writes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In each column the three rows below add up to the row of all writes."""
    demo(2, 0.2, 1, None)
    cells = table(capsys.readouterr().out)
    parts = zip(*(map(number, cells[title]) for title in ROWS[3:6]), strict=True)
    assert list(map(sum, parts)) == list(map(number, cells["writes sent"]))


def test_equal_arguments_print_and_draw_equal_bytes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Another seed gives other bytes."""
    runs = []
    for seed in (5, 5, 6):
        assert demo(1, 0.2, seed, str(tmp_path / "picture.svg")) == 0
        runs.append((capsys.readouterr().out, (tmp_path / "picture.svg").read_bytes()))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]
    assert runs[0][1] != runs[2][1]


def test_the_notes_say_how_many_passes_were_not_executed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Executed and counted passes add up to the passes in the table."""
    demo(1, 0.2, 0, None)
    printed = capsys.readouterr().out
    passes = table(printed)["passes"]
    note = re.search(
        r"passes, ([\d,]+) were executed, and ([\d,]+) were counted\s+and not executed", printed
    )
    assert note is not None
    assert number(note[1]) + number(note[2]) == number(passes[0]) + number(passes[1])


def test_a_terminal_without_block_characters_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoding without blocks gets ASCII characters instead."""
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


def test_the_picture_shows_three_lanes_and_every_event_of_the_story(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The SVG is well-formed and 1000 px wide, and every text lies inside it."""
    demo(3, 0.5, 0, str(tmp_path / "picture.svg"))
    capsys.readouterr()
    root = ET.parse(tmp_path / "picture.svg").getroot()
    assert root.get("width") == "1000"
    texts = [
        (element.text or "", float(element.get("x", 0)), float(element.get("y", 0)))
        for element in root.iter(f"{SVG}text")
    ]
    words = [text for text, _, _ in texts]
    lanes = ["before CAPTEP-0016", "its intervals alone", "captep"]
    moments = [
        "created",
        "kubeconfig Secret deleted",
        "Terraform fails",
        "Terraform works again",
        "deleted",
        "gone",
    ]
    assert [text for text in words if text in lanes] == lanes
    assert [text for text in words if text in moments] == moments
    height = float(root.get("height", 0))
    assert all(0 < x < 1000 and 0 < y < height for _, x, y in texts)
    assert (
        sum(element.get("class", "").startswith("sent") for element in root.iter(f"{SVG}path")) == 3
    )


def test_no_area_of_the_picture_leaves_its_lane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scale grows with the number of control planes."""
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


def test_an_unwritable_picture_is_an_error_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output stays empty."""
    assert demo(1, 0.2, 0, str(tmp_path / "none" / "picture.svg")) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("captep demo: ")


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_a_terminal_shows_the_progress_of_a_long_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The progress is one line, erased at the end; one control plane shows no progress."""
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


def test_the_demo_prints_no_credential(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Neither a token nor a certificate is on standard output or in the picture."""
    demo(1, 0.1, 0, str(tmp_path / "picture.svg"))
    captured = capsys.readouterr()
    everything = (
        captured.out + captured.err + (tmp_path / "picture.svg").read_text(encoding="utf-8")
    )
    assert not re.search(r"k8s-aws-v1|BEGIN CERTIFICATE|eks\.amazonaws\.com", everything)


def test_the_result_of_a_lane_adds_up_its_control_planes() -> None:
    """Counts add up in total and by slice; the longest wait counts, and one without end wins."""
    story = stories.life(timedelta(minutes=5))
    alone = [
        play(LANES[2], name, story=story, seed=0, limit=timedelta(hours=2))
        for name in ("tokyo", "osaka")
    ]
    both = added_up(alone)
    assert both.total == alone[0].total + alone[1].total == sum(both.slices.values(), Count())
    assert both.usable_after == max(result.usable_after or 0 for result in alone)
    assert added_up([alone[0], evolve(alone[1], usable_after=None)]).usable_after is None


def test_a_write_of_captep_counts_as_refused_ineffective_or_effective() -> None:
    """The counts follow the server's answer."""
    server = WorldServer(load([CLUSTER], now=START))
    timeline = Timeline(START)
    loop = CaptepLoop(server, VirtualClock(START), timeline)
    ref = ObjectRef(CLUSTER["apiVersion"], "Cluster", "fleet", "tokyo")
    total = Count()
    for target, size, more in (
        (evolve(ref, name="none"), 1, Count(writes=1, refused=1)),
        (ref, 1, Count(writes=1)),
        (ref, 2, Count(writes=1, changed=1)),
    ):
        loop.send(Patch(target, {"spec": {"size": size}}, Preconditions(), "a test"))
        total += more
        assert timeline.total() == total


def test_the_report_shows_each_criterion_with_its_measured_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """captep meets all of them, and the file names the arguments of the run."""
    file = tmp_path / "report.md"
    assert demo(1, 0.5, 3, None, str(file)) == 0
    assert f"The graduation criteria are in {file}." in capsys.readouterr().out
    text = file.read_text("utf-8")
    assert "`captep demo --control-planes 1 --hours 0.5 --seed 3`" in text
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| (yes|no) \|$", text, re.MULTILINE)
    assert [met for *_, met in rows] == ["yes"] * 13
    assert {name: measured for name, measured, *_ in rows}["writes that changed nothing"] == "0"


def test_a_loop_like_the_one_before_misses_the_criteria() -> None:
    """Keeps the report from saying yes to everything: cost, errors, waits and needless writes."""
    story = stories.life(timedelta(minutes=5))
    limit = timedelta(hours=2)
    before = play(LANES[0], "tokyo", story=story, seed=0, limit=limit)
    broken = play(LANES[2], "tokyo", story=story, seed=0, limit=limit, faults=1.0)
    endless = evolve(broken, is_over=False)
    missed = {each.name for each in criteria([before, before], endless, 1) if not each.is_met}
    assert missed == {
        "CPU of the loop, of the loop before",
        "passes that end in an error, with 2% of writes unanswered",
        "lives that do not end, with 2% of writes unanswered",
        "refused writes",
        "passes, of the loop before",
        "writes that changed nothing",
        "log lines until a control plane is usable",
        "log lines, of the loop before",
        "seconds until a failure is reported",
    }


@pytest.mark.parametrize("is_landed", [False, True])
def test_a_write_without_an_answer_may_have_landed(*, is_landed: bool) -> None:
    """Of the faults every second one has; the pass ends in an error either way."""
    server = WorldServer(load([CLUSTER], now=START))
    loop = CaptepLoop(
        server, VirtualClock(START), Timeline(START), faults=1.0, seed=int(not is_landed)
    )
    ref = ObjectRef(CLUSTER["apiVersion"], "Cluster", "fleet", "tokyo")
    before = server.world
    with pytest.raises(GatewayError, match="the connection broke"):
        loop.send(Patch(ref, {"spec": {"size": 7}}, Preconditions(), "a test"))
    assert (server.world is not before, loop.errors) == (is_landed, 1)


def test_an_unwritable_report_is_an_error_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output stays empty."""
    assert demo(1, 0.1, 0, None, str(tmp_path / "none" / "report.md")) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
