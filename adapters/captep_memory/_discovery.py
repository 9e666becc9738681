"""Discovery: the groups, versions and resources that this server serves.

It lists the kinds of this server alone, with the verbs that they have here. The aggregated form
has no
model: clients that ask for it accept the plain one too.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from captep_memory._json import Object
from captep_memory._kinds import ServedKind, is_built_in_group
from captep_memory._status import RefusedError
from captep_memory._world import World

__all__ = ["discovery"]

_READS: Final = ("get", "list", "watch")
_WRITES: Final = ("create", "delete", "patch", "update")
_STATUS: Final = ("get", "patch", "update")


def discovery(world: World, kinds: Mapping[tuple[str, str], str], path: str) -> Object | None:
    """Return the document at a path of discovery, None for any other path.

    `kinds` are the kinds behind the URLs, by (group, plural).
    """
    served = list(_served(world, kinds))
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


def _served(world: World, kinds: Mapping[tuple[str, str], str]) -> Iterable[ServedKind]:
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
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": resources,
    }


def _entries(resource: ServedKind) -> Iterable[Object]:
    common = {"kind": resource.kind, "namespaced": resource.scope != "Cluster"}
    verbs = [*_READS, *(_WRITES if resource.writable else ())]
    yield {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        **common,
        "verbs": sorted(verbs),
        **({"shortNames": list(resource.short_names)} if resource.short_names else {}),
    }
    if resource.has_status and resource.writable:
        yield {
            "name": f"{resource.plural}/status",
            "singularName": "",
            **common,
            "verbs": list(_STATUS),
        }
