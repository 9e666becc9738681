"""Discovery: the groups, versions and resources that this server serves.

It lists the kinds of this server alone, with the verbs that they have here.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from captep_memory._json import Object
from captep_memory._kinds import ServedKind, is_built_in_group
from captep_memory._status import RefusedError
from captep_memory._typed import typed_kind
from captep_memory._world import World

__all__ = ["AGGREGATED", "aggregated", "discovery", "served_kinds", "wants_aggregated"]

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The media type of aggregated discovery (KEP-3352)."""
_READS: Final = ("get", "list", "watch")
_WRITES: Final = ("create", "delete", "patch", "update")
_STATUS: Final = ("get", "patch", "update")
# Subresources that have a model.
_MODELLED: Final = frozenset({"finalize", "scale", "status"})


def discovery(world: World, kinds: Mapping[tuple[str, str], str], path: str) -> Object | None:
    """Return the document at a path of discovery, None for any other path.

    `kinds` are the kinds behind the URLs, by (group, plural).
    """
    served = list(served_kinds(world, kinds))
    parts = path.strip("/").split("/")
    match parts:
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["api", "v1"]:
            return _resources("v1", served)
        case ["apis"]:
            names = sorted({each.group for each in served if each.group})
            groups = [_group(name, served) for name in names]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", name] if any(each.group == name for each in served):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, served)}
        case ["apis", name, version]:
            return _resources(f"{name}/{version}", served)
        case _:
            return None


def wants_aggregated(accept: str) -> bool:
    """Whether a client prefers aggregated discovery to the plain one."""
    first = accept.partition(",")[0].replace(" ", "")
    return {"v=v2", "g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"} <= set(first.split(";"))


def aggregated(world: World, kinds: Mapping[tuple[str, str], str], path: str) -> Object | None:
    """Return the aggregated document at /api or /apis, None for any other path."""
    root = path.strip("/")
    if root not in ("api", "apis"):
        return None
    served = [each for each in served_kinds(world, kinds) if bool(each.group) is (root == "apis")]
    names = sorted({each.group for each in served})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [_aggregated_group(name, served) for name in names],
    }


def _aggregated_group(name: str, served: list[ServedKind]) -> Object:
    found = [each for each in served if each.group == name]
    versions = sorted({each.version for each in found}, key=_age, reverse=True)
    return {
        "metadata": {"name": name} if name else {},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated(each) for each in found if each.version == version],
                "freshness": "Current",
            }
            for version in versions
        ],
    }


def _aggregated(resource: ServedKind) -> Object:
    entry, *below = _entries(resource)
    subresources = [
        {
            "subresource": each["name"].partition("/")[2],
            "responseKind": {
                "group": each.get("group", ""),
                "version": each.get("version", ""),
                "kind": each["kind"],
            },
            "verbs": each["verbs"],
        }
        for each in below
    ]
    kept: Object = {name: entry[name] for name in ("shortNames", "categories") if name in entry}
    return {
        "resource": entry["name"],
        "responseKind": {"group": "", "version": "", "kind": entry["kind"]},
        "scope": "Namespaced" if entry["namespaced"] else "Cluster",
        "singularResource": entry["singularName"],
        "verbs": entry["verbs"],
        **kept,
        **({"subresources": subresources} if subresources else {}),
    }


def served_kinds(world: World, kinds: Mapping[tuple[str, str], str]) -> Iterator[ServedKind]:
    """Yield every kind in every served version."""
    for (group, plural), kind in sorted(kinds.items()):
        for version in _versions(world, group, kind):
            api_version = f"{group}/{version}" if group else version
            try:
                resource = world.catalog.resource(api_version, kind)
            except RefusedError:
                continue
            if resource.plural == plural:
                yield resource


def _versions(world: World, group: str, kind: str) -> tuple[str, ...]:
    custom = world.catalog.custom.get((group, kind))
    if custom is not None:
        return tuple(sorted(custom.versions, key=_age, reverse=True))
    conversion = world.catalog.conversions.get((group, kind))
    if conversion is not None:
        names = (each.rpartition("/")[2] for each in conversion.versions)
        return tuple(sorted(names, key=_age, reverse=True))
    if typed_kind(f"{group}/v2", kind) is not None:
        return ("v2",)
    stored = {
        obj["apiVersion"].rpartition("/")[2]
        for place, shelf in world.shelves.items()
        if place[:2] == (group, kind)
        for obj in shelf.values()
    }
    return tuple(sorted(stored, key=_age, reverse=True)) or (
        ("v1",) if is_built_in_group(group) else ("v1beta1", "v1")
    )


def _age(version: str) -> tuple[int, int, int]:
    """The order of versions: v2, v1, v2beta1, v1beta2, v1alpha1."""
    for rank, stage in enumerate(("alpha", "beta")):
        major, found, minor = version.removeprefix("v").partition(stage)
        if found and major.isdigit() and minor.isdigit():
            return rank, int(major), int(minor)
    number = version.removeprefix("v")
    return 2, int(number) if number.isdigit() else 0, 0


def _group(name: str, served: Iterable[ServedKind]) -> Object:
    versions = {each.version for each in served if each.group == name}
    ordered = sorted(versions, key=_age, reverse=True)
    listed = [{"groupVersion": f"{name}/{each}", "version": each} for each in ordered]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(api_version: str, served: Iterable[ServedKind]) -> Object | None:
    resources = [
        entry for each in served if each.api_version == api_version for entry in _entries(each)
    ]
    if not resources:
        return None
    # The list of the core group is older than the field.
    version = {} if api_version == "v1" else {"apiVersion": "v1"}
    return {
        "kind": "APIResourceList",
        **version,
        "groupVersion": api_version,
        "resources": resources,
    }


def _entries(resource: ServedKind) -> Iterator[Object]:
    """Yield the entry of a resource, then those of its subresources."""
    common = {"kind": resource.kind, "namespaced": resource.scope != "Cluster"}
    verbs = [*_READS, *(_WRITES if resource.writable else ())]
    yield {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        **common,
        "verbs": sorted(verbs),
        **({"shortNames": list(resource.short_names)} if resource.short_names else {}),
        **({"categories": list(resource.categories)} if resource.categories else {}),
    }
    recorded = typed_kind(resource.api_version, resource.kind)
    if recorded is not None:
        below = (each["name"].partition("/")[2] for each in recorded["subresources"])
        yield from (
            each
            for name, each in zip(below, recorded["subresources"], strict=True)
            if name in _MODELLED
        )
    elif resource.has_status and resource.writable:
        yield {
            "name": f"{resource.plural}/status",
            "singularName": "",
            **common,
            "verbs": list(_STATUS),
        }
