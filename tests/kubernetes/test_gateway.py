"""The gateway: what each action becomes on the wire, and what each answer becomes for the loop."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Apply,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
    Unreadable,
)
from captep_core._resources import Representation, Resource, Watched
from captep_core.capt._resources import RESOURCES, WATCHED
from captep_core.ports import Answer, Gateway
from captep_kubernetes import (
    MERGE_PATCH,
    CacheChange,
    DryRun,
    Informer,
    KubernetesGateway,
    Object,
    RawResponse,
    UnansweredError,
)
from tests.kubernetes.scripted import (
    Asked,
    Reply,
    events,
    hang,
    raw,
    refused_port,
    replying,
    reset,
    serving,
    transport_to,
)
from tests.objects import manifest

CONTROL_PLANE = RESOURCES["controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane"]
ONE = ObjectRef(CONTROL_PLANE.api_version, CONTROL_PLANE.kind, "ns", "one")
SECRET = ObjectRef("v1", "Secret", "ns", "one-kubeconfig")
WORKSPACE = ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, "one")
PATH = "/apis/controlplane.cluster.x-k8s.io/v1beta1/namespaces/ns/captcontrolplanes"
SECRETS = "/api/v1/namespaces/ns/secrets"
EVENTS = "/api/v1/namespaces/ns/events"
# A start asks for the versions of Cluster; this server knows nothing of them.
DISCOVERY = (
    "/apis/cluster.x-k8s.io",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GUARDED = Preconditions("uid-1", "5")

CREATE = Create(ONE, manifest(ONE), "why")
PATCH = Patch(ONE, {"metadata": {"finalizers": ["f"]}}, GUARDED, "why")
STATUS = Patch(
    ONE, {"status": {"phase": "Ready"}}, Preconditions("uid-1"), "why", subresource="status"
)
DELETE = Delete(ONE, GUARDED, "why")
RECORD = RecordEvent(ONE, "Normal", "Ready", "control plane is ready", "uid-1")
ACTIONS: tuple[Action, ...] = (CREATE, PATCH, STATUS, DELETE, RECORD)


def obj(ref: ObjectRef, version: int, uid: str = "uid-1", **more: JSON) -> Object:
    """An object as the server sends it."""
    metadata: dict[str, JSON] = {
        "name": ref.name,
        **({"namespace": ref.namespace} if ref.namespace else {}),
        "uid": uid,
        "resourceVersion": str(version),
    }
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, **more}


def listing(*items: Object) -> Reply:
    """A LIST."""
    return replying(200, {"metadata": {"resourceVersion": "9"}, "items": list(items)})


class Cluster:
    """Answers LIST and WATCH from `items` by path, and the other requests, in `requests`, by
    `reply`.
    """

    def __init__(self, reply: Reply, **items: list[Object]) -> None:
        self.reply, self.items = reply, items
        self.requests: list[Asked] = []

    def __call__(self, asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        plural = asked.path.rpartition("/")[2]
        if asked.method == "GET" and ("watch", "1") in asked.query:
            events()(asked, handler)
        elif asked.method == "GET" and any(
            resource.plural == plural for resource in RESOURCES.values()
        ):
            listing(*self.items.get(plural, []))(asked, handler)
        elif asked.method == "GET" and asked.path in DISCOVERY:
            replying(404, {})(asked, handler)
        else:
            self.requests.append(asked)
            self.reply(asked, handler)


@contextmanager
def gateway(
    cluster: Cluster,
    **options: Any,  # noqa: ANN401  # options of KubernetesGateway
) -> Iterator[tuple[KubernetesGateway, list[CacheChange]]]:
    """A synced gateway, with what it announced."""
    changes: list[CacheChange] = []
    with serving(cluster) as server:
        made = KubernetesGateway(
            transport_to(server.url),
            **{"on_change": changes.append, "watched": WATCHED, "now": lambda: NOW, **options},
        )
        made.start()
        deadline = time.monotonic() + 5
        while not made.has_synced:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        try:
            yield made, changes
        finally:
            made.stop()


def sent(reply: Reply, action: Action, **options: Any) -> tuple[Answer, list[Asked]]:  # noqa: ANN401  # options of KubernetesGateway
    """Send one action to a server that replies so."""
    cluster = Cluster(reply)
    with serving(cluster) as server:
        made: Gateway = KubernetesGateway(
            transport_to(server.url), **{"watched": WATCHED, "now": lambda: NOW, **options}
        )
        return made.send(action), cluster.requests


@pytest.mark.parametrize(
    ("action", "method", "path", "content_type", "body"),
    [
        (CREATE, "POST", PATH, "application/json", CREATE.body),
        (
            PATCH,
            "PATCH",
            f"{PATH}/one",
            MERGE_PATCH,
            {"metadata": {"finalizers": ["f"], "uid": "uid-1", "resourceVersion": "5"}},
        ),
        (
            STATUS,
            "PATCH",
            f"{PATH}/one/status",
            MERGE_PATCH,
            {"metadata": {"uid": "uid-1"}, "status": {"phase": "Ready"}},
        ),
        (
            Patch(WORKSPACE, {"spec": None}, Preconditions(), "why"),
            "PATCH",
            "/apis/tf.upbound.io/v1beta1/workspaces/one",
            MERGE_PATCH,
            {"spec": None},
        ),
        (
            Apply(ONE, manifest(ONE, spec={"a": 1}), "why"),
            "PATCH",
            f"{PATH}/one",
            "application/apply-patch+yaml",
            manifest(ONE, spec={"a": 1}),
        ),
        (
            DELETE,
            "DELETE",
            f"{PATH}/one",
            "application/json",
            {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {"uid": "uid-1", "resourceVersion": "5"},
            },
        ),
        (
            Delete(ONE, Preconditions(), "why"),
            "DELETE",
            f"{PATH}/one",
            "application/json",
            {"apiVersion": "v1", "kind": "DeleteOptions"},
        ),
    ],
)
def test_an_action_is_one_request(
    action: Action, method: str, path: str, content_type: str, body: object
) -> None:
    """Verb, path, subresource, content type and preconditions make one request with exactly this
    body.
    """
    answer, requests = sent(replying(200, obj(ONE, 6)), action)
    assert [
        (asked.method, asked.path, asked.headers["content-type"], asked.json) for asked in requests
    ] == [(method, path, content_type, body)]
    assert answer == Answer(200, changed=True)


UID_CAUSE = {"details": {"causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]}}
OTHER_CAUSE = {"details": {"causes": [{"field": "metadata.uid"}, {"field": "status.phase"}]}}
SEVEN = timedelta(seconds=7)
OUTCOMES: list[tuple[str, Reply, Answer]] = [
    ("300", replying(300, {}), Answer(300, changed=False)),
    ("300 from a proxy", raw(300, b""), Answer(300, changed=False)),
    ("400", replying(400, {}), Answer(400, changed=False)),
    ("403", replying(403, {}), Answer(403, changed=False)),
    ("403 uid", replying(403, UID_CAUSE), Answer(403, changed=False)),
    ("409", replying(409, {"reason": "Conflict"}), Answer(409, changed=False)),
    ("410", replying(410, {}), Answer(410, changed=False)),
    ("422", replying(422, {}), Answer(422, changed=False)),
    ("422 uid", replying(422, UID_CAUSE), Answer(409, changed=False)),
    ("422 uid and more", replying(422, OTHER_CAUSE), Answer(422, changed=False)),
    (
        "429 header",
        replying(429, {}, Retry_After="7"),
        Answer(429, changed=False, retry_after=SEVEN),
    ),
    (
        "429 details",
        replying(429, {"details": {"retryAfterSeconds": 7}}),
        Answer(429, changed=False, retry_after=SEVEN),
    ),
    ("429 nonsense", raw(429, b"slow down", Retry_After="tomorrow"), Answer(429, changed=False)),
    ("500", raw(500, b""), Answer(500, changed=False)),
    ("503", replying(503, {}, Retry_After="7"), Answer(503, changed=False, retry_after=SEVEN)),
    ("504", replying(504, {}), Answer(504, changed=False)),
    ("302", raw(302, b"", Location="/elsewhere"), Answer(302, changed=False)),
    ("200 from a proxy", raw(200, b"<html>"), Answer(504, changed=False)),
    ("reset after send", reset, Answer(504, changed=False)),
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
@pytest.mark.parametrize(
    ("reply", "outcome"), [case[1:] for case in OUTCOMES], ids=[case[0] for case in OUTCOMES]
)
def test_every_outcome_of_every_action(action: Action, reply: Reply, outcome: Answer) -> None:
    """One delivery, and this answer, whatever the action was."""
    answer, requests = sent(reply, action)
    assert (answer, len(requests)) == (outcome, 1)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_a_server_that_is_not_there_has_taken_nothing(action: Action) -> None:
    """Refused: 503, not the 504 of an unknown outcome."""
    assert KubernetesGateway(transport_to(refused_port()), watched=WATCHED).send(action) == Answer(
        503, changed=False
    )


def test_a_write_that_times_out_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server read it and said nothing."""
    monkeypatch.setattr("captep_kubernetes._gateway._WRITE_SECONDS", 0.2)
    assert sent(hang, PATCH)[0] == Answer(504, changed=False)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_a_404_is_answered_as_it_came(action: Action) -> None:
    """Also for a delete, which the loop takes for success; an Event of a missing namespace is sent
    once.
    """
    answer, requests = sent(replying(404, {}), action)
    assert (answer, len(requests)) == (Answer(404, changed=False), 1)


def test_an_own_write_is_read_at_once() -> None:
    """The cache has each answer before its watch event, announces it once, and knows a no-op as
    one.
    """
    replies = iter(
        [
            replying(201, obj(ONE, 10)),
            replying(200, obj(ONE, 11, status={"a": 1})),
            replying(200, obj(ONE, 11, status={"a": 1})),
        ]
    )
    with gateway(Cluster(lambda asked, handler: next(replies)(asked, handler))) as (made, changes):
        assert made.read(ONE) is ABSENT
        assert made.send(CREATE) == Answer(201, changed=True)
        assert made.read(ONE) == obj(ONE, 10)
        assert made.send(STATUS) == Answer(200, changed=True)
        assert made.read(ONE) == obj(ONE, 11, status={"a": 1})
        assert made.send(STATUS) == Answer(200, changed=False)
        assert [(change.ref, change.old is None) for change in changes] == [
            (ONE, True),
            (ONE, False),
        ]


@pytest.mark.parametrize(
    ("action", "before"), [(CREATE, []), (PATCH, [obj(ONE, 3)])], ids=["Create", "Patch"]
)
def test_a_watch_event_that_is_faster_than_the_answer_hides_no_change(
    action: Action, before: list[Object]
) -> None:
    """On a real server the cache may have the new state before the thread reads the answer."""
    informers: list[Any] = []

    def late(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        informers[0].observe_write(obj(ONE, 10))
        replying(201, obj(ONE, 10))(asked, handler)

    with gateway(Cluster(late, captcontrolplanes=before)) as (made, changes):
        informers += [one for one in made.informers if one.resource is CONTROL_PLANE]
        assert made.send(action) == Answer(201, changed=True)
        assert len(changes) == len(before) + 1


def test_an_own_delete_is_read_at_once() -> None:
    """A Status ends the object; finalizers or a grace period keep it; a 404 ends it, but not a
    proxy's.
    """
    going = obj(ONE, 12)
    going["metadata"] = {
        **going["metadata"],  # type: ignore[dict-item]  # the test's own
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 30,
    }
    marked = obj(ONE, 12)
    marked["metadata"] = {
        **marked["metadata"],  # type: ignore[dict-item]  # the test's own
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "finalizers": ["f"],
    }
    for reply, answer, after in [
        (replying(200, {"kind": "Status", "status": "Success"}), Answer(200, changed=True), ABSENT),
        (replying(200, obj(ONE, 3)), Answer(200, changed=True), ABSENT),
        (replying(202, {"kind": "Status", "status": "Success"}), Answer(202, changed=True), ABSENT),
        (replying(200, marked), Answer(200, changed=True), marked),
        (replying(200, going), Answer(200, changed=True), going),
        (replying(404, {"kind": "Status"}), Answer(404, changed=False), ABSENT),
        (replying(409, {"kind": "Status"}), Answer(409, changed=False), obj(ONE, 3)),
        (raw(404, b"404 page not found"), Answer(404, changed=False), obj(ONE, 3)),
    ]:
        with gateway(Cluster(reply, captcontrolplanes=[obj(ONE, 3)])) as (made, _):
            assert made.read(ONE) == obj(ONE, 3)
            assert made.send(DELETE) == answer
            assert made.read(ONE) == after


def test_a_secret_is_fetched_once_for_each_version() -> None:
    """A watch has the metadata; a read fetches the payload, again only after a change."""
    other = obj(ObjectRef("v1", "Secret", "ns", "other"), 2, "uid-2")
    first, second = obj(SECRET, 3, data={"value": "YQ=="}), obj(SECRET, 11, data={"value": "Yg=="})
    now = [first]
    cluster = Cluster(
        lambda asked, handler: replying(200, now[0])(asked, handler),
        secrets=[obj(SECRET, 3), other],
    )
    with gateway(cluster) as (made, _):
        assert [made.read(SECRET), made.read(SECRET)] == [first, first]
        now[0] = second
        (informer,) = (one for one in made.informers if one.resource.kind == "Secret")
        informer.observe_write(obj(SECRET, 11))
        for _ in range(2):
            mine: Any = made.read(SECRET)
            mine["data"]["value"] = "changed by a caller"
        assert made.read(SECRET) == second
        assert [(asked.method, asked.path) for asked in cluster.requests] == [
            ("GET", f"{SECRETS}/one-kubeconfig")
        ] * 2
        informer.observe_delete(SECRET, "uid-1")
        assert (made.read(SECRET), made._payloads.refs()) == (ABSENT, ())


def test_an_own_secret_need_not_be_fetched() -> None:
    """The answer to the write is its payload."""
    written = obj(SECRET, 10, data={"value": "YQ=="})
    cluster = Cluster(replying(201, written))
    with gateway(cluster) as (made, _):
        made.send(Create(SECRET, manifest(SECRET, data={"value": "YQ=="}), "why"))
        assert made.read(SECRET) == written
        assert [asked.method for asked in cluster.requests] == ["POST"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (replying(404, {"kind": "Status"}), ABSENT),
        (
            raw(404, b"<html>no such site</html>"),
            Unreadable("NotFound", f"{SECRETS}/one-kubeconfig: HTTP 404"),
        ),
        (
            replying(403, {"reason": "Forbidden"}),
            Unreadable("Forbidden", f"{SECRETS}/one-kubeconfig: HTTP 403"),
        ),
        (raw(500, b""), Unreadable("InternalError", f"{SECRETS}/one-kubeconfig: HTTP 500")),
        (raw(200, b"<html>"), Unreadable("HTTP200", f"{SECRETS}/one-kubeconfig: HTTP 200")),
    ],
)
def test_a_secret_that_cannot_be_fetched_is_not_absent(reply: Reply, expected: object) -> None:
    """Only a 404 of an API server shows that the object does not exist."""
    with gateway(Cluster(reply, secrets=[obj(SECRET, 3)])) as (made, _):
        assert made.read(SECRET) == expected


def test_before_the_first_list_nothing_is_absent() -> None:
    """Not synced, and then not permitted: unreadable, each with its reason."""
    made = KubernetesGateway(transport_to(refused_port()), watched=WATCHED)
    assert made.read(ONE) == Unreadable(
        "NotSynced",
        "the first list of captcontrolplanes.controlplane.cluster.x-k8s.io is not there yet",
    )
    with serving(raw(403, b"")) as server:
        made = KubernetesGateway(transport_to(server.url), watched=[Watched(CONTROL_PLANE)])
        made.start()
        deadline = time.monotonic() + 5
        while made.informers[0].problem is None:
            assert time.monotonic() < deadline
        read = made.read(ONE)
        made.stop()
    assert read == Unreadable("Forbidden", f"{CONTROL_PLANE.path()}: HTTP 403")


def test_namespaces_limit_what_is_watched() -> None:
    """One watch for each namespace and kind; an object in another namespace is unreadable, not
    absent.
    """
    with gateway(
        Cluster(reset),
        namespaces=["ns", "other", "ns"],
        watched=[Watched(CONTROL_PLANE), WATCHED[-2]],
    ) as (made, _):
        assert [informer._path for informer in made.informers] == [
            PATH,
            PATH.replace("/ns/", "/other/"),
            "/apis/tf.upbound.io/v1beta1/workspaces",
        ]
        assert (made.read(ONE), made.read(WORKSPACE)) == (ABSENT, ABSENT)
        third = ObjectRef(ONE.api_version, ONE.kind, "third", "one")
        assert made.read(third) == Unreadable(
            "NotWatched", f"{third} is in a namespace, or of a kind, that is not watched"
        )


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_a_dry_run_changes_nothing(action: Action) -> None:
    """`client` sends nothing, `server` sends dryRun=All; the answer says unchanged in both."""
    assert sent(reset, action, dry_run=DryRun.CLIENT) == (Answer(200, changed=False), [])
    cluster = Cluster(replying(200, obj(ONE, 99)), captcontrolplanes=[obj(ONE, 3)])
    with gateway(cluster, dry_run=DryRun.SERVER) as (made, _):
        assert made.send(action) == Answer(200, changed=False)
        assert [("dryRun", "All") in asked.query for asked in cluster.requests] == [True]
        assert [asked.json.get("dryRun") for asked in cluster.requests] == [
            ["All"] if isinstance(action, Delete) else None
        ]
        assert made.read(ONE) == obj(ONE, 3)


def test_the_same_event_raises_a_count() -> None:
    """POST, then PATCH with count 2, then POST again after an hour; another message is another
    Event.
    """
    replies = [
        replying(201, {}),
        replying(200, {}),
        replying(404, {}),
        replying(201, {}),
        replying(201, {}),
    ]
    answers = iter(replies)
    cluster = Cluster(lambda asked, handler: next(answers)(asked, handler))
    with serving(cluster) as server:
        made = KubernetesGateway(transport_to(server.url), watched=WATCHED, now=lambda: NOW)
        other = RecordEvent(ONE, "Warning", "Failed", "m", "uid-1")
        assert [made.send(record).status for record in (RECORD, RECORD, RECORD, other)] == [
            201,
            200,
            201,
            201,
        ]
    names = [asked.path.rpartition("/")[2] for asked in cluster.requests if asked.method == "PATCH"]
    assert [
        (asked.method, asked.json["count"]) for asked in cluster.requests if asked.method == "PATCH"
    ] == [("PATCH", 2), ("PATCH", 3)]
    assert {asked.path for asked in cluster.requests if asked.method == "POST"} == {EVENTS}
    first = cluster.requests[0].json
    assert names == [first["metadata"]["name"]] * 2
    assert first == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": first["metadata"]["name"], "namespace": "ns"},
        "involvedObject": {
            "apiVersion": ONE.api_version,
            "kind": ONE.kind,
            "namespace": "ns",
            "name": "one",
            "uid": "uid-1",
        },
        "type": "Normal",
        "reason": "Ready",
        "message": "control plane is ready",
        "source": {"component": "captep"},
        "reportingComponent": "captep",
        "reportingInstance": "captep",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }


def test_many_threads_may_send() -> None:
    """Eight workers, each its own object, one request each."""
    cluster = Cluster(
        lambda asked, handler: replying(201, {"kind": ONE.kind, **asked.json})(asked, handler)
    )
    with gateway(cluster) as (made, _):
        refs = [ObjectRef(ONE.api_version, ONE.kind, "ns", f"cp-{number}") for number in range(8)]
        threads = [
            threading.Thread(target=made.send, args=(Create(ref, obj(ref, 10 + number), "why"),))
            for number, ref in enumerate(refs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert set(made.refs(ONE.api_version, ONE.kind)) == set(refs)
        assert len(cluster.requests) == 8


class Canned:
    """A transport without sockets: `items` answer the lists, `reply` the requests, which `asked`
    keeps.
    """

    def __init__(self, reply: Callable[[], RawResponse], **items: list[Object]) -> None:
        self.reply, self.items = reply, items
        self.asked: list[tuple[str, str, float]] = []
        self.accepted: dict[str, str] = {}

    def request(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        accept: str = "",
        **_: Any,  # noqa: ANN401  # options of Transport
    ) -> RawResponse:
        """Answer."""
        plural = path.rpartition("/")[2]
        if method == "GET" and plural in self.items:
            self.accepted[plural] = accept
            return RawResponse(
                200, {}, {"metadata": {"resourceVersion": "9"}, "items": [*self.items[plural]]}
            )
        self.asked.append((method, path, timeout))
        return self.reply()

    def stream(self, path: str, **_: Any) -> RawResponse:  # noqa: ANN401  # options of Transport
        """Nothing is watched."""
        raise NotImplementedError

    def gateway(self, **options: Any) -> KubernetesGateway:  # noqa: ANN401  # options of KubernetesGateway
        """Return a gateway that has listed, in this thread."""
        made = KubernetesGateway(self, **{"watched": WATCHED, "now": lambda: NOW, **options})
        for informer in made.informers:
            self.items.setdefault(informer.resource.plural, [])
            informer._list()
        return made


def timed_out() -> RawResponse:
    """No answer in time."""
    raise UnansweredError("GET /x: ReadTimeoutError: timed out", may_have_landed=False)


def cut_off() -> RawResponse:
    """No answer."""
    raise UnansweredError("GET /x: ProtocolError: reset", may_have_landed=False)


def test_no_request_waits_longer_than_ten_seconds() -> None:
    """Each write, and each read of a payload."""
    canned = Canned(lambda: RawResponse(500), secrets=[obj(SECRET, 3)])
    made = canned.gateway()
    for action in ACTIONS:
        made.send(action)
    made.read(SECRET)
    assert [(method, timeout) for method, _, timeout in canned.asked] == [
        *(
            ("POST", 10.0),
            ("PATCH", 10.0),
            ("PATCH", 10.0),
            ("DELETE", 10.0),
            ("POST", 10.0),
            ("GET", 10.0),
        )
    ]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (timed_out, Unreadable("Timeout", "GET /x: ReadTimeoutError: timed out")),
        (cut_off, Unreadable("Unavailable", "GET /x: ProtocolError: reset")),
    ],
)
def test_a_payload_without_an_answer_is_unreadable(
    reply: Callable[[], RawResponse], expected: Unreadable
) -> None:
    """Whether the server was slow or away; the Secret stays known."""
    made = Canned(reply, secrets=[obj(SECRET, 3)]).gateway()
    assert (made.read(SECRET), made.version(SECRET)) == (expected, "3")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RawResponse(404, {}, {"message": "no route"}), "NotFound"),
        (RawResponse(404, {}, {"kind": "Secret"}), "NotFound"),
        (RawResponse(404), "NotFound"),
        (RawResponse(200, {}, {"error": "sign in"}), "Malformed"),
        (RawResponse(200, {}, {"metadata": {"name": "another"}}), "Malformed"),
    ],
)
def test_the_json_of_a_proxy_says_nothing_about_an_object(answer: RawResponse, reason: str) -> None:
    """A Secret that a proxy hides is unreadable, and stays in the cache."""
    made = Canned(lambda: answer, secrets=[obj(SECRET, 3)]).gateway()
    found = made.read(SECRET)
    assert isinstance(found, Unreadable)
    assert (found.reason, made.version(SECRET)) == (reason, "3")


def test_a_proxy_that_answers_a_delete_removes_nothing_from_the_cache() -> None:
    """404 in its own JSON: the loop sees the status, and the object stays known."""
    canned = Canned(lambda: RawResponse(404, {}, {"message": "x"}), captcontrolplanes=[obj(ONE, 3)])
    made = canned.gateway()
    assert made.send(DELETE) == Answer(404, changed=False)
    assert made.exists(ONE)


def test_a_live_read_asks_the_server_and_keeps_the_managed_fields() -> None:
    """The cache leaves them out; a live read leaves the cache as it is."""
    managed: JSON = [{"manager": "kubectl-edit", "fieldsV1": {"f:spec": {}}}]
    found = obj(ONE, 6)
    found["metadata"] = {**found["metadata"], "managedFields": managed}  # type: ignore[dict-item]  # JSON
    cluster = Cluster(replying(200, found))
    with gateway(cluster) as (made, _):
        assert made.read_live(ONE) == found
        assert made.read(ONE) == ABSENT
    assert [(asked.method, asked.path) for asked in cluster.requests] == [("GET", f"{PATH}/one")]


def test_a_live_read_of_an_absent_object_is_absent() -> None:
    """A refused one is unreadable for the reason of the server."""
    for status, expected in (
        (404, ABSENT),
        (403, Unreadable("Forbidden", f"{PATH}/one: HTTP 403")),
    ):
        with gateway(Cluster(replying(status, {"kind": "Status"}))) as (made, _):
            assert made.read_live(ONE) == expected


def test_an_answer_has_the_object_that_the_server_made() -> None:
    """A loop sees in it which fields the server does not keep; a refusal has none."""
    with gateway(Cluster(replying(200, obj(ONE, 6)))) as (made, _):
        assert made.send(PATCH).object == obj(ONE, 6)
    with gateway(Cluster(replying(403, {}))) as (made, _):
        assert made.send(PATCH).object is None


def test_a_fetch_updates_the_cache() -> None:
    """The cache has a fetched version before its watch event, and a 404 too: no second request."""
    answers = iter(
        [RawResponse(200, {}, obj(SECRET, 11)), RawResponse(404, {}, {"kind": "Status"})]
    )
    canned = Canned(lambda: next(answers), secrets=[obj(SECRET, 3)])
    made = canned.gateway()
    assert [made.read(SECRET), made.version(SECRET), made.read(SECRET)] == [
        obj(SECRET, 11),
        "11",
        obj(SECRET, 11),
    ]
    (informer,) = (one for one in made.informers if one.resource.kind == "Secret")
    informer.observe_write(obj(SECRET, 12))
    assert [made.read(SECRET), made.exists(SECRET), made.read(SECRET)] == [ABSENT, False, ABSENT]
    assert len(canned.asked) == 2


def test_existence_and_version_come_from_the_cache() -> None:
    """Existence and version of objects of watched kinds in watched namespaces, of no others."""
    made = Canned(cut_off, captcontrolplanes=[obj(ONE, 3)], secrets=[obj(SECRET, 5)]).gateway(
        namespaces=["ns"]
    )
    other = ObjectRef(ONE.api_version, ONE.kind, "ns", "other")
    elsewhere = ObjectRef(ONE.api_version, ONE.kind, "elsewhere", "one")
    refs = (ONE, SECRET, other, elsewhere, ObjectRef("v1", "ConfigMap", "ns", "one"))
    assert [(made.exists(ref), made.version(ref)) for ref in refs] == [
        (True, "3"),
        (True, "5"),
        (False, None),
        (False, None),
        (False, None),
    ]
    assert (made.refs(ONE.api_version, ONE.kind), made.refs("v1", "Secret")) == ((ONE,), (SECRET,))


def test_only_payloads_that_were_fetched_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest payload goes first; a kind that is not on demand has no payload."""
    monkeypatch.setattr("captep_kubernetes._payloads._MOST", 2)
    refs = [ObjectRef("v1", "Secret", "ns", name) for name in "abc"]
    a, b, c = refs
    answers = iter([obj(a, 3), obj(b, 3), obj(a, 4), obj(c, 3), obj(ONE, 6)])
    made = Canned(
        lambda: RawResponse(200, {}, next(answers)), secrets=[obj(ref, 3) for ref in refs]
    ).gateway()
    (informer,) = (one for one in made.informers if one.resource.kind == "Secret")
    made.read(a)
    made.read(b)
    assert made._payloads.refs() == (a, b)
    informer.observe_write(obj(a, 4))
    made.read(a)
    made.read(c)
    made.send(PATCH)
    assert made._payloads.refs() == (a, c)


def test_the_cache_keeps_what_the_description_of_a_kind_says() -> None:
    """Whole objects keep the fields of the description, objects on demand their identity alone, and
    a kind by its metadata that and no more, whatever the server sends.
    """
    toys = Resource("example.org/v1", "Toy", "toys")
    toy = ObjectRef(toys.api_version, toys.kind, "ns", "one")
    canned = Canned(
        cut_off,
        captcontrolplanes=[obj(ONE, 3, only="this", other="that")],
        secrets=[obj(SECRET, 5)],
        toys=[obj(toy, 6, spec={"much": "more"})],
    )
    watched = [
        Watched(CONTROL_PLANE, fields={"only": None}),
        Watched(RESOURCES["v1", "Secret"], Representation.ON_DEMAND),
        Watched(toys, Representation.METADATA),
    ]
    made = canned.gateway(watched=watched)
    assert [
        informer.get(ref) for informer, ref in zip(made.informers, (ONE, SECRET, toy), strict=True)
    ] == [obj(ONE, 3, only="this"), {}, obj(toy, 6)]
    assert made.read(toy) == obj(toy, 6)
    assert canned.accepted == {
        "captcontrolplanes": "application/json",
        "secrets": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
        "application/json",
        "toys": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
    }


def test_a_kind_that_is_not_watched_can_be_written() -> None:
    """A kind that is written and never read, and a watched one: each at its path, without a cache
    entry.
    """
    toys = Resource("example.org/v1", "Toy", "toys")
    toy = ObjectRef(toys.api_version, toys.kind, "ns", "one")
    gone = obj(SECRET, 6)
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"  # type: ignore[index,call-overload]  # the test's own
    bodies: list[Object] = [obj(SECRET, 5), obj(SECRET, 6), gone, {"kind": "Status"}, obj(toy, 7)]
    canned = Canned(lambda: RawResponse(200, {}, bodies.pop(0)))
    made = canned.gateway(watched=[Watched(toys)], written=[RESOURCES["v1", "Secret"]])
    change = Patch(SECRET, {}, Preconditions("uid-1"), "why")
    actions = (
        Create(SECRET, manifest(SECRET), "why"),
        change,
        change,
        Delete(SECRET, GUARDED, "why"),
        Create(toy, manifest(toy), "why"),
    )
    assert [made.send(action) for action in actions] == [Answer(200, changed=True)] * 5
    assert [(method, path) for method, path, _ in canned.asked] == [
        ("POST", SECRETS),
        ("PATCH", f"{SECRETS}/one-kubeconfig"),
        ("PATCH", f"{SECRETS}/one-kubeconfig"),
        ("DELETE", f"{SECRETS}/one-kubeconfig"),
        ("POST", "/apis/example.org/v1/namespaces/ns/toys"),
    ]
    assert (made.exists(SECRET), made.exists(toy), made._payloads.refs()) == (False, True, ())


def test_an_answer_without_the_object_is_not_cached() -> None:
    """A 201 with a Status says that it was created, and not what."""
    made = Canned(
        lambda: RawResponse(
            201, {}, {"kind": "Status", "metadata": {"name": SECRET.name, "namespace": "ns"}}
        )
    ).gateway()
    assert made.send(Create(SECRET, manifest(SECRET), "why")) == Answer(201, changed=True)
    assert (made.read(SECRET), made._payloads.refs()) == (ABSENT, ())


def test_a_delete_without_a_uid_leaves_the_cache_alone() -> None:
    """Without a uid nobody knows which one is gone: the watch event follows."""
    made = Canned(
        lambda: RawResponse(200, {}, {"kind": "Status"}), captcontrolplanes=[obj(ONE, 3)]
    ).gateway()
    assert made.send(Delete(ONE, Preconditions(), "why")) == Answer(200, changed=True)
    assert made.version(ONE) == "3"


def test_an_event_too_many_is_not_sent() -> None:
    """25 are; the next one is answered as if there were nothing to do."""
    canned = Canned(lambda: RawResponse(201, {}, {"kind": "Event"}))
    made = canned.gateway()
    answers = [
        made.send(RecordEvent(ONE, "Normal", "Ready", str(number), "uid-1")) for number in range(26)
    ]
    assert answers == [Answer(201, changed=True)] * 25 + [Answer(200, changed=False)]
    assert len(canned.asked) == 25


def test_an_event_whose_patch_is_refused_is_new_next_time() -> None:
    """A PATCH refused by anything but 404 is answered as it is, and the next record is a POST."""
    answers = iter([RawResponse(201, {}, {}), RawResponse(500), RawResponse(201, {}, {})])
    canned = Canned(lambda: next(answers))
    made = canned.gateway()
    assert [made.send(RECORD).status for _ in range(3)] == [201, 500, 201]
    assert [method for method, _, _ in canned.asked] == ["POST", "PATCH", "POST"]


def test_all_watches_are_stopped_at_once_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes until the last one is being stopped."""
    made = Canned(cut_off).gateway()
    all_at_once, stopped = threading.Barrier(len(made.informers), timeout=10), list[Informer]()

    def stop(informer: Informer) -> None:
        all_at_once.wait()
        stopped.append(informer)

    monkeypatch.setattr(Informer, "stop", stop)
    made.stop()
    assert set(stopped) == set(made.informers)


@pytest.mark.parametrize(
    ("manager", "force", "query"),
    [
        ("", False, (("fieldManager", "captep"),)),
        ("mine", True, (("fieldManager", "mine"), ("force", "true"))),
    ],
)
def test_an_apply_travels_with_its_manager(
    manager: str, force: bool, query: tuple[tuple[str, str], ...]
) -> None:
    """The manager is the gateway's own or the action's; force is sent only when it is asked for."""
    _, (asked,) = sent(replying(200, obj(ONE, 6)), Apply(ONE, manifest(ONE), "w", manager, force))
    assert asked.query == query
