"""What a watch shows of an object."""

import pytest

from captep_core import JSON, ObjectRef, Unreadable
from captep_core._projection import hidden, shown_of
from captep_core._resources import Fields, Representation, Resource, Watched

CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
BARE: dict[str, JSON] = {"name": "a", "annotations": {"note": "b"}}
WHOLE: dict[str, JSON] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "a",
        "managedFields": [{}],
        "annotations": {"note": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
    },
    "data": {"kept": "c", "dropped": "d"},
    "immutable": True,
}
SHOWN: dict[str, JSON] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "annotations": WHOLE["metadata"]["annotations"]},  # type: ignore[index,call-overload]  # JSON
    "data": WHOLE["data"],
    "immutable": True,
}


@pytest.mark.parametrize(
    ("representation", "fields", "shown"),
    [
        (Representation.WHOLE, None, SHOWN),
        (Representation.ON_DEMAND, {"data": None}, SHOWN),
        (
            Representation.WHOLE,
            {"data": {"kept": None, "missing": None}},
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": BARE,
                "data": {"kept": "c"},
            },
        ),
        (
            Representation.METADATA,
            {"data": None},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": BARE},
        ),
    ],
)
def test_a_kind_shows_what_its_author_asked_for(
    representation: Representation, fields: Fields | None, shown: dict[str, JSON]
) -> None:
    """The server's bookkeeping is never among it; an object on demand is fetched whole."""
    assert shown_of(Watched(CONFIG_MAPS, representation, fields))(WHOLE) == shown


@pytest.mark.parametrize(
    "obj", [{"metadata": None}, {"metadata": {"annotations": 5}, "data": ["x"]}, {}]
)
def test_a_malformed_object_stays_malformed(obj: dict[str, JSON]) -> None:
    """Cut to its sound parts it would look sound."""
    assert shown_of(Watched(CONFIG_MAPS, fields={"data": {"kept": None}}))(obj) == obj


def test_a_hidden_object_is_unreadable_and_names_its_selectors() -> None:
    """It exists, so that no decision takes it for absent."""
    watched = Watched(
        CONFIG_MAPS, selectors=(("labelSelector", "app=db"), ("fieldSelector", "type=a"))
    )
    assert hidden(ObjectRef("v1", "ConfigMap", "team", "a"), watched) == Unreadable(
        "Hidden",
        "ConfigMap team/a exists, and the watch with labelSelector app=db and fieldSelector type=a"
        " does not show it",
    )
