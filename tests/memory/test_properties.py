"""Properties of every sequence of requests, checked without a real server."""

import copy
from datetime import timedelta
from functools import lru_cache

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from captep_memory import (
    Key,
    Object,
    Request,
    Response,
    World,
    collect_all,
    load,
    serve,
    watch_events,
)
from tests.memory.support import CRD, NOW, THING, Free, secret, thing
from tests.properties.profile import reaches

KINDS = ((THING, "Thing"), ("v1", "Secret"))
NAMES = ("a", "b")
RBAC = "rbac.authorization.k8s.io/v1"
CHANGES: list[Object] = [
    {},
    {"spec": {"size": 2}},
    {"spec": {"size": 99}},
    {"status": {"phase": "X"}},
    {"data": {"k": "dg=="}},
    {"stringData": {"k": "v"}},
    {"metadata": {"labels": {"x": "1"}}},
    {"metadata": {"labels": None}},
    {"metadata": {"finalizers": ["a.b/c"]}},
    {"metadata": {"finalizers": []}},
    {"metadata": {"uid": "other"}},
    {"metadata": {"resourceVersion": "1"}},
]
BODIES = st.sampled_from(
    [thing("a"), thing("b", {"size": 3}), secret("a", data={"k": "dg=="}), secret("b")]
)
OPTIONS = st.sampled_from(
    [None, {"propagationPolicy": "Foreground"}, {"preconditions": {"uid": "other"}}]
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Requests over two kinds and two names, so that they meet."""
    api_version, kind = draw(st.sampled_from(KINDS))
    verb = draw(st.sampled_from(["create", "patch", "delete", "get", "list"]))
    subresource = draw(st.sampled_from([None, "status"])) if verb == "patch" else None
    body = {"create": BODIES, "patch": st.sampled_from(CHANGES), "delete": OPTIONS}.get(
        verb, st.none()
    )
    name = None if verb in ("create", "list") else draw(st.sampled_from(NAMES))
    return Request(
        verb,  # type: ignore[arg-type]  # drawn from the verbs
        api_version,
        kind,
        "fleet",
        name,
        subresource,
        draw(body),
        dry_run=draw(st.booleans()) and draw(st.booleans()),
    )


LOGS = st.lists(requests(), max_size=12)


@lru_cache(maxsize=1)
def start() -> World:
    """Return a world of one Thing, which a finalizer holds, and the definition of Things."""
    return load(
        [CRD, thing("a", metadata={"namespace": "fleet", "finalizers": ["a.b/c"]})], now=NOW
    )


def run(log: list[Request], world: World | None = None) -> list[tuple[World, Response]]:
    """Serve a log; return what came after each request."""
    world, steps = world or start(), []
    for request in log:
        world, response = serve(world, request)
        steps.append((world, response))
    return steps


def contents(world: World) -> list[Object]:
    """Return all objects."""
    return list(world.objects())


@given(LOGS)
def test_replaying_a_log_gives_the_same_world(log: list[Request]) -> None:
    """Worlds and responses are a function of the log."""
    assert run(log) == run(copy.deepcopy(log))


@given(LOGS)
def test_the_resource_version_rises_iff_the_world_changed(log: list[Request]) -> None:
    """By one for each change in the history; refused requests and reads return the same world."""
    before = start()
    for world, response in run(log, before):
        changed = contents(world) != contents(before)
        assert world.resource_version - before.resource_version == int(changed)
        assert len(world.changes(since=before.resource_version)) == int(changed)
        assert changed or world == before
        assert response.ok or world is before
        before = world


@given(LOGS, st.integers(0, 12))
def test_a_watch_from_any_version_reproduces_the_list(log: list[Request], at: int) -> None:
    """List, then apply the events since: the same as listing now."""
    worlds = [start(), *(world for world, _ in run(log))]
    then, now = worlds[min(at, len(worlds) - 1)], worlds[-1]
    for api_version, kind in KINDS:
        known = {obj["metadata"]["name"]: obj for obj in contents(then) if obj["kind"] == kind}
        request = Request(
            "watch", api_version, kind, "fleet", resource_version=str(then.resource_version)
        )
        events = watch_events(now, request)
        assert not isinstance(events, Response)
        for event in events:
            name = event["object"]["metadata"]["name"]
            known.pop(name, None) if event["type"] == "DELETED" else known.update(
                {name: event["object"]}
            )
        assert known == {
            obj["metadata"]["name"]: obj for obj in contents(now) if obj["kind"] == kind
        }


@given(LOGS)
def test_a_put_of_a_read_object_is_a_no_op(log: list[Request]) -> None:
    """For every object of every reachable world."""
    worlds = [start(), *(world for world, _ in run(log))]
    world = worlds[-1]
    for obj in contents(world):
        if obj["kind"] != "CustomResourceDefinition":
            request = Request(
                "update",
                obj["apiVersion"],
                obj["kind"],
                obj["metadata"]["namespace"],
                obj["metadata"]["name"],
                body=obj,
            )
            after, response = serve(world, request)
            assert (response.status, response.body) == (200, obj)
            assert after == world


@given(LOGS)
def test_serve_changes_no_request_object_or_response_in_place(log: list[Request]) -> None:
    """Requests, stored objects and responses are the same after the run as before."""
    given_log, first = copy.deepcopy(log), start()
    frozen = copy.deepcopy(contents(first))
    steps = run(log, first)
    answers = copy.deepcopy([response.body for _, response in steps])
    run(log, steps[-1][0] if steps else first)
    assert (log, contents(first)) == (given_log, frozen)
    assert [response.body for _, response in steps] == answers


@given(LOGS)
def test_a_dry_run_answers_and_changes_nothing(log: list[Request]) -> None:
    """And its status is the one that the real run has."""
    world = start()
    for request in log:
        after, dry = serve(world, evolve(request, dry_run=True))
        assert after is world
        world, real = serve(world, evolve(request, dry_run=False))
        assert dry.status == real.status


@given(st.permutations([CRD, thing("a"), thing("b"), secret("a"), secret("b")]))
def test_loading_does_not_depend_on_the_order(objects: list[Object]) -> None:
    """Not even the supplied values."""
    assert load(objects, now=NOW) == load(
        [CRD, thing("a"), thing("b"), secret("a"), secret("b")], now=NOW
    )


@given(LOGS)
def test_collecting_ends_and_leaves_nothing_to_collect(log: list[Request]) -> None:
    """The fixpoint is one."""
    world = collect_all(run(log)[-1][0] if log else start())
    assert collect_all(world) is world


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "name",
                    "spec",
                    "status",
                    "size",
                    "kind",
                    "apiVersion",
                    "labels",
                    "finalizers",
                    "ownerReferences",
                    "data",
                    "stringData",
                    "uid",
                    "resourceVersion",
                    "preconditions",
                    "deletionTimestamp",
                    "generateName",
                    "op",
                    "path",
                    "value",
                    "ports",
                    "when",
                    "involvedObject",
                    "rules",
                    "template",
                    "selector",
                    "containers",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@st.composite
def _bodies(draw: st.DrawFn) -> Free:
    """Junk as such, junk in an object that is otherwise good, and junk in its metadata and spec."""
    junk = draw(JUNK)
    if not draw(st.booleans()):
        return junk
    body = draw(st.sampled_from([thing(), secret()]))
    place = draw(
        st.sampled_from(["metadata", "spec", "status", "data", "stringData", "type", "kind"])
    )
    return {
        **body,
        place: {**body.get(place, {}), **junk}
        if isinstance(junk, dict) and isinstance(body.get(place, {}), dict)
        else junk,
    }


_TEXT = st.text(max_size=4) | st.sampled_from(["a", "fleet", "1", "0"])
# One strategy for all examples: Hypothesis checks each that it meets.
_ANY_REQUESTS = st.builds(
    Request,
    verb=st.sampled_from(["get", "list", "create", "update", "patch", "delete", "watch"]),
    api_version=st.sampled_from(
        [THING, "v1", "x/y/z", "", "coordination.k8s.io/v1", "apps/v1", RBAC]
    )
    | _TEXT,
    kind=st.sampled_from(
        ["Thing", "Secret", "ConfigMap", "Event", "Lease", "Any", "Deployment", "Role"]
    )
    | _TEXT,
    namespace=st.none() | _TEXT,
    name=st.none() | _TEXT,
    subresource=st.sampled_from([None, "status", "scale"]),
    body=_bodies(),
    content_type=st.sampled_from(
        ["application/merge-patch+json", "application/json-patch+json", "x"]
    ),
    resource_version=st.sampled_from(["", "0", "1", "x", "²"]),
    resource_version_match=st.sampled_from(["", "Exact", "NotOlderThan", "x"]),
    label_selector=_TEXT,
    field_selector=_TEXT,
    limit=st.integers(-1, 2),
    continue_token=st.just("") | _TEXT,
    send_initial_events=st.none() | st.booleans(),
)


@settings(max_examples=400)
@given(_ANY_REQUESTS)
def test_serve_is_total(request: Request) -> None:
    """Whatever is in a request, the answer is a response, and a failure is a Status."""
    world, response = serve(start(), request)
    assert response.ok or response.body["kind"] == "Status"
    assert response.ok or world == start()


def test_the_logs_reach_the_interesting_cases() -> None:
    """Some log has conflicts, removals by the last finalizer, marked objects, no-op writes."""
    key = Key("example.dev", "Thing", "fleet", "a")
    reaches(LOGS, lambda log: any(response.status == 409 for _, response in run(log)))
    reaches(LOGS, lambda log: any(_is_marked(world.get(key)) for world, _ in run(log)))
    reaches(
        LOGS,
        lambda log: any(
            request.verb == "patch" and response.ok and world == start()
            for request, (world, response) in zip(log, run(log), strict=True)
        ),
    )
    reaches(
        LOGS,
        lambda log: any(
            request.verb == "patch"
            and world.changes()[-1:]
            and world.changes()[-1].type == "DELETED"
            for request, (world, _) in zip(log, run(log), strict=True)
        ),
    )


def _is_marked(obj: Object | None) -> bool:
    return obj is not None and "deletionTimestamp" in obj["metadata"]


def test_a_long_history_costs_nothing() -> None:
    """Worlds with many changes compare, copy and go away without recursion."""
    world = start()
    for index in range(4_000):
        world, _ = serve(
            world,
            Request("patch", THING, "Thing", "fleet", "a", "status", {"status": {"count": index}}),
        )
    assert len(world.changes()) == 4_000
    assert world == world.at(NOW) != world.at(NOW + timedelta(seconds=1))
    assert len(world.compact(world.resource_version - 3).changes()) == 3
