"""What a document points at is there: links, anchors and tests."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.sources import ROOT, anchors, documents, file_text, listed

_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_NAMED_TEST = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")
_NAMED_FILE = re.compile(r"`((?:captep_core|adapters|examples|docs|tests)/[\w/.-]*)`")


def links(document: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield (link, file, fragment) of each relative link."""
    for target in _LINK.findall(file_text(document)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        yield target, (document.parent / file).resolve() if file else document, fragment


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(document: Path) -> None:
    """The file is there, and so is the heading that the fragment names."""
    broken = [
        link
        for link, file, fragment in links(document)
        if not file.exists() or (fragment and fragment not in anchors(file))
    ]
    assert not broken, listed(broken)


def defined(file: Path) -> set[str]:
    """Return what may follow `::` behind a test file: its functions."""
    return set(re.findall(r"^ *(?:async )?def (\w+)\(", file_text(file), re.MULTILINE))


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    """A guarantee without its test is only a claim."""
    missing = [
        f"{file}::{name}"
        for file, name in _NAMED_TEST.findall(file_text(document))
        if not (ROOT / file).is_file() or (name and name not in defined(ROOT / file))
    ]
    assert not missing, listed(missing)


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    """A path in backticks leads somewhere."""
    named = _NAMED_FILE.findall(file_text(document))
    found = [path for path in named if not (ROOT / path).exists()]
    assert not found, listed(found)


def test_the_guarantees_name_their_tests() -> None:
    """Every row of the table of guarantees names a test or a command of the Makefile."""
    text = file_text(ROOT / "docs" / "guarantees.md")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) > 20
    found = [row for row in rows if not re.search(r"`(tests/|make )", row.split(" | ")[-1])]
    assert not found, listed(found)


def test_no_line_of_the_contract_table_is_empty() -> None:
    """Each rule of Cluster API has its level, our answer, a test and upstream's definition."""
    text = file_text(ROOT / "docs" / "cluster-api.md")
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    rules = [row for row in cells if len(row) == 6 and row[0] != "rule"]
    assert len(rules) > 40
    found = [row[0] for row in cells if "" in row or len(row) not in (2, 3, 6)]
    assert not found, listed(found)
    found = [row[0] for row in rules if not re.search(r"`tests/|no code path", row[4])]
    assert not found, listed(found)
