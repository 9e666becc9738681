"""The report: what it still has to measure, and what it shows of the runs."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.report import chosen, draw, figures_of, forget, missing, recorded
from tests.benchmarks.sections import SECTIONS, flat


def run(section: str, seed: int, **figures: float) -> dict[str, object]:
    """A recorded run."""
    return {
        "section": section,
        "seed": seed,
        "day": "2026-01-01",
        "commit": "abc",
        "python": "CPython 3.11",
        "machine": "Linux",
        "load": 0.5,
        "seconds": 2.0,
        "cpu_seconds": 1.5,
        "figures": figures,
        "limits": {"a": 2.0},
        "strict": [],
    }


def record(folder: Path, *runs: dict[str, object]) -> None:
    """Write runs as a report keeps them."""
    text = "".join(json.dumps(each) + "\n" for each in runs)
    (folder / "figures.jsonl").write_text(text, "utf-8")


def test_only_runs_that_are_not_recorded_are_missing() -> None:
    """First runs come first, and a section that is worth one run alone has no second one."""
    records = [run("pass", 0), run("audit", 1)]
    assert missing(records, ["pass", "audit", "writes"], 2) == [
        ("audit", 0),
        ("writes", 0),
        ("pass", 1),
    ]
    assert missing([], ["pass"], 0) == []


def test_the_report_shows_median_spread_and_limit_of_the_recorded_runs(tmp_path: Path) -> None:
    """Nothing but the records goes in, so drawing twice gives the same."""
    record(tmp_path, run("pass", 0, a=1.0, b=7.0), run("pass", 1, a=3.0), run("pass", 2, a=1.5))
    text = draw(tmp_path).read_text("utf-8")
    assert "| a | 1.5 | 1 to 3 | 2 | no |" in text
    assert "| b | 7 | 7 to 7 |  |  |" in text
    assert "3 runs on 2026-01-01 at abc, of at most 1.5 s of CPU each." in text
    assert "![The quiet pass: percent of the limit](pass.svg)" in text
    assert (tmp_path / "pass.svg").exists()
    assert draw(tmp_path).read_text("utf-8") == text


def test_a_report_without_runs_has_no_section(tmp_path: Path) -> None:
    """An empty folder is a beginning."""
    assert "##" not in draw(tmp_path).read_text("utf-8")


def test_sections_are_chosen_by_the_beginning_of_their_names() -> None:
    """Without a name all that can run are chosen; an unknown name is an error that lists them."""
    assert chosen("scale", has_cluster=False) == [
        "scale-100",
        "scale-1000",
        "scale-10000",
        "scale-100000",
    ]
    assert chosen("scale-100", has_cluster=False) == ["scale-100"]
    assert chosen("cluster,pass", has_cluster=False) == ["pass", "cluster"]
    assert {*chosen("", has_cluster=True)} - {*chosen("", has_cluster=False)} == {
        name for name, section in SECTIONS.items() if section.needs_cluster
    }
    with pytest.raises(SystemExit, match="no section nothing, expected graduation, "):
        chosen("nothing", has_cluster=True)


def test_measuring_again_forgets_the_runs_of_the_section_alone(tmp_path: Path) -> None:
    """The others stay as they are."""
    runs = [run("pass", 0, a=1.0), run("audit", 0, a=2.0), run("pass", 1, a=3.0)]
    record(tmp_path, *runs)
    forget(tmp_path, ["pass"])
    assert recorded(tmp_path) == [runs[1]]


def test_a_figure_that_only_some_runs_have_keeps_their_values() -> None:
    """A benchmark may get a new figure between two runs."""
    (a, b) = figures_of([run("pass", 0, a=1.0), run("pass", 1, a=2.0, b=5.0)])
    assert (a.values, a.limit, b.values, b.limit) == ((1.0, 2.0), 2.0, (5.0,), None)


def test_json_lines_become_figures_with_the_limits_of_their_targets() -> None:
    """`target` is about the ratio or the like, `target_x` about x; what describes stays out."""
    found = flat(
        [
            {"figure": "cost", "ms": 2, "ratio": 3.5, "target": 3, "share_percent": 9, "threads": 4,
             "target_percent": 8},
            {"benchmark": "memory", "requests_per_second": 10, "cpu": {"etcd": 1}, "is_met": True},
        ]
    )  # fmt: skip
    assert found.figures == {
        "cost: ms": 2,
        "cost: ratio": 3.5,
        "cost: share percent": 9,
        "memory: requests per second": 10,
        "memory: cpu etcd": 1,
    }
    assert found.limits == {"cost: ratio": 3, "cost: share percent": 8}
