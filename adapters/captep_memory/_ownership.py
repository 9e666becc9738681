"""managedFields of one object: from its entries, or from the writes that the world remembers.

Tracking costs time on every write and makes every answer longer, so it begins late: an object has
no managedFields until an apply needs them. They are then what a real server would have by now,
because the world knows who wrote what since the creation.
"""

import json
import re
import unicodedata
from functools import lru_cache

from captep_core._objects import rfc3339
from captep_memory._builtin import decode_built_in, prepare_built_in
from captep_memory._json import Object, identical, without
from captep_memory._kinds import ServedKind
from captep_memory._managers import NOBODY, ManagedFields, decode_managed, encode_managed
from captep_memory._merge_types import MergeType
from captep_memory._owners import Endpoint, updated
from captep_memory._request import Key, Request
from captep_memory._status import Cause, RefusedError, not_modelled, too_long
from captep_memory._typed import zero_of
from captep_memory._world import World, Writer

__all__ = [
    "APPLY",
    "empty_of",
    "endpoint_of",
    "is_apply",
    "is_printable",
    "is_renewal",
    "manager_causes",
    "manager_of",
    "owners_of",
    "shown_with_owners",
    "tracked_creation",
    "tracked_update",
    "unmanaged",
    "with_owners",
    "writer_of",
]

APPLY = "application/apply-patch+yaml"
_TEMPLATES = "deprecated.daemonset.template.generation"
# FieldManagerMaxLength of k8s.io/apimachinery.
_LONGEST_MANAGER = 128


def manager_of(request: Request) -> str:
    """Return the field manager of a write, the beginning of its user agent without one."""
    if request.field_manager:
        return request.field_manager
    if not request.user_agent:
        return ""
    name = ""
    for char in request.user_agent.partition("/")[0]:
        if not is_printable(char):
            continue
        if len((name + char).encode()) > _LONGEST_MANAGER:
            break
        name += char
    return name


@lru_cache(maxsize=64)
def is_apply(content_type: str) -> bool:
    """Return whether a patch is an apply configuration."""
    return content_type.strip().partition(";")[0] == APPLY


def is_printable(char: str) -> bool:
    """Return whether Go's unicode.IsPrint holds."""
    return char == " " or unicodedata.category(char)[0] in "LMNPS"


def manager_causes(manager: str) -> list[Cause]:
    """Return what is wrong with a field manager."""
    if len(manager) <= _LONGEST_MANAGER and manager.isascii() and manager.isprintable():
        return []
    causes = []
    if len(manager.encode(errors="replace")) > _LONGEST_MANAGER:
        causes.append(too_long("fieldManager", _LONGEST_MANAGER))
    place = 0
    for char in manager:
        if not is_printable(char):
            message = f"invalid character U+{ord(char):04X} (at position {place})"
            problem = f"Invalid value: {_go_quoted(manager)}: {message}"
            causes.append(Cause("FieldValueInvalid", problem, "fieldManager"))
        place += len(char.encode(errors="replace"))
    return causes


def _go_quoted(value: str) -> str:
    """Return a string as Go's %q prints it, which has \\x01 where JSON has \\u0001."""
    return re.sub(r"\\u00(?=[01][0-9a-f])", r"\\x", json.dumps(value, ensure_ascii=False))


def writer_of(
    world: World,
    request: Request,
    resource: ServedKind,
    old: Object | None,
    given: Object,
    admitted: Object,
) -> Writer:
    """Return who writes `given` over `old`; admission, or its type, may have changed it."""
    had_owners = old is not None and "managedFields" in old["metadata"]
    return Writer(
        manager_of(request),
        had_owners or (request.verb == "patch" and is_apply(request.content_type)),
        request.api_version,
        request.subresource or "",
        world.now,
        None if given is admitted and not resource.typed else given,
    )


def endpoint_of(
    world: World, resource: ServedKind, subresource: str = "", *, now: str = ""
) -> Endpoint:
    """Return where a request writes.

    Raises:
        RefusedError: 501, the kind has no recorded schema.
    """
    type_ = resource.merge_type
    if type_ is None:
        raise not_modelled(f"managedFields of {resource.kind}")
    catalog = world.catalog

    def at(version: str) -> ServedKind | None:
        try:
            return catalog.resource(version, resource.kind)
        except RefusedError:
            return None

    def type_at(version: str) -> MergeType | None:
        served = at(version)
        return None if served is None else served.merge_type

    def convert(obj: Object, version: str) -> Object:
        served = at(version)
        return obj if served is None else catalog.convert(obj, served)

    return Endpoint(
        type_,
        resource.api_version,
        subresource,
        _resets(resource, subresource),
        type_at,
        convert,
        now or world.stamp,
    )


def _resets(resource: ServedKind, subresource: str) -> tuple[tuple[str, ...], ...]:
    """Return the paths that an endpoint ignores (GetResetFields of the real strategies)."""
    if not resource.has_status:
        return ()
    if subresource != "status":
        return (("f:status",),)
    if not resource.built_in:
        return (("f:metadata",), ("f:spec",))
    match resource.kind:
        case "Deployment":
            return (("f:spec",), ("f:metadata", "f:labels"))
        case "Pod":
            return (
                ("f:spec",),
                ("f:metadata", "f:deletionTimestamp"),
                ("f:metadata", "f:ownerReferences"),
            )
        case _:
            return (("f:spec",),)


def empty_of(resource: ServedKind) -> Object:
    """Return an object of a kind without any field, as the server begins with."""
    empty: Object = {"apiVersion": resource.api_version, "kind": resource.kind}
    if resource.typed:
        return zero_of(resource.api_version, resource.kind)
    return decode_built_in({**empty, "metadata": {}}) if resource.built_in else empty


def _is_tracked(world: World, *objects: Object) -> bool:
    is_always = world.quirks.managed_fields == "always"
    return is_always or any("managedFields" in each["metadata"] for each in objects)


def tracked_creation(world: World, request: Request, resource: ServedKind, given: Object) -> Object:
    """Return a new object with its managedFields, if this world tracks them already."""
    if not _is_tracked(world, given) or resource.merge_type is None:
        return unmanaged(given)
    managed = decode_managed(given["metadata"].get("managedFields")) or NOBODY
    endpoint = endpoint_of(world, resource, request.subresource or "")
    if _has_unknown_version(resource, managed, endpoint):
        return unmanaged(given)
    new = _defaulted(resource, unmanaged(given))
    owners = updated(managed, empty_of(resource), new, endpoint, manager_of(request))
    return with_owners(given, owners)


def tracked_update(
    world: World, request: Request, resource: ServedKind, key: Key, old: Object, given: Object
) -> Object:
    """Return an updated object with its managedFields, if it has them already or gets some now.

    A client may write them: its entries count, and one empty entry takes them all away.
    """
    if "managedFields" not in old["metadata"] and "managedFields" not in given["metadata"]:
        return given
    entries = given["metadata"].get("managedFields")
    is_main = request.subresource is None
    managed = NOBODY
    if not (is_main and (entries == [{}] or (entries == [] and resource.built_in))):
        managed = (decode_managed(entries) if is_main else None) or NOBODY
        managed = managed or owners_of(world, resource, key, old)
    if not managed:
        return unmanaged(given)
    endpoint = endpoint_of(world, resource, request.subresource or "")
    if _has_unknown_version(resource, managed, endpoint):
        return with_owners(given, decode_managed(old["metadata"].get("managedFields")) or NOBODY)
    new = _defaulted(resource, unmanaged(given))
    owners = updated(managed, unmanaged(old), new, endpoint, manager_of(request))
    return with_owners(given, owners)


def _has_unknown_version(resource: ServedKind, managed: ManagedFields, endpoint: Endpoint) -> bool:
    """Return whether a custom resource cannot be converted to the version of an owner.

    The real server then leaves managedFields as they are; of a built-in kind it drops that owner.
    """
    others = {held.api_version for held in managed.values()} - {endpoint.api_version}
    return not resource.built_in and any(endpoint.type_at(each) is None for each in others)


def _defaulted(resource: ServedKind, obj: Object) -> Object:
    """Return an object as its decoder leaves it: that of a built-in kind fills defaults."""
    if resource.typed and resource.kind == "DaemonSet":
        # Go keeps the count of templates in a field that older versions had as an annotation.
        annotations = {_TEMPLATES: "0", **obj["metadata"].get("annotations", {})}
        obj = {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}
    return prepare_built_in(obj) if resource.built_in else obj


def unmanaged(obj: Object) -> Object:
    """Return an object without managedFields; the object itself if it has none."""
    if "managedFields" not in obj.get("metadata", {}):
        return obj
    return {**obj, "metadata": without(obj["metadata"], "managedFields")}


def with_owners(obj: Object, owners: ManagedFields) -> Object:
    """Return an object with these owners."""
    if not owners:
        return unmanaged(obj)
    metadata = {**obj.get("metadata", {}), "managedFields": encode_managed(owners)}
    return {**obj, "metadata": metadata}


def shown_with_owners(world: World, resource: ServedKind, key: Key, old: Object) -> Object:
    """Return a stored object with the managedFields that a server shows which always tracks.

    A request that names managedFields, or applies, is about this object: what it leaves as it is
    is no write, and what it takes away is one.
    """
    if "managedFields" in old["metadata"]:
        return old
    return with_owners(old, owners_of(world, resource, key, old))


def is_renewal(entries: list[Object], before: list[Object]) -> bool:
    """Return whether entries differ in nothing but their times."""
    return len(entries) == len(before) and all(
        identical(without(new, "time"), without(old, "time"))
        for new, old in zip(entries, before, strict=True)
    )


def owners_of(world: World, resource: ServedKind, key: Key, old: Object) -> ManagedFields:
    """Return the owners of a stored object.

    An object without entries has those that its remembered writes show. Nobody owns an object
    that was loaded, or that a client took its managedFields from.
    """
    entries = old["metadata"].get("managedFields")
    if entries:
        return decode_managed(entries) or NOBODY
    changes = () if world.quirks.managed_fields == "always" else world.written(key)
    if not changes or changes[0].type != "ADDED":
        return NOBODY
    owners = NOBODY
    before = empty_of(resource)
    for change in changes:
        writer = change.writer
        is_untracked = change.previous is not None and not owners
        if writer is None or writer.settles or is_untracked:
            # An update of an object without owners adds none.
            return NOBODY
        served = world.catalog.resource(writer.api_version, resource.kind)
        endpoint = endpoint_of(world, served, writer.subresource, now=rfc3339(writer.time))
        if change.previous is not None:
            before = world.catalog.convert(change.previous, served)
        written = change.object if writer.given is None else _defaulted(served, writer.given)
        after = world.catalog.convert(written, served)
        owners = updated(owners, before, after, endpoint, writer.manager)
    return owners
