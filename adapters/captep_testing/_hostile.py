"""Hostile neighbours for free.

Every object once terminating, once controlled by another, once marked.
Rules of this module:

1. A hostile object is one that any cluster may hold. Another controller deletes it and holds it
   with a finalizer of its own; or it controls it, also as another primary of the same kind does
   whose child has the same name; or it adds a finalizer, a label, an annotation, an ownerReference
   and a condition of its own, and an annotation in the template of pods; or the server adds
   defaults to its spec; or its own controller has not seen its latest generation yet.
2. The loop writes nothing to a dependent that another controls, and nothing but finalizers to a
   dependent that is being deleted (P9a, P9b). The primary and the objects of `Kit.shared` are
   exempt.
3. The loop keeps every foreign mark (P9c), on all objects without exception.
4. Hostility ends: after it the loop comes to rest in a right world.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from attrs import evolve, frozen

from captep_core._actions import Action, Create, ObjectRef, Patch, RecordEvent, write_of
from captep_core._objects import rfc3339
from captep_memory import Key, Object, World, apply_merge_patch, group_of, identical
from captep_testing._canonical import entries, key_of_target
from captep_testing._kit import Kit
from captep_testing._report import Violation

__all__ = [
    "HostileWorld",
    "controlled",
    "controlled_in_turn",
    "defaulted",
    "hostile_worlds",
    "intrusions",
    "is_controlled_by",
    "lost_marks",
    "marked",
    "only_finalizers",
    "outdated",
    "patched",
    "rewritten",
    "terminating",
]

Variant: TypeAlias = Callable[[Object], Object]
_FOREIGN: Final = "example.com/foreign"
_FOREIGN_UID: Final = "00000000-0000-4000-a000-00000000f0e1"
_OWNER: Final[Mapping[str, Any]] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "name": "foreign-owner",
    "uid": _FOREIGN_UID,
}
_CONDITION: Final[Mapping[str, Any]] = {
    "type": _FOREIGN,
    "status": "True",
    "reason": "Foreign",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
# Kinds that no controller shares with others: Events are records, the others are the cluster's.
_LEFT_ALONE = frozenset({"Event", "Namespace", "CustomResourceDefinition", "Lease"})
# Kinds whose specs a server fills, in whatever group a domain puts them.
_DEFAULTED_KINDS = frozenset(
    {
        *("CronJob", "DaemonSet", "Deployment", "Ingress", "Job", "NetworkPolicy"),
        *("PersistentVolumeClaim", "Pod", "ReplicaSet", "Service", "StatefulSet"),
    }
)
# Owners of owners, such as Deployment, ReplicaSet and Pod, are never deeper than this.
_DEPTH = 5


def terminating(obj: Object) -> Object:
    """Return an object that another controller deleted and holds by its finalizer."""
    metadata = dict(obj["metadata"])
    metadata.setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
    metadata["finalizers"] = _with(metadata.get("finalizers"), _FOREIGN)
    return {**obj, "metadata": metadata}


def controlled(obj: Object, owner: Mapping[str, Any] = _OWNER) -> Object:
    """Return an object that another controller controls."""
    metadata = dict(obj["metadata"])
    others = [
        ref for ref in metadata.get("ownerReferences", ()) if ref.get("controller") is not True
    ]
    metadata["ownerReferences"] = [*others, {**owner, "controller": True}]
    return {**obj, "metadata": metadata}


def controlled_in_turn(obj: Object, primary: ObjectRef) -> Iterator[tuple[str, Object]]:
    """Yield an object under the control of each owner that is not `primary`.

    The owners: another object, another primary whose child has the same name, and an earlier
    incarnation of the primary. Nothing but the uid separates the last one from the primary.
    """
    yield "another", controlled(obj)
    yield f"another {primary.kind}", controlled(obj, _other_primary(primary))
    earlier = {**_other_primary(primary), "name": primary.name}
    yield f"an earlier {primary.kind} of that name", controlled(obj, earlier)


def _other_primary(primary: ObjectRef) -> Mapping[str, Any]:
    return {
        "apiVersion": primary.api_version,
        "kind": primary.kind,
        "name": f"{primary.name}-other",
        "uid": _FOREIGN_UID,
    }


def rewritten(obj: Object) -> Object:
    """Return an object with the content of another author: no labels, no data, other numbers."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "labels"}
    content: dict[str, Any] = {part: {} for part in ("data", "stringData") if obj.get(part)}
    if isinstance(obj.get("spec"), dict):
        content["spec"] = _recounted(obj["spec"])
    return {**obj, "metadata": metadata, **content}


def _recounted(value: Any) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        return {name: _recounted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_recounted(item) for item in value]
    return value + 1 if type(value) is int else value


def marked(obj: Object) -> Object:
    """Return an object with a foreign finalizer, label, annotation, ownerReference and condition.

    It gets a condition only where it has others, and a second annotation in its template of pods.
    """
    metadata = dict(obj["metadata"])
    metadata["finalizers"] = _with(metadata.get("finalizers"), _FOREIGN)
    for part in ("labels", "annotations"):
        metadata[part] = {**(metadata.get(part) or {}), _FOREIGN: "true"}
    if metadata.get("namespace"):
        metadata["ownerReferences"] = [*metadata.get("ownerReferences", ()), dict(_OWNER)]
    result = {**obj, "metadata": metadata}
    if _part(obj, "status", "conditions"):
        conditions = [*obj["status"]["conditions"], dict(_CONDITION)]
        result["status"] = {**obj["status"], "conditions": conditions}
    if template := _part(obj, "spec", "template"):
        result["spec"] = {**obj["spec"], "template": _annotated(template)}
    return result


def _annotated(template: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a template of pods with an annotation such as that of `kubectl rollout restart`."""
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return template
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), _FOREIGN: "true"}
    return {**template, "metadata": {**metadata, "annotations": annotations}}


def _part(obj: Object, *path: str) -> Any:  # noqa: ANN401 - JSON
    """Return a part of an object, None where it has none."""
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def outdated(obj: Object) -> Object | None:
    """Return an object whose controller has not seen its latest generation, None for one whose
    status names no generation.
    """
    generation = obj["metadata"].get("generation")
    if not isinstance(generation, int) or _part(obj, "status", "observedGeneration") != generation:
        return None
    return {**obj, "metadata": {**obj["metadata"], "generation": generation + 1}}


def _with(held: Any, name: str) -> list[str]:  # noqa: ANN401 - JSON
    known = list(held or ())
    return known if name in known else [*known, name]


def defaulted(obj: Object) -> Object | None:
    """Return an object whose spec has the defaults of a server, None for a kind that has none.

    Only the built-in kinds of workloads, networking and storage add defaults that no author wrote.
    """
    group = group_of(obj["apiVersion"])
    is_built_in = "." not in group or group.endswith(".k8s.io")
    if not is_built_in and obj["kind"] not in _DEFAULTED_KINDS:
        return None
    spec = obj.get("spec")
    return {**obj, "spec": _filled(spec)} if isinstance(spec, dict) and spec else None


def _filled(value: Any) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        # Label maps and resource lists are the author's own: the server defaults structures.
        is_structure = (
            any(isinstance(item, dict | list) for item in value.values()) or "name" in value
        )
        known = {name: _filled(item) for name, item in value.items()}
        return {**known, "defaultedByTheServer": "Always"} if is_structure else known
    if isinstance(value, list):
        # Rules without a name, such as those of a NetworkPolicy, get no defaults of their own.
        return [
            _filled(item) if not isinstance(item, dict) or "name" in item else item
            for item in value
        ]
    return value


@frozen
class HostileWorld:
    """A world with one hostile object, and the function that ends the hostility."""

    name: str
    world: World
    heal: Callable[[World], World]


def hostile_worlds(kit: Kit, world: World) -> Iterator[HostileWorld]:
    """Yield each world in which one object of `world` is hostile."""
    for key, obj in entries(world):
        if key.kind in _LEFT_ALONE:
            continue
        named = (
            f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
        )
        variants: list[tuple[str, Variant]] = [("terminating", terminating), ("marked", marked)]
        if not _is_exempt(kit, key):
            variants.append(("controlled by another", controlled))
            for primary in kit.keys[:1]:
                of_other = partial(controlled, owner=_other_primary(primary))
                variants.append((f"controlled by another {primary.kind}", of_other))
        for name, variant in variants:
            # Only another namespaced object owns a namespaced one.
            if name.startswith("controlled") and key.namespace is None:
                continue
            is_of_primary = name.startswith("controlled by another ")
            prepared = _with_primary(kit, world) if is_of_primary else _with_owner(world, key)
            hostile = prepared.put(key, _at(variant(obj), world))[0]
            yield HostileWorld(
                f"{named} {name}", hostile, _healer(key, obj, stays=_stays(kit, world, key, obj))
            )


def _at(obj: Object, world: World) -> Object:
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp") != "2026-01-01T00:00:00Z":
        return obj
    return {**obj, "metadata": {**metadata, "deletionTimestamp": rfc3339(world.now)}}


def _is_exempt(kit: Kit, key: Key) -> bool:
    return any(key == _key_of(ref) for ref in (*kit.keys, *kit.shared))


def _with_owner(world: World, key: Key) -> World:
    """Return the world with the foreign owner in it, so that no reference to it dangles."""
    if key.namespace is None:
        return world
    owner = Key("", "ConfigMap", key.namespace, str(_OWNER["name"]))
    metadata = {"name": owner.name, "namespace": key.namespace, "uid": _FOREIGN_UID}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    return world.put(owner, manifest)[0]


def _with_primary(kit: Kit, world: World) -> World:
    """Return the world with another primary like the first, so that no reference to it dangles."""
    primary = kit.keys[0]
    key = _key_of(primary)
    stored = world.get(key) or {"apiVersion": primary.api_version, "kind": primary.kind}
    other = evolve(key, name=f"{key.name}-other")
    metadata = {"name": other.name, "uid": _FOREIGN_UID}
    if key.namespace is not None:
        metadata["namespace"] = key.namespace
    return world.put(other, {**stored, "metadata": metadata})[0]


def _stays(kit: Kit, world: World, key: Key, obj: Object) -> bool:
    """Whether the world is right only with this object, because the loop cannot make it again."""
    if any(key == _key_of(ref) for ref in kit.keys) or "deletionTimestamp" in obj["metadata"]:
        return False
    return _controller(obj) is None or bool(_foreign_controller(kit, obj, _holders(world)))


def _key_of(ref: ObjectRef) -> Key:
    return Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)


def _healer(key: Key, original: Object, *, stays: bool) -> Callable[[World], World]:
    def heal(world: World) -> World:
        obj = world.get(key)
        if obj is None:
            return world
        metadata = dict(obj["metadata"])
        metadata["finalizers"] = [
            name for name in metadata.get("finalizers", ()) if name != _FOREIGN
        ]
        owners = metadata.get("ownerReferences", ())
        if any(ref["uid"] == _FOREIGN_UID for ref in owners):
            ours = [ref for ref in owners if ref["uid"] != _FOREIGN_UID]
            before = original["metadata"].get("ownerReferences", ())
            metadata["ownerReferences"] = ours or list(before)
        for name in ("finalizers", "ownerReferences"):
            if not metadata.get(name):
                metadata.pop(name, None)
        if stays:
            metadata.pop("deletionTimestamp", None)
        if "deletionTimestamp" in metadata and "finalizers" not in metadata:
            return world.remove(key)
        return world.put(key, {**obj, "metadata": metadata})[0]

    return heal


def intrusions(kit: Kit, action: Action, world: World) -> Iterator[Violation]:
    """Yield the violations of a write to an object that another controls or deletes."""
    if isinstance(action, Create | RecordEvent):
        return
    target = action.target
    obj = world.get(key_of_target(action))
    if obj is None or target in kit.keys or target in kit.shared:
        return
    if other := _foreign_controller(kit, obj, _holders(world)):
        yield Violation("P9a", f"{write_of(action)} although {other} controls it")
    if "deletionTimestamp" in obj["metadata"] and not only_finalizers(action):
        yield Violation("P9b", f"{write_of(action)} although it is being deleted")


def _holders(world: World) -> dict[str, Object]:
    return {str(obj["metadata"]["uid"]): obj for _, obj in entries(world)}


def _foreign_controller(kit: Kit, obj: Object, holders: Mapping[str, Object]) -> str:
    """Name the foreign controller of an object, "" for none and for a primary, direct or not."""
    names = {(ref.kind, ref.namespace, ref.name) for ref in kit.keys}
    first = ""
    for _ in range(_DEPTH):
        ref = _controller(obj)
        if ref is None:
            return first
        first = first or f"{ref.get('kind')} {ref.get('name')}"
        holder = holders.get(ref.get("uid", ""))
        if holder is None:
            return first
        metadata = holder["metadata"]
        if (holder["kind"], metadata.get("namespace"), metadata["name"]) in names:
            return ""
        obj = holder
    return first


def _controller(obj: Object) -> Mapping[str, Any] | None:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((ref for ref in owners if ref.get("controller") is True), None)


def is_controlled_by(obj: Object, uid: object) -> bool:
    """Whether the object with this uid controls an object."""
    ref = _controller(obj)
    return ref is not None and ref.get("uid") == uid


def only_finalizers(action: Action) -> bool:
    if not isinstance(action, Patch) or action.subresource is not None:
        return False
    metadata = action.body.get("metadata")
    return (
        set(action.body) == {"metadata"}
        and isinstance(metadata, dict)
        and set(metadata) == {"finalizers"}
    )


def patched(action: Patch, found: Object) -> Object:
    """Return the object after the merge patch of an action."""
    result: Object = apply_merge_patch(found, dict(action.body))
    return result


def lost_marks(before: Object | None, after: Object | None) -> Iterator[str]:
    """Name the foreign marks that a write removed from an object."""
    if before is None or after is None:
        return
    if not identical(before.get("status"), after.get("status")):
        old_types, new_types = (_types(each) for each in (before, after))
        if _FOREIGN in old_types and _FOREIGN not in new_types:
            yield "condition"
    path = ("spec", "template", "metadata", "annotations")
    if _FOREIGN in (_part(before, *path) or ()) and _FOREIGN not in (_part(after, *path) or ()):
        yield "annotation of the template"
    old = before["metadata"]
    new = after["metadata"]
    if identical(old, new):
        return
    if _FOREIGN in old.get("finalizers", ()) and _FOREIGN not in (new.get("finalizers") or ()):
        yield "finalizer"
    for part in ("labels", "annotations"):
        if _FOREIGN in (old.get(part) or {}) and _FOREIGN not in (new.get(part) or {}):
            yield part.removesuffix("s")
    if _owned_by_foreign(old) and not _owned_by_foreign(new):
        yield "ownerReference"


def _types(obj: Object) -> list[Any]:
    conditions = _part(obj, "status", "conditions")
    held = conditions if isinstance(conditions, list) else []
    return [each.get("type") for each in held if isinstance(each, dict)]


def _owned_by_foreign(metadata: Mapping[str, Any]) -> bool:
    return any(ref.get("uid") == _FOREIGN_UID for ref in metadata.get("ownerReferences") or ())
