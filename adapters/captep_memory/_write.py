"""Create, update and patch.

The order of the steps is the specification: it decides which of several errors a client sees.
Create: decode, namespace, mutating admission, system fields, validation, validating admission, store (row C1).
Update: uid, mutating admission, resourceVersion, restoring, validation, validating admission, removal or no-op or store (row U5).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping

from attrs import evolve

from captep_memory._builtin import decode_built_in, prepare_built_in, validate_built_in
from captep_memory._json import (
    MISSING,
    Object,
    PatchError,
    Value,
    as_stored,
    deep_equal,
    identical,
    json_patch,
    merge_patch,
    text,
    without,
)
from captep_memory._kinds import Resource
from captep_memory._metadata import (
    decode_metadata,
    finalizers,
    is_deleting,
    validate_metadata,
    validate_metadata_update,
)
from captep_memory._request import Key, Request, Response, group_of
from captep_memory._schema import normalise
from captep_memory._status import (
    Cause,
    RefusedError,
    already_exists,
    bad_request,
    conflict,
    failure,
    invalid,
    invalid_value,
    not_found,
    not_modelled,
)
from captep_memory._validation import validate
from captep_memory._world import World, timestamp

__all__ = ["create", "decode", "patch", "update"]

_SYSTEM_FIELDS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
)
_OTHER_NAMESPACE = (
    "the namespace of the provided object does not match the namespace sent on the request"
)
_SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_PATCH_LIMIT = 10_000


def create(world: World, request: Request, resource: Resource) -> tuple[World, Response]:
    """Answer a POST (rows C1 to C6)."""
    return _create(world, request, resource, decode(resource, request.body))


def _create(
    world: World, request: Request, resource: Resource, given: Object
) -> tuple[World, Response]:
    metadata = given["metadata"]
    if metadata.get("namespace", request.namespace) != request.namespace:
        raise bad_request(_OTHER_NAMESPACE)
    if request.namespace is not None:
        given = {**given, "metadata": {**metadata, "namespace": request.namespace}}
    _check_namespace(world, request, resource, text(metadata.get("name")))
    given, headers = _without_duplicate_owners(_mutate(world, request, given, None))
    key, obj = _fill_system_fields(world, request, resource, given)
    _check_create(request, resource, obj)
    _admit(world, request, obj, None)
    if not request.dry_run and _is_version(text(obj["metadata"].get("resourceVersion"))):
        raise failure(500, "", "resourceVersion should not be set on objects to be created")
    existing = world.get(key)
    if existing is not None:
        prefix = "object is being deleted: " if is_deleting(existing) else ""
        raise already_exists(resource.plural, resource.group, key.name, prefix=prefix)
    encoded = as_stored(world.catalog.convert_to(obj, world.catalog.storage_version(resource)))
    if not request.dry_run:
        world, encoded = world.put(key, encoded)
    return world, Response(201, world.catalog.convert(encoded, resource), headers)


def _is_version(given: str) -> bool:
    """Row V4: a resourceVersion that is none is not looked at."""
    return given.isascii() and given.isdigit() and 0 < int(given) < 1 << 64


def _check_namespace(world: World, request: Request, resource: Resource, name: str) -> None:
    """Row C4, as far as the world tells: one without a single Namespace is a part of a cluster whose namespaces are not shown."""
    namespaces = world.shelf("", "Namespace", None)
    if request.namespace is None or not namespaces:
        return
    if request.namespace not in namespaces:
        raise not_found("namespaces", "", request.namespace)
    if is_deleting(namespaces[request.namespace]):
        told = f"unable to create new content in namespace {request.namespace} because it is being terminated"
        cause = Cause(
            "NamespaceTerminating",
            f"namespace {request.namespace} is being terminated",
            "metadata.namespace",
        )
        qualified = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        details = {
            "name": name,
            "group": resource.group,
            "kind": resource.plural,
            "causes": [cause.json()],
        }
        raise failure(403, "Forbidden", f'{qualified} "{name}" is forbidden: {told}', details)


def _fill_system_fields(
    world: World, request: Request, resource: Resource, given: Object
) -> tuple[Key, Object]:
    """Rows V3 to V5 and C3: what a client says about system fields is wiped, but for resourceVersion and an idle generation."""
    metadata = without(given["metadata"], *_SYSTEM_FIELDS)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = _generate_name(world, request, resource, metadata["generateName"])
    key = Key(resource.group, resource.kind, request.namespace, text(metadata.get("name")))
    metadata["uid"] = world.next_uid(key, dry_run=request.dry_run)
    metadata["creationTimestamp"] = timestamp(world.now)
    if not resource.built_in:
        metadata["generation"] = 1
    obj = without(given, "status") if resource.has_status else given
    return key, {**(prepare_built_in(obj) if resource.built_in else obj), "metadata": metadata}


def _generate_name(world: World, request: Request, resource: Resource, base: str) -> str:
    taken = world.shelf(resource.group, resource.kind, request.namespace)
    for attempt in range(8):
        digest = hashlib.sha256(
            f"{base}\0{world.resource_version}\0{attempt}".encode(errors="surrogatepass")
        ).digest()
        name = base[:58] + "".join(
            _SAFE_ALPHABET[byte % len(_SAFE_ALPHABET)] for byte in digest[:5]
        )
        if name not in taken:
            return name
    error = already_exists(resource.plural, resource.group, name).response.body
    message = (
        f"{error['message']}, the server was not able to generate a unique name for the object"
    )
    raise failure(409, "AlreadyExists", message, {**error["details"], "retryAfterSeconds": 1})


def _check_create(request: Request, resource: Resource, obj: Object) -> None:
    causes = list(validate_metadata(obj["metadata"], built_in=resource.built_in))
    causes += _validate_content(request, resource, obj, None)
    if causes:
        raise invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), causes)


def _validate_content(
    request: Request, resource: Resource, obj: Object, old: Object | None
) -> Iterator[Cause]:
    if resource.built_in:
        yield from validate_built_in(request, obj, old)
    elif resource.schema is not None:
        schema = {
            **resource.schema,
            "properties": without(
                resource.schema.get("properties", {}), "apiVersion", "kind", "metadata"
            ),
        }
        if request.subresource == "status" and old is not None:
            below = schema["properties"].get("status")
            if below is not None and "status" in obj:
                found = validate(obj["status"], below, "", old.get("status", MISSING))
                yield from (
                    evolve(
                        cause, field="status" if cause.field == "<nil>" else f"status.{cause.field}"
                    )
                    for cause in found
                )
        else:
            yield from validate(obj, schema, "", MISSING if old is None else old)


def decode(resource: Resource, body: Value, known: Object | None = None) -> Object:
    """Return a body as the server understands it; parts that are the same object as in `known` are decoded already.

    Raises:
        RefusedError: 400, it is not an object of this kind.
    """
    if not isinstance(body, dict):
        raise bad_request("the request body is not an object")
    body = (
        {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        if resource.built_in
        else body
    )
    if not text(body.get("kind")):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): Object 'Kind' is missing"
        )
    if body.get("apiVersion") != resource.api_version:
        given = text(body.get("apiVersion"))
        raise bad_request(
            f"the API version in the data ({given}) does not match the expected API version ({resource.api_version})"
        )
    if body["kind"] != resource.kind:
        raise _other_kind(resource, body)
    metadata = decode_metadata(body.get("metadata"), known and known["metadata"])
    if known is not None and identical(metadata, known["metadata"]):
        metadata = known["metadata"]
    obj = {**body, "metadata": metadata}
    if resource.built_in:
        return decode_built_in(obj)
    return obj if resource.schema is None else normalise(obj, resource.schema)


def _other_kind(resource: Resource, body: Object) -> RefusedError:
    if resource.built_in:
        return bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    cause = invalid_value("kind", body["kind"], f"must be {resource.kind}")
    return invalid(
        body["kind"],
        resource.group,
        text(decode_metadata(body.get("metadata")).get("name")),
        [cause],
    )


def update(world: World, request: Request, resource: Resource, key: Key) -> tuple[World, Response]:
    """Answer a PUT (rows U1 to U9)."""
    given = _decode_update(resource, request.body)
    metadata = given["metadata"]
    _check_identity(key, metadata)
    stored = world.get(key)
    if stored is None:
        return _update_absent(world, request, resource, given)
    old = world.catalog.convert(stored, resource)
    _check_uid(request, resource, key, text(metadata.get("uid")), old["metadata"]["uid"])
    return _replace(world, request, resource, key, old, given)


def _decode_update(resource: Resource, body: Value, known: Object | None = None) -> Object:
    """Decode what is to replace an object. Until it comes back from its store, a null in a Secret is not quite an empty value to Go."""
    data = (
        body.get("data")
        if resource.built_in and resource.kind == "Secret" and isinstance(body, dict)
        else None
    )
    if isinstance(data, dict) and None in data.values():
        raise not_modelled("a null in the data of an update")
    return decode(resource, body, known)


def _check_identity(key: Key, metadata: Object) -> None:
    """Row U1."""
    if metadata.get("namespace", key.namespace) != key.namespace:
        raise bad_request(_OTHER_NAMESPACE)
    name = text(metadata.get("name"))
    if not name:
        raise bad_request(
            f"the name of the object ({key.name} based on URL) was undeterminable: name must be provided"
        )
    if name != key.name:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({key.name})"
        )


def _update_absent(
    world: World, request: Request, resource: Resource, given: Object
) -> tuple[World, Response]:
    """Row U3."""
    name, uid = given["metadata"]["name"], text(given["metadata"].get("uid"))
    if uid and (resource.creates_on_update or world.quirks.version < (1, 34)):
        key = Key(resource.group, resource.kind, request.namespace, name)
        _check_uid(request, resource, key, uid, "")
    if not resource.creates_on_update:
        raise not_found(resource.plural, resource.group, name)
    return _create(
        world,
        request,
        resource,
        {**given, "metadata": without(given["metadata"], "resourceVersion")},
    )


def _check_uid(request: Request, resource: Resource, key: Key, given: str, stored: str) -> None:
    """Row U2. Where a dry run looks, the keys have no prefix."""
    if given and given != stored:
        parts = (
            "" if request.dry_run else "/registry",
            *filter(None, (resource.group, resource.plural, key.namespace, key.name)),
        )
        place = "/".join(parts)
        told = f"Precondition failed: UID in precondition: {given}, UID in object meta: {stored}"
        why = f"StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: {told}"
        raise conflict(resource.plural, resource.group, key.name, why)


def patch(world: World, request: Request, resource: Resource, key: Key) -> tuple[World, Response]:
    """Answer a PATCH (rows P1 to P5): the server reads, applies and writes, so that only a resourceVersion in the patch can conflict."""
    if request.force is not None:
        raise invalid(
            "PatchOptions",
            "meta.k8s.io",
            "",
            [
                Cause(
                    "FieldValueForbidden",
                    "Forbidden: may not be specified for non-apply patch",
                    "force",
                )
            ],
        )
    stored = world.get(key)
    if stored is None:
        raise not_found(resource.plural, resource.group, key.name)
    old = world.catalog.convert(stored, resource)
    patched = _apply(request, resource, old)
    if patched is stored and not world.admission:
        return world, Response(200, old)
    given = _decode_patched(resource, patched, old)
    _check_identity(key, given["metadata"])
    return _replace(world, request, resource, key, old, given)


def _decode_patched(resource: Resource, patched: Value, old: Object) -> Object:
    """Decode what a patch made: what cannot be decoded is 422 here. Unlike the real server's, the message keeps the object to itself."""
    given = text(patched.get("apiVersion")) if isinstance(patched, dict) else ""
    if (
        not resource.built_in
        and given not in ("", resource.api_version)
        and group_of(given) == resource.group
    ):
        raise not_modelled("patches that change the version")
    try:
        return _decode_update(resource, patched, old)
    except RefusedError as refused:
        if refused.response.status != 400:
            raise
        cause = invalid_value(
            "patch", "<patched object omitted>", text(refused.response.body.get("message"))
        )
        raise invalid("", "", "", [cause]) from refused


def _apply(request: Request, resource: Resource, old: Object) -> Value:
    match request.content_type:
        case "application/merge-patch+json":
            if not isinstance(request.body, dict):
                raise bad_request("error decoding patch: json: cannot unmarshal into an object")
            return merge_patch(old, request.body)
        case "application/json-patch+json":
            return _apply_json_patch(request, old)
        case "application/strategic-merge-patch+json" if resource.built_in:
            raise not_modelled("strategic merge patches")
        case "application/apply-patch+yaml" | "application/apply-patch+cbor":
            raise not_modelled("server-side apply")
        case _:
            accepted = [
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ]
            accepted[2:2] = ["application/strategic-merge-patch+json"] if resource.built_in else []
            told = (
                "the body of the request was in an unknown format - accepted media types include: "
            )
            raise failure(415, "UnsupportedMediaType", told + ", ".join(accepted))


def _apply_json_patch(request: Request, old: Object) -> Value:
    if not isinstance(request.body, list):
        raise bad_request("error decoding patch: json: cannot unmarshal into a patch")
    if len(request.body) > _PATCH_LIMIT:
        told = f"The allowed maximum operations in a JSON patch is {_PATCH_LIMIT}, got {len(request.body)}"
        raise failure(413, "RequestEntityTooLarge", told)
    try:
        return json_patch(old, request.body)
    except PatchError as error:
        raise failure(
            422, "Invalid", "the server rejected our request due to an error in our request", {}
        ) from error


def _replace(
    world: World, request: Request, resource: Resource, key: Key, old: Object, given: Object
) -> tuple[World, Response]:
    """Write `given` over `old`: the part that PUT and PATCH share. The uid of a PUT has been compared."""
    given, headers = _without_duplicate_owners(_mutate(world, request, given, old))
    _check_resource_version(
        resource,
        key,
        text(given["metadata"].get("resourceVersion")),
        old["metadata"]["resourceVersion"],
    )
    new = _prepare(request, resource, given, old)
    if new is not old:
        _check_update(request, resource, new, old)
    _admit(world, request, new, old)
    if (
        is_deleting(new)
        and not new["metadata"].get("deletionGracePeriodSeconds")
        and not finalizers(new)
    ):
        return _finish_deletion(world, request, key, new, headers)
    stored = world.get(key) or old
    encoded = world.catalog.convert_to(new, stored["apiVersion"])
    if "selfLink" in encoded["metadata"] and not request.dry_run:
        # It is told back where nothing is stored.
        encoded = {**encoded, "metadata": without(encoded["metadata"], "selfLink")}
    if identical(encoded, stored):
        return world, Response(200, old, headers)
    if not request.dry_run:
        world, encoded = world.put(key, as_stored(encoded, stored))
    return world, Response(200, world.catalog.convert(encoded, resource), headers)


def _finish_deletion(
    world: World, request: Request, key: Key, last: Object, headers: Mapping[str, str]
) -> tuple[World, Response]:
    """Row U8: who removes the last finalizer removes the object, and is told what it would be; a watch is told what is stored."""
    if not request.dry_run:
        world = world.remove(key)
    return world, Response(200, last, headers)


def _check_resource_version(resource: Resource, key: Key, given: str, stored: str) -> None:
    """Rows U4 and U5."""
    if given in ("", "0"):
        if not resource.unconditional:
            cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.plural, resource.group, key.name, [cause])
    elif not (given.isascii() and given.isdigit()):
        raise failure(500, "", f"strconv.ParseUint: parsing {json.dumps(given)}: invalid syntax")
    elif given != stored:
        raise conflict(resource.plural, resource.group, key.name)


def _prepare(request: Request, resource: Resource, given: Object, old: Object) -> Object:
    """Return what would be stored: system fields restored (U6), status isolated (U9), generation counted (V5); `old` if nothing changes."""
    if request.subresource == "status":
        new = without(old, "status") | ({"status": given["status"]} if "status" in given else {})
        return old if identical(new.get("status", MISSING), old.get("status", MISSING)) else new
    new = dict(given)
    if resource.built_in:
        new = prepare_built_in(new)
    elif resource.has_status:
        new.pop("status", None)
        new |= {"status": old["status"]} if "status" in old else {}
    changed = new.keys() != old.keys() or any(
        name != "metadata" and not deep_equal(value, old[name]) for name, value in new.items()
    )
    metadata = _restore_metadata(
        given["metadata"], old["metadata"], spec_changed=changed and not resource.built_in
    )
    return old if metadata is old["metadata"] and not changed else {**new, "metadata": metadata}


def _restore_metadata(given: Object, old: Object, *, spec_changed: bool) -> Object:
    if given is old and not spec_changed:
        return old
    if (
        "deletionTimestamp" in old
        and given.get("deletionTimestamp", old["deletionTimestamp"]) != old["deletionTimestamp"]
    ):
        # It stays, but who said so is noted in managedFields, and that is a write.
        raise not_modelled("another deletionTimestamp than the stored one")
    restored: Object = {
        name: old[name]
        for name in ("generation", "creationTimestamp", "deletionTimestamp", "managedFields")
        if name in old
    }
    for name in ("uid", "namespace", "deletionGracePeriodSeconds"):
        if name in old and name not in given:
            restored[name] = old[name]
    if spec_changed:
        restored["generation"] = old.get("generation", 0) + 1
    metadata = {
        **without(given, "generation", "managedFields"),
        **restored,
        "resourceVersion": old["resourceVersion"],
    }
    return old if identical(metadata, old) else metadata


def _check_update(request: Request, resource: Resource, new: Object, old: Object) -> None:
    causes: list[Cause] = []
    if new["metadata"] is not old["metadata"]:
        causes += validate_metadata(
            new["metadata"], built_in=resource.built_in, old=old["metadata"]
        )
        causes += validate_metadata_update(new["metadata"], old["metadata"])
    causes += _validate_content(request, resource, new, old)
    if causes:
        raise invalid(resource.kind, resource.group, old["metadata"]["name"], causes)


def _without_duplicate_owners(obj: Object) -> tuple[Object, Mapping[str, str]]:
    """Row C6."""
    owners = obj["metadata"].get("ownerReferences", ())
    if len(owners) < 2:
        return obj, {}
    kept: list[Object] = []
    for owner in owners:
        if not any(identical(owner, other) for other in kept):
            kept.append(owner)
    if len(kept) == len(owners):
        return obj, {}
    uids = ", ".join(sorted({owner["uid"] for owner in kept if owners.count(owner) > 1}))
    told = (
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, "
        f"and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
    )
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": kept}}, {
        "Warning": f'299 - "{told}"'
    }


def _mutate(world: World, request: Request, obj: Object, old: Object | None) -> Object:
    """Row A5, first half. A webhook may not change what identifies the object."""
    for admission in world.admission:
        if admission.mutate is not None:
            changed = admission.mutate(request, obj, old)
            if isinstance(changed, Response):
                raise RefusedError(changed)
            obj = changed
    return obj


def _admit(world: World, request: Request, obj: Object, old: Object | None) -> None:
    for admission in world.admission:
        refusal = admission.validate(request, obj, old) if admission.validate is not None else None
        if refusal is not None:
            raise RefusedError(refusal)
