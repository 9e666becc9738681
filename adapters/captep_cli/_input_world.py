"""A world from files: an in-memory server with their objects, and the chosen control plane."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from captep_core import ObjectRef, control_plane_ref
from captep_core._resources import Resource
from captep_core.capt import wire
from captep_core.capt._resources import RESOURCES
from captep_memory import MemoryGateway, ObjectMatch, Scope, World, group_of, load
from captep_operator.command._errors import InputError, suggestion
from captep_operator.command._manifests import Manifest, read_manifests

__all__ = ["InputWorld", "WorldSettings", "is_event", "read_world", "sorted_objects"]

_KIND: Final = "CAPTControlPlane"
_GROUP: Final = "controlplane.cluster.x-k8s.io"
# Files rarely hold the definition of a kind; a namespace on a Workspace means nothing.
_SCOPES: Final[Mapping[tuple[str, str], Scope]] = {("tf.upbound.io", "Workspace"): "Cluster"}
_READ: Final[Mapping[tuple[str, str], Resource]] = {
    (group_of(api_version), kind): resource for (api_version, kind), resource in RESOURCES.items()
}
"""The kinds that the loop reads, by group and kind, each in one version."""
_KINDS: Final = frozenset({"Event", *(kind for _, kind in _READ)})


@frozen
class WorldSettings:
    """The options of `plan` and `simulate` about the world.

    `control_plane` is namespace and name, or None when the files hold exactly one. `unreadable`
    maps objects to the reason of their failing reads, `refuse` maps verb (`create`, `patch`,
    `delete`, `event`) and object to the HTTP status of the refusal.
    """

    files: tuple[str, ...]
    control_plane: tuple[str, str] | None
    now: datetime
    unreadable: Mapping[ObjectMatch, str]
    refuse: Mapping[tuple[str, ObjectMatch], int]


@frozen
class InputWorld:
    """A server and the control plane in it.

    `malformed` are the objects that no server could hold: reads of them fail, and the output
    repeats them unchanged.
    """

    key: ObjectRef
    gateway: MemoryGateway
    malformed: tuple[dict[str, Any], ...]


def read_world(settings: WorldSettings) -> InputWorld:
    """Read the files and load their objects into a server.

    Raises:
        InputError: a file is unusable, or the control plane is missing, ambiguous or malformed.
    """
    manifests = read_manifests(settings.files)
    for manifest in manifests:
        _check_version(manifest)
    _check_kinds(settings, manifests)
    chosen = _chosen(manifests, settings.control_plane)
    problems = wire.problems(chosen.object)
    if problems:
        raise InputError(
            f"{chosen.where}: malformed {_KIND} {'/'.join(_place(chosen))}: {'; '.join(problems)}"
        )
    world, malformed = _served(manifests, chosen, settings.now)
    hidden = {
        ObjectMatch(_text(obj, "kind"), _namespace(obj), obj["metadata"]["name"]): "Malformed"
        for obj in malformed
    }
    gateway = MemoryGateway(
        world, unreadable={**hidden, **settings.unreadable}, refuse=settings.refuse
    )
    return InputWorld(control_plane_ref(*_place(chosen)), gateway, malformed)


def sorted_objects(world: World, malformed: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Return all objects but Events, sorted by apiVersion, kind, namespace and name."""
    kept = (obj for obj in (*world.objects(), *malformed) if not is_event(obj))
    return sorted(
        kept,
        key=lambda obj: (
            obj["apiVersion"],
            obj["kind"],
            _namespace(obj) or "",
            obj["metadata"]["name"],
        ),
    )


def is_event(obj: Mapping[str, Any]) -> bool:
    """Whether an object is an Event, of either API group."""
    return obj["kind"] == "Event" and group_of(obj["apiVersion"]) in ("", "events.k8s.io")


def _chosen(manifests: list[Manifest], wanted: tuple[str, str] | None) -> Manifest:
    found = {
        _place(manifest): manifest
        for manifest in manifests
        if (manifest.object["kind"], group_of(manifest.object["apiVersion"])) == (_KIND, _GROUP)
    }
    names = sorted("/".join(place) for place in found)
    if wanted is not None:
        if wanted not in found:
            name = "/".join(wanted)
            there = f"they hold {', '.join(names)}" if names else "they hold no control plane"
            raise InputError(f"no {_KIND} {name} in the files; {there}{suggestion(name, names)}")
        return found[wanted]
    if not found:
        raise InputError(f"no {_KIND} in the files; expected one of {_GROUP}{_mistyped(manifests)}")
    if len(found) > 1:
        raise InputError(
            f"{len(found)} control planes in the files: {', '.join(names)};"
            " choose one with --control-plane NS/NAME"
        )
    return next(iter(found.values()))


def _mistyped(manifests: list[Manifest]) -> str:
    """Name an object that is nearly a control plane: its kind or its group may be misspelt."""
    for manifest in manifests:
        kind, group = _text(manifest.object, "kind"), group_of(manifest.object["apiVersion"])
        if group == _GROUP and suggestion(kind, [_KIND]):
            return f"; {manifest.where} has the kind {kind}{suggestion(kind, [_KIND])}"
        if kind == _KIND:
            return f"; {manifest.where} has the group {group or 'v1'}{suggestion(group, [_GROUP])}"
    return ""


def _check_kinds(settings: WorldSettings, manifests: list[Manifest]) -> None:
    """Refuse a kind of `--unreadable` or `--refuse` that is probably misspelt.

    A kind that resembles no known kind is accepted: the files need not hold it.
    """
    known = _KINDS | {_text(manifest.object, "kind") for manifest in manifests}
    for match in (*settings.unreadable, *(match for _, match in settings.refuse)):
        if match.kind not in known and (meant := suggestion(match.kind, known)):
            raise InputError(
                f"no kind {match.kind} in the files or among those that the loop reads{meant}"
            )


def _check_version(manifest: Manifest) -> None:
    """Refuse an object of a version that the loop does not read.

    An API server converts an object to the version that a client asks for. Nothing converts here,
    and the fields of two versions differ.
    """
    obj = manifest.object
    resource = _READ.get((group_of(obj["apiVersion"]), obj["kind"]))
    if resource is None or obj["apiVersion"] == resource.api_version:
        return
    name = f"{_namespace(obj)}/{obj['metadata']['name']}".removeprefix("None/")
    group, _, version = resource.api_version.rpartition("/")
    raise InputError(
        f"{manifest.where}: {obj['kind']} {name} has the version {obj['apiVersion']}, which the"
        f" loop does not read; expected {resource.api_version}"
        f" (kubectl get {resource.plural}.{version}.{group} -o yaml converts it)"
    )


def _served(
    manifests: list[Manifest], chosen: Manifest, now: datetime
) -> tuple[World, tuple[dict[str, Any], ...]]:
    """Load the objects into a world; return it with the objects that no server could read."""
    objects = [manifest.object for manifest in manifests]
    if _problem(objects, now) is None:
        return load(objects, now=now, scopes=_SCOPES), ()
    problem = _problem([chosen.object], now)
    if problem is not None:
        raise InputError(f"{chosen.where}: malformed {_KIND} {'/'.join(_place(chosen))}: {problem}")
    malformed = tuple(obj for obj in objects if _problem([obj], now) is not None)
    sound = [obj for obj in objects if obj not in malformed]
    problem = _problem(sound, now)
    if problem is not None:
        raise InputError(problem)
    return load(sound, now=now, scopes=_SCOPES), malformed


def _problem(objects: list[dict[str, Any]], now: datetime) -> str | None:
    """Say why loading `objects` fails, or None.

    A malformed CustomResourceDefinition raises other types than ValueError.
    """
    try:
        load(objects, now=now, scopes=_SCOPES)
    except ValueError as exc:
        return str(exc)
    except (AttributeError, KeyError, TypeError):
        return "malformed CustomResourceDefinition"
    return None


def _place(manifest: Manifest) -> tuple[str, str]:
    return str(manifest.object["metadata"]["namespace"]), manifest.object["metadata"]["name"]


def _text(obj: Mapping[str, Any], field: str) -> str:
    return str(obj[field])


def _namespace(obj: Mapping[str, Any]) -> str | None:
    namespace = obj["metadata"].get("namespace")
    return namespace if isinstance(namespace, str) and namespace else None
