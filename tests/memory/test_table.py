"""docs/kinds.md says what the server models."""

from tests.memory.table import PAGE, page


def test_the_page_of_kinds_is_current() -> None:
    """`python -m tests.memory.table` writes it again."""
    assert PAGE.read_text("utf-8") == page()


def test_no_kind_of_the_page_lacks_its_ordinary_verbs() -> None:
    """An operator can create, patch and delete every kind that the page lists."""
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    for row in rows:
        assert "501" not in (row[1], row[2], row[3], row[4], row[7], row[8]), row
