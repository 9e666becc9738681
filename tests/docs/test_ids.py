"""Every id that code, tests and documents cite has its heading in `docs/`."""

import re

from tests.docs.sources import ROOT, Piece, file_text, listed, places, prose

PROPERTIES = ROOT / "docs" / "properties.md"
REFERENCE = ROOT / "docs" / "reference.md"
_ID = re.compile(r"(?<![\w/.%#&+=-])(?:[ACDFGKLMPRSUV][1-9]?[0-9][a-z]?|L0|P-sym)(?![\w/=-])")
_TOPIC = re.compile(r"(?<![\w-])R-[a-z][a-z-]*[a-z]")
_HEADING = re.compile(r"^#{2,} (?:Row )?([A-Z](?:[0-9]+[a-z]?|-sym))(?=:)", re.MULTILINE)
_LINTER = re.compile(r"# noqa: .*")


def cited() -> list[Piece]:
    """Return what people write, without the codes of the linter."""
    pieces = [each for each in prose() if each.file.suffix != ".toml"]
    return [Piece(each.file, each.line, _LINTER.sub("", each.text)) for each in pieces]


def test_every_id_of_a_property_a_fault_or_a_server_row_has_a_heading() -> None:
    """P, F, K, M and L ids and the rows of the API server stand in docs/properties.md."""
    known = set(_HEADING.findall(file_text(PROPERTIES)))
    ids = list(places(_ID, [each for each in cited() if each.file != PROPERTIES]))
    assert len({each for _, each in ids}) > 60
    found = [f"{place}: {each}" for place, each in ids if each not in known]
    assert not found, listed(found)


def test_every_topic_of_the_reference_has_an_anchor() -> None:
    """A citation of `R-topic` leads to a section of docs/reference.md."""
    known = set(re.findall(r'<a id="(R-[a-z-]+)"></a>', file_text(REFERENCE)))
    topics = places(_TOPIC, [each for each in prose() if each.file != REFERENCE])
    assert len(known) > 15
    found = [f"{place}: {each}" for place, each in topics if each not in known]
    assert not found, listed(found)


def test_no_id_has_two_headings() -> None:
    """An id means one thing; the rows of PATCH share a letter with the properties: `Row`."""
    headings = re.findall(
        r"^#{2,} ((?:Row )?[A-Z](?:[0-9]+[a-z]?|-sym)):", file_text(PROPERTIES), re.MULTILINE
    )
    assert len(headings) > 100
    assert len(headings) == len(set(headings))
