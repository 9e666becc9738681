"""Update: PUT, and `replace`, the part that PUT and PATCH share (rows U1 to U9).

The order of the steps is the specification: it decides which of several errors a client sees.
uid, mutating admission, resourceVersion, restoring of system fields, validation, validating
admission; then the object goes (last finalizer), stays (no difference) or is stored.
"""

import json
from collections.abc import Mapping

from captep_memory._admission import admit, mutate
from captep_memory._builtin import prepare_built_in
from captep_memory._content import decode, validate_content
from captep_memory._create import allocated, create_decoded
from captep_memory._json import (
    MISSING,
    Object,
    Value,
    deep_equal,
    identical,
    stored_object,
    text,
    without,
)
from captep_memory._kinds import ServedKind
from captep_memory._metadata import (
    finalizers,
    is_deleting,
    names_of,
    validate_metadata,
    validate_metadata_update,
    without_duplicate_owners,
)
from captep_memory._ownership import (
    is_renewal,
    shown_with_owners,
    tracked_creation,
    tracked_update,
    writer_of,
)
from captep_memory._plugins import admit_change, plug_in_again
from captep_memory._request import Key, Request, Response
from captep_memory._status import (
    OTHER_NAMESPACE,
    Cause,
    RefusedError,
    bad_request,
    conflict,
    failure,
    invalid,
    invalid_value,
    not_found,
    not_modelled,
)
from captep_memory._strategies import counts, prepare_updated
from captep_memory._strict import check_strict
from captep_memory._world import World

__all__ = ["check_identity", "decode_update", "is_unsettled", "replace", "unnamed", "update"]


def update(
    world: World, request: Request, resource: ServedKind, key: Key
) -> tuple[World, Response]:
    """Answer a PUT (rows U1 to U9)."""
    check_strict(request, resource, request.body)
    given = decode_update(resource, request.body)
    metadata = given["metadata"]
    check_identity(key, metadata)
    stored = world.get(key)
    if stored is None:
        return _update_absent(world, request, resource, given)
    old = world.catalog.convert(stored, resource)
    _check_uid(request, resource, key, text(metadata.get("uid")), old["metadata"]["uid"])
    if "managedFields" in metadata:
        old = shown_with_owners(world, resource, key, old)
    given = tracked_update(world, request, resource, key, old, given)
    return replace(world, request, resource, key, old, given)


def decode_update(resource: ServedKind, body: Value, known: Object | None = None) -> Object:
    """Decode the replacement of an object.

    Raises:
        RefusedError: 400, the body is no such object; 501, a Secret has a null value: Go keeps
            it apart from an empty one until the Secret comes back from the store.
    """
    if resource.built_in and resource.kind == "Secret" and isinstance(body, dict):
        data = body.get("data")
        if isinstance(data, dict) and None in data.values():
            raise not_modelled("a null in the data of an update")
    if resource.kind in _DEEP and resource.typed and isinstance(body, dict):
        _require_full_lists(body)
    return decode(resource, body, known)


# Kinds to whose strategy an empty list differs from none until the store has the object.
_DEEP = frozenset(
    {"NetworkPolicy", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
)


def _require_full_lists(value: Value) -> None:
    if value == [] or (isinstance(value, dict) and value.get("matchLabels") == {}):
        raise not_modelled("an empty list or selector in an update of this kind")
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _require_full_lists(item)


def check_identity(key: Key, metadata: Object) -> None:
    """Row U1: name and namespace of the body are those of the URL."""
    if metadata.get("namespace", key.namespace) != key.namespace:
        raise bad_request(OTHER_NAMESPACE)
    name = text(metadata.get("name"))
    if not name:
        raise unnamed(key.name)
    if name != key.name:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({key.name})"
        )


def unnamed(name: str) -> RefusedError:
    """The body of a write says no name; `name` is that of the URL."""
    return bad_request(
        f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
    )


def _update_absent(
    world: World, request: Request, resource: ServedKind, given: Object
) -> tuple[World, Response]:
    """Row U3: 404, or a creation for kinds whose strategy allows one."""
    name = given["metadata"]["name"]
    uid = text(given["metadata"].get("uid"))
    if uid and (resource.creates_on_update or world.quirks.version < (1, 34)):
        key = Key(resource.group, resource.kind, request.namespace, name)
        _check_uid(request, resource, key, uid, "")
    if not resource.creates_on_update:
        raise not_found(resource.plural, resource.group, name)
    if not request.dry_run:
        given = {**given, "metadata": without(given["metadata"], "resourceVersion")}
    tracked = tracked_creation(world, request, resource, given)
    return create_decoded(world, request, resource, tracked)


def _check_uid(request: Request, resource: ServedKind, key: Key, given: str, stored: str) -> None:
    """Row U2. The storage's key has the prefix /registry except in a dry run."""
    if not given or given == stored:
        return
    group = "" if resource.built_in else resource.group
    parts = filter(None, (group, resource.plural, key.namespace, key.name))
    place = "/".join(("" if request.dry_run else "/registry", *parts))
    raise conflict(
        resource.plural,
        resource.group,
        key.name,
        f"StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, "
        f"UID in object meta: {stored}",
    )


def replace(
    world: World, request: Request, resource: ServedKind, key: Key, old: Object, given: Object
) -> tuple[World, Response]:
    """Write `given`, with its managedFields, over `old`; the uid of a PUT was compared."""
    admitted = plug_in_again(world, given, old) if resource.typed else given
    admitted = _mutated(world, request, resource, admitted, old)
    writer = writer_of(world, request, resource, old, given, admitted)
    given, headers = without_duplicate_owners(admitted)
    _check_resource_version(
        resource,
        key,
        text(given["metadata"].get("resourceVersion")),
        old["metadata"]["resourceVersion"],
    )
    new = _prepare(request, resource, given, old)
    if new is not old:
        _check(request, resource, new, old)
        if resource.typed and request.subresource is None:
            admit_change(world, new, old)
    if new is not old and resource.typed and resource.kind == "Service" and not request.subresource:
        new = allocated(world, key, new)
    admit(world, request, new, old)
    if _is_released(new):
        return _finish_deletion(world, request, key, new, headers)
    stored = world.get(key) or old
    encoded = world.catalog.convert_to(new, stored["apiVersion"])
    if "selfLink" in encoded["metadata"] and not request.dry_run:
        # The store drops selfLink; the answer to a dry run never went through the store.
        encoded = {**encoded, "metadata": without(encoded["metadata"], "selfLink")}
    # The store does not show late managedFields, so the object that does decides.
    shows_all = "managedFields" in stored["metadata"] or "managedFields" not in old["metadata"]
    is_same = identical(encoded, stored) if shows_all else new is old
    if is_same and not is_unsettled(world, key, stored):
        return world, Response(200, old, headers)
    if not request.dry_run:
        encoded = encoded if resource.typed else stored_object(encoded, stored)
        world, encoded = world.put(key, encoded, writer)
    return world, Response(200, world.catalog.convert(encoded, resource), headers)


def _mutated(
    world: World, request: Request, resource: ServedKind, given: Object, old: Object
) -> Object:
    """A changed object of a Go type is decoded again, which fills its defaults."""
    mutated = mutate(world, request, given, old)
    return decode(resource, mutated) if mutated is not given and resource.typed else mutated


def is_unsettled(world: World, key: Key, stored: Object) -> bool:
    """Whether a write without an effect is stored all the same.

    The store holds a new PersistentVolumeClaim without the defaults of its status, and a new Job
    without the labels of its template: the first write after the creation adds them.
    """
    if (key.api_group, key.kind) == ("batch", "Job"):
        labels = stored["spec"]["template"].get("metadata", {}).get("labels", {})
        is_partial = stored["metadata"].get("labels", {}) == labels
    else:
        is_partial = (key.api_group, key.kind) == ("", "PersistentVolumeClaim")
    return is_partial and world.is_as_created(key)


def _is_released(obj: Object) -> bool:
    """Row U8: deleting, without a grace period, and no finalizer holds the object any longer."""
    waits = bool(obj["metadata"].get("deletionGracePeriodSeconds"))
    if obj["kind"] == "Namespace" and obj["apiVersion"] == "v1":
        waits = bool(obj.get("spec", {}).get("finalizers"))
    return is_deleting(obj) and not waits and not finalizers(obj)


def _finish_deletion(
    world: World, request: Request, key: Key, last: Object, headers: Mapping[str, str]
) -> tuple[World, Response]:
    """Row U8: removing the last finalizer deletes the object.

    The response shows the object after the patch, the watch event shows it as stored.
    """
    if not request.dry_run:
        world = world.remove(key)
    return world, Response(200, last, headers)


def _check_resource_version(resource: ServedKind, key: Key, given: str, stored: str) -> None:
    """Rows U4 and U5."""
    if given in ("", "0"):
        if not resource.unconditional:
            cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.plural, resource.group, key.name, [cause])
    elif not (given.isascii() and given.isdigit()):
        raise failure(500, "", f"strconv.ParseUint: parsing {json.dumps(given)}: invalid syntax")
    elif given != stored:
        raise conflict(resource.plural, resource.group, key.name)


def _prepare(request: Request, resource: ServedKind, given: Object, old: Object) -> Object:
    """Return the object to store; `old` itself when nothing changes.

    System fields are restored (row U6), status is isolated (U9), the generation counts (V5).
    """
    if request.subresource == "finalize":
        return _with_managed({**old, "spec": given["spec"]}, given, old)
    if request.subresource == "status" and resource.typed:
        return _with_managed(_with_status(given, old), given, old)
    if request.subresource == "status":
        new = without(old, "status") | ({"status": given["status"]} if "status" in given else {})
        is_same = identical(new.get("status", MISSING), old.get("status", MISSING))
        return _with_managed(old if is_same else new, given, old)
    new = dict(given)
    if resource.has_status:
        new.pop("status", None)
        new |= {"status": old["status"]} if "status" in old else {}
    if resource.typed:
        new = prepare_updated(new, old)
    elif resource.built_in:
        new = prepare_built_in(new)
    changed = _differs(new, old)
    metadata = _restore_metadata(
        new["metadata"], old["metadata"], spec_changed=_counts(resource, new, old, changed=changed)
    )
    if metadata is old["metadata"] and not changed:
        return old
    return _with_managed({**new, "metadata": metadata}, given, old)


def _with_managed(new: Object, given: Object, old: Object) -> Object:
    """Return an object with the managedFields of `given`; a new time alone is no change."""
    entries, before = (each["metadata"].get("managedFields") for each in (given, old))
    if entries is before:
        return new
    if entries and before and _is_same(new, old) and is_renewal(entries, before):
        return old
    metadata = without(new["metadata"], "managedFields")
    return {**new, "metadata": {**metadata, "managedFields": entries} if entries else metadata}


def _is_same(new: Object, old: Object) -> bool:
    if new is old:
        return True
    if new.keys() != old.keys():
        return False
    content = (name for name in new if name != "metadata")
    return all(identical(new[name], old[name]) for name in content) and identical(
        *(without(each["metadata"], "managedFields") for each in (new, old))
    )


def _with_status(given: Object, old: Object) -> Object:
    """Return a built-in object with another status: its metadata may change too, unlike others'.

    A Deployment keeps its labels and a Pod its owners.
    """
    metadata = _restore_metadata(given["metadata"], old["metadata"], spec_changed=False)
    kept = {"Deployment": "labels", "Pod": "ownerReferences"}.get(old["kind"])
    if kept is not None and metadata is not old["metadata"]:
        known = {kept: old["metadata"][kept]} if kept in old["metadata"] else {}
        metadata = {**without(metadata, kept), **known}
    status = given["status"]
    if old["kind"] == "Pod" and "qosClass" not in status and "qosClass" in old["status"]:
        status = {**status, "qosClass": old["status"]["qosClass"]}
    new = {**old, "metadata": metadata, "status": status}
    return old if identical(new, old) else new


def _counts(resource: ServedKind, new: Object, old: Object, *, changed: bool) -> bool:
    """Row V5: whether an update counts the generation; every change outside of metadata does."""
    if resource.built_in and not resource.counts_generation:
        return False
    return counts(new, old, changed=changed) if resource.typed else changed


def _differs(new: Object, old: Object) -> bool:
    return new.keys() != old.keys() or any(
        name != "metadata" and not deep_equal(value, old[name]) for name, value in new.items()
    )


def _restore_metadata(given: Object, old: Object, *, spec_changed: bool) -> Object:
    if given is old and not spec_changed:
        return old
    deleted_at = old.get("deletionTimestamp")
    if deleted_at is not None and given.get("deletionTimestamp", deleted_at) != deleted_at:
        # The stored time stays, but managedFields change, and that is a write.
        raise not_modelled("another deletionTimestamp than the stored one")
    restored: Object = {
        name: old[name]
        for name in ("generation", "creationTimestamp", "deletionTimestamp")
        if name in old
    }
    for name in ("uid", "namespace", "deletionGracePeriodSeconds"):
        if name in old and name not in given:
            restored[name] = old[name]
    if spec_changed:
        restored["generation"] = old.get("generation", 0) + 1
    metadata = {
        **without(given, "generation"),
        **restored,
        "resourceVersion": old["resourceVersion"],
    }
    return old if identical(metadata, old) else metadata


def _check(request: Request, resource: ServedKind, new: Object, old: Object) -> None:
    causes: list[Cause] = []
    if new["metadata"] is not old["metadata"]:
        causes += validate_metadata(new["metadata"], names=names_of(resource), old=old["metadata"])
        causes += validate_metadata_update(new["metadata"], old["metadata"])
    causes += validate_content(request, resource, new, old)
    if causes:
        raise invalid(resource.kind, resource.group, old["metadata"]["name"], causes)
