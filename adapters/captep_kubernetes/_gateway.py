"""`Gateway` over a real API server: cached reads, one request an action, own writes seen at once.

Rules of this module:

1. One action is one request, made by `captep_core._request`; this module knows no domain.
2. No answer is 503 when nothing can have landed, else 504.
3. An object of a kind on demand (Secrets) is fetched when a decision reads it, so that no other
   payload ever comes into memory. The payloads fetched last stay until their objects change.
4. An object that a selector hides is unreadable, not absent, once a create of its name was refused
   because it exists.
5. Objects of a kind that the server does not have are unreadable, although a cache may be empty.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Final, TypeVar

from attrs import evolve

from captep_core._actions import JSON, Action, ObjectRef, RecordEvent
from captep_core._observation import (
    ABSENT,
    Absent,
    Listed,
    Observed,
    Selection,
    Unreadable,
)
from captep_core._projection import hidden, shown_of, without_managed_fields
from captep_core._request import (
    RawResponse,
    WriteRequest,
    answer_of,
    event_request,
    reason_of,
    request_of,
)
from captep_core._resources import Representation, Resource, Watched
from captep_core.errors import GatewayError
from captep_core.ports import Answer, Read, Reads
from captep_kubernetes._definitions import DefinitionWatch
from captep_kubernetes._discovery import served_resource
from captep_kubernetes._events import EventBook
from captep_kubernetes._hidden import HiddenObjects
from captep_kubernetes._informer import NOT_SERVED, Informer, identity_only
from captep_kubernetes._lists import list_live
from captep_kubernetes._payloads import Payloads
from captep_kubernetes._predicates import content_changed, essence_of
from captep_kubernetes._resources import EVENTS
from captep_kubernetes._store import CacheChange, Object
from captep_kubernetes._transport import (
    FIELD_MANAGER,
    MERGE_PATCH,
    Transport,
    UnansweredError,
)

__all__ = ["DryRun", "KubernetesGateway"]

# A pass that waits longer for one object keeps its worker from all others; it comes back anyway.
_READ_SECONDS: Final = 10.0
_WRITE_SECONDS: Final = 10.0
# Every watch of a kind that is not there fails every three seconds.
_DISCOVERY_SECONDS: Final = 30.0
# The thread of an informer ends within a second of `stop`; the rest is for a busy machine.
_STOP_SECONDS: Final = 1.5

_Target = TypeVar("_Target", ObjectRef, Selection)

_CONFLICT: Final = 409
_METHODS: Final = {"create": "POST", "patch": "PATCH", "delete": "DELETE", "apply": "PATCH"}
# JSON is YAML: every API server that applies takes it under this name.
_PATCHES: Final = {"patch": MERGE_PATCH, "apply": "application/apply-patch+yaml"}


class DryRun(Enum):
    """Whether writes count: CLIENT sends none, SERVER has the API server check and forget each."""

    NONE = "none"
    CLIENT = "client"
    SERVER = "server"


class KubernetesGateway:
    """One API server, seen by one controller. Safe to use from many threads.

    Args:
        transport: the way to the server.
        watched: the kinds that can be read and written.
        written: further kinds, which are written and never read.
        namespaces: where to look, none for everywhere; cluster-scoped kinds are always seen.
        on_change: called once for each new state of an object, own writes included; see `Informer`.
        dry_run: whether writes are sent, and whether they count.
        component: the name that Events carry.
        discover: where a kind is served, asked after a watch was answered with 404.
        now: the time, for Events.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        watched: Iterable[Watched],
        written: Iterable[Resource] = (),
        namespaces: Iterable[str] = (),
        on_change: Callable[[CacheChange], None] = lambda _change: None,
        dry_run: DryRun = DryRun.NONE,
        component: str = FIELD_MANAGER,
        discover: Callable[[Transport, Watched], Resource] = served_resource,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._on_change = on_change
        self._dry_run = dry_run
        self._component = component
        self._now = now
        self._seed = uuid.uuid4().hex
        self._kinds = {(one.resource.api_version, one.resource.kind): one for one in watched}
        self._served = {(one.api_version, one.kind): one for one in written}
        self._served |= {key: one.resource for key, one in self._kinds.items()}
        self._versions = {
            (version, one.resource.kind): one.resource.api_version
            for one in self._kinds.values()
            for version in one.versions
        }
        self._discovered_at: dict[tuple[str, str], float] = {}
        self._clock = clock
        self._served_again = discover
        self._hidden = HiddenObjects(clock)
        self._informers: dict[tuple[str, str, str | None], Informer] = {}
        everywhere: list[str | None] = [None]
        scopes: list[str | None] = [*sorted(set(namespaces))] or everywhere
        for key, one in self._kinds.items():
            for namespace in scopes if one.resource.namespaced else everywhere:
                self._informers[*key, namespace] = self._informer(one, namespace)
        self._definitions = tuple(
            DefinitionWatch(
                transport, one.resource, partial(self._discover, key, at_once=True), seed=self._seed
            )
            for key, one in self._kinds.items()
            if len(one.versions) > 1
        )
        self._payloads = Payloads()
        self._read = Reads(self._look_up, self._list)
        self._events = EventBook()
        self._lock = threading.Lock()

    @property
    def informers(self) -> tuple[Informer, ...]:
        """The caches, for readiness and health: `has_synced`, `is_alive`, `problem`."""
        return tuple(self._informers.values())

    @property
    def _watches(self) -> tuple[Informer | DefinitionWatch, ...]:
        return (*self.informers, *self._definitions)

    @property
    def has_synced(self) -> bool:
        """Whether every cache has taken in one complete list."""
        return all(informer.has_synced for informer in self.informers)

    def start(self) -> None:
        """Start to watch; once. Discovery comes first for kinds that have several versions."""
        for key in self._kinds:
            self._discover(key)
        for watch in self._watches:
            watch.start()

    def stop(self) -> None:
        """Stop to watch, within about a second; nothing is announced after that."""
        threads = [threading.Thread(target=watch.stop, daemon=True) for watch in self._watches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_STOP_SECONDS)

    def refs(self, api_version: str, kind: str) -> tuple[ObjectRef, ...]:
        """Return the names of all cached objects of a kind."""
        return tuple(
            ref
            for key, informer in self._informers.items()
            if key[:2] == (api_version, kind)
            for ref in informer.refs()
        )

    def exists(self, ref: ObjectRef) -> bool:
        """Whether a cache knows that the object exists."""
        ref = self._canonical(ref)
        informer = self._informer_of(ref)
        return informer is not None and informer.identity(ref) is not None

    @property
    def read(self) -> Read:
        """Look one object up, or list; see `captep_core.ports.Read`.

        Only an object on demand that has changed costs a request, a list of such objects, and an
        object that a selector hides.
        """
        return self._read

    def _look_up(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        ref = self._canonical(ref)
        informer = self._current(ref)
        if isinstance(informer, Unreadable):
            return informer
        if informer.identity(ref) is None:
            return self._unseen(ref)
        if self._is_on_demand(ref):
            return self._payload(ref, informer)
        found = informer.get(ref)
        return ABSENT if found is None else found

    def _current(self, target: ObjectRef | Selection) -> Informer | Unreadable:
        """Return the cache that answers for an object or a list, or why none does."""
        informer = self._informer_of(target)
        if informer is None:
            detail = f"{target} is in a namespace, or of a kind, that is not watched"
            return Unreadable("NotWatched", detail)
        problem = informer.problem
        if not informer.has_synced:
            detail = f"the first list of {informer.resource} is not there yet"
            return problem or Unreadable("NotSynced", detail)
        return problem if problem is not None and problem.reason == NOT_SERVED else informer

    def _unseen(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Say of an object that no cache has whether it exists, where a selector may hide it."""
        if not self._hidden.is_suspect(ref):
            return ABSENT
        if self._hidden.is_due(ref):
            found = self._get(self._resource(ref), ref)
            if isinstance(found, Absent):
                self._hidden.forget(ref)
                return ABSENT
        return hidden(ref, self._kinds[ref.api_version, ref.kind])

    def _list(self, selection: Selection) -> Listed:
        selection = self._canonical(selection)
        informer = self._current(selection)
        if isinstance(informer, Unreadable):
            return informer
        if self._is_on_demand(selection):
            # One request for the members alone: the labels are on the server.
            resource = self._resource(selection)
            found = list_live(
                self._transport,
                resource,
                selection,
                selectors=self._kinds[selection.api_version, selection.kind].selectors,
                timeout=_READ_SECONDS,
            )
            if isinstance(found, Unreadable):
                return found
            return tuple(map(without_managed_fields, found))
        objects = informer.objects(selection.namespace)
        if not selection.labels:
            return objects
        return tuple(obj for obj in objects if selection.fits(obj))

    def is_relevant(self, change: CacheChange) -> bool:
        """Whether a change touches what decisions read of the kind; see `content_changed`."""
        watched = self._kinds.get((change.ref.api_version, change.ref.kind))
        return content_changed(change, None if watched is None else watched.conditions)

    def manifests(self, change: CacheChange) -> Callable[[], tuple[Object, ...]] | None:
        """Return a function to the object before and after a change; None: no cache keeps it."""
        if self._is_on_demand(change.ref):
            return None
        states = (change.before, change.after)
        return lambda: tuple(known.obj for known in states if known is not None)

    def read_live(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Ask the server for the whole object; see `captep_core.ports.ReadsLive`."""
        return self._get(self._resource(ref), ref)

    def version(self, ref: ObjectRef) -> str | None:
        """Return the cached resourceVersion of an object, None when it is not known to exist."""
        ref = self._canonical(ref)
        informer = self._informer_of(ref)
        return None if informer is None else informer.version(ref)

    def list_version(self, selection: Selection) -> str | None:
        """Return the version of a list, None where no cache knows its objects.

        It also changes with other objects of the kind: counting them costs nothing.
        """
        informer = self._informer_of(self._canonical(selection))
        return None if informer is None else str(informer.changes)

    def send(self, action: Action) -> Answer:
        """Send one action; see `captep_core.ports.Gateway`.

        Raises:
            GatewayError: the action is about a kind that this gateway was not given.
        """
        if self._dry_run is DryRun.CLIENT:
            return Answer(200, changed=False)
        try:
            if isinstance(action, RecordEvent):
                return self._record(action)
            request = request_of(action, now=self._now(), component=self._component)
            return self._send(evolve(request, target=self._canonical(request.target)))
        except UnansweredError as error:
            return Answer(504 if error.may_have_landed else 503, changed=False)

    def _send(self, request: WriteRequest) -> Answer:
        is_create = request.verb == "create"
        before = None if is_create else self._cached_identity(request.target)
        response = self._write(self._resource(request.target), request)
        if is_create and response.status == _CONFLICT:
            self._suspect(request.target)
        if request.verb == "delete" and not _is_kept(response.body or {}):
            return self._deleted(request, response)
        return self._written(request.target, response, before=before)

    def _suspect(self, ref: ObjectRef) -> None:
        """Note an object that exists although no cache of a kind with selectors has it."""
        watched = self._kinds.get((ref.api_version, ref.kind))
        if watched is not None and watched.selectors and self._cached_identity(ref) is None:
            self._hidden.suspect(ref)

    def _deleted(self, request: WriteRequest, response: RawResponse) -> Answer:
        """Take the object that a delete removed out of the cache."""
        preconditions = request.body.get("preconditions")
        uid = preconditions.get("uid") if isinstance(preconditions, dict) else None
        is_gone = response.status in (200, 202) or _is_absent(response)
        informer = self._informer_of(request.target)
        if is_gone and uid and informer is not None and self._counts:
            informer.observe_delete(request.target, str(uid))
        return answer_of(response, request.target, changed=self._counts)

    def _record(self, action: RecordEvent) -> Answer:
        now = self._now()
        with self._lock:
            event = self._events.record(action, now)
        if event is None:
            return Answer(200, changed=False)
        request = event_request(action, event, now=now, component=self._component)
        response = self._write(EVENTS, request)
        if response.status >= 300:
            with self._lock:
                self._events.forget(action)
            if response.status == 404 and request.verb == "patch":
                # Servers delete Events after an hour: record it as a new one, which is no patch.
                return self._record(action)
        return answer_of(response, request.target, changed=self._counts)

    def _write(self, resource: Resource, request: WriteRequest) -> RawResponse:
        target = request.target
        name = None if request.verb == "create" else target.name
        path = resource.path(target.namespace, name, request.subresource)
        method = _METHODS[request.verb]
        query: list[tuple[str, str]] = []
        if request.manager:
            query.append(("fieldManager", request.manager))
        if request.force:
            query.append(("force", "true"))
        body = request.body
        if self._dry_run is DryRun.SERVER:
            query.append(("dryRun", "All"))
            if request.verb == "delete":
                # kube-apiserver 1.37 reads the options of a DELETE from its body alone, if it has
                # one: with `dryRun` in the query it really deletes.
                body = {**body, "dryRun": ["All"]}
        response = self._transport.request(
            method,
            path,
            query=query,
            body=body,
            content_type=_PATCHES.get(request.verb),
            timeout=_WRITE_SECONDS,
        )
        if response.status < 300 and response.body is None:
            raise UnansweredError(
                f"{method} {path}: HTTP {response.status} that no API server sent",
                may_have_landed=True,
            )
        return response

    def _written(
        self, ref: ObjectRef, response: RawResponse, *, before: tuple[str, str] | None
    ) -> Answer:
        """Take the object that a write was answered with into the cache.

        It changed when its version differs from the one cached before the write was sent; after the
        write the watch may have been faster.
        """
        if response.status >= 300 or response.body is None or not self._counts:
            return answer_of(response, ref, changed=False)
        informer = self._informer_of(ref)
        if _is_over(response.body):
            # A patch that removes the last finalizer is answered with the object at its old
            # version: the object is gone.
            if informer is not None:
                informer.observe_delete(ref, _identity(response.body)[0])
            return answer_of(response, ref, changed=True)
        if informer is not None and response.body.get("kind") == ref.kind:
            self._keep(ref, response.body)
            informer.observe_write(response.body)
        return answer_of(response, ref, changed=before != _identity(response.body))

    @property
    def _counts(self) -> bool:
        """Whether the server stores what it is sent."""
        return self._dry_run is DryRun.NONE

    def _cached_identity(self, ref: ObjectRef) -> tuple[str, str] | None:
        informer = self._informer_of(ref)
        return informer.identity(ref) if informer else None

    def _payload(self, ref: ObjectRef, informer: Informer) -> Observed[dict[str, JSON]]:
        identity = informer.identity(ref)
        if identity is None:
            return ABSENT
        kept = self._payloads.get(ref, identity)
        return self._fetch(ref, identity[0], informer) if kept is None else kept

    def _fetch(self, ref: ObjectRef, uid: str, informer: Informer) -> Observed[dict[str, JSON]]:
        found = self._get(self._resource(ref), ref)
        if isinstance(found, Absent):
            informer.observe_delete(ref, uid)
        if isinstance(found, Absent | Unreadable):
            return found
        self._keep(ref, found)
        informer.observe_write(found)
        return without_managed_fields(found)

    def _get(self, resource: Resource, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        path = resource.path(ref.namespace, ref.name)
        try:
            response = self._transport.request("GET", path, timeout=_READ_SECONDS)
        except UnansweredError as error:
            return Unreadable("Timeout" if "Timeout" in str(error) else "Unavailable", str(error))
        if _is_absent(response):
            return ABSENT
        if response.status != 200 or response.body is None:
            return Unreadable(reason_of(response), f"{path}: HTTP {response.status}")
        if _metadata(response.body).get("name") != ref.name:
            return Unreadable("Malformed", f"{path}: HTTP 200 with another object")
        return dict(response.body)

    def _keep(self, ref: ObjectRef, obj: Mapping[str, JSON]) -> None:
        if self._is_on_demand(ref):
            self._payloads.keep(ref, _identity(obj), without_managed_fields(dict(obj)))

    def _changed(self, change: CacheChange) -> None:
        if change.after is None or _is_same_version(change):
            # A server that was restored gives an old version to another content.
            self._payloads.forget(change.ref)
        self._on_change(change)

    def _informer(self, watched: Watched, namespace: str | None) -> Informer:
        return Informer(
            self._transport,
            watched.resource,
            namespace=namespace,
            representation=watched.representation,
            project=_projection(watched),
            essence=_essence(watched),
            on_change=self._changed,
            on_missing=lambda: self._discover(_key(watched), self._served_again),
            selectors=watched.selectors,
            seed=self._seed,
        )

    def _discover(
        self,
        key: tuple[str, str],
        ask: Callable[[Transport, Watched], Resource] = served_resource,
        *,
        at_once: bool = False,
    ) -> None:
        """Take a kind as the server serves it.

        A kind that is missing would be asked for at each failing watch, so only a changed
        definition is worth asking `at_once`; everything else asks twice a minute at most.
        """
        watched = self._kinds[key]
        with self._lock:
            last = self._discovered_at.get(key)
            is_recent = last is not None and self._clock() - last < _DISCOVERY_SECONDS
            if is_recent and not at_once:
                return
            self._discovered_at[key] = self._clock()
        served = ask(self._transport, watched)
        self._served[key] = served
        for (api_version, kind, _), informer in self._informers.items():
            if (api_version, kind) == key:
                informer.serve(served)

    def _canonical(self, ref: _Target) -> _Target:
        """Name an object or a list in the version that the caches use."""
        api_version = self._versions.get((ref.api_version, ref.kind), ref.api_version)
        return ref if api_version == ref.api_version else evolve(ref, api_version=api_version)

    def _informer_of(self, ref: ObjectRef | Selection) -> Informer | None:
        kind = (ref.api_version, ref.kind)
        exact = self._informers.get((*kind, ref.namespace)) or self._informers.get((*kind, None))
        served = self._served.get(kind)
        if exact is not None or served is None or served.namespaced:
            return exact
        # A kind that was assumed to be namespaced: each of its watches sees the whole cluster.
        return next((each for key, each in self._informers.items() if key[:2] == kind), None)

    def _is_on_demand(self, ref: ObjectRef | Selection) -> bool:
        watched = self._kinds.get((ref.api_version, ref.kind))
        return watched is not None and watched.representation is Representation.ON_DEMAND

    def _resource(self, ref: ObjectRef | Selection) -> Resource:
        resource = self._served.get((ref.api_version, ref.kind))
        if resource is None:
            raise GatewayError(f"{ref}: this gateway was not given the kind {ref.api_version}")
        return resource


def _key(watched: Watched) -> tuple[str, str]:
    return watched.resource.api_version, watched.resource.kind


def _projection(watched: Watched) -> Callable[[Object], Object]:
    if watched.representation is Representation.ON_DEMAND:
        return identity_only
    return shown_of(watched)


def _essence(watched: Watched) -> Callable[[Object], Object] | None:
    if watched.conditions is None:
        return None
    return partial(essence_of, conditions=watched.conditions)


def _is_absent(response: RawResponse) -> bool:
    """Whether the API server says that there is no such object.

    A proxy answers 404 too, in HTML or in JSON of its own: that would hide the object for as long
    as it exists.
    """
    return response.status == 404 and (response.body or {}).get("kind") == "Status"


def _is_same_version(change: CacheChange) -> bool:
    before, after = change.before, change.after
    if before is None or after is None:
        return False
    return (before.uid, before.resource_version) == (after.uid, after.resource_version)


def _identity(obj: Mapping[str, JSON]) -> tuple[str, str]:
    metadata = _metadata(obj)
    return str(metadata.get("uid") or ""), str(metadata.get("resourceVersion") or "")


def _is_over(obj: Mapping[str, JSON]) -> bool:
    """Whether the write that was answered with `obj` also removed it: nothing holds it any more."""
    return bool(_metadata(obj).get("deletionTimestamp")) and not _is_kept(obj)


def _is_kept(obj: Mapping[str, JSON]) -> bool:
    """Whether finalizers or a grace period hold the object that a delete was answered with."""
    metadata = _metadata(obj)
    is_held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return bool(metadata.get("deletionTimestamp")) and bool(is_held)


def _metadata(obj: Mapping[str, JSON]) -> Mapping[str, JSON]:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
