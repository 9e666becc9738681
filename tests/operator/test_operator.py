"""An operator that is not captep's, on a server behind HTTP and in memory."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from captep_core import Create, Decision, ObjectRef, ReconcileState
from captep_core.errors import CaptepError, DecisionError, GatewayError
from captep_core.ports import Read
from captep_memory import Key, Request, World, load, serve
from captep_memory.http import HTTPFacade
from captep_operator import Kind, Lease, Operator, Serving
from tests.gateways import eventually
from tests.kubernetes.scripted import transport_to
from tests.objects import manifest
from tests.testing.toy import CHILD, KEY, LATCH, THING, Verdict, keep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GADGETS = Kind("example.dev/v1", "Gadget")
THINGS = Kind(KEY.api_version, KEY.kind, plural="things")
CONFIG_MAPS = Kind("v1", "ConfigMap", plural="configmaps")
BUILTIN = (("", "ConfigMap"), ("", "Event"), ("", "Namespace"), ("coordination.k8s.io", "Lease"))
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.dev"},
    "spec": {
        "group": "example.dev",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


def operator() -> Operator:
    """Return the operator of Things."""
    return Operator("things", keep, primary=THINGS, reads=[CONFIG_MAPS])


def stored(world: World, ref: ObjectRef) -> dict[str, Any] | None:
    """Return an object as the server has it."""
    group = ref.api_version.rpartition("/")[0]
    return world.get(Key(group, ref.kind, ref.namespace, ref.name))


@contextmanager
def running(
    made: Operator,
    server: HTTPFacade,
    **options: Any,  # noqa: ANN401 - options of `run`
) -> Iterator[list[CaptepError]]:
    """Run an operator in a thread, and stop it; yield the error that it ends with, if any."""
    errors = list[CaptepError]()

    def run() -> None:
        try:
            made.run(**{"transport": transport_to(server.url), **options})
        except CaptepError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield errors
    finally:
        made.stop()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def server() -> Iterator[HTTPFacade]:
    """A server with the definition and one Thing."""
    with HTTPFacade(load([DEFINITION, THING], now=NOW), kinds=BUILTIN) as facade:
        yield facade


def is_there(server: HTTPFacade, ref: ObjectRef) -> Callable[[], bool]:
    """Return a probe for an object."""
    return lambda: stored(server.world, ref) is not None


def test_an_operator_reconciles_and_mends_until_it_is_stopped(server: HTTPFacade) -> None:
    """It creates the children of an object that is there, and a child that somebody deletes."""
    made = operator()
    with running(made, server) as errors:
        eventually(is_there(server, CHILD), "the child is created")
        eventually(is_there(server, LATCH), "the latch is created")
        gone = Request("delete", "v1", "ConfigMap", CHILD.namespace, CHILD.name, body={})
        uid = (stored(server.world, CHILD) or {})["metadata"]["uid"]
        server.apply(lambda world: serve(world, gone)[0])

        def is_mended() -> bool:
            found = stored(server.world, CHILD)
            return found is not None and found["metadata"]["uid"] != uid

        eventually(is_mended, "the child is created again")
    assert errors == []


def test_an_operator_writes_while_it_holds_its_lease(server: HTTPFacade) -> None:
    """The lease is free again after the end."""
    lease = Lease("fleet", "things")
    ref = ObjectRef("coordination.k8s.io/v1", "Lease", "fleet", "things")
    with running(operator(), server, lease=lease) as errors:
        eventually(is_there(server, CHILD), "the child is created")
        held = stored(server.world, ref)
        assert held is not None
        assert held["spec"]["holderIdentity"]
    assert errors == []
    assert not (stored(server.world, ref) or {"spec": {}})["spec"].get("holderIdentity")


def test_an_operator_can_run_again(server: HTTPFacade) -> None:
    """What an earlier run left behind about its lease ends no later one."""
    made, lease = operator(), Lease("fleet", "things")
    with running(made, server, lease=lease) as errors:
        eventually(is_there(server, CHILD), "the child is created")
    gone = Request("delete", "v1", "ConfigMap", CHILD.namespace, CHILD.name, body={})
    server.apply(lambda world: serve(world, gone)[0])
    with running(made, server, lease=lease) as errors_later:
        eventually(is_there(server, CHILD), "the child is created again")
    assert (errors, errors_later) == ([], [])


def test_an_operator_that_is_stopped_before_it_runs_ends_at_once(server: HTTPFacade) -> None:
    """Nothing is written."""
    made = operator()
    made.stop()
    made.run(transport=transport_to(server.url), lease=Lease("fleet", "things"))
    assert stored(server.world, CHILD) is None


def test_an_operator_does_not_start_without_its_primary_kind(server: HTTPFacade) -> None:
    """The line names the kinds that are missing."""
    made = Operator("gadgets", keep, primary=GADGETS, reads=[CONFIG_MAPS])
    with pytest.raises(GatewayError, match=r"^not installed in the cluster: gadgets\.example\.dev"):
        made.run(transport=transport_to(server.url))


def test_an_operator_plans_in_memory() -> None:
    """The first decision adds the finalizer and creates both children."""
    decision = operator().plan([THING], "fleet", "a", NOW)
    assert [action.target for action in decision.actions] == [KEY, CHILD, LATCH]


def test_an_operator_simulates_in_memory() -> None:
    """The loop settles, and the passes after that do nothing."""
    run = operator().simulate([THING], "fleet", "a", NOW, further=2)
    assert run.settled_after is not None
    assert (stored(run.world, KEY) or {})["status"]["ready"] is True
    assert [done.sent for done in run.passes[-2:]] == [(), ()]


@pytest.mark.parametrize("does", ["reads", "lists", "writes"])
def test_a_kind_that_is_not_declared_is_named(does: str) -> None:
    """The message says what to do."""
    secret = ObjectRef("v1", "Secret", "fleet", "a")

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        if does == "reads":
            read(secret)
        if does == "lists":
            read.list("v1", "Secret", "fleet")
        actions = (Create(secret, manifest(secret), "it is missing"),)
        return Decision(actions, timedelta(seconds=30), Verdict("Fine"))

    made = Operator("things", decide, primary=THINGS)
    with pytest.raises(DecisionError) as raised:
        made.plan([THING], "fleet", "a", NOW)
    named = "fleet/*" if does == "lists" else "fleet/a"
    assert str(raised.value) == (
        f"the decision {does} Secret {named}, and Secret (v1) is not declared: add it to reads"
    )


def _served(request: Request, world: World) -> World:
    return serve(world, request)[0]


def test_a_declared_kind_is_listed_and_wakes_its_reader(server: HTTPFacade) -> None:
    """An object that joins the list by its label is in the next decision."""
    labels = {"app": "db"}
    seen = list[tuple[str, ...]]()

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        listed: Any = read.list("v1", "ConfigMap", "fleet", labels=labels)
        seen.append(tuple(each["metadata"]["name"] for each in listed))
        return Decision((), timedelta(hours=1), Verdict("Fine"))

    made = Operator("things", decide, primary=THINGS, reads=[CONFIG_MAPS])
    with running(made, server) as errors:
        eventually(lambda: seen and seen[-1] == (), "the first pass")
        for name, metadata in (("other", {}), ("joining", {"labels": labels})):
            body: Any = {"metadata": {"name": name, **metadata}}
            request = Request("create", "v1", "ConfigMap", "fleet", body=body)
            server.apply(partial(_served, request))
        eventually(lambda: seen[-1] == ("joining",), "the list has the object")
    assert errors == []


def test_a_kind_that_is_named_twice_raises() -> None:
    """The primary kind counts."""
    with pytest.raises(ValueError, match=r"Thing \(example.dev/v1\) is named twice"):
        Operator("things", keep, primary=THINGS, reads=[CONFIG_MAPS, THINGS])


async def waiting(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> None:
    """Decide nothing, and that asynchronously."""


@pytest.mark.parametrize(
    ("decide", "problem"),
    [
        (None, "decide is of type NoneType, expected a function"),
        (lambda key, read, state: None, "decide takes (key, read, state), expected (key, read,"),
        (lambda key, read, now: None, "decide takes (key, read, now), expected (key, read, state"),
        (waiting, "decide is async, expected a plain function"),
        (partial(waiting), "decide is async, expected a plain function"),
    ],
)
def test_an_operator_without_a_fitting_function_raises(decide: Any, problem: str) -> None:  # noqa: ANN401
    """Its author sees it where the operator is made, and not as a failed pass."""
    with pytest.raises(TypeError) as raised:
        Operator("things", decide, primary=THINGS)
    assert str(raised.value).startswith(problem)


@pytest.mark.parametrize(
    "decide",
    [
        keep,
        partial(keep),
        lambda *given, **named: keep(*given, **named),
        lambda key, read, state, now, seed=b"": keep(key, read, state, now=now),
        min,
    ],
)
def test_a_function_that_can_be_called_fits(decide: Any) -> None:  # noqa: ANN401
    """Further arguments with defaults are the author's; a function from C may say nothing."""
    Operator("things", decide, primary=THINGS)


def test_an_operator_runs_once_at_a_time(server: HTTPFacade) -> None:
    """Two runs would share one `stop`."""
    made = operator()
    with running(made, server) as errors:
        eventually(is_there(server, CHILD), "the child is created")
        with pytest.raises(ValueError, match="the operator things is running already"):
            made.run(transport=transport_to(server.url))
    assert errors == []


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"dry_run": "maybe"}, {"serving": Serving(probes="8081")}]
)
def test_an_argument_of_another_form_raises(server: HTTPFacade, options: dict[str, Any]) -> None:
    """Nothing starts, and the operator can run after that."""
    made = operator()
    with pytest.raises(ValueError):
        made.run(transport=transport_to(server.url), **options)
    made.stop()
    made.run(transport=transport_to(server.url))


def test_a_lease_without_a_name_raises() -> None:
    """Its path would be that of all leases."""
    with pytest.raises(ValueError, match="name"):
        Lease("fleet", "")
