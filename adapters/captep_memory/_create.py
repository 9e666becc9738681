"""Create (rows C1 to C6, V3 to V5).

The order of the steps is the specification: it decides which of several errors a client sees.
Decode, namespace, mutating admission, system fields, validation, validating admission, store.
"""

import hashlib

from captep_memory._admission import admit, mutate
from captep_memory._builtin import prepare_built_in
from captep_memory._content import decode, validate_content
from captep_memory._json import Object, stored_object, text, without
from captep_memory._kinds import ServedKind
from captep_memory._metadata import (
    is_deleting,
    names_of,
    validate_metadata,
    without_duplicate_owners,
)
from captep_memory._ownership import tracked_creation, writer_of
from captep_memory._plugins import plug_in, require_no_quota
from captep_memory._request import Key, Request, Response
from captep_memory._services import allocate
from captep_memory._status import (
    OTHER_NAMESPACE,
    Cause,
    already_exists,
    bad_request,
    failure,
    invalid,
    not_found,
    qualified,
    required,
)
from captep_memory._strategies import prepare_created, status_of_new
from captep_memory._strict import check_strict
from captep_memory._world import World

__all__ = ["allocated", "create", "create_decoded"]

_SYSTEM_FIELDS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)
# The alphabet, the length and the eight attempts of k8s.io/apiserver/pkg/storage/names. The
# alphabet has no vowels, so that no word comes out.
_SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_BASE_LENGTH = 63 - _SUFFIX_LENGTH
_ATTEMPTS = 8


def create(world: World, request: Request, resource: ServedKind) -> tuple[World, Response]:
    """Answer a POST (rows C1 to C6)."""
    check_strict(request, resource, request.body)
    given = decode(resource, request.body)
    tracked = tracked_creation(world, request, resource, given)
    return create_decoded(world, request, resource, tracked)


def create_decoded(
    world: World, request: Request, resource: ServedKind, given: Object
) -> tuple[World, Response]:
    """Create a decoded object; a PUT of an absent Lease or Event and an apply end here too."""
    given = _in_namespace(request, given)
    _check_namespace(world, request, resource, text(given["metadata"].get("name")))
    require_no_quota(world, request, resource)
    admitted = plug_in(world, request, given) if resource.typed else given
    admitted = _mutated(world, request, resource, admitted)
    writer = writer_of(world, request, resource, None, given, admitted)
    given, headers = without_duplicate_owners(admitted)
    key, obj = _fill_system_fields(world, request, resource, given)
    _check(request, resource, obj)
    if resource.kind == "Service" and resource.typed:
        obj = allocated(world, key, obj)
    admit(world, request, obj, None)
    if not request.dry_run and _is_version(text(obj["metadata"].get("resourceVersion"))):
        raise failure(500, "", "resourceVersion should not be set on objects to be created")
    existing = world.get(key)
    if existing is not None:
        prefix = "object is being deleted: " if is_deleting(existing) else ""
        raise already_exists(resource.plural, resource.group, key.name, prefix=prefix)
    encoded = obj
    if not resource.typed:
        # A Go type has no floats that the store would change.
        encoded = stored_object(
            world.catalog.convert_to(obj, world.catalog.storage_version(resource))
        )
    if not request.dry_run:
        world, encoded = world.put(key, encoded, writer)
    return world, Response(201, world.catalog.convert(encoded, resource), headers)


def _mutated(world: World, request: Request, resource: ServedKind, given: Object) -> Object:
    """A changed object of a Go type is decoded again, which fills its defaults."""
    mutated = mutate(world, request, given, None)
    return decode(resource, mutated) if mutated is not given and resource.typed else mutated


def allocated(world: World, key: Key, service: Object) -> Object:
    """Return a Service with its cluster IP and node ports.

    Raises:
        RefusedError: 422, a chosen value is taken or outside of its range.
    """
    others = (
        each
        for place, shelf in world.shelves.items()
        if place[:2] == ("", "Service")
        for name, each in shelf.items()
        if (place[2], name) != (key.namespace, key.name)
    )
    return allocate(service, others)


def _in_namespace(request: Request, given: Object) -> Object:
    metadata = given["metadata"]
    if metadata.get("namespace", request.namespace) != request.namespace:
        raise bad_request(OTHER_NAMESPACE)
    if request.namespace is None:
        return given
    return {**given, "metadata": {**metadata, "namespace": request.namespace}}


def _is_version(given: str) -> bool:
    """Row V4: the server ignores a resourceVersion that is no positive 64-bit number."""
    return given.isascii() and given.isdigit() and 0 < int(given) < 1 << 64


def _check_namespace(world: World, request: Request, resource: ServedKind, name: str) -> None:
    """Row C4. In a part of a cluster a namespace that is not given exists all the same."""
    namespaces = world.shelf("", "Namespace", None)
    if request.namespace is None:
        return
    if request.namespace not in namespaces:
        if world.is_whole:
            raise not_found("namespaces", "", request.namespace)
        return
    if not is_deleting(namespaces[request.namespace]):
        return
    cause = Cause(
        "NamespaceTerminating",
        f"namespace {request.namespace} is being terminated",
        "metadata.namespace",
    )
    details = {
        "name": name,
        "group": resource.group,
        "kind": resource.plural,
        "causes": [cause.json()],
    }
    raise failure(
        403,
        "Forbidden",
        f'{qualified(resource.plural, resource.group)} "{name}" is forbidden: unable to create '
        f"new content in namespace {request.namespace} because it is being terminated",
        details,
    )


def _fill_system_fields(
    world: World, request: Request, resource: ServedKind, given: Object
) -> tuple[Key, Object]:
    """Rows V3 to V5 and C3: wipe what a client sets, except resourceVersion, and set our own."""
    metadata = without(given["metadata"], *_SYSTEM_FIELDS)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = _generate_name(world, request, resource, metadata["generateName"])
    key = Key(resource.group, resource.kind, request.namespace, text(metadata.get("name")))
    metadata["uid"] = world.next_uid(key, dry_run=request.dry_run)
    metadata["creationTimestamp"] = world.stamp
    if not resource.built_in or resource.counts_generation:
        metadata["generation"] = 1
    obj = without(given, "status") if resource.has_status else given
    if resource.typed and resource.has_status:
        obj["status"] = status_of_new(given)
    obj = {**obj, "metadata": metadata}
    if resource.typed:
        return key, prepare_created(obj)
    return key, prepare_built_in(obj) if resource.built_in else obj


def _generate_name(world: World, request: Request, resource: ServedKind, base: str) -> str:
    taken = world.shelf(resource.group, resource.kind, request.namespace)
    name = base
    for attempt in range(_ATTEMPTS):
        seed = f"{base}\0{world.resource_version}\0{attempt}".encode(errors="surrogatepass")
        digest = hashlib.sha256(seed).digest()[:_SUFFIX_LENGTH]
        suffix = "".join(_SAFE_ALPHABET[byte % len(_SAFE_ALPHABET)] for byte in digest)
        name = base[:_BASE_LENGTH] + suffix
        if name not in taken:
            return name
    error = already_exists(resource.plural, resource.group, name).response.body
    message = (
        f"{error['message']}, the server was not able to generate a unique name for the object"
    )
    raise failure(409, "AlreadyExists", message, {**error["details"], "retryAfterSeconds": 1})


def _check(request: Request, resource: ServedKind, obj: Object) -> None:
    causes = list(validate_metadata(obj["metadata"], names=names_of(resource)))
    if resource.scope == "Namespaced" and request.namespace is None:
        causes.append(required("metadata.namespace"))
    causes += validate_content(request, resource, obj, None)
    if causes:
        raise invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), causes)
