"""Lists: from the cache of a kind, or by one request where no cache keeps the objects."""

from http.server import BaseHTTPRequestHandler

import pytest

from captep_core import JSON, ObjectRef, Selection, Unreadable
from captep_core._resources import Representation, Resource, Watched
from captep_core.capt._resources import WATCHED
from captep_kubernetes import CacheChange, KubernetesGateway, Object, list_live
from captep_kubernetes._store import Store
from tests.kubernetes.scripted import Asked, Reply, replying, reset, serving, transport_to
from tests.kubernetes.test_gateway import (
    CONTROL_PLANE,
    ONE,
    SECRET,
    SECRETS,
    WORKSPACE,
    Cluster,
    gateway,
    listing,
    obj,
)

TWO = ObjectRef(ONE.api_version, ONE.kind, "ns", "two")
FAR = ObjectRef(ONE.api_version, ONE.kind, "far", "one")
HERE = Selection(ONE.api_version, ONE.kind, "ns")
ALL_SECRETS = Selection("v1", "Secret", "ns")


def labelled(ref: ObjectRef, app: str) -> Object:
    """An object with a label."""
    made = obj(ref, 1)
    metadata = made["metadata"]
    assert isinstance(metadata, dict)
    return {**made, "metadata": {**metadata, "labels": {"app": app}}}


def names(listed: object) -> list[str]:
    """The names of a list."""
    assert isinstance(listed, tuple), listed
    return [each["metadata"]["name"] for each in listed]


def test_a_cached_kind_is_listed_without_a_request() -> None:
    """By namespace or everywhere, by label, in order, and by any number of reads."""
    cluster = Cluster(
        replying(500, {}),
        captcontrolplanes=[labelled(TWO, "db"), labelled(ONE, "web"), labelled(FAR, "db")],
        workspaces=[obj(WORKSPACE, 1)],
    )
    with gateway(cluster) as (made, _):
        read = made.read
        assert names(read.list(ONE.api_version, ONE.kind, "ns")) == ["one", "two"]
        assert names(read.list(ONE.api_version, ONE.kind)) == ["one", "one", "two"]
        db = read.list(ONE.api_version, ONE.kind, "ns", labels={"app": "db"})
        assert db == (made.read(TWO),)
        assert names(read.list(WORKSPACE.api_version, "Workspace")) == ["one"]
        assert cluster.requests == []


def test_what_no_cache_knows_is_unreadable() -> None:
    """Another namespace, and a kind that is not declared."""
    with gateway(Cluster(replying(500, {})), namespaces=["ns"]) as (made, _):
        for selection in (Selection(ONE.api_version, ONE.kind, "far"), Selection("v1", "Pod")):
            found = made.read.list(selection.api_version, selection.kind, selection.namespace)
            assert isinstance(found, Unreadable)
            assert found.reason == "NotWatched"
            assert made.list_version(selection) is None


def test_before_the_first_list_there_is_no_list() -> None:
    """An empty cache says nothing yet."""
    with serving(replying(403, {"kind": "Status", "reason": "Forbidden"})) as server:
        made = KubernetesGateway(transport_to(server.url), watched=WATCHED)
        found = made.read.list(ONE.api_version, ONE.kind, "ns")
    assert isinstance(found, Unreadable)
    assert found.reason == "NotSynced"


def test_the_version_of_a_list_changes_with_its_objects() -> None:
    """Joining and leaving; an unchanged cache has an unchanged version."""
    cluster = Cluster(replying(201, obj(TWO, 12)), captcontrolplanes=[obj(ONE, 1)])
    with gateway(cluster) as (made, _):
        before = made.list_version(HERE)
        assert made.list_version(HERE) == before
        (informer,) = (each for each in made.informers if each.resource == CONTROL_PLANE)
        informer.observe_write(obj(TWO, 12))
        joined = made.list_version(HERE)
        informer.observe_delete(TWO, "uid-1")
        assert len({before, joined, made.list_version(HERE)}) == 3


def test_secrets_are_listed_by_one_request_for_the_members_alone() -> None:
    """The payload of a Secret that the labels leave out never comes into memory."""
    item: Object = {"metadata": {"name": "one-kubeconfig"}, "data": {"value": "eA=="}}
    seen: list[tuple[str, object]] = []

    def answering(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        seen.append((asked.path, dict(asked.query)["labelSelector"]))
        listing(item)(asked, handler)

    with serving(answering) as server:
        found = list_live(
            transport_to(server.url),
            Resource("v1", "Secret", "secrets"),
            Selection("v1", "Secret", "ns", {"tier": "x", "app": "db"}),
            timeout=5,
        )
    assert found == ({"apiVersion": "v1", "kind": "Secret", **item},)
    assert seen == [(SECRETS, "app=db,tier=x")]


@pytest.mark.parametrize(
    ("labels", "query"),
    [
        ({}, {"fieldSelector": "type=x", "labelSelector": "app in (a,b)"}),
        ({"tier": "y"}, {"fieldSelector": "type=x", "labelSelector": "app in (a,b),tier=y"}),
    ],
)
def test_a_list_on_demand_shows_no_object_that_the_watch_hides(
    labels: dict[str, str], query: dict[str, str]
) -> None:
    """An object is in lists if and only if it can be read by its name."""
    seen: list[dict[str, str]] = []

    def answering(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        if "watch" not in dict(asked.query):
            seen.append(dict(asked.query))
        listing()(asked, handler)

    watched = Watched(
        Resource("v1", "Secret", "secrets"),
        Representation.ON_DEMAND,
        selectors=(("labelSelector", "app in (a,b)"), ("fieldSelector", "type=x")),
    )
    with serving(answering) as server:
        made = KubernetesGateway(transport_to(server.url), watched=[watched])
        (informer,) = made.informers
        informer.start()
        assert informer.wait_synced(10)
        assert made.read.list("v1", "Secret", "ns", labels=labels) == ()
        made.stop()
    assert query in seen


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (replying(403, {"kind": "Status", "reason": "Forbidden"}), "Forbidden"),
        (replying(404, {"kind": "Status", "reason": "NotFound"}), "NotFound"),
        (replying(200, {"kind": "Status"}), "Malformed"),
        (replying(200, {"kind": "SecretList", "items": [3]}), "Malformed"),
        (reset, "Unavailable"),
    ],
)
def test_a_list_that_fails_is_unreadable_and_never_empty(reply: Reply, reason: str) -> None:
    """So is an answer that is no list."""
    with serving(reply) as server:
        found = list_live(
            transport_to(server.url), Resource("v1", "Secret", "secrets"), ALL_SECRETS, timeout=5
        )
    assert isinstance(found, Unreadable)
    assert found.reason == reason


def test_a_namespace_of_a_cluster_scoped_kind_has_no_list() -> None:
    """It is a mistake of the decision, and no reason to stop."""
    with serving(listing()) as server:
        found = list_live(
            transport_to(server.url),
            Resource("v1", "Node", "nodes", namespaced=False),
            Selection("v1", "Node", "ns"),
            timeout=5,
        )
    assert isinstance(found, Unreadable)
    assert found.reason == "Invalid"


def test_the_labels_of_a_change_are_known_where_a_cache_keeps_them() -> None:
    """Of a Secret the cache keeps the identity alone."""
    store = Store(lambda each: each)
    store.put(ONE, labelled(ONE, "db"))
    before = store.get(ONE)
    with gateway(Cluster(replying(500, {}))) as (made, _):
        manifests = made.manifests(CacheChange(ONE, before, None))
        assert manifests is not None
        shown: list[dict[str, JSON]] = list(manifests())
        assert [HERE.fits(each) for each in shown] == [True]
        fitting = Selection(ONE.api_version, ONE.kind, "ns", {"app": "db"})
        assert [fitting.fits(each) for each in shown] == [True]
        assert made.manifests(CacheChange(SECRET, before, None)) is None
