"""A DELETE of a collection: what it takes, what it answers, and where it ends (row D8)."""

import json

import pytest

from captep_memory import Object, Request, load
from captep_memory._exchange import HTTPRequest, exchange
from captep_memory._routes import plurals_of
from tests.memory.support import CRD, NOW, Api, Free, api, causes, refusal, secret, thing


def three() -> Api:
    """Return a client of a server with the Things a, b and c; a finalizer holds b."""
    client = api()
    for name, metadata in (
        ("a", {"labels": {"x": "1"}}),
        ("b", {"labels": {"x": "2"}, "finalizers": ["ex.io/f"]}),
        ("c", {}),
    ):
        assert client.do("create", None, body=thing(name, metadata=metadata)).status == 201
    return client


def empty(client: Api, **options: Free) -> Free:
    """Delete the collection of Things."""
    return client.do("delete", None, **options)


def names(client: Api) -> list[str]:
    """Return the names of the stored Things."""
    items = client.do("list", None).body["items"]
    return [each["metadata"]["name"] for each in items]


def test_the_answer_is_the_list_from_before_the_deletions() -> None:
    """Its items carry no deletionTimestamp; an object that a finalizer holds is marked."""
    client = three()
    before = client.do("list", None).body
    assert empty(client).body == before
    assert names(client) == ["b"]
    held = client.stored("b")
    assert held is not None
    assert "deletionTimestamp" in held["metadata"]


def test_every_deletion_is_a_change_of_its_own() -> None:
    """A watch sees them in the order of the names."""
    client = three()
    version = client.world.resource_version
    empty(client)
    changes = client.world.changes(since=version)
    shown = [(each.type, each.key.name, each.resource_version - version) for each in changes]
    assert shown == [("DELETED", "a", 1), ("MODIFIED", "b", 2), ("DELETED", "c", 3)]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"label_selector": "x=1"}, ["b", "c"]),
        ({"label_selector": "!x"}, ["a", "b"]),
        ({"field_selector": "metadata.name!=a"}, ["a", "b"]),
        ({"limit": 1}, ["b", "c"]),
        ({"dry_run": True}, ["a", "b", "c"]),
        ({"body": {"dryRun": ["All"]}}, ["a", "b", "c"]),
        ({"namespace": "other"}, ["a", "b", "c"]),
        ({"body": {"propagationPolicy": "Foreground"}}, ["a", "b", "c"]),
    ],
)
def test_selectors_and_options_are_those_of_a_list_and_of_a_delete(
    options: Object, left: list[str]
) -> None:
    """A foreground deletion marks every object."""
    client = three()
    assert empty(client, **options).status == 200
    assert names(client) == left


def test_the_first_refusal_is_the_answer_and_ends_the_deletions() -> None:
    """What went before it stays away: here a has the uid of the precondition."""
    client = three()
    stored = client.stored("a")
    assert stored is not None
    uid = stored["metadata"]["uid"]
    response = empty(client, body={"preconditions": {"uid": uid}})
    assert refusal(response) == (409, "Conflict")
    assert '"b"' in response.body["message"]
    assert names(client) == ["b", "c"]


def test_a_collection_that_is_refused_at_once_stays_as_it_is() -> None:
    """A dry run, options that the server refuses, and a selector that it cannot read."""
    client = three()
    before = client.world
    options = {"preconditions": {"resourceVersion": "1"}, "dryRun": ["All"]}
    assert refusal(empty(client, body=options)) == (409, "Conflict")
    response = empty(client, body={"propagationPolicy": "Odd"})
    assert causes(response) == [("propagationPolicy", "FieldValueNotSupported")]
    assert refusal(empty(client, label_selector="x in (")) == (400, "BadRequest")
    assert client.world is before


def test_the_collection_of_namespaces_has_no_delete() -> None:
    """405, as in discovery."""
    response = api().send(Request("delete", "v1", "Namespace"))
    assert refusal(response) == (405, "MethodNotAllowed")


@pytest.mark.parametrize("place", ["secrets", "secrets/s"])
def test_a_query_may_hold_the_preconditions_of_a_delete(place: str) -> None:
    """Without a body, `uid` and `resourceVersion` are preconditions."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleet"}}
    held = secret(metadata={"namespace": "fleet"})
    world = load([CRD, namespace, held], now=NOW)
    target = f"/api/v1/namespaces/fleet/{place}?uid=other"
    after, answer = exchange(world, plurals_of(world, ()), HTTPRequest("DELETE", target))
    assert (answer.status, json.loads(answer.body)["reason"]) == (409, "Conflict")
    assert after is world
