"""The Kubernetes adapter against a real kube-apiserver.

It confirms the behaviour of the loopback servers in tests/kubernetes.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from captep_core import (
    ABSENT,
    JSON,
    Backoff,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
)
from captep_core._resources import Representation
from captep_core.capt._resources import RESOURCES, WATCHED
from captep_core.errors import GatewayError
from captep_core.ports import Answer
from captep_kubernetes import (
    LEASES,
    CacheChange,
    DryRun,
    Informer,
    KubernetesGateway,
    LeaderElector,
    LeaseTimes,
    RawResponse,
    UnansweredError,
    check_connection,
    identity_only,
    load_transport,
)
from captep_kubernetes._credentials import UserCredentials
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.proxy import Proxy
from tests.objects import manifest

pytestmark = pytest.mark.cluster
FAST = Backoff(base=0.05, cap=0.5)
SECRETS = RESOURCES["v1", "Secret"]
CONTROL_PLANES = RESOURCES["controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane"]
GROUPS = [
    "controlplane.cluster.x-k8s.io",
    "cluster.x-k8s.io",
    "infrastructure.cluster.x-k8s.io",
    "tf.upbound.io",
]
LEAST = [
    {
        "apiGroups": GROUPS,
        "resources": ["*"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "verbs": ["get", "list", "watch", "create", "patch"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "patch"],
    },
]


@pytest.fixture(scope="module")
def kubeconfig(apiserver: ApiServer) -> Path:
    """The kubeconfig of a user that may do what the controller needs and no more."""
    apiserver.grant("captep", LEAST)
    return apiserver.kubeconfig("captep")


def secret_path(namespace: str, name: str = "") -> str:
    """The URL path of a Secret."""
    return SECRETS.path(namespace, name or None)


def put_secret(server: ApiServer, namespace: str, name: str, value: str = "YQ==") -> dict[str, Any]:
    """Create a Secret as administrator."""
    return server.create(
        secret_path(namespace), {"metadata": {"name": name}, "data": {"value": value}}
    )


@contextmanager
def informing(
    kubeconfig: Path,
    namespace: str,
    **options: Any,  # noqa: ANN401  # options of Informer
) -> Iterator[tuple[Informer, list[CacheChange]]]:
    """Run an informer of the Secrets in a namespace."""
    changes: list[CacheChange] = []
    transport = load_transport(kubeconfig)
    informer = Informer(
        transport,
        SECRETS,
        namespace=namespace,
        **{"on_change": changes.append, "backoff": FAST, **options},
    )
    informer.start()
    try:
        assert informer.wait_synced(10)
        yield informer, changes
    finally:
        informer.stop()
        assert not informer.is_alive
        transport.close()


def names(changes: list[CacheChange]) -> list[tuple[str, str]]:
    """Return the announcements in order, as name and sign."""
    return [(change.ref.name, _sign(change)) for change in changes]


def _sign(change: CacheChange) -> str:
    """Return + for an object that appeared, - for one that is gone, ~ for one that changed."""
    if change.old is None:
        return "+"
    return "-" if change.new is None else "~"


def test_only_valid_credentials_connect(apiserver: ApiServer, tmp_path: Path) -> None:
    """A user connects; a wrong token (401) and an untrusted certificate raise, each by name."""
    good = apiserver.kubeconfig("captep")
    check_connection(load_transport(good))
    wrong = tmp_path / "wrong"
    wrong.write_text(good.read_text().replace("token: ", "token: x"))
    with pytest.raises(GatewayError, match=r"refuses the credentials \(401\)"):
        check_connection(load_transport(wrong))
    other = tmp_path / "other"
    other.write_text(
        "\n".join(
            line for line in good.read_text().splitlines() if "certificate-authority" not in line
        )
    )
    with pytest.raises(GatewayError, match="CERTIFICATE_VERIFY_FAILED"):
        check_connection(load_transport(other))


def test_the_server_sees_the_impersonated_user(apiserver: ApiServer) -> None:
    """User, uid, groups and extra of the kubeconfig, not the administrator who impersonates."""
    path = apiserver.kubeconfig()
    document = yaml.safe_load(path.read_text())
    document["users"][0]["user"] |= {
        "as": "jané",
        "as-uid": "42",
        "as-groups": ["developers", "a, b"],
        "as-user-extra": {"acme.com/scopes": ["one", "two"]},
    }
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    transport = load_transport(path)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    # Everybody may review himself, but only an impersonator who may set uid and extra gets here.
    answer = transport.request(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=dict(review), timeout=10.0
    )
    status: Any = (answer.body or {}).get("status")
    assert (answer.status, status["userInfo"]) == (
        201,
        {
            "username": "jané",
            "uid": "42",
            "groups": ["developers", "a, b", "system:authenticated"],
            "extra": {"acme.com/scopes": ["one", "two"]},
        },
    )


def test_an_unverified_server_costs_one_log_line(
    apiserver: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's warning at each request would be 54,000 lines for a thousand control planes."""
    path = apiserver.kubeconfig()
    document = yaml.safe_load(path.read_text())
    document["clusters"][0]["cluster"] = {"server": apiserver.url, "insecure-skip-tls-verify": True}
    path.write_text(yaml.safe_dump(document))
    with warnings.catch_warnings(record=True) as warned:
        transport = load_transport(path)
        for _ in range(3):
            check_connection(transport)
    field = f"{path}: clusters[0].cluster.insecure-skip-tls-verify"
    line = f"the server's certificate is not verified: {field}"
    assert (warned, caplog.messages) == ([], [line])


@pytest.mark.parametrize(
    ("name", "is_valid"), [("kubernetes.default.svc", True), ("wrong.example", False)]
)
def test_the_server_is_verified_under_its_tls_server_name(
    apiserver: ApiServer, name: str, is_valid: bool
) -> None:
    """`tls-server-name` replaces the host of the address."""
    path = apiserver.kubeconfig()
    document = yaml.safe_load(path.read_text())
    document["clusters"][0]["cluster"]["tls-server-name"] = name
    path.write_text(yaml.safe_dump(document))
    transport = load_transport(path)
    if is_valid:
        check_connection(transport)
    else:
        with pytest.raises(GatewayError, match="CERTIFICATE_VERIFY_FAILED"):
            check_connection(transport)


def test_a_new_authority_ends_the_watches(apiserver: ApiServer, tmp_path: Path) -> None:
    """The watch opens again under the authority file that replaced the old one."""
    path = apiserver.kubeconfig()
    authority = tmp_path / "ca.crt"
    authority.write_bytes(apiserver.ca_file.read_bytes())
    document = yaml.safe_load(path.read_text())
    document["clusters"][0]["cluster"]["certificate-authority"] = str(authority)
    path.write_text(yaml.safe_dump(document))
    transport = load_transport(path)
    stream = transport.stream("/api/v1/namespaces", query=[("watch", 1)], timeout=60.0)
    assert not isinstance(stream, RawResponse)
    authority.write_bytes(b"# replaced\n" + apiserver.ca_file.read_bytes())
    assert isinstance(transport._credentials, UserCredentials)
    transport._credentials._read_at -= 30.0
    check_connection(transport)
    # An end on purpose is no failure, and a stream that went on would raise after its timeout.
    list(stream.lines())


def test_a_missing_permission_is_an_answer(
    apiserver: ApiServer, kubeconfig: Path, namespace: str
) -> None:
    """A missing permission is a 403 with the server's own reason."""
    answer = load_transport(kubeconfig).request(
        "DELETE", secret_path(namespace, "one"), timeout=5.0
    )
    assert (answer.status, (answer.body or {}).get("reason")) == (403, "Forbidden")


def test_a_watch_over_tls_ends_at_once_when_it_is_closed(kubeconfig: Path, namespace: str) -> None:
    """`close` makes a reader that waits for the next event return within a second."""
    stream = load_transport(kubeconfig).stream(
        secret_path(namespace), query=[("watch", 1)], timeout=60.0
    )
    assert not isinstance(stream, RawResponse)
    ended = threading.Event()

    def read() -> None:
        with suppress(UnansweredError):
            list(stream.lines())
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert not ended.wait(0.3)
    stream.close()
    assert ended.wait(1)


def test_a_cache_follows_the_server(
    apiserver: ApiServer, kubeconfig: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pages and all changes arrive; an update that changes nothing is not announced."""
    monkeypatch.setattr("captep_kubernetes._informer._PAGE", 5)
    for number in range(12):
        put_secret(apiserver, namespace, f"s{number}")
    with informing(kubeconfig, namespace) as (informer, changes):
        assert {ref.name for ref in informer.refs()} == {f"s{number}" for number in range(12)}
        del changes[:]
        put_secret(apiserver, namespace, "new")
        apiserver.merge(secret_path(namespace, "s1"), {"data": {"value": "Yg=="}})
        apiserver.merge(secret_path(namespace, "s1"), {"data": {"value": "Yg=="}})
        apiserver.call("DELETE", secret_path(namespace, "s2"))
        eventually(lambda: len(changes) == 3, what="three announcements")
        assert names(changes) == [("new", "+"), ("s1", "~"), ("s2", "-")]
        changed = informer.get(ObjectRef("v1", "Secret", namespace, "s1"))
        assert changed is not None
        assert (changed["apiVersion"], changed["kind"], changed["data"]) == (
            "v1",
            "Secret",
            {"value": "Yg=="},
        )


def test_metadata_alone_never_holds_a_payload(
    apiserver: ApiServer, kubeconfig: Path, namespace: str
) -> None:
    """The real server sends PartialObjectMetadata, in the list and in the watch."""
    put_secret(apiserver, namespace, "listed")
    with informing(kubeconfig, namespace, representation=Representation.METADATA, project=dict) as (
        informer,
        changes,
    ):
        put_secret(apiserver, namespace, "watched")
        eventually(lambda: len(changes) == 2, what="both are announced")
        for name in ("listed", "watched"):
            found = informer.get(ObjectRef("v1", "Secret", namespace, name))
            assert found is not None
            assert ("data" in found, found["kind"]) == (False, "Secret")


def test_a_cut_watch_goes_on_where_it_was(
    apiserver: ApiServer, kubeconfig: Path, namespace: str
) -> None:
    """After a cut the changes arrive, no object is announced again and nothing is listed again."""
    put_secret(apiserver, namespace, "old")
    with (
        Proxy(apiserver.port) as proxy,
        informing(apiserver.kubeconfig("captep", server=proxy.url), namespace) as (
            informer,
            changes,
        ),
    ):
        eventually(lambda: informer.problem is None, what="the watch is open")
        proxy.cut()
        eventually(lambda: informer.problem is not None, what="the cut is noticed")
        put_secret(apiserver, namespace, "new")
        proxy.mend()
        eventually(lambda: len(changes) == 2, what="the new one is announced")
        assert names(changes) == [("old", "+"), ("new", "+")]
    lists = [
        event
        for event in apiserver.audit()
        if event.get("objectRef", {}).get("namespace") == namespace and event["verb"] == "list"
    ]
    assert len(lists) == 1


def test_a_cache_survives_a_restart_of_the_server(
    apiserver: ApiServer, kubeconfig: Path, namespace: str
) -> None:
    """A crash of kube-apiserver keeps the cache; afterwards it announces only new objects."""
    put_secret(apiserver, namespace, "old")
    with informing(kubeconfig, namespace) as (informer, changes):
        apiserver.kill_apiserver()
        eventually(lambda: informer.problem is not None, what="the crash is noticed")
        assert [ref.name for ref in informer.refs()] == ["old"]
        apiserver.start_apiserver()
        put_secret(apiserver, namespace, "new")
        eventually(lambda: len(changes) == 2, what="the new one is announced", within=20)
        assert names(changes) == [("old", "+"), ("new", "+")]


def test_an_expired_version_is_listed_again(
    apiserver: ApiServer, kubeconfig: Path, namespace: str
) -> None:
    """A compacted history (410) costs one more LIST, which shows the deletion in between."""
    put_secret(apiserver, namespace, "kept")
    put_secret(apiserver, namespace, "gone")
    with (
        Proxy(apiserver.port) as proxy,
        informing(apiserver.kubeconfig("captep", server=proxy.url), namespace) as (_, changes),
    ):
        proxy.cut()
        apiserver.call("DELETE", secret_path(namespace, "gone"))
        for number in range(5):
            put_secret(apiserver, namespace, f"new{number}")
        apiserver.compact()
        apiserver.kill_apiserver()
        apiserver.start_apiserver()
        proxy.mend()
        eventually(
            lambda: len(changes) == 8, what="what happened in between is announced", within=20
        )
        assert sorted(names(changes)[2:]) == [
            ("gone", "-"),
            *((f"new{number}", "+") for number in range(5)),
        ]
    lists = [
        event
        for event in apiserver.audit()
        if event.get("objectRef", {}).get("namespace") == namespace and event["verb"] == "list"
    ]
    assert len(lists) == 2


def candidate(kubeconfig: Path, namespace: str, identity: str) -> LeaderElector:
    """Return a started elector with short times."""
    times = LeaseTimes(lease_duration=3.0, renew_deadline=2.0, retry_period=0.2)
    elector = LeaderElector(
        load_transport(kubeconfig),
        namespace=namespace,
        name="captep",
        identity=identity,
        times=times,
    )
    elector.start()
    return elector


def test_the_lease_changes_hands(apiserver: ApiServer, kubeconfig: Path, namespace: str) -> None:
    """A cut-off leader stops before the next one leads; a released lease is free at once."""
    path = LEASES.path(namespace, "captep")
    with Proxy(apiserver.port) as proxy:
        one = candidate(apiserver.kubeconfig("captep", server=proxy.url), namespace, "one")
        eventually(one.is_leading, what="the first leads")
        two = candidate(kubeconfig, namespace, "two")
        both: list[bool] = []

        def handed_over() -> bool:
            both.append(one.is_leading() and two.is_leading())
            return two.is_leading()

        proxy.cut()
        eventually(handed_over, what="the second leads")
        assert not any(both)
        assert (one.is_leading(), one.is_alive) == (False, True)
        spec = apiserver.call("GET", path)[1]["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == (
            "two",
            1,
            3,
        )
        proxy.mend()
        two.stop()
        eventually(one.is_leading, what="the first leads again", within=2.5)
        one.stop()
    spec = apiserver.call("GET", path)[1]["spec"]
    assert (spec.get("holderIdentity", ""), spec["leaseTransitions"]) == ("", 2)


@contextmanager
def a_gateway(
    kubeconfig: Path, namespace: str, dry_run: DryRun = DryRun.NONE
) -> Iterator[tuple[KubernetesGateway, list[CacheChange]]]:
    """Run a gateway for one namespace, with all its caches synced."""
    changes: list[CacheChange] = []
    made = KubernetesGateway(
        load_transport(kubeconfig),
        watched=WATCHED,
        namespaces=[namespace],
        on_change=changes.append,
        dry_run=dry_run,
    )
    made.start()
    try:
        eventually(lambda: made.has_synced, what="every cache has synced")
        yield made, changes
    finally:
        made.stop()


def control_plane(namespace: str, name: str = "one") -> Create:
    """Return the creation of a valid CAPTControlPlane."""
    ref = ObjectRef(CONTROL_PLANES.api_version, CONTROL_PLANES.kind, namespace, name)
    spec: JSON = {"version": "1.31", "workspaceTemplateRef": {"name": "eks"}}
    metadata: JSON = {"name": name, "namespace": namespace}
    return Create(
        ref,
        {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, "spec": spec},
        "why",
    )


def preconditions(made: KubernetesGateway, ref: ObjectRef) -> Preconditions:
    """Return the uid and the resourceVersion that the cache has."""
    found: Any = made.read(ref)
    return Preconditions(found["metadata"]["uid"], found["metadata"]["resourceVersion"])


def test_the_server_answers_each_action_as_expected(kubeconfig: Path, namespace: str) -> None:
    """Each action returns the server's status, and whether it changed the object."""
    create = control_plane(namespace)
    ref = create.target
    with a_gateway(kubeconfig, namespace) as (made, changes):
        assert made.read(ref) is ABSENT
        assert made.send(create) == Answer(201, changed=True)
        first = preconditions(made, ref)
        assert made.send(create) == Answer(409, changed=False, reason="AlreadyExists")
        status = Patch(
            ref,
            {"status": {"phase": "Creating", "secretsReady": True}},
            first,
            "why",
            subresource="status",
        )
        assert made.send(status) == Answer(200, changed=True)
        again = preconditions(made, ref)
        noop = Patch(ref, status.body, again, "why", subresource="status")
        assert made.send(noop) == Answer(200, changed=False)
        assert made.send(status) == Answer(409, changed=False, reason="Conflict")
        assert made.send(
            Patch(ref, {"spec": {"version": "1.32"}}, Preconditions("another"), "why")
        ) == Answer(409, changed=False, reason="Conflict")
        sleeping: Callable[[str], JSON] = lambda phase: {"phase": phase}  # noqa: E731  # a value of type JSON, for mypy
        assert made.send(
            Patch(ref, {"status": sleeping("Sleeping")}, again, "why", subresource="status")
        ) == Answer(422, changed=False, reason="Invalid")
        assert made.send(
            Patch(ref, {"metadata": {"finalizers": ["captep.test/f"]}}, again, "why")
        ) == Answer(200, changed=True)
        refused = made.send(Delete(ref, Preconditions("another"), "why"))
        assert refused == Answer(409, changed=False, reason="Conflict")
        uid = Preconditions(first.uid)
        assert made.send(Delete(ref, uid, "why")) == Answer(200, changed=True)
        marked: Any = made.read(ref)
        assert marked["metadata"]["deletionTimestamp"]
        assert made.send(Delete(ref, uid, "why")) == Answer(200, changed=False)
        assert (
            made.send(
                Patch(ref, {"metadata": {"finalizers": None}}, preconditions(made, ref), "why")
            ).status
            == 200
        )
        eventually(lambda: made.read(ref) is ABSENT, what="the watch shows the deletion")
        assert made.send(Delete(ref, uid, "why")) == Answer(404, changed=False, reason="NotFound")
        # Workspaces are cluster-scoped: those of other tests are announced too.
        ours = [kind for name, kind in names(changes) if name == ref.name]
        assert ours == ["+", "~", "~", "~", "-"]


def test_deleted_at_once_is_absent_at_once(kubeconfig: Path, namespace: str) -> None:
    """Without finalizers the answer to the DELETE suffices, and no watch event is needed."""
    create = control_plane(namespace)
    with a_gateway(kubeconfig, namespace) as (made, _):
        made.send(create)
        assert made.send(
            Delete(create.target, preconditions(made, create.target), "why")
        ) == Answer(200, changed=True)
        assert made.read(create.target) is ABSENT


def test_a_read_secret_costs_one_request(
    apiserver: ApiServer, kubeconfig: Path, namespace: str
) -> None:
    """Own Secrets cost no GET, those of others one a change; a repeated Event is counted."""
    create = control_plane(namespace)
    mine, theirs = (ObjectRef("v1", "Secret", namespace, name) for name in ("mine", "theirs"))
    with a_gateway(kubeconfig, namespace) as (made, _):
        made.send(create)
        assert made.send(Create(mine, manifest(mine, data={"value": "YQ=="}), "why")) == Answer(
            201, changed=True
        )
        put_secret(apiserver, namespace, "theirs")
        eventually(lambda: made.read(theirs) is not ABSENT, what="the watch shows it")
        apiserver.merge(secret_path(namespace, "theirs"), {"data": {"value": "Yg=="}})

        def value(ref: ObjectRef) -> Any:  # noqa: ANN401  # JSON
            found: Any = made.read(ref)
            return found["data"]["value"]

        eventually(lambda: value(theirs) == "Yg==", what="the new payload is read")
        assert value(mine) == "YQ=="
        record = RecordEvent(
            create.target,
            "Normal",
            "Ready",
            "control plane is ready",
            preconditions(made, create.target).uid,
        )
        assert [made.send(record).status for _ in range(2)] == [201, 200]
    events = apiserver.call("GET", f"/api/v1/namespaces/{namespace}/events")[1]["items"]
    assert [
        (event["count"], event["reason"], event["involvedObject"]["name"]) for event in events
    ] == [(2, "Ready", "one")]
    ours = [
        event
        for event in apiserver.audit()
        if event["user"].get("username") == "captep"
        and event.get("objectRef", {}).get("namespace") == namespace
    ]
    assert {event["userAgent"].partition("/")[0] for event in ours} == {"captep"}
    writes = [
        (event["verb"], event["objectRef"]["resource"])
        for event in ours
        if event["verb"] not in ("get", "list", "watch")
    ]
    assert writes == [
        ("create", "captcontrolplanes"),
        ("create", "secrets"),
        ("create", "events"),
        ("patch", "events"),
    ]
    gets = [event["objectRef"]["name"] for event in ours if event["verb"] == "get"]
    assert gets == ["theirs", "theirs"]
    managers = apiserver.call("GET", secret_path(namespace, "mine"))[1]["metadata"]["managedFields"]
    assert [manager["manager"] for manager in managers] == ["captep"]


def test_a_dry_run_is_checked_and_forgotten(kubeconfig: Path, namespace: str) -> None:
    """The server validates a dry run, and nothing is stored or cached."""
    create = control_plane(namespace)
    with a_gateway(kubeconfig, namespace, DryRun.SERVER) as (made, _):
        assert made.send(create) == Answer(201, changed=False)
        assert made.read(create.target) is ABSENT
        broken = Create(create.target, {**create.body, "spec": {"version": 5}}, "why")
        assert made.send(broken) == Answer(422, changed=False, reason="Invalid")
    with a_gateway(kubeconfig, namespace) as (made, _):
        assert made.read(create.target) is ABSENT


def test_a_dry_run_deletes_nothing(kubeconfig: Path, namespace: str) -> None:
    """The body of a DELETE says dryRun, because with a body the server ignores the query."""
    create = control_plane(namespace)
    with a_gateway(kubeconfig, namespace) as (made, _):
        assert made.send(create) == Answer(201, changed=True)
    with a_gateway(kubeconfig, namespace, DryRun.SERVER) as (made, _):
        assert made.send(Delete(create.target, Preconditions(), "why")) == Answer(
            200, changed=False
        )
    with a_gateway(kubeconfig, namespace) as (made, _):
        assert made.read(create.target) is not ABSENT


def test_only_identities_are_kept_of_what_is_watched_by_metadata(
    apiserver: ApiServer, kubeconfig: Path, namespace: str
) -> None:
    """Of two hundred Secrets of 3 KB each, the cache keeps uid and resourceVersion."""
    for number in range(200):
        put_secret(apiserver, namespace, f"s{number}", "QUJD" * 1000)
    with informing(
        kubeconfig, namespace, representation=Representation.METADATA, project=identity_only
    ) as (informer, changes):
        assert len(changes) == 200
        assert all(change.new == {} for change in changes)
        assert all(informer.identity(change.ref) != ("", "") for change in changes)
        assert informer.problem is None
