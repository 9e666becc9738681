"""Server-side apply (KEP-555): a configuration that its manager owns, merged into an object.

The order of the steps is the specification: it decides which of several errors a client sees.
Options, kind, schema, conflicts, name, then as an update or a creation.
"""

from collections.abc import Mapping

from captep_memory._builtin import decode_built_in, prepare_built_in
from captep_memory._create import create_decoded
from captep_memory._field_sets import FieldSet, shown
from captep_memory._json import Object, Value, text, without
from captep_memory._kinds import ServedKind
from captep_memory._last_applied import KUBECTL, still_contested, with_last_applied
from captep_memory._managers import ManagedFields, Manager, paths_of
from captep_memory._metadata import decode_metadata
from captep_memory._owners import ConflictsError, MisfitError, applied
from captep_memory._ownership import (
    empty_of,
    endpoint_of,
    manager_causes,
    owners_of,
    shown_with_owners,
    unmanaged,
    with_owners,
)
from captep_memory._request import Key, Request, Response
from captep_memory._schema import fill
from captep_memory._status import (
    Cause,
    RefusedError,
    bad_request,
    conflict,
    failure,
    invalid,
    not_found,
    required,
)
from captep_memory._update import check_identity, is_unsettled, replace
from captep_memory._world import World

__all__ = ["apply_configuration"]


def apply_configuration(
    world: World, request: Request, resource: ServedKind, key: Key
) -> tuple[World, Response]:
    """Answer a PATCH with an apply configuration.

    Raises:
        RefusedError: 400, 409, 422 and 500 as the real server; 501, a part has no model.
    """
    _check_options(request)
    stored = world.get(key)
    if stored is None and request.subresource is not None:
        raise not_found(resource.plural, resource.group, key.name)
    config = _configuration(request, resource)
    old = empty_of(resource) if stored is None else world.catalog.convert(stored, resource)
    if stored is not None:
        old = shown_with_owners(world, resource, key, old)
    owners = {} if stored is None else owners_of(world, resource, key, old)
    live = unmanaged(old)
    new, left = _applied(world, request, resource, live, config, owners)
    decoded = old if new is live else _decoded(resource, new, old, config)
    if request.field_manager == KUBECTL:
        decoded = with_last_applied(decoded, config)
    is_same = decoded is old and left is owners and not world.admission
    if is_same and stored is not None and not is_unsettled(world, key, stored):
        return world, Response(200, old)
    given = with_owners(decoded, left)
    if stored is None:
        given = {**given, "metadata": given.get("metadata", {})}
        return _created(world, request, resource, key, given)
    check_identity(key, given["metadata"])
    return replace(world, request, resource, key, old, given)


def _check_options(request: Request) -> None:
    causes = []
    manager = request.field_manager
    if not manager:
        causes.append(required("fieldManager", "is required for apply patch"))
    causes += manager_causes(manager)
    if causes:
        raise invalid("PatchOptions", "meta.k8s.io", "", causes)


def _configuration(request: Request, resource: ServedKind) -> Object:
    config: Value = request.body
    if config is None:
        config = {}
    if not isinstance(config, dict):
        kinds = {list: "array", str: "string", bool: "bool"}
        kind = kinds.get(type(config), "number")
        raise bad_request(
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot "
            f"unmarshal {kind} into Go value of type map[string]interface {{}}"
        )
    api_version, kind = text(config.get("apiVersion")), text(config.get("kind"))
    if (api_version, kind) != (resource.api_version, resource.kind):
        raise bad_request(f"invalid object type: {_go_kind(api_version, kind)}")
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    return config


def _go_kind(api_version: str, kind: str) -> str:
    """Return a kind as Go prints it, with a slash in the core group too."""
    return f"{api_version if '/' in api_version else f'/{api_version}'}, Kind={kind}"


def _applied(
    world: World,
    request: Request,
    resource: ServedKind,
    live: Object,
    config: Object,
    owners: ManagedFields,
) -> tuple[Object, ManagedFields]:
    endpoint = endpoint_of(world, resource, request.subresource or "")
    empty = empty_of(resource)

    def attempt(*, force: bool) -> tuple[Object, ManagedFields]:
        name = request.field_manager
        return applied(owners, live, config, endpoint, name, empty=empty, force=force)

    try:
        return attempt(force=bool(request.force))
    except MisfitError as error:
        message = f"failed to create typed patch object ({_place(resource, config)}): {error}"
        raise failure(500, "", message) from error
    except ConflictsError as error:
        conflicts = error.conflicts
        if request.field_manager == KUBECTL:
            conflicts = still_contested(conflicts, live, endpoint.type)
        if not conflicts:
            return attempt(force=True)
        raise _conflict(conflicts) from error


def _conflict(conflicts: Mapping[Manager, FieldSet]) -> RefusedError:
    found = list(paths_of(conflicts))
    causes = [
        Cause("FieldManagerConflict", f"conflict with {manager}", shown(path))
        for manager, path in found
    ]
    if len(found) == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        lines: list[str] = []
        for manager in dict.fromkeys(manager for manager, _ in found):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {shown(path)}" for other, path in found if other == manager]
        message = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    return failure(409, "Conflict", message, {"causes": [cause.json() for cause in causes]})


def _place(resource: ServedKind, config: Object) -> str:
    metadata = config.get("metadata")
    place = metadata if isinstance(metadata, dict) else {}
    kind = _go_kind(resource.api_version, resource.kind)
    return f"{text(place.get('namespace'))}/{text(place.get('name'))}; {kind}"


def _decoded(resource: ServedKind, new: Object, old: Object, config: Object) -> Object:
    """Return a merged object as the server understands it, with defaults.

    Raises:
        RefusedError: 500 for what is 400 in a POST.
    """
    try:
        metadata = decode_metadata(new.get("metadata"), old.get("metadata"))
        obj = {**new, "metadata": metadata}
        if resource.built_in:
            return prepare_built_in(decode_built_in(obj, old))
    except RefusedError as refused:
        if refused.response.status != 400:
            raise
        kind = _go_kind(resource.api_version, resource.kind)
        message = (
            f"failed to convert new object ({_place(resource, config)}) to proper version: "
            f"unable to convert unstructured object to {kind}: error decoding from json: "
            f"{text(refused.response.body['message']).rpartition(': ')[2]}"
        )
        raise failure(500, "", message) from refused
    return obj if resource.own_defaults is None else fill(obj, resource.own_defaults)


def _created(
    world: World, request: Request, resource: ServedKind, key: Key, given: Object
) -> tuple[World, Response]:
    uid = text(given["metadata"].get("uid"))
    if uid:
        why = (
            f"uid mismatch: the provided object specified uid {uid}, "
            "and no existing object was found"
        )
        raise conflict(resource.plural, resource.group, key.name, why)
    check_identity(key, given["metadata"])
    if not request.dry_run:
        given = {**given, "metadata": without(given["metadata"], "resourceVersion")}
    return create_decoded(world, request, resource, given)
