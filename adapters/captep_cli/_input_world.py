"""The world that is given: files made into a server, and the one control plane that is looked at."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from captep_cli._errors import InputError, suggestion
from captep_cli._input import Manifest, read_manifests
from captep_core import ObjectRef, control_plane_ref
from captep_core.capt import wire
from captep_memory import MemoryGateway, ObjectMatch, Scope, World, group_of, load

__all__ = ["Given", "Source", "given", "sorted_objects"]

_KIND: Final = "CAPTControlPlane"
_GROUP: Final = "controlplane.cluster.x-k8s.io"
# Files rarely hold the definition of a kind; a namespace on a Workspace means nothing.
_SCOPES: Final[Mapping[tuple[str, str], Scope]] = {("tf.upbound.io", "Workspace"): "Cluster"}
_KINDS: Final = frozenset(
    {
        _KIND,
        "Cluster",
        "Event",
        "Secret",
        "Workspace",
        "WorkspaceTemplate",
        "WorkspaceTemplateApply",
    }
)


@frozen
class Source:
    """What the command line says about a world. `control_plane` is None when there must be exactly one."""

    files: tuple[str, ...]
    control_plane: tuple[str, str] | None
    now: datetime
    unreadable: Mapping[ObjectMatch, str]
    refuse: Mapping[tuple[str, ObjectMatch], int]


@frozen
class Given:
    """A server, the control plane in it, and the objects that no server could hold: they are there, and unreadable."""

    key: ObjectRef
    gateway: MemoryGateway
    malformed: tuple[dict[str, Any], ...]


def given(source: Source) -> Given:
    """Read the files and serve what is in them.

    Raises:
        InputError: a file cannot be used, or there is no control plane to look at, or it is malformed.
    """
    manifests = read_manifests(source.files)
    _check_kinds(source, manifests)
    chosen = _chosen(manifests, source.control_plane)
    problems = wire.problems(chosen.object)
    if problems:
        raise InputError(
            f"{chosen.where}: malformed {_KIND} {'/'.join(_place(chosen))}: {'; '.join(problems)}"
        )
    world, malformed = _served(manifests, chosen, source.now)
    hidden = {
        ObjectMatch(_text(obj, "kind"), _namespace(obj), obj["metadata"]["name"]): "Malformed"
        for obj in malformed
    }
    gateway = MemoryGateway(world, unreadable={**hidden, **source.unreadable}, refuse=source.refuse)
    return Given(control_plane_ref(*_place(chosen)), gateway, malformed)


def sorted_objects(world: World, malformed: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Return everything in the server but Events, sorted by apiVersion, kind, namespace and name."""
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
            there = f"; there is {', '.join(names)}" if names else "; there is none"
            raise InputError(
                f"no {_KIND} {'/'.join(wanted)} in the files{there}{suggestion('/'.join(wanted), names)}"
            )
        return found[wanted]
    if not found:
        raise InputError(f"no {_KIND} in the files; expected one of {_GROUP}{_mistyped(manifests)}")
    if len(found) > 1:
        raise InputError(
            f"{len(found)} control planes in the files: {', '.join(names)}; choose one with --control-plane NS/NAME"
        )
    return next(iter(found.values()))


def _mistyped(manifests: list[Manifest]) -> str:
    """Point to the object that may have been meant as a control plane."""
    for manifest in manifests:
        kind, group = _text(manifest.object, "kind"), group_of(manifest.object["apiVersion"])
        if group == _GROUP and suggestion(kind, [_KIND]):
            return f"; {manifest.where} has the kind {kind}{suggestion(kind, [_KIND])}"
        if kind == _KIND:
            return f"; {manifest.where} has the group {group or 'v1'}{suggestion(group, [_GROUP])}"
    return ""


def _check_kinds(source: Source, manifests: list[Manifest]) -> None:
    """Tell a kind that nobody knows from one that was mistyped."""
    known = _KINDS | {_text(manifest.object, "kind") for manifest in manifests}
    for match in (*source.unreadable, *(match for _, match in source.refuse)):
        if match.kind not in known and (meant := suggestion(match.kind, known)):
            raise InputError(
                f"no kind {match.kind} in the files, and none that the loop reads{meant}"
            )


def _served(
    manifests: list[Manifest], chosen: Manifest, now: datetime
) -> tuple[World, tuple[dict[str, Any], ...]]:
    """Load the objects; those that a server could not even read are set aside."""
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
    """Say why `objects` cannot be loaded; the types besides ValueError are what a malformed CustomResourceDefinition gives."""
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
