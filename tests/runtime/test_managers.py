"""The managers of a field, as `metadata.managedFields` names them."""

from typing import Any

import pytest

from captep_core import ABSENT, JSON, Observed, Unreadable
from captep_runtime._managers import managers_of


def managed(*entries: tuple[str, Any]) -> dict[str, JSON]:
    """Return an object with these entries: (manager, fieldsV1)."""
    fields: list[JSON] = [{"manager": name, "fieldsV1": owned} for name, owned in entries]
    return {"metadata": {"managedFields": fields}}


LABELS: JSON = {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}
LIST: JSON = {"f:metadata": {"f:finalizers": {".": {}, 'v:"mine"': {}}}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("metadata", "labels", "app"), "kubectl-label"),
        (("metadata", "labels"), "kubectl-label"),
        (("metadata", "labels", "other"), ""),
        (("metadata", "finalizers"), "gc, operator"),
        (("metadata", "finalizers", "deeper"), ""),
        (("spec",), ""),
    ],
)
def test_the_managers_of_a_field_own_its_path(path: tuple[str, ...], expected: str) -> None:
    """Several managers are sorted; each has its name once."""
    found = managed(("kubectl-label", LABELS), ("operator", LIST), ("gc", LIST), ("operator", LIST))
    assert managers_of(found, [path]) == expected


def test_one_owned_path_is_enough() -> None:
    """A patch sets several fields, and the other writer need not own all of them."""
    paths = [("spec",), ("metadata", "labels", "app")]
    assert managers_of(managed(("kubectl-label", LABELS)), paths) == "kubectl-label"


def test_without_paths_all_managers_count() -> None:
    """The object as a whole is fought over."""
    assert managers_of(managed(("helm", LIST), ("kubectl", LABELS)), []) == "helm, kubectl"


@pytest.mark.parametrize(
    "observed",
    [
        ABSENT,
        Unreadable("Forbidden"),
        {},
        {"metadata": None},
        {"metadata": {"managedFields": "x"}},
        {"metadata": {"managedFields": [None, {}, {"manager": None, "fieldsV1": LABELS}]}},
        managed(("x", None), ("y", []), ("", LABELS)),
    ],
)
def test_an_object_without_usable_entries_names_no_manager(
    observed: Observed[dict[str, JSON]],
) -> None:
    """No shape of `managedFields` raises."""
    assert managers_of(observed, [("metadata", "labels", "app")]) == ""
