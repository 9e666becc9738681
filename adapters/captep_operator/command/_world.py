"""A world from files: an in-memory server with their objects, and the chosen object."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

from captep_core._actions import ObjectRef
from captep_memory import ObjectMatch, Scope, World, group_of, load, scope_of
from captep_operator._kind import Kind
from captep_operator._simulation import scopes_of, watched_in_memory
from captep_operator._watching import WatchingGateway
from captep_operator.command._errors import InputError, suggestion
from captep_operator.command._manifests import Manifest, read_manifests
from captep_operator.command._program import Target
from captep_operator.command._values import Named

__all__ = ["InputWorld", "WorldSettings", "is_event", "read_world", "sorted_objects"]


@frozen
class WorldSettings:
    """The options of `plan` and `simulate` about the world.

    `wanted` is the object, or None when the files hold exactly one of the primary kind;
    `choose_with` the flag that names it. `unreadable` maps objects to the reason of their failing
    reads, `refuse` maps verb (`create`, `patch`, `delete`, `event`) and object to the HTTP status
    of the refusal.
    """

    target: Target
    files: tuple[str, ...]
    wanted: Named | None
    choose_with: str
    now: datetime
    unreadable: Mapping[ObjectMatch, str]
    refuse: Mapping[tuple[str, ObjectMatch], int]


@frozen
class InputWorld:
    """A server and the chosen object in it.

    `malformed` are the objects that no server could hold: reads of them fail, and the output
    repeats them unchanged.
    """

    key: ObjectRef
    gateway: WatchingGateway
    malformed: tuple[dict[str, Any], ...]


def read_world(settings: WorldSettings) -> InputWorld:
    """Read the files and load their objects into a server.

    Raises:
        InputError: a file is unusable, or the object is missing, ambiguous or malformed.
    """
    target = settings.target
    manifests = read_manifests(settings.files, _namespaced(target))
    read = {(kind.group, kind.kind): kind for kind in target.kinds}
    for manifest in manifests:
        _check_version(manifest, read)
    _check_kinds(settings, manifests)
    chosen = _chosen(settings, manifests)
    key = _key(chosen, target.primary)
    problems = target.problems(chosen.object)
    if problems:
        raise InputError(f"{chosen.where}: malformed {key}: {'; '.join(problems)}")
    world, malformed = _Loader(scopes_of(target.kinds), settings.now).served(manifests, chosen, key)
    hidden = {
        ObjectMatch(_text(obj, "kind"), _namespace(obj), obj["metadata"]["name"]): "Malformed"
        for obj in malformed
    }
    gateway = WatchingGateway(
        world,
        watched_in_memory(target.kinds),
        unreadable={**hidden, **settings.unreadable},
        refuse=settings.refuse,
    )
    return InputWorld(key, gateway, malformed)


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


def _namespaced(target: Target) -> Callable[[str, str], bool]:
    scopes = scopes_of(target.kinds)

    def is_namespaced(group: str, kind: str) -> bool:
        scope = scopes.get((group, kind)) or scope_of(group, kind)
        return scope == "Namespaced" or (scope is None and target.is_namespaced(group, kind))

    return is_namespaced


def _key(manifest: Manifest, primary: Kind | None) -> ObjectRef:
    obj = manifest.object
    is_clusters = primary is not None and bool(primary.plural) and not primary.namespaced
    return ObjectRef(
        obj["apiVersion"],
        obj["kind"],
        None if is_clusters else _namespace(obj),
        obj["metadata"]["name"],
    )


def _chosen(settings: WorldSettings, manifests: list[Manifest]) -> Manifest:
    wanted, primary = settings.wanted, settings.target.primary
    kind, group = _kind_and_group(wanted, primary)
    found = [
        each
        for each in manifests
        if each.object["kind"] == kind and group in (None, group_of(each.object["apiVersion"]))
    ]
    names = sorted({_place(each) for each in found})
    if wanted is not None:
        found = [each for each in found if _place(each) == _place_of(wanted)]
    if not found and wanted is not None:
        there = f"they hold {', '.join(names)}" if names else f"they hold no {kind}"
        meant = suggestion(_place_of(wanted), names)
        raise InputError(f"no {wanted} in the files; {there}{meant}")
    if not found:
        mistyped = _mistyped(manifests, kind, group or "")
        raise InputError(f"no {kind} in the files; expected one of {group or 'v1'}{mistyped}")
    if len(found) > 1 and wanted is not None:
        groups = ", ".join(sorted(each.object["apiVersion"] for each in found))
        raise InputError(f"{wanted} is there in several groups: {groups}; name one, as KIND.GROUP")
    if len(found) > 1:
        raise InputError(
            f"{len(found)} objects of the kind {kind} in the files: {', '.join(names)};"
            f" choose one with {settings.choose_with}"
        )
    return found[0]


def _kind_and_group(wanted: Named | None, primary: Kind | None) -> tuple[str, str | None]:
    if primary is not None:
        return primary.kind, primary.group
    # The command asks for the object where nobody declared a kind.
    return ("", None) if wanted is None else (wanted.kind, wanted.group)


def _mistyped(manifests: list[Manifest], wanted: str, group_wanted: str) -> str:
    """Name an object that is nearly of the kind: its kind or its group may be misspelt."""
    for manifest in manifests:
        kind, group = _text(manifest.object, "kind"), group_of(manifest.object["apiVersion"])
        if group == group_wanted and suggestion(kind, [wanted]):
            return f"; {manifest.where} has the kind {kind}{suggestion(kind, [wanted])}"
        if kind == wanted:
            meant = suggestion(group, [group_wanted])
            return f"; {manifest.where} has the group {group or 'v1'}{meant}"
    return ""


def _check_kinds(settings: WorldSettings, manifests: list[Manifest]) -> None:
    """Refuse a kind of `--unreadable` or `--refuse` that is probably misspelt.

    A kind that resembles no known kind is accepted: the files need not hold it.
    """
    declared = {kind.kind for kind in settings.target.kinds}
    known = {"Event", *declared, *(_text(manifest.object, "kind") for manifest in manifests)}
    for match in (*settings.unreadable, *(match for _, match in settings.refuse)):
        if match.kind not in known and (meant := suggestion(match.kind, known)):
            raise InputError(
                f"no kind {match.kind} in the files or among those that the loop reads{meant}"
            )


def _check_version(manifest: Manifest, read: Mapping[tuple[str, str], Kind]) -> None:
    """Refuse an object of a version that the loop does not read.

    An API server converts an object to the version that a client asks for. Nothing converts here,
    and the fields of two versions differ.
    """
    obj = manifest.object
    kind = read.get((group_of(obj["apiVersion"]), obj["kind"]))
    if kind is None or obj["apiVersion"] in (kind.api_version, *kind.versions):
        return
    group, _, version = kind.api_version.rpartition("/")
    converts = f"{kind.resource_name()}.{version}.{group}"
    raise InputError(
        f"{manifest.where}: {obj['kind']} {_place(manifest)} has the version {obj['apiVersion']},"
        f" which the loop does not read; expected {kind.api_version}"
        f" (kubectl get {converts} -o yaml converts it)"
    )


@frozen
class _Loader:
    """Loads objects into a world, at a time and with the scopes of kinds without a definition."""

    scopes: Mapping[tuple[str, str], Scope]
    now: datetime

    def served(
        self, manifests: list[Manifest], chosen: Manifest, key: ObjectRef
    ) -> tuple[World, tuple[dict[str, Any], ...]]:
        """Return a world, and the objects that no server could read."""
        objects = [manifest.object for manifest in manifests]
        if self._problem(objects) is None:
            return load(objects, now=self.now, scopes=self.scopes), ()
        problem = self._problem([chosen.object])
        if problem is not None:
            raise InputError(f"{chosen.where}: malformed {key}: {problem}")
        malformed = tuple(obj for obj in objects if self._problem([obj]) is not None)
        sound = [obj for obj in objects if obj not in malformed]
        problem = self._problem(sound)
        if problem is not None:
            raise InputError(problem)
        return load(sound, now=self.now, scopes=self.scopes), malformed

    def _problem(self, objects: list[dict[str, Any]]) -> str | None:
        """Say why loading `objects` fails, or None.

        A malformed CustomResourceDefinition raises other types than ValueError.
        """
        try:
            load(objects, now=self.now, scopes=self.scopes)
        except ValueError as exc:
            return str(exc)
        except (AttributeError, KeyError, TypeError):
            return "malformed CustomResourceDefinition"
        return None


def _place(manifest: Manifest) -> str:
    return _joined(_namespace(manifest.object), manifest.object["metadata"]["name"])


def _place_of(named: Named) -> str:
    return _joined(named.namespace, named.name)


def _joined(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _text(obj: Mapping[str, Any], field: str) -> str:
    return str(obj[field])


def _namespace(obj: Mapping[str, Any]) -> str | None:
    namespace = obj["metadata"].get("namespace")
    return namespace if isinstance(namespace, str) and namespace else None
