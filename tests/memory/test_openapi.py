"""The recorded OpenAPI of built-in kinds."""

import pytest

from captep_memory._openapi import openapi, reference_of, resolve, schema_of
from tests.memory.kinds import KINDS


def test_the_record_holds_every_kind_of_its_command() -> None:
    """The command that records it again would lose none."""
    wanted = {f"{version}/{kind}" for version, kinds in KINDS.items() for kind in kinds}
    assert set(openapi()["kinds"]) == wanted


def test_every_reference_of_the_record_resolves() -> None:
    """A schema that the trimming lost would be a KeyError at the first request that meets it."""
    properties = [
        each
        for schema in openapi()["schemas"].values()
        for each in schema.get("properties", {}).values()
    ]
    referring = [each for each in properties if reference_of(each) is not None]
    assert len(referring) > 100
    assert all(resolve(each) for each in referring)


@pytest.mark.parametrize(
    ("api_version", "kind", "member", "extension", "value"),
    [
        ("v1", "Service", "ports", "x-kubernetes-list-map-keys", ["port", "protocol"]),
        ("v1", "Service", "ports", "x-kubernetes-patch-merge-key", "port"),
        ("v1", "Pod", "volumes", "x-kubernetes-patch-strategy", "merge,retainKeys"),
        ("apps/v1", "Deployment", "strategy", "x-kubernetes-patch-strategy", "retainKeys"),
        ("v1", "Service", "selector", "x-kubernetes-map-type", "atomic"),
    ],
)
def test_the_record_keeps_the_extensions_for_merging(
    api_version: str, kind: str, member: str, extension: str, value: object
) -> None:
    """Strategic merge patch and server-side apply take their keys from here."""
    root = schema_of(api_version, kind)
    assert root is not None
    spec = resolve(root["properties"]["spec"])
    assert spec["properties"][member][extension] == value


def test_a_kind_outside_of_the_record_has_no_schema() -> None:
    """A custom resource has the schema of its definition."""
    assert schema_of("example.dev/v1", "Thing") is None
