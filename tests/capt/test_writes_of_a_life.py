"""Each story of a life takes the fewest writes that could do."""

from tests.benchmarks.writes import STORIES, measured


def test_p3_each_story_of_a_life_has_the_fewest_writes() -> None:
    """From rest to rest one write for each changed object and each changed status, none more."""
    figures = {each["figure"]: (each["writes"], each["least"]) for each in measured()}
    assert len(figures) == len(STORIES)
    assert all(writes == least > 0 for writes, least in figures.values()), figures
    assert figures["writes of creation"] == (13, 13)
