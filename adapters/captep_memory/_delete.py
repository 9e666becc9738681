"""Delete: preconditions, finalizers and propagation policies (rows D1 to D7)."""

from collections.abc import Mapping
from datetime import timedelta

from attrs import evolve

from captep_core._objects import rfc3339
from captep_memory._admission import admit
from captep_memory._checks import require_model
from captep_memory._json import Object, identical
from captep_memory._kinds import ServedKind
from captep_memory._metadata import finalizers, is_deleting
from captep_memory._read import list_objects
from captep_memory._request import Key, Request, Response
from captep_memory._status import (
    Cause,
    RefusedError,
    bad_request,
    conflict,
    failure,
    invalid,
    invalid_value,
    not_found,
    not_supported,
)
from captep_memory._world import World

__all__ = ["FOREGROUND", "ORPHAN", "delete", "delete_collection", "held_by", "release"]

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_INT64 = 1 << 63
_UNREADABLE = "ignoreStoreReadErrorWithClusterBreakingPotential"
# NamespaceLifecycle keeps them.
_KEPT_NAMESPACES = frozenset({"default", "kube-public", "kube-system"})


def delete(
    world: World, request: Request, resource: ServedKind, key: Key
) -> tuple[World, Response]:
    """Answer a DELETE: remove the object, or mark it while finalizers hold it."""
    options = _options(request)
    stored = world.get(key)
    if stored is None:
        raise not_found(resource.plural, resource.group, key.name)
    require_model(not options.get(_UNREADABLE), _UNREADABLE)
    old = world.catalog.convert(stored, resource)
    _check_preconditions(resource, key, options.get("preconditions") or {}, old)
    admit(world, request, old, old)
    dry = request.dry_run or "All" in (options.get("dryRun") or [])
    if resource.typed and resource.kind in ("Namespace", "Pod"):
        return _delete_slowly(world, key, options, old, dry=dry)
    if resource.typed and resource.kind == "Job" and not _has_policy(options):
        # DefaultGarbageCollectionPolicy of batch/v1, for clients of old.
        options = {**options, "propagationPolicy": "Orphan"}
    held = held_by(options, finalizers(old))
    left: Object | None = marked_for_deletion(world, stored, held)
    if not dry:
        world, left = release(world, key, held)
    if resource.returns_deleted and not held:
        # The object as the watch event shows it, with the resourceVersion of the deletion.
        version = {} if dry else {"resourceVersion": str(world.resource_version)}
        return world, Response(200, {**old, "metadata": {**old["metadata"], **version}})
    if not held or left is None:
        return world, Response(200, _success(resource, key, old["metadata"]["uid"]))
    return world, Response(
        202 if options.get("orphanDependents") is False else 200,
        world.catalog.convert(left, resource),
    )


def delete_collection(
    world: World, request: Request, resource: ServedKind
) -> tuple[World, Response]:
    """Answer a DELETE of a collection (row D8): each object that such a list shows.

    The answer is that list, from before the deletions. The first refusal ends it and is the
    answer; the objects before it are gone all the same.
    """
    if resource.built_in and resource.kind == "Namespace":
        message = "the server does not allow this method on the requested resource"
        raise failure(405, "MethodNotAllowed", message, {})
    # The real server reads pages, and a list with a limit is exact about its resourceVersion.
    listed = evolve(request, limit=request.limit or len(world) + 1)
    before, answer = world, list_objects(world, listed, resource)[1]
    options = _options(request)
    if options.get(_UNREADABLE):
        detail = "is not allowed with DELETECOLLECTION, try again after removing the option"
        cause = invalid_value(_UNREADABLE, value=True, detail=detail)
        raise invalid("DeleteOptions", "meta.k8s.io", "", [cause])
    for item in answer.body["items"]:
        metadata = item["metadata"]
        key = Key(resource.group, resource.kind, metadata.get("namespace"), metadata["name"])
        try:
            one = evolve(request, namespace=key.namespace, name=key.name)
            world, _ = delete(world, one, resource, key)
        except RefusedError as refused:
            return (before if request.dry_run else world), refused.response
    return world, answer


def _has_policy(options: Object) -> bool:
    return (
        options.get("propagationPolicy") is not None or options.get("orphanDependents") is not None
    )


def _delete_slowly(
    world: World, key: Key, options: Object, old: Object, *, dry: bool
) -> tuple[World, Response]:
    """Delete a Namespace, which waits for its content, or a Pod, which ends in its own time."""
    if key.kind == "Namespace":
        left = _terminating(world, key, options, old)
    else:
        left = _ending(world, options, old)
    waits = left["metadata"].get("deletionGracePeriodSeconds") or left.get("spec", {}).get(
        "finalizers"
    )
    if not waits and not finalizers(left):
        if not dry and not identical(left, old):
            # The mark comes first, and a watch shows it.
            world, left = world.put(key, left)
        world, version = (world, None) if dry else _removed(world, key)
        metadata = {**left["metadata"], **version} if version else left["metadata"]
        return world, Response(200, {**left, "metadata": metadata})
    if identical(left, old) or dry:
        return world, Response(200, left)
    world, stored = world.put(key, left)
    return world, Response(200, stored)


def _removed(world: World, key: Key) -> tuple[World, Object]:
    world = world.remove(key)
    return world, {"resourceVersion": str(world.resource_version)}


def _terminating(world: World, key: Key, options: Object, old: Object) -> Object:
    if key.name in _KEPT_NAMESPACES:
        message = f'namespaces "{key.name}" is forbidden: this namespace may not be deleted'
        raise failure(403, "Forbidden", message, {"name": key.name, "kind": "namespaces"})
    policy = options.get("propagationPolicy")
    require_model(policy in (None, "Background"), "this propagationPolicy for a Namespace")
    if is_deleting(old):
        return old
    metadata = {**old["metadata"], "deletionTimestamp": rfc3339(world.now)}
    status = {**old.get("status", {}), "phase": "Terminating"}
    return {**old, "metadata": metadata, "status": status}


def _ending(world: World, options: Object, old: Object) -> Object:
    """A Pod on a node gets its grace period, any other none."""
    spec, metadata = old["spec"], old["metadata"]
    is_over = old["status"].get("phase") in ("Failed", "Succeeded")
    wanted = options.get("gracePeriodSeconds")
    seconds = spec["terminationGracePeriodSeconds"] if wanted is None else wanted
    if "nodeName" not in spec or is_over:
        seconds = 0
    held = held_by(options, finalizers(old))
    before = metadata.get("deletionGracePeriodSeconds")
    if before is not None and (wanted is None or seconds >= before):
        return {**old, "metadata": {**metadata, **({"finalizers": held} if held else {})}}
    deleted_at = rfc3339(world.now + timedelta(seconds=seconds))
    changed = {"deletionTimestamp": deleted_at, "deletionGracePeriodSeconds": seconds}
    if before is None:
        changed["generation"] = metadata.get("generation", 0) + 1
    return {**old, "metadata": {**metadata, **changed, **({"finalizers": held} if held else {})}}


def _success(resource: ServedKind, key: Key, uid: str) -> Object:
    group = {"group": resource.group} if resource.group else {}
    details = {"name": key.name, **group, "kind": resource.plural, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _options(request: Request) -> Object:
    options = {} if request.body is None else request.body
    if isinstance(options, dict) and options.get("kind") not in (None, "DeleteOptions"):
        version = options.get("apiVersion", "")
        raise bad_request(f'no kind "{options["kind"]}" is registered for version "{version}"')
    if not isinstance(options, dict):
        raise bad_request(
            "couldn't get version/kind; json parse error: json: cannot unmarshal into DeleteOptions"
        )
    _check_types(options, "DeleteOptions", _TYPES)
    for mode in options.get("dryRun") or ():
        _check_types({"dryRun": mode}, "DeleteOptions", {"dryRun": (str, "string")})
    _check_types(options.get("preconditions") or {}, "Preconditions.preconditions", _PRECONDITIONS)
    _check_options(options)
    return options


# The fields of the Go types, each with its type in JSON and in messages.
_TYPES: Mapping[str, tuple[type, str]] = {
    "gracePeriodSeconds": (int, "int64"),
    "preconditions": (dict, "v1.Preconditions"),
    "orphanDependents": (bool, "bool"),
    "propagationPolicy": (str, "v1.DeletionPropagation"),
    "dryRun": (list, "[]string"),
    _UNREADABLE: (bool, "bool"),
}
_PRECONDITIONS: Mapping[str, tuple[type, str]] = {
    "uid": (str, "types.UID"),
    "resourceVersion": (str, "string"),
}
_JSON_TYPES: Mapping[type, str] = {dict: "object", list: "array", str: "string", bool: "bool"}


def _check_types(options: Object, place: str, types: Mapping[str, tuple[type, str]]) -> None:
    for name, value in options.items():
        wanted, shown = types.get(name, (type(value), ""))
        if value is None or type(value) is wanted:
            continue
        found = _JSON_TYPES.get(type(value), "number")
        if wanted is int and isinstance(value, float):
            is_big = value.is_integer() and abs(value) >= _INT64
            found = f"number {int(value) if is_big else value}"
        raise bad_request(
            f"json: cannot unmarshal {found} into Go struct field {place}.{name} of type {shown}"
        )


def _check_options(options: Object) -> None:
    policy, orphan = options.get("propagationPolicy"), options.get("orphanDependents")
    causes: list[Cause] = []
    if policy is not None and orphan is not None:
        causes.append(
            invalid_value(
                "propagationPolicy",
                policy,
                "orphanDependents and deletionPropagation cannot be both set",
            )
        )
    if policy not in (None, "Foreground", "Background", "Orphan"):
        causes.append(
            not_supported(
                "propagationPolicy", policy, ("Foreground", "Background", "Orphan", "nil")
            )
        )
    if (options.get("dryRun") or []) not in ([], ["All"]):
        causes.append(not_supported("dryRun", options["dryRun"], ("All",)))
    if causes:
        raise invalid("DeleteOptions", "meta.k8s.io", "", causes)


def _check_preconditions(
    resource: ServedKind, key: Key, preconditions: Object, old: Object
) -> None:
    """Row D2: the one conflict that names the Kind instead of the resource."""
    uid, version = preconditions.get("uid"), preconditions.get("resourceVersion")
    metadata = old["metadata"]
    if uid is not None and uid != metadata["uid"]:
        raise conflict(
            resource.kind,
            resource.group,
            key.name,
            f"the UID in the precondition ({uid}) does not match the UID in record "
            f"({metadata['uid']}). The object might have been deleted and then recreated",
        )
    if version is not None and version != metadata["resourceVersion"]:
        raise conflict(
            resource.kind,
            resource.group,
            key.name,
            f"the ResourceVersion in the precondition ({version}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). "
            "The object might have been modified",
        )


def held_by(options: Object, present: list[str]) -> list[str]:
    """Return the finalizers that a deletion leaves (row D5)."""
    policy = options.get("propagationPolicy")
    if options.get("orphanDependents") is not None:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy is None:
        return present
    added = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(policy, [])
    kept = [name for name in present if name not in (FOREGROUND, ORPHAN) or name in added]
    return kept + [name for name in added if name not in kept]


def release(world: World, key: Key, held: list[str]) -> tuple[World, Object | None]:
    """Mark an object that the finalizers in `held` hold, or remove it when nothing holds it.

    Return the world and the rest of the object. The deletionTimestamp is set once, and the
    generation counts it once (row D3); a repetition writes nothing.
    """
    stored = world.get(key)
    if stored is None or not held:
        return (world if stored is None else world.remove(key)), None
    marked = marked_for_deletion(world, stored, held)
    return (world, stored) if identical(marked, stored) else world.put(key, marked)


def marked_for_deletion(world: World, stored: Object, held: list[str]) -> Object:
    """Return an object as it is while finalizers hold it."""
    stored = world.catalog.complete(stored)
    metadata = {**stored["metadata"], "finalizers": held}
    if "deletionTimestamp" not in metadata:
        metadata |= {"deletionTimestamp": rfc3339(world.now), "deletionGracePeriodSeconds": 0}
        if metadata.get("generation", 0) > 0:
            metadata["generation"] += 1
    return {**stored, "metadata": metadata}
