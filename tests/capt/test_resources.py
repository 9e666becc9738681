"""The cache keeps every field that a decision reads: what it drops would look absent."""

import attrs
import pytest

from captep_core import ObjectRef
from captep_core._resources import Fields
from captep_core.capt._model import ClusterSpec, ClusterStatus, WorkspaceSpec, WorkspaceStatus
from captep_core.capt._resources import RESOURCES, WATCHED, is_control_plane


def camel(name: str) -> str:
    """Return a field's name on the wire."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.parametrize(
    ("kind", "section", "model"),
    [
        ("Cluster", "spec", ClusterSpec),
        ("Cluster", "status", ClusterStatus),
        ("Workspace", "spec", WorkspaceSpec),
        ("Workspace", "status", WorkspaceStatus),
    ],
)
def test_every_modelled_field_is_kept(kind: str, section: str, model: type) -> None:
    """A field that the model gains must be kept by the cache as well."""
    (fields,) = (watched.fields for watched in WATCHED if watched.resource.kind == kind)
    assert fields is not None
    kept: Fields | None = fields[section]
    modelled = {camel(each.name) for each in attrs.fields(model)} - {"wire"}
    assert kept is None or modelled <= set(kept)


def test_the_table_names_each_watched_kind_once() -> None:
    """By apiVersion and kind."""
    assert set(RESOURCES.values()) == {watched.resource for watched in WATCHED}
    assert len(RESOURCES) == len(WATCHED)


@pytest.mark.parametrize(
    ("api_version", "kind", "expected"),
    [
        ("controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane", True),
        ("controlplane.cluster.x-k8s.io/v1beta1", "Cluster", False),
        ("v1", "CAPTControlPlane", False),
    ],
)
def test_one_kind_is_reconciled(api_version: str, kind: str, expected: bool) -> None:
    """The version counts as well as the kind."""
    assert is_control_plane(ObjectRef(api_version, kind, "ns", "one")) is expected
