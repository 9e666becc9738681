"""`Gateway` over a real API server: reads from caches, one request for each action, its own writes seen at once.

Rules of this module:

1. One action is one request; nothing here knows what a control plane is.
2. An answer is returned as its status. A 422 that complains of `metadata.uid` alone is what a merge patch says instead of 409, and becomes
   409. No answer is 503 when nothing can have landed, else 504.
3. The payload of a kind that is watched by its metadata (Secrets) is fetched when it is asked for, so that no Secret that nobody asked for
   is ever in memory; those fetched last are kept until they change.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import assert_never

from attrs import frozen

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Create,
    Delete,
    ObjectRef,
    Observed,
    Patch,
    Preconditions,
    RecordEvent,
    Unreadable,
)
from captep_core.ports import Answer
from captep_kubernetes._events import EventBook
from captep_kubernetes._informer import (
    Informer,
    Representation,
    identity_only,
    without_managed_fields,
)
from captep_kubernetes._resources import RESOURCES, Resource
from captep_kubernetes._responses import field_causes, reason_of, retry_after_of
from captep_kubernetes._store import Change, Object
from captep_kubernetes._transport import MERGE_PATCH, Query, RawResponse, Transport, UnansweredError

__all__ = ["WATCHED", "DryRun", "KubernetesGateway", "Watched"]

_READ_SECONDS = 10.0
_WRITE_SECONDS = 10.0
_PAYLOADS = 4096


class DryRun(Enum):
    """`client` sends no write at all, `server` has the API server check and forget each, Events included."""

    NONE = "none"
    CLIENT = "client"
    SERVER = "server"


@frozen
class Watched:
    """A kind to watch, and how. `project` takes from an object what need not be in memory; see `Informer`."""

    resource: Resource
    representation: Representation = Representation.WHOLE
    project: Callable[[Object], Object] = without_managed_fields


WATCHED: tuple[Watched, ...] = (
    *(
        Watched(resource)
        for (_, kind), resource in RESOURCES.items()
        if kind not in ("Secret", "Event", "Lease")
    ),
    Watched(RESOURCES["v1", "Secret"], Representation.METADATA),
)
"""What the CAPTControlPlane depends on."""


class KubernetesGateway:
    """One API server, seen by one controller. Safe to use from many threads.

    Args:
        transport: the way to the server.
        watched: the kinds that can be read.
        namespaces: where to look, none for everywhere; cluster-scoped kinds are always seen.
        on_change: called once for each new state of an object, own writes included; see `Informer`.
        dry_run: whether writes are sent, and whether they count.
        now: the time, for Events.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        watched: Iterable[Watched] = WATCHED,
        namespaces: Iterable[str] = (),
        on_change: Callable[[Change], None] = lambda _change: None,
        dry_run: DryRun = DryRun.NONE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transport, self._on_change, self._dry_run, self._now = (
            transport,
            on_change,
            dry_run,
            now,
        )
        self._kinds = {(one.resource.api_version, one.resource.kind): one for one in watched}
        self._informers: dict[tuple[str, str, str | None], Informer] = {}
        everywhere: list[str | None] = [None]
        scopes: list[str | None] = [*sorted(set(namespaces))] or everywhere
        for key, one in self._kinds.items():
            for namespace in scopes if one.resource.namespaced else everywhere:
                self._informers[*key, namespace] = self._informer(one, namespace)
        self._payloads: OrderedDict[ObjectRef, tuple[tuple[str, str], bytes]] = OrderedDict()
        self._events, self._lock = EventBook(), threading.Lock()

    @property
    def informers(self) -> tuple[Informer, ...]:
        """The caches, for readiness and health: `has_synced`, `is_alive`, `problem`."""
        return tuple(self._informers.values())

    @property
    def has_synced(self) -> bool:
        """Whether every cache has seen everything once."""
        return all(informer.has_synced for informer in self.informers)

    def start(self) -> None:
        """Start to watch; once."""
        for informer in self.informers:
            informer.start()

    def stop(self) -> None:
        """Stop to watch, within about a second; nothing is announced after that."""
        threads = [
            threading.Thread(target=informer.stop, daemon=True) for informer in self.informers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(1.5)

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
        informer = self._informer_of(ref)
        return informer is not None and informer.identity(ref) is not None

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up; see `captep_core.ports.Gateway`. Only the payload of a Secret that changed costs a request."""
        informer = self._informer_of(ref)
        if informer is None:
            return Unreadable(
                "NotWatched", f"{ref} is in a namespace, or of a kind, that is not watched"
            )
        if not informer.has_synced:
            unknown = Unreadable(
                "NotSynced", f"the first list of {informer.resource} is not there yet"
            )
            return unknown if informer.problem is None else informer.problem
        if self._is_by_metadata(ref):
            return self._payload(ref, informer)
        found = informer.get(ref)
        return ABSENT if found is None else found

    def version(self, ref: ObjectRef) -> str | None:
        """Return the resourceVersion that is cached of an object, None when it is not known to exist."""
        informer = self._informer_of(ref)
        return None if informer is None else informer.version(ref)

    def send(self, action: Action) -> Answer:
        """Send one action; see `captep_core.ports.Gateway`."""
        if self._dry_run is DryRun.CLIENT:
            return Answer(200, changed=False)
        try:
            match action:
                case Create():
                    return self._create(action)
                case Patch():
                    return self._patch(action)
                case Delete():
                    return self._delete(action)
                case RecordEvent():
                    return self._record(action)
                case _ as unreachable:
                    assert_never(unreachable)
        except UnansweredError as error:
            return Answer(504 if error.may_have_landed else 503, changed=False)

    def _create(self, action: Create) -> Answer:
        path = self._resource(action.target).path(action.target.namespace)
        return self._written(action.target, self._write("POST", path, action.body), before=None)

    def _patch(self, action: Patch) -> Answer:
        path = self._resource(action.target).path(
            action.target.namespace, action.target.name, action.subresource
        )
        before = self._cached_identity(action.target)
        return self._written(
            action.target,
            self._write("PATCH", path, _guarded(action.body, action.preconditions)),
            before=before,
        )

    def _delete(self, action: Delete) -> Answer:
        ref, uid = action.target, action.preconditions.uid
        path = self._resource(ref).path(ref.namespace, ref.name)
        preconditions = {key: value for key, value in _named(action.preconditions).items() if value}
        options: dict[str, JSON] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            **({"preconditions": {**preconditions}} if preconditions else {}),
            # The query's dryRun does not count for a DELETE with a body: kube-apiserver 1.37 really deletes.
            **({"dryRun": ["All"]} if self._dry_run is DryRun.SERVER else {}),
        }
        before = self._cached_identity(ref)
        answer = self._write("DELETE", path, options)
        if _is_kept(answer.body or {}):
            return self._written(ref, answer, before=before)
        # A 404 without JSON is a proxy's: taken for the API server's, it would hide the object for as long as it exists.
        is_gone = answer.status in (200, 202, 404) and answer.body is not None
        if (
            is_gone
            and uid
            and self._dry_run is DryRun.NONE
            and (informer := self._informer_of(ref))
        ):
            informer.observe_delete(ref, uid)
        return _answer(answer, changed=answer.status < 300 and self._dry_run is DryRun.NONE)

    def _record(self, action: RecordEvent) -> Answer:
        with self._lock:
            event = self._events.write(action, self._now())
        if event is None:
            return Answer(200, changed=False)
        events = RESOURCES["v1", "Event"]
        if event.is_new:
            answer = self._write("POST", events.path(event.namespace), event.body)
        else:
            answer = self._write("PATCH", events.path(event.namespace, event.name), event.body)
        if answer.status >= 300:
            with self._lock:
                self._events.forget(action)
            if answer.status == 404 and not event.is_new:
                return self._record(action)
        return _answer(answer, changed=answer.status < 300 and self._dry_run is DryRun.NONE)

    def _write(self, method: str, path: str, body: Mapping[str, JSON]) -> RawResponse:
        query: Query = [("dryRun", "All")] if self._dry_run is DryRun.SERVER else []
        content_type = MERGE_PATCH if method == "PATCH" else None
        answer = self._transport.request(
            method, path, query=query, body=body, content_type=content_type, timeout=_WRITE_SECONDS
        )
        if answer.status < 300 and answer.body is None:
            raise UnansweredError(
                f"{method} {path}: HTTP {answer.status} that no API server sent",
                may_have_landed=True,
            )
        return answer

    def _written(
        self, ref: ObjectRef, answer: RawResponse, *, before: tuple[str, str] | None
    ) -> Answer:
        """Take the object that a write was answered with into the cache.

        It changed when its version is another than the one cached before the write was sent; afterwards the watch may have been faster.
        """
        if answer.status >= 300 or answer.body is None or self._dry_run is not DryRun.NONE:
            return _answer(answer, changed=False)
        informer = self._informer_of(ref)
        if _is_over(answer.body):
            # A patch that takes the last finalizer off is answered with the object as it was, at its old version: it is gone.
            if informer is not None:
                informer.observe_delete(ref, _identity(answer.body)[0])
            return _answer(answer, changed=True)
        if informer is not None and answer.body.get("kind") == ref.kind:
            self._keep(ref, answer.body)
            informer.observe_write(answer.body)
        return _answer(answer, changed=before != _identity(answer.body))

    def _cached_identity(self, ref: ObjectRef) -> tuple[str, str] | None:
        informer = self._informer_of(ref)
        return informer.identity(ref) if informer else None

    def _payload(self, ref: ObjectRef, informer: Informer) -> Observed[dict[str, JSON]]:
        identity = informer.identity(ref)
        if identity is None:
            return ABSENT
        with self._lock:
            kept = self._payloads.get(ref)
        if kept is not None and kept[0] == identity:
            payload: Object = json.loads(kept[1])
            return payload
        return self._fetch(ref, identity[0], informer)

    def _fetch(self, ref: ObjectRef, uid: str, informer: Informer) -> Observed[dict[str, JSON]]:
        path = informer.resource.path(ref.namespace, ref.name)
        try:
            answer = self._transport.request("GET", path, timeout=_READ_SECONDS)
        except UnansweredError as error:
            return Unreadable("Timeout" if "Timeout" in str(error) else "Unavailable", str(error))
        if answer.status == 404 and answer.body is not None:
            informer.observe_delete(ref, uid)
            return ABSENT
        if answer.status != 200 or answer.body is None:
            return Unreadable(reason_of(answer), f"{path}: HTTP {answer.status}")
        self._keep(ref, answer.body)
        informer.observe_write(answer.body)
        return without_managed_fields(dict(answer.body))

    def _keep(self, ref: ObjectRef, obj: Mapping[str, JSON]) -> None:
        if not self._is_by_metadata(ref):
            return
        text = json.dumps(without_managed_fields(dict(obj))).encode()
        with self._lock:
            self._payloads[ref] = (_identity(obj), text)
            self._payloads.move_to_end(ref)
            if len(self._payloads) > _PAYLOADS:
                self._payloads.popitem(last=False)

    def _changed(self, change: Change) -> None:
        if change.after is None:
            with self._lock:
                self._payloads.pop(change.ref, None)
        self._on_change(change)

    def _informer(self, watched: Watched, namespace: str | None) -> Informer:
        project = (
            identity_only if watched.representation is Representation.METADATA else watched.project
        )
        return Informer(
            self._transport,
            watched.resource,
            namespace=namespace,
            representation=watched.representation,
            project=project,
            on_change=self._changed,
        )

    def _informer_of(self, ref: ObjectRef) -> Informer | None:
        exact = self._informers.get((ref.api_version, ref.kind, ref.namespace))
        return exact or self._informers.get((ref.api_version, ref.kind, None))

    def _is_by_metadata(self, ref: ObjectRef) -> bool:
        return self._kinds[ref.api_version, ref.kind].representation is Representation.METADATA

    def _resource(self, ref: ObjectRef) -> Resource:
        watched = self._kinds.get((ref.api_version, ref.kind))
        return watched.resource if watched else RESOURCES[ref.api_version, ref.kind]


def _answer(answer: RawResponse, *, changed: bool) -> Answer:
    is_conflict = answer.status == 422 and set(field_causes(answer)) == {"metadata.uid"}
    return Answer(
        409 if is_conflict else answer.status, changed=changed, retry_after=retry_after_of(answer)
    )


def _guarded(body: Mapping[str, JSON], preconditions: Preconditions) -> dict[str, JSON]:
    """A uid or resourceVersion in a merge patch must be the object's own, or the API server refuses the patch."""
    metadata = body.get("metadata")
    guards = {key: value for key, value in _named(preconditions).items() if value}
    return (
        {**body, "metadata": {**(metadata if isinstance(metadata, dict) else {}), **guards}}
        if guards
        else dict(body)
    )


def _named(preconditions: Preconditions) -> dict[str, str | None]:
    return {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}


def _identity(obj: Mapping[str, JSON]) -> tuple[str, str]:
    metadata = obj.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    return str(known.get("uid") or ""), str(known.get("resourceVersion") or "")


def _is_over(obj: Mapping[str, JSON]) -> bool:
    """Whether an object that a write was answered with went with it: it was being deleted, and nothing holds it any more."""
    metadata = obj.get("metadata")
    return (
        isinstance(metadata, dict) and bool(metadata.get("deletionTimestamp")) and not _is_kept(obj)
    )


def _is_kept(obj: Mapping[str, JSON]) -> bool:
    """Whether an object that a delete was answered with is still there: finalizers or a grace period hold it."""
    metadata = obj.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    return bool(known.get("deletionTimestamp")) and bool(
        known.get("finalizers") or known.get("deletionGracePeriodSeconds")
    )
