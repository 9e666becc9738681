"""Server-side apply and managedFields by name; the records hold them against a real server."""

from datetime import timedelta
from typing import Any

from attrs import evolve

from captep_memory import Admission, Key, Object, Quirks, Request, Response, load
from captep_memory._exchange import HTTPRequest, exchange
from captep_memory._routes import plurals_of
from tests.memory.support import CRD, NOW, Api, api, refusal, thing

APPLY = "application/apply-patch+yaml"


def apply(client: Api, manager: str, body: Object, **options: Any) -> Response:  # noqa: ANN401
    """Apply a configuration of Thing fleet/a."""
    options = {"content_type": APPLY, "field_manager": manager, **options}
    return client.do("patch", body=body, **options)


def merge(client: Api, manager: str, body: Object, **options: Any) -> Response:  # noqa: ANN401
    """Merge-patch Thing fleet/a."""
    return client.do("patch", body=body, field_manager=manager, **options)


def owners(response: Response) -> dict[str, Object]:
    """Return the fields of each manager, with its operation."""
    return {
        f"{entry['manager']} {entry['operation']}": entry["fieldsV1"]
        for entry in response.body["metadata"].get("managedFields", ())
    }


def test_an_apply_creates_an_object_and_owns_what_it_names() -> None:
    """Defaults have no owner."""
    response = apply(api(), "me", thing(spec={"size": 2}))
    assert response.status == 201
    assert response.body["spec"] == {"size": 2, "mode": "A"}
    assert owners(response) == {"me Apply": {"f:spec": {"f:size": {}}}}


def test_a_conflict_names_the_other_manager_and_the_field() -> None:
    """The other manager wrote with a merge patch; the message says in which version."""
    client = api()
    client.do("create", body=thing(), field_manager="maker")
    merge(client, "other", {"spec": {"size": 5}})
    response = apply(client, "me", thing(spec={"size": 2}))
    assert refusal(response) == (409, "Conflict")
    assert response.body["message"] == (
        'Apply failed with 1 conflict: conflict with "other" using example.dev/v1: .spec.size'
    )
    assert response.body["details"] == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "other" using example.dev/v1',
                "field": ".spec.size",
            }
        ]
    }


def test_force_takes_a_field_and_its_owner_loses_it() -> None:
    """Ownership goes over; what the other manager has besides stays its own."""
    client = api()
    apply(client, "first", thing(spec={"size": 2, "name": "abc"}))
    response = apply(client, "second", thing(spec={"size": 3}), force=True)
    assert response.body["spec"]["size"] == 3
    assert owners(response) == {
        "first Apply": {"f:spec": {"f:name": {}}},
        "second Apply": {"f:spec": {"f:size": {}}},
    }


def test_a_field_that_a_manager_names_no_longer_goes_unless_another_has_it() -> None:
    """A shared field stays with the other applier."""
    client = api()
    apply(client, "first", thing(spec={"size": 2, "name": "abc", "flag": True}))
    apply(client, "second", thing(spec={"size": 2, "name": "abc"}))
    response = apply(client, "first", thing(spec={"size": 2}))
    assert response.body["spec"] == {"size": 2, "name": "abc", "mode": "A"}


def test_items_of_a_list_of_maps_have_owners_of_their_own() -> None:
    """Two appliers share a list; each removes its own item alone."""
    client = api()
    apply(client, "first", thing(spec={"size": 1, "ports": [{"name": "a", "number": 1}]}))
    response = apply(client, "second", thing(spec={"size": 1, "ports": [{"name": "b"}]}))
    assert response.body["spec"]["ports"] == [{"name": "a", "number": 1}, {"name": "b"}]
    response = apply(client, "second", thing(spec={"size": 1}))
    assert response.body["spec"]["ports"] == [{"name": "a", "number": 1}]


def test_an_apply_that_changes_nothing_writes_nothing() -> None:
    """Neither a new resourceVersion nor a new time."""
    client = api()
    first = apply(client, "me", thing())
    client.world = client.world.at(NOW + timedelta(hours=1))
    before = client.world
    second = apply(client, "me", thing())
    assert second.body == first.body
    assert client.world is before


def test_a_dry_run_shows_owners_and_stores_nothing() -> None:
    """The answer is that of the apply."""
    client = api()
    before = client.world
    response = apply(client, "me", thing(), dry_run=True)
    assert (response.status, list(owners(response))) == (201, ["me Apply"])
    assert client.world is before


def test_an_object_has_no_managed_fields_until_an_apply_needs_them() -> None:
    """Then they are those of every writer since the creation, with the times of the writes."""
    client = api()
    client.do("create", body=thing(), field_manager="maker")
    client.world = client.world.at(NOW + timedelta(minutes=1))
    patched = merge(client, "other", {"spec": {"name": "abc"}})
    assert "managedFields" not in patched.body["metadata"]
    client.world = client.world.at(NOW + timedelta(minutes=2))
    response = apply(client, "me", thing(spec={"flag": True}))
    times = {each["manager"]: each["time"] for each in response.body["metadata"]["managedFields"]}
    assert times == {
        "maker": "2026-01-02T03:04:05Z",
        "other": "2026-01-02T03:05:05Z",
        "me": "2026-01-02T03:06:05Z",
    }
    assert owners(response)["other Update"] == {"f:spec": {"f:name": {}}}


def test_writers_outlive_a_compaction_of_the_history() -> None:
    """A conflict still names the writer."""
    client = api()
    client.do("create", body=thing(), field_manager="maker")
    client.world = client.world.compact(client.world.resource_version)
    response = apply(client, "me", thing(spec={"size": 2}))
    assert 'conflict with "maker"' in response.body["message"]


def test_a_loaded_object_belongs_to_nobody_before_the_first_apply() -> None:
    """The real server calls the owner of its fields before-first-apply."""
    client = api(thing(metadata={"namespace": "fleet"}))
    response = apply(client, "me", thing(spec={"size": 2}))
    assert 'conflict with "before-first-apply"' in response.body["message"]


def test_a_deleted_and_made_again_object_has_no_earlier_owners() -> None:
    """The writers are those of the present object."""
    client = api()
    client.do("create", body=thing(), field_manager="before")
    client.do("delete")
    client.do("create", body=thing(), field_manager="after")
    response = apply(client, "me", thing(spec={"flag": True}))
    assert set(owners(response)) == {"after Update", "me Apply"}


def test_what_admission_adds_has_no_owner() -> None:
    """As on a real server: managedFields are computed before a webhook changes the object."""

    def label(_: Request, obj: Object, __: Object | None) -> Object:
        return {**obj, "metadata": {**obj["metadata"], "labels": {"added": "1"}}}

    plugin = Admission(mutate=label)
    client = Api(evolve(load([CRD], now=NOW), admission=(plugin,)))
    client.do("create", body=thing(), field_manager="maker")
    client.world = evolve(client.world, admission=())
    response = apply(client, "me", thing(spec={"size": 1}))
    assert response.body["metadata"]["labels"] == {"added": "1"}
    assert "f:metadata" not in owners(response)["maker Update"]


def test_a_world_may_show_managed_fields_always() -> None:
    """The user agent is the manager of a write that names none."""
    client = Api(load([CRD], now=NOW, quirks=Quirks(managed_fields="always")))
    response = client.do("create", body=thing(), user_agent="kubectl/v1.37 (linux)")
    assert owners(response) == {"kubectl Update": {"f:spec": {".": {}, "f:mode": {}, "f:size": {}}}}


def test_the_oldest_of_more_than_ten_updaters_are_joined() -> None:
    """Their entry is that of ancient-changes."""
    client = api()
    client.do("create", body=thing(), field_manager="maker")
    for number in range(12):
        client.world = client.world.at(NOW + timedelta(minutes=number))
        merge(client, f"m{number:02}", {"metadata": {"labels": {f"l{number}": "x"}}})
    entries = apply(client, "me", thing(spec={"flag": True})).body["metadata"]["managedFields"]
    updaters = [each["manager"] for each in entries if each["operation"] == "Update"]
    assert len(updaters) == 10
    assert "ancient-changes" in updaters


def test_a_configuration_may_be_yaml() -> None:
    """Over HTTP, as kubectl sends it."""
    world = load([], now=NOW)
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n"
    target = "/api/v1/namespaces/fleet/configmaps/a?fieldManager=me"
    http = HTTPRequest("PATCH", target, {"content-type": APPLY}, body)
    world, answer = exchange(world, plurals_of(world, ()), http)
    assert answer.status == 201
    stored = world.get(Key("", "ConfigMap", "fleet", "a"))
    assert stored is not None
    assert stored["data"] == {"k": "v"}
