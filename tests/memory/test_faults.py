"""Faults at the request level."""

import pytest

from captep_memory import Request, Response, World, faults, load, serve
from tests.memory.support import NOW, THING, thing

PATCH = Request("patch", THING, "Thing", "fleet", "a", body={"spec": {"size": 2}})
DELETE = Request("delete", THING, "Thing", "fleet", "a")


def start() -> World:
    """Return a world of one Thing."""
    return load([thing(metadata={"namespace": "fleet"})], now=NOW)


def test_without_faults_the_server_is_itself() -> None:
    """And a fault that does not match changes nothing."""
    assert faults.serve_with()(start(), PATCH) == serve(start(), PATCH)
    other = faults.lost_request(faults.on("delete"))
    assert faults.serve_with(other)(start(), PATCH) == serve(start(), PATCH)


def test_f3_a_lost_request_is_not_applied() -> None:
    """The client sees a broken connection."""
    assert faults.serve_with(faults.lost_request(faults.on("patch"), reason="timeout"))(
        start(), PATCH
    ) == (
        start(),
        faults.Broken("timeout"),
    )


def test_f4_a_lost_response_is_applied() -> None:
    """The client sees the same."""
    assert faults.serve_with(faults.lost_response(faults.on("patch")))(start(), PATCH) == (
        serve(start(), PATCH)[0],
        faults.Broken(),
    )


@pytest.mark.parametrize("deliveries", [2, 4])
def test_f5_the_last_of_several_deliveries_is_answered(deliveries: int) -> None:
    """A landed delete comes back as 404."""
    world, outcome = faults.serve_with(
        faults.duplicate(faults.on("delete"), deliveries=deliveries)
    )(start(), DELETE)
    assert isinstance(outcome, Response)
    assert (outcome.status, world) == (404, serve(start(), DELETE)[0])


def test_f7_a_stale_resource_version_is_refused_after_another_writer() -> None:
    """A write that carries the resourceVersion it saw is refused, one without lands on top."""
    version = start().resource_version
    metadata = next(start().objects())["metadata"]
    stale = Request(
        "patch",
        THING,
        "Thing",
        "fleet",
        "a",
        body={"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"size": 2}},
    )
    server = faults.serve_with(faults.conflict(faults.on("patch")))
    world, outcome = server(start(), stale)
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.reason, world.resource_version) == (
        409,
        "Conflict",
        version + 1,
    )
    world, outcome = server(world, PATCH)
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.body["metadata"]["annotations"]) == (
        200,
        {"example.com/touched": "2"},
    )


def test_f16_a_webhook_changes_or_prunes_a_body() -> None:
    """The rest of the body is kept."""
    body = {"spec": {"size": 2, "dropped": 1}}
    request = Request("patch", THING, "Thing", "fleet", "a", body=body)
    for fault in (
        faults.prune(faults.on("patch"), "spec", "dropped"),
        faults.mutate(faults.on("patch"), lambda given: {"spec": {"size": given["spec"]["size"]}}),
    ):
        world, _ = faults.serve_with(fault)(start(), request)
        assert next(world.objects())["spec"] == {"size": 2}
    assert body == {"spec": {"size": 2, "dropped": 1}}


def test_f16_an_unreachable_webhook_refuses_the_write() -> None:
    """500 InternalError, nothing applied."""
    world, outcome = faults.serve_with(faults.webhook_unreachable(faults.on("patch")))(
        start(), PATCH
    )
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.reason, world) == (500, "InternalError", start())


@pytest.mark.parametrize("status", [429, 500, 503, 504])
@pytest.mark.parametrize("applied", [False, True])
def test_f17_transient_errors_come_before_or_after_applying(status: int, *, applied: bool) -> None:
    """With the time to wait in header and details."""
    fault = faults.transient(faults.on("patch"), status, applied=applied, retry_after_seconds=3)
    world, outcome = faults.serve_with(fault)(start(), PATCH)
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.body["code"], outcome.headers["Retry-After"]) == (
        status,
        status,
        "3",
    )
    assert world == (serve(start(), PATCH)[0] if applied else start())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "Forbidden"),
        (422, "Invalid"),
        (404, "NotFound"),
        (413, "RequestEntityTooLarge"),
        (599, ""),
    ],
)
def test_f18_a_terminal_error_repeats_itself(status: int, reason: str) -> None:
    """For as long as the fault lasts."""
    server = faults.serve_with(faults.terminal(faults.on("patch", kind="Thing", name="a"), status))
    for _ in range(2):
        world, outcome = server(start(), PATCH)
        assert isinstance(outcome, Response)
        assert (outcome.status, outcome.reason, world) == (status, reason, start())


def test_faults_match_by_verb_kind_name_namespace_and_subresource() -> None:
    """A criterion that is left out matches everything; a creation has its name in the body."""
    create = Request("create", THING, "Thing", "fleet", body=thing("new"))
    assert faults.on()(PATCH)
    assert faults.on("create", kind="Thing", name="new", namespace="fleet")(create)
    for strikes in (
        faults.on("get"),
        faults.on(kind="Other"),
        faults.on(name="other"),
        faults.on(namespace="other"),
        faults.on(subresource="status"),
    ):
        assert not strikes(PATCH)


def test_impossible_faults_are_a_value_error() -> None:
    """A duplicate is delivered twice at least, a refusal is an error status."""
    with pytest.raises(ValueError, match="at least 2, got 1"):
        faults.duplicate(faults.on(), deliveries=1)
    with pytest.raises(ValueError, match="got 200"):
        faults.terminal(faults.on(), 200)
