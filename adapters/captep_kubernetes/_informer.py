"""A cache of the objects of one kind, kept current by LIST and WATCH.

The official client's `SharedInformer` does not serve: it has no backoff (1,600 requests a second
against a server that is down), no paging, no bookmarks, no read timeout and a `stop` that hangs. It
writes its cache itself, so own writes, tombstones and the order of versions would have needed a
second cache. The loop below is what remained to reuse.

Rules of this module:

1. LIST in pages, consistent (no resourceVersion given), and all at once where a page expired. WATCH
   from there, with bookmarks.
2. A connection that a NAT or a load balancer forgot is silent for ever. Where a watch has sent a
   bookmark, which kube-apiserver does every minute, 75 s of silence end it. Where it has not, the
   server ends the watch after a minute, and the next one goes on from there.
3. Each verb has its own backoff, counted from its last answer, so that no verb is sent twice within
   `Backoff.base` seconds. A good LIST resets the count of WATCH, and a watch that lived long resets
   both. The server's Retry-After is respected.
4. 410, as a status or as an event, leads to a LIST. So does a watch that is refused twice in a row,
   other than by 401, 403 or 429: its resourceVersion may be one that the server does not have. If
   that LIST fails as well, the server is ill, and the watch is tried again.
5. Each state of an object is announced once, from whichever source it came. An announcement is a
   reason to look, no data to work on.
6. A problem is logged when it begins and when it ends, never at each try. The thread survives every
   exception; numbers, lines and pages are bounded.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from captep_core._actions import JSON, ObjectRef
from captep_core._observation import Unreadable
from captep_core._projection import without_managed_fields
from captep_core._request import RawResponse, reason_of, retry_after_of
from captep_core._resources import Representation, Resource
from captep_core._workqueue import Backoff, jittered
from captep_kubernetes._lists import items_of
from captep_kubernetes._resources import reference
from captep_kubernetes._store import CacheChange, Known, Object, Store, is_version
from captep_kubernetes._transport import (
    MalformedStreamError,
    Query,
    Stream,
    Transport,
    UnansweredError,
)

__all__ = ["NOT_SERVED", "Informer", "identity_only"]

NOT_SERVED: Final = "NotServed"
"""The reason of `Unreadable` for the objects of a kind that the server does not have."""

_log = logging.getLogger("captep.kubernetes")
# Half of client-go's: a page is in memory as bytes and parsed, one of each kind at once.
_PAGE = 250
# A list of a large fleet takes a busy server seconds; kube-apiserver gives up after a minute.
_LIST_SECONDS: Final = 60.0
# Watches end after four to five minutes, as client-go's end after five to ten.
_WATCH_SECONDS: Final = 240.0
# With jitter at most a minute, where nothing but the end shows that the connection lives.
_SHORT_WATCH_SECONDS: Final = 50.0
# A bookmark comes within a minute (bookmarkFrequency of kube-apiserver); a late one is no failure.
_SILENCE_SECONDS: Final = 75.0
# A million objects: a server that sends more pages sends them for ever.
_MOST_PAGES = 4000
# Refusals of a watch after which a LIST follows, doubled each time that the LIST did not help.
_REFUSALS: Final = 2
_MOST_REFUSALS: Final = 32
# What these say is not about the resourceVersion.
_NO_REFUSALS: Final = frozenset({401, 403, 429})
# A server that asks for more may have restarted since.
_LONGEST_RETRY_AFTER: Final = 30.0
# Up to a fifth later, so that the watches of a process do not reconnect all at once.
_JITTER: Final = 0.2
# Lists come in storms, when a fleet is new; between two of them the unpacked objects are a burden.
_LISTS_SECONDS: Final = 10.0
# A connection that lived this long was a good one: the next failure is the first.
_GOOD_AFTER: Final = 10.0
# Short, because a try that fails costs next to nothing and everything waits for the server.
_BACKOFF: Final = Backoff(base=1.0, cap=3.0)
# A server that does not know the first form sends whole objects.
_METADATA: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
_ACCEPT: Final[Mapping[Representation, str]] = {
    Representation.WHOLE: "application/json",
    Representation.METADATA: _METADATA,
    Representation.ON_DEMAND: _METADATA,
}


def identity_only(_obj: Object) -> Object:
    """Keep nothing: the cache knows uid and resourceVersion, which say that an object changed."""
    return {}


class Informer:
    """The objects of one kind, in one namespace or in all.

    Args:
        transport: the way to the server.
        resource: the kind.
        namespace: None for all namespaces and for cluster-scoped kinds.
        selectors: `labelSelector` and `fieldSelector` as query parameters.
        representation: whole objects or metadata alone.
        project: applied to each object before it is kept; see `Store`.
        essence: the part of a kept object whose change is worth a look; see `Store`.
        on_change: called once for each new state, from the watch's thread or from the caller of
            `observe_write`; must return at once.
        on_missing: called from the watch's thread when the server does not serve the kind (404).
        backoff: seconds between two tries of one verb.
        jitter: fraction by which delays are stretched.
        seed: makes the jitter of this process differ from that of others.
        clock: seconds that only grow.
        wait: waits for so many seconds or until the informer is stopped, None for real time.
    """

    def __init__(
        self,
        transport: Transport,
        resource: Resource,
        *,
        namespace: str | None = None,
        selectors: Query = (),
        representation: Representation = Representation.WHOLE,
        project: Callable[[Object], Object] = without_managed_fields,
        essence: Callable[[Object], Object] | None = None,
        on_change: Callable[[CacheChange], None] = lambda _change: None,
        on_missing: Callable[[], None] = lambda: None,
        backoff: Backoff = _BACKOFF,
        jitter: float = _JITTER,
        seed: str = "",
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self._transport = transport
        self._served = resource
        self._path = resource.path(namespace)
        self._next_served: Resource | None = None
        self._on_missing = on_missing
        self._selectors = tuple(selectors)
        self._representation = representation
        self._on_change = on_change
        self._backoff = backoff
        self._jitter = jitter
        self._seed = seed
        self._requests = 0
        self._clock = clock
        self._store = Store(project, essence)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._synced = threading.Event()
        self._wait = wait or self._stopping.wait
        self._thread: threading.Thread | None = None
        self._stream: Stream | None = None
        self._listed_at: float | None = None
        self._tries = {"LIST": 0, "WATCH": 0}
        self._answered_at = {"LIST": float("-inf"), "WATCH": float("-inf")}
        self._not_before = 0.0
        self._version: str | None = None
        self._resume_from: str | None = None
        self._sends_bookmarks = False
        self._refusals = 0
        self._refusals_to_list = _REFUSALS
        self._problem: Unreadable | None = None
        self._failing_since: float | None = clock()

    @property
    def has_synced(self) -> bool:
        """Whether one LIST is complete: from then on, an object that is not cached is absent."""
        return self._synced.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread that keeps the cache current runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def has_ended(self) -> bool:
        """Whether that thread ended although nothing stopped it."""
        has_begun = self._thread is not None and self._thread.ident is not None
        return has_begun and not self.is_alive and not self._stopping.is_set()

    @property
    def problem(self) -> Unreadable | None:
        """Why the cache may be out of date, None while it is current."""
        return self._problem

    @property
    def failing_since(self) -> float | None:
        """Since when the cache may be out of date, by `clock`; None while it is current."""
        return self._failing_since

    def start(self) -> None:
        """Start the thread; once."""
        self._failing_since = self._clock()
        self._thread = threading.Thread(
            target=self._run, name=f"informer {self.resource}", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Stop within `timeout` seconds; after that the informer announces nothing.

        `on_change` may call this.
        """
        with self._lock:
            self._stopping.set()
            stream = self._stream
        if stream is not None:
            stream.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def serve(self, resource: Resource) -> None:
        """Go on with the same kind in another version: list it again, and keep the names."""
        with self._lock:
            if resource == (self._next_served or self._served):
                return
            self._next_served = resource
            stream = self._stream
        if stream is not None:
            stream.close()

    def wait_synced(self, timeout: float) -> bool:
        """Wait for `has_synced`; returns it after at most `timeout` seconds."""
        return self._synced.wait(timeout)

    def get(self, ref: ObjectRef) -> Object | None:
        """Return the kept part of `ref`, a new copy each time; None when it is absent."""
        known = self._find(ref)
        return None if known is None else known.obj

    def version(self, ref: ObjectRef) -> str | None:
        """Return the resourceVersion of `ref`, None when it is absent."""
        known = self._find(ref)
        return None if known is None else known.resource_version

    def identity(self, ref: ObjectRef) -> tuple[str, str] | None:
        """Return uid and resourceVersion of `ref`, None when it is absent."""
        known = self._find(ref)
        return None if known is None else (known.uid, known.resource_version)

    def objects(self, namespace: str | None) -> tuple[Object, ...]:
        """Return the kept part of every object, of one namespace or of all, as of one moment.

        Other lists share the objects: a caller that wants to change one changes a copy.
        """
        with self._lock:
            self._listed_at = self._clock()
            return self._store.objects(namespace)

    @property
    def changes(self) -> int:
        """The number of changes that the cache took in."""
        with self._lock:
            return self._store.changes

    def refs(self) -> tuple[ObjectRef, ...]:
        """Return the names of all cached objects."""
        with self._lock:
            return self._store.refs()

    def observe_write(self, obj: Mapping[str, JSON]) -> None:
        """Learn an object from the answer to a write of this process."""
        self._learn(self._put, obj)

    def observe_delete(self, ref: ObjectRef, uid: str) -> None:
        """Learn from the answer to a delete that the incarnation `uid` is gone."""
        with self._lock:
            change = self._store.remove(ref, uid=uid)
        self._announce(change)

    def _run(self) -> None:
        while True:
            self._switch()
            self._pause("LIST" if self._version is None else "WATCH")
            if self._stopping.is_set():
                return
            problem = self._try()
            if not self._stopping.is_set():
                self._report(problem)

    def _list_or_resume(self) -> Unreadable | None:
        """List; a LIST that fails too shows that the refused watch was not about its version."""
        problem: Unreadable | None = None
        try:
            problem = self._list()
        finally:
            # No API server gives a malformed list: what answers would accept the watch too.
            if not self._version and not _is_malformed(problem):
                self._version, self._resume_from = self._resume_from, None
        return problem

    def _switch(self) -> None:
        """Begin with the version that `serve` named."""
        with self._lock:
            if self._next_served is None:
                return
            self._served, self._next_served = self._next_served, None
            # A kind that was assumed to be namespaced may turn out to be cluster-scoped.
            self._path = self._served.path(self.namespace if self._served.namespaced else None)
            self._store.forget_versions()
        self._version = None
        self._resume_from = None

    def _try(self) -> Unreadable | None:
        """List or watch once; returns the problem that ended it."""
        try:
            return self._watch(self._version) if self._version else self._list_or_resume()
        except MalformedStreamError as error:
            self._count_refusal()
            return Unreadable("Malformed", str(error))
        except UnansweredError as error:
            # The next watch must prove again that bookmarks come.
            self._sends_bookmarks = False
            return Unreadable("Unavailable", str(error))
        except Exception as error:  # noqa: BLE001 - a thread that ends leaves a cache that grows old
            # The text may quote an object.
            self._count_refusal()
            return Unreadable("InternalError", f"{type(error).__name__} in this process")

    def _pause(self, verb: str) -> None:
        tries = self._tries[verb]
        delay = self._jittered(self._backoff.after(tries)) if tries else 0.0
        self._tries[verb] += 1
        wait = max(self._answered_at[verb] + delay, self._not_before) - self._clock()
        if wait > 0:
            self._wait(wait)

    def _jittered(self, delay: float) -> float:
        """Stretch a delay, by another share each time and for each informer."""
        self._requests += 1
        key = f"{self._seed} {self._path} {self._requests}"
        return jittered(delay, key, fraction=self._jitter)

    @contextmanager
    def _answering(self, verb: str) -> Iterator[None]:
        try:
            yield
        finally:
            self._answered_at[verb] = self._clock()

    def _list(self) -> Unreadable | None:
        with self._answering("LIST"):
            return self._list_now()

    def _list_now(self) -> Unreadable | None:
        objects: list[tuple[ObjectRef, Known]] = []
        limit: Query = [("limit", _PAGE)]
        page: Query = []
        self._begin_list()
        for _ in range(_MOST_PAGES):
            query = [*self._selectors, *limit, *page]
            answer = self._transport.request(
                "GET", self._path, query=query, accept=self._accept("List"), timeout=_LIST_SECONDS
            )
            if answer.status == 410 and limit and page:
                # The server expires pages faster than it sends them. client-go also lists
                # everything at once then, and only once.
                objects, limit, page = [], [], []
                self._begin_list()
                continue
            body = answer.body
            if answer.status != 200 or body is None:
                return self._refused(answer)
            items, metadata = items_of(body), body.get("metadata")
            if items is None:
                # Taken for an empty list, a sign-in page in JSON would make every object absent.
                return Unreadable("Malformed", f"{self._path}: HTTP 200 without a list of items")
            objects += self._referenced(items)
            version, rest = (
                (metadata.get("resourceVersion"), metadata.get("continue"))
                if isinstance(metadata, dict)
                else (None, None)
            )
            if not rest or self._stopping.is_set():
                self._take(
                    objects, version if isinstance(version, str) and is_version(version) else "0"
                )
                return None
            page = [("continue", str(rest))]
        return Unreadable("Malformed", f"{self._path}: more than {_MOST_PAGES} pages of a list")

    def _begin_list(self) -> None:
        with self._lock:
            self._store.begin_list()

    def _take(self, objects: list[tuple[ObjectRef, Known]], version: str) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            changes = self._store.replace(objects, version)
        for change in changes:
            self._announce(change)
        self._version = version
        self._refusals = 0
        if self._refusals_to_list == _REFUSALS:
            # A LIST that follows refused watches does not show that the next one is accepted.
            self._tries["WATCH"] = min(self._tries["WATCH"], 1)
        self._synced.set()

    def _watch(self, version: str) -> Unreadable | None:
        lives = _WATCH_SECONDS if self._sends_bookmarks else _SHORT_WATCH_SECONDS
        seconds = int(self._jittered(lives))
        asked: Query = [
            ("watch", 1),
            ("resourceVersion", version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", seconds),
        ]
        with self._answering("WATCH"):
            stream = self._transport.stream(
                self._path,
                query=[*self._selectors, *asked],
                accept=self._accept(""),
                timeout=_SILENCE_SECONDS,
            )
        if isinstance(stream, RawResponse):
            return self._refused_watch(stream)
        with self._lock:
            self._stream = stream
            if self._stopping.is_set():
                stream.close()
        if not _is_malformed(self._problem):
            # A sign-in page answers 200 too: after one, a line or the end of the watch counts.
            self._report(None)
        try:
            return self._follow(stream)
        finally:
            self._stream = None
            if self._clock() - self._answered_at["WATCH"] >= _GOOD_AFTER:
                self._tries = {"LIST": 0, "WATCH": 0}
                self._refusals = 0
                self._refusals_to_list = _REFUSALS

    def _follow(self, stream: Stream) -> Unreadable | None:
        for line in stream.lines():
            if self._stopping.is_set():
                break
            event = _event(line)
            if event is None:
                self._count_refusal()
                return Unreadable(
                    "Malformed", f"the watch of {self.resource} sent a line that is no event"
                )
            kind, obj = event
            if _is_malformed(self._problem) and kind != "ERROR":
                self._report(None)
            if kind == "ERROR":
                code = obj.get("code")
                status = code if isinstance(code, int) else 500
                return self._refused_watch(RawResponse(status, {}, obj))
            if kind in ("ADDED", "MODIFIED"):
                self.observe_write(obj)
            elif kind == "DELETED":
                self._learn(self._remove, obj)
            elif kind == "BOOKMARK":
                self._sends_bookmarks = True
            self._advance(_metadata(obj, "resourceVersion"))
        return None

    def _advance(self, version: str) -> None:
        """Go on from `version` next time; a watch from a version of another shape is refused."""
        if not is_version(version):
            return
        self._version = version
        self._refusals = 0
        with self._lock:
            self._store.advance(version)
            if self._listed_at is not None and self._clock() - self._listed_at > _LISTS_SECONDS:
                self._store.forget_lists()
                self._listed_at = None

    def _refused_watch(self, answer: RawResponse) -> Unreadable | None:
        if answer.status not in _NO_REFUSALS:
            self._count_refusal()
        return self._refused(answer)

    def _count_refusal(self) -> None:
        self._refusals += 1
        if self._refusals >= self._refusals_to_list:
            # Lists are dear: where they do not help, they come less often.
            self._resume_from, self._version = self._version, None
            self._refusals = 0
            self._refusals_to_list = min(2 * self._refusals_to_list, _MOST_REFUSALS)

    def _refused(self, answer: RawResponse) -> Unreadable | None:
        if answer.status == 410:
            self._version = None
            self._resume_from = None
            return None
        asked = retry_after_of(answer)
        if asked is not None:
            self._not_before = self._clock() + min(asked.total_seconds(), _LONGEST_RETRY_AFTER)
        if answer.status != 404:
            return Unreadable(reason_of(answer), f"{self._path}: HTTP {answer.status}")
        self._on_missing()
        hint = "is its CustomResourceDefinition installed?"
        return Unreadable(NOT_SERVED, f"{self._path}: HTTP 404: {hint}")

    def _find(self, ref: ObjectRef) -> Known | None:
        # Without the lock, which a thread holds while it packs an object: a pass looks up forty.
        return self._store.get(ref)

    def _learn(
        self,
        learn: Callable[[ObjectRef, Mapping[str, JSON]], CacheChange | None],
        obj: Mapping[str, JSON],
    ) -> None:
        ref = reference(self.resource, obj)
        if ref is None:
            return
        with self._lock:
            change = learn(ref, obj)
        self._announce(change)

    def _put(self, ref: ObjectRef, obj: Mapping[str, JSON]) -> CacheChange | None:
        return self._store.put(ref, self._with_kind(obj))

    def _remove(self, ref: ObjectRef, obj: Mapping[str, JSON]) -> CacheChange | None:
        return self._store.remove(
            ref, uid=_metadata(obj, "uid"), resource_version=_metadata(obj, "resourceVersion")
        )

    def _announce(self, change: CacheChange | None) -> None:
        if change is None or self._stopping.is_set():
            return
        try:
            self._on_change(change)
        except Exception as error:  # noqa: BLE001 - the other changes must be announced
            _log.error("%s: a handler failed: %s", change.ref, type(error).__name__)

    def _report(self, problem: Unreadable | None) -> None:
        before, self._problem = self._problem, problem
        if problem is None:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = self._clock()
        if problem is not None and (before is None or before.reason != problem.reason):
            _log.warning("%s: not current: %s", self.resource, problem)
        elif problem is None and before is not None:
            _log.info("%s: current again", self.resource)

    def _referenced(self, items: list[JSON]) -> Iterator[tuple[ObjectRef, Known]]:
        """Yield the kept part of each item, so that a page is not held in memory as a whole."""
        for item in items:
            if isinstance(item, dict) and (ref := reference(self.resource, item)) is not None:
                with self._lock:
                    known = self._store.known(self._with_kind(item))
                yield ref, known

    def _with_kind(self, obj: Mapping[str, JSON]) -> Object:
        """Set apiVersion and kind: items of a core list lack them."""
        return {**obj, "apiVersion": self._served.api_version, "kind": self.resource.kind}

    def _accept(self, suffix: str) -> str:
        return _ACCEPT[self._representation].format(suffix)


def _is_malformed(problem: Unreadable | None) -> bool:
    return problem is not None and problem.reason == "Malformed"


def _event(line: bytes) -> tuple[str, Object] | None:
    try:
        event: JSON = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    kind, obj = event.get("type"), event.get("object")
    return (kind, obj) if isinstance(kind, str) and isinstance(obj, dict) else None


def _metadata(obj: Mapping[str, JSON], key: str) -> str:
    metadata = obj.get("metadata")
    return str(metadata.get(key) or "") if isinstance(metadata, dict) else ""
