"""Reads: of one object by name, and of all objects that a selection describes."""

import pytest

from captep_core import ABSENT, JSON, Listed, ObjectRef, Observed, Selection, Unreadable
from captep_core.ports import Read, Reads, as_read, select

REF = ObjectRef("v1", "Pod", "fleet", "a")
LABELLED: dict[str, JSON] = {"metadata": {"name": "a", "labels": {"app": "db", "tier": "x"}}}


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection("v1", "Pod", "fleet"), "Pod fleet/*"),
        (Selection("v1", "Node"), "Node *"),
        (Selection("v1", "Pod", "fleet", {"b": "2", "a": "1"}), "Pod fleet/* with a=1,b=2"),
    ],
)
def test_a_selection_names_kind_place_and_labels(selection: Selection, said: str) -> None:
    """The order of the labels does not count."""
    assert str(selection) == said
    assert selection == Selection(
        selection.api_version, selection.kind, selection.namespace, selection.labels
    )


@pytest.mark.parametrize(
    ("labels", "obj", "fits"),
    [
        (None, {}, True),
        ({"app": "db"}, LABELLED, True),
        ({"app": "db", "tier": "x"}, LABELLED, True),
        ({"app": "web"}, LABELLED, False),
        ({"other": ""}, LABELLED, False),
        ({"app": "db"}, {}, False),
        ({"app": "db"}, {"metadata": 3}, False),
        ({"app": "db"}, {"metadata": {"labels": ["app"]}}, False),
    ],
)
def test_an_object_fits_with_each_label_of_the_selection(
    labels: dict[str, str] | None, obj: dict[str, JSON], *, fits: bool
) -> None:
    """Exactly this value; an object without sound labels fits no selector."""
    assert Selection("v1", "Pod", "fleet", labels).fits(obj) == fits


def test_two_functions_make_a_read() -> None:
    """`list` hands the second one a selection."""
    asked: list[Selection] = []

    def find(selection: Selection) -> Listed:
        asked.append(selection)
        return (LABELLED,)

    read: Read = Reads(lambda _: ABSENT, find)
    assert read(REF) is ABSENT
    assert read.list("v1", "Pod", "fleet", labels={"app": "db"}) == (LABELLED,)
    assert select(read, Selection("v1", "Node")) == (LABELLED,)
    assert asked == [Selection("v1", "Pod", "fleet", {"app": "db"}), Selection("v1", "Node")]
    assert as_read(read) is read


def test_a_list_over_a_gateway_that_reads_by_name_alone_is_unreadable() -> None:
    """Empty would say that no such object exists."""

    def get(_: ObjectRef) -> Observed[dict[str, JSON]]:
        return dict(LABELLED)

    read = as_read(get)
    assert read(REF) == LABELLED
    assert read.list("v1", "Pod", "fleet") == Unreadable(
        "NotListed", "Pod fleet/*: this gateway reads by name alone"
    )
