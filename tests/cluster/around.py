"""The surroundings of a control plane on a real API server.

The simulated neighbours work in a thread, and users play their stories.
"""

import queue
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from attrs import evolve

from captep_core import Backoff, ObjectRef
from captep_core._resources import Resource
from captep_core.capt._names import NEWER_CLUSTER_API
from captep_core.capt._resources import RESOURCES
from captep_kubernetes import (
    EVENTS,
    LEASES,
    CacheChange,
    Informer,
    KubernetesTransport,
    UnansweredError,
    load_transport,
)
from captep_memory import Request, Response
from captep_world import (
    CoreVersion,
    Neighbourhood,
    Objects,
    Pace,
    Story,
    Subject,
    neighbours,
    stories,
)
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.calls import call_of

__all__ = ["FAST", "Around", "Caller", "play", "requests_by"]

FAST = Pace(
    apply=(0.5, 0.6),
    small_apply=(0.3, 0.3),
    destroy=(0.3, 0.4),
    look=(0.1, 0.2),
    poll=(9000.0, 9000.0),
    retry=(0.2, 0.2),
    mirror=0.3,
    wait=0.3,
)
"""Terraform takes half a second, and does not look by itself within a test."""
_SOON = Backoff(base=0.1, cap=0.2)
"""The neighbours retry so soon that no test waits for them."""
_WATCHED = [
    resource
    for (_, kind), resource in RESOURCES.items()
    if kind not in ("Secret", "WorkspaceTemplate")
]


def _watched(core: CoreVersion | None) -> list[Resource]:
    """Return the kinds that the neighbours watch; a newer core watches Clusters of v1beta2."""
    if core == "1.8":
        return _WATCHED
    return [
        evolve(each, api_version=NEWER_CLUSTER_API) if each.kind == "Cluster" else each
        for each in _WATCHED
    ]


class Caller:
    """Sends the requests of the simulated world to a real API server."""

    def __init__(self, transport: KubernetesTransport) -> None:
        self._transport = transport

    def __call__(self, request: Request) -> Response:
        """Send one request; raise if the server is not at work yet."""
        call = call_of(request)
        body = call.body if isinstance(call.body, dict) else None
        answer = self._transport.request(
            call.method,
            call.path,
            query=call.query,
            body=body,
            content_type=call.content_type,
            timeout=20,
        )
        if answer.status in (401, 403, 429) or answer.status >= 500:
            raise UnansweredError(f"HTTP {answer.status}", may_have_landed=False)
        return Response(answer.status, _whole(request, answer.body or {}))


def _whole(request: Request, body: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Name the kind of a list's items: the server leaves it out for core kinds."""
    items = body.get("items")
    if not isinstance(items, list):
        return dict(body)
    return {
        **body,
        "items": [
            {**item, "apiVersion": request.api_version, "kind": request.kind} for item in items
        ],
    }


class Around:
    """The neighbours of some control planes of a server, as administrator; a context manager.

    Its exit fails if a kubeconfig or CA Secret ever had an empty value.
    """

    def __init__(
        self, server: ApiServer, pace: Pace = FAST, core: CoreVersion | None = "1.8"
    ) -> None:
        self._transport = load_transport(server.kubeconfig())
        self.call = Caller(self._transport)
        self.objects = Objects(self.call)
        self._neighbourhood = Neighbourhood(self.call, neighbours(pace, core))
        self._changes: queue.SimpleQueue[CacheChange | None] = queue.SimpleQueue()
        self._subjects: set[Subject] = set()
        self._hollow: set[str] = set()
        self._informers = [
            *(
                Informer(self._transport, each, on_change=self._changes.put, backoff=_SOON)
                for each in _watched(core)
            ),
            Informer(
                self._transport, RESOURCES["v1", "Secret"], on_change=self._weigh, backoff=_SOON
            ),
        ]
        self._thread = threading.Thread(target=self._live, name="neighbours")
        self._problem: BaseException | None = None

    def __enter__(self) -> Self:
        for informer in self._informers:
            informer.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for informer in self._informers:
            informer.stop()
        self._changes.put(None)
        self._thread.join(30)
        self._tidy()
        self._transport.close()
        if kind is None and self._problem is not None:
            raise self._problem
        assert kind is not None or not self._hollow, (
            f"seen with an empty value: {sorted(self._hollow)}"
        )

    def subject(self, namespace: str, name: str) -> Subject:
        """Look after a control plane that is to come, and create the templates that it needs."""
        for template in stories.templates(namespace):
            response = self.call(
                Request(
                    "create",
                    template["apiVersion"],
                    template["kind"],
                    template["metadata"]["namespace"],
                    body=template,
                )
            )
            assert response.status in (201, 409), response
        self.look_after(Subject(namespace, name))
        return Subject(namespace, name)

    def look_after(self, *subjects: Subject) -> None:
        """Look after control planes that are to come, with templates of their own."""
        self._subjects.update(subjects)

    def _tidy(self) -> None:
        """Delete the Workspaces: they have no namespace, so other tests would see them."""
        for workspace in self.objects.list("tf.upbound.io/v1beta1", "Workspace"):
            ref = ObjectRef(
                workspace["apiVersion"], workspace["kind"], None, workspace["metadata"]["name"]
            )
            if self._is_ours(ref):
                self.call(
                    Request(
                        "patch",
                        ref.api_version,
                        ref.kind,
                        None,
                        ref.name,
                        body={"metadata": {"finalizers": None}},
                    )
                )
                self.call(Request("delete", ref.api_version, ref.kind, None, ref.name))

    def merge(self, ref: ObjectRef, body: dict[str, Any]) -> None:
        """Merge-patch an object as its user."""
        response = self.call(
            Request("patch", ref.api_version, ref.kind, ref.namespace, ref.name, body=body)
        )
        assert response.ok, response

    def _weigh(self, change: CacheChange) -> None:
        data = (change.new or {}).get("data")
        published = {
            f"{each.name}-{suffix}" for each in self._subjects for suffix in ("kubeconfig", "ca")
        }
        if (
            change.new is not None
            and change.ref.name in published
            and not (isinstance(data, dict) and data and all(data.values()))
        ):
            self._hollow.add(str(change.ref))

    def _is_ours(self, ref: ObjectRef) -> bool:
        return any(
            ref.namespace == each.namespace
            or (ref.namespace is None and ref.name.startswith(f"{each.name}-"))
            for each in self._subjects
        )

    def _live(self) -> None:
        try:
            while self._notice():
                self._act()
        except Exception as problem:  # noqa: BLE001  # __exit__ raises it
            self._problem = problem

    def _act(self) -> None:
        try:
            while self._neighbourhood.run_one(datetime.now(UTC)):
                pass
        except UnansweredError:
            # The server is away, and the neighbour stays due.
            time.sleep(0.2)

    def _notice(self) -> bool:
        """Wait until something changes or a neighbour is due; return False at the end."""
        due = self._neighbourhood.next_due()
        now = datetime.now(UTC)
        wait = 1.0 if due is None else min(1.0, max(0.0, (due - now).total_seconds()))
        try:
            change = self._changes.get(timeout=wait)
            while change is not None:
                if self._is_ours(change.ref):
                    self._neighbourhood.notice(
                        change.ref, change.new or change.old or {}, now=datetime.now(UTC)
                    )
                change = self._changes.get_nowait()
        except queue.Empty:
            return True
        return False


def play(around: Around, story: Story, subject: Subject, *, within: float = 30.0) -> None:
    """Play a story on the server, without its pauses; fail if a step takes `within` seconds."""
    for act in story.acts:
        eventually(
            lambda act=act: act.once(around.objects, subject),  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            what=f"{story.title}: time to be {act.title}",
            within=within,
        )
        for request in act.requests(subject):
            response = around.call(request)
            assert response.ok, (act.title, response)
    eventually(lambda: story.ends(around.objects, subject), what=story.title, within=within)


def requests_by(
    server: ApiServer, user: str, *, since: int = 0
) -> list[tuple[str, ObjectRef | None, str, int]]:
    """Return the requests of `user` from audit event number `since` on.

    Each is a verb, an object, a subresource and the HTTP status.
    """
    return [
        (
            event["verb"],
            _ref(event.get("objectRef")),
            (event.get("objectRef") or {}).get("subresource", ""),
            event["responseStatus"]["code"],
        )
        for event in server.audit()[since:]
        if event["user"].get("username") == user
    ]


def _ref(named: Any) -> ObjectRef | None:  # noqa: ANN401  # JSON
    if not named:
        return None
    group = named["apiVersion"]
    if named.get("apiGroup"):
        group = f"{named['apiGroup']}/{group}"
    resources = (*RESOURCES.values(), EVENTS, LEASES)
    kinds = {(each.api_version, each.plural): each.kind for each in resources}
    kind = kinds.get((group, named["resource"]), named["resource"])
    return ObjectRef(group, kind, named.get("namespace"), named.get("name", ""))
