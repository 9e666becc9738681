"""Rows R: get, list and watch."""

from typing import Any

import pytest

from captep_memory import Object, Response, watch_events
from captep_memory._request import Request
from tests.memory.support import THING, Api, Free, api, causes, created, refusal, secret, thing


def _three() -> Api:
    client = api()
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2", "y": ""}), ("c", {})):
        client.do("create", name, body=thing(name, metadata={"labels": labels}))
    return client


def _names(response: Response) -> list[str]:
    return [item["metadata"]["name"] for item in response.body["items"]]


def _watch(client: Api, since: int | str = "", **options: Free) -> list[Object]:
    events = watch_events(
        client.world,
        Request("watch", THING, "Thing", "fleet", resource_version=str(since), **options),
    )
    assert isinstance(events, tuple)
    return list(events)


def _shown(events: list[Object]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def test_r1_a_get_returns_the_newest_object() -> None:
    """For any resourceVersion up to the newest; a malformed one is a fault of the server."""
    client = created()
    for version in ("", "0", "1", str(client.world.resource_version)):
        assert client.do("get", resource_version=version).status == 200
    assert client.do("get", resource_version="abc").status == 500


def test_r2_lists_are_sorted_and_carry_the_version_of_the_store() -> None:
    """By namespace, then name; over all namespaces without one."""
    client = _three()
    client.do("create", namespace="another", body=thing("z"))
    response = client.do("list", None, namespace=None)
    assert _names(response) == ["z", "a", "b", "c"]
    assert response.body["kind"] == "ThingList"
    assert response.body["metadata"] == {
        "resourceVersion": str(client.world.resource_version),
        "continue": "",
    }


def test_r2_items_of_built_in_lists_do_not_repeat_their_kind() -> None:
    """Those of custom resources do."""
    client = created()
    client.secret("create", body=secret())
    assert "kind" not in client.secret("list", None).body["items"][0]
    assert client.do("list", None).body["items"][0]["kind"] == "Thing"


def test_r2_pages_show_one_snapshot() -> None:
    """What happens between two pages does not show in the second."""
    client = _three()
    first = client.do("list", None, limit=1)
    version = first.body["metadata"]["resourceVersion"]
    assert (_names(first), first.body["metadata"]["remainingItemCount"]) == (["a"], 2)
    client.do("delete", "c")
    client.do("patch", "b", body={"spec": {"size": 9}})
    client.do("create", "bb", body=thing("bb"))
    rest = client.do("list", None, limit=5, continue_token=first.body["metadata"]["continue"])
    assert (_names(rest), rest.body["items"][0]["spec"]["size"]) == (["b", "c"], 1)
    assert rest.body["metadata"] == {"resourceVersion": version, "continue": ""}


def test_r2_an_expired_page_offers_an_inconsistent_continuation() -> None:
    """410 with a token that lists the newest state from there on."""
    client = _three()
    token = client.do("list", None, limit=1).body["metadata"]["continue"]
    client.do("delete", "c")
    client.world = client.world.compact(client.world.resource_version)
    response = client.do("list", None, continue_token=token)
    assert refusal(response) == (410, "Expired")
    assert _names(
        client.do("list", None, continue_token=response.body["metadata"]["continue"])
    ) == ["b"]


@pytest.mark.parametrize("token", ["x", "", "e30", "bnVsbA", "eyJ2IjoieCJ9"])
def test_r2_a_malformed_token_is_a_bad_request(token: str) -> None:
    """400, except for the empty one, which is no token."""
    assert _three().do("list", None, continue_token=token).status == (400 if token else 200)


def test_r2_exact_lists_show_the_past() -> None:
    """And 410 once that is compacted, 422 for options that contradict each other."""
    client = _three()
    version = str(client.world.resource_version)
    client.do("delete", "a")
    exact: Any = {"resource_version": version, "resource_version_match": "Exact"}
    assert _names(client.do("list", None, **exact)) == ["a", "b", "c"]
    assert _names(client.do("list", None, resource_version=version)) == ["b", "c"]
    client.world = client.world.compact(client.world.resource_version)
    assert refusal(client.do("list", None, **exact)) == (410, "Expired")
    assert client.do("list", None, resource_version_match="Exact").status == 422
    assert (
        client.do("list", None, resource_version="0", resource_version_match="Exact").status == 422
    )


def test_r2_one_answer_lists_all_contradictions_of_a_list() -> None:
    """A match without a version, of an unknown value, with initial events."""
    response = _three().do("list", None, resource_version_match="Other", send_initial_events=False)
    assert causes(response) == [
        ("resourceVersionMatch", "FieldValueForbidden"),
        ("resourceVersionMatch", "FieldValueNotSupported"),
        ("sendInitialEvents", "FieldValueForbidden"),
    ]


def test_r3_the_future_times_out() -> None:
    """504 with its own cause and a time to wait."""
    client = _three()
    version = client.world.resource_version + 1
    response = client.do("list", None, resource_version=str(version))
    assert refusal(response) == (504, "Timeout")
    assert (
        response.body["message"]
        == f"Timeout: Too large resource version: {version}, current: {version - 1}"
    )
    assert response.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert response.headers["Retry-After"] == "1"
    assert client.do("get", resource_version=str(version)).status == 504


def test_r4_a_watch_without_a_version_begins_with_the_present_objects() -> None:
    """Synthetic ADDED events; with a version only what came after it."""
    client = _three()
    assert _shown(_watch(client)) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
    assert _shown(_watch(client, 0)) == _shown(_watch(client))
    version = client.world.resource_version
    assert _watch(client, version) == []
    client.do("patch", "b", body={"spec": {"size": 2}})
    client.do("delete", "a")
    assert _shown(_watch(client, version)) == [("MODIFIED", "b"), ("DELETED", "a")]
    assert _shown(_watch(client, version + 1)) == [("DELETED", "a")]
    assert _shown(_watch(client, version, name="b")) == [("MODIFIED", "b")]


def test_r4_a_compacted_version_is_an_error_event() -> None:
    """An ERROR event with a 410 Status."""
    client = _three()
    client.world = client.world.compact(client.world.resource_version)
    (event,) = _watch(client, client.world.resource_version - 1)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == (
        "ERROR",
        410,
        "Expired",
    )
    assert _watch(client, client.world.resource_version) == []


def test_r5_entering_a_selection_is_added_and_leaving_it_deleted() -> None:
    """The DELETED event shows the last selected object, with the version of its leaving."""
    client = created()
    version = client.world.resource_version
    client.do("patch", body={"metadata": {"labels": {"x": "1"}}})
    client.do("patch", body={"spec": {"size": 2}})
    client.do("patch", body={"metadata": {"labels": None}})
    client.do("patch", body={"spec": {"size": 3}})
    events = _watch(client, version, label_selector="x=1")
    assert _shown(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    last = events[-1]["object"]
    assert (last["metadata"]["labels"], last["metadata"]["resourceVersion"]) == (
        {"x": "1"},
        str(version + 3),
    )


def test_r6_initial_events_end_with_a_bookmark() -> None:
    """When bookmarks are allowed; 422 without resourceVersionMatch=NotOlderThan."""
    client = created()
    options: Any = {"send_initial_events": True, "allow_bookmarks": True}
    events = _watch(client, resource_version_match="NotOlderThan", **options)
    assert _shown(events) == [("ADDED", "a"), ("BOOKMARK", "")]
    assert events[-1]["object"] == {
        "kind": "Thing",
        "apiVersion": THING,
        "metadata": {
            "resourceVersion": str(client.world.resource_version),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }
    assert client.do("watch", None, **options).status == 422


def test_r7_compaction_forgets_the_history_up_to_a_version() -> None:
    """It changes neither the objects nor what came after."""
    client = _three()
    version = client.world.resource_version
    client.do("patch", "b", body={"spec": {"size": 2}})
    after = client.world.changes(since=version)
    compacted = client.world.compact(version)
    assert (compacted.changes(), compacted.compacted) == (after, version)
    assert list(compacted.objects()) == list(client.world.objects())


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("x=1", "a"),
        ("x==1", "a"),
        ("x!=1", "bc"),
        ("x in (1,2)", "ab"),
        ("x notin (1)", "bc"),
        ("x", "ab"),
        ("!x", "c"),
        ("x,y", "b"),
        ("x in (1, 2),!y", "a"),
        ("y=", "b"),
        (" x = 1 ", "a"),
        ("", "abc"),
    ],
)
def test_label_selectors_select_by_equality_sets_and_existence(selector: str, names: str) -> None:
    """Equality, sets and existence, joined by commas."""
    assert _names(_three().do("list", None, label_selector=selector)) == list(names)


@pytest.mark.parametrize("selector", ["x=1=2", "x in 1", "in (a)", ",", "x=1,", "(x)"])
def test_a_malformed_label_selector_is_a_bad_request(selector: str) -> None:
    """400."""
    assert refusal(_three().do("list", None, label_selector=selector)) == (400, "BadRequest")


def test_field_selectors_select_by_name_namespace_and_type() -> None:
    """Any other field is 400. A list with a selector has no remainingItemCount."""
    client = _three()
    client.secret("create", body=secret())
    assert _names(client.do("list", None, field_selector="metadata.name=b")) == ["b"]
    assert _names(
        client.do("list", None, field_selector="metadata.name!=b,metadata.namespace=fleet")
    ) == ["a", "c"]
    assert _names(client.secret("list", None, field_selector="type=Opaque")) == ["s"]
    assert _names(client.secret("list", None, field_selector="type=other")) == []
    assert client.do("list", None, field_selector="spec.size=1").status == 400
    assert client.do("list", None, field_selector="nonsense").status == 400
    assert (
        "remainingItemCount"
        not in client.do("list", None, limit=1, field_selector="metadata.namespace=fleet").body[
            "metadata"
        ]
    )


def test_an_unknown_verb_is_405() -> None:
    """405, and 404 for kinds that cannot be."""
    client = created()
    assert client.do("merge").status == 405  # type: ignore[arg-type]  # a verb that does not exist
    assert client.do("get", kind="").status == 404
    assert causes(client.do("patch", body={"metadata": {"uid": "x"}})) == [
        ("metadata.uid", "FieldValueInvalid")
    ]
