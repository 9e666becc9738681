"""What goes wrong around an operator is one clear line each, and disturbs nothing else."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from attrs import evolve, frozen

from captep_core import ABSENT, JSON, Decision, ObjectRef, ReconcileState, Unreadable, ref_of
from captep_core.errors import DecisionError, GatewayError
from captep_core.ports import Decide, Read
from captep_kubernetes import RawResponse, Stream
from captep_memory import Request, load, serve
from captep_memory.http import HTTPFacade
from captep_operator import Kind, Lease, Operator
from captep_runtime import InMemoryMetrics
from tests.gateways import eventually
from tests.kubernetes.scripted import transport_to
from tests.operator.test_operator import (
    BUILTIN,
    CONFIG_MAPS,
    DEFINITION,
    THINGS,
    is_there,
    running,
)
from tests.testing.toy import CHILD, KEY, LATCH, NOW, THING, Verdict, keep

OTHER = {**THING, "metadata": {"name": "b", "namespace": "fleet"}}
GADGETS = Kind("example.dev/v1", "Gadget")
GADGET = ObjectRef(GADGETS.api_version, GADGETS.kind, "fleet", "a")
RESULT = {"controller": "things", "result": "error"}
ERRORS = {"controller": "things"}


class Meddling:
    """A transport to a server that answers some paths otherwise.

    `answers`: statuses by the plural of a kind; a kind with 404 is missing from discovery too.
    """

    def __init__(self, server: HTTPFacade, **answers: int) -> None:
        self._transport = transport_to(server.url)
        self._streams = list[tuple[str, Stream]]()
        self.answers = answers

    def close(self, plural: str) -> None:
        """End the watches of a kind."""
        for path, stream in self._streams:
            if f"/{plural}" in path:
                stream.close()

    def request(self, method: str, path: str, **options: Any) -> RawResponse:  # noqa: ANN401
        """Answer a request."""
        if (status := self._status(path)) is not None:
            return RawResponse(status, {}, None)
        answer = self._transport.request(method, path, **options)
        listed = (answer.body or {}).get("resources")
        if not isinstance(listed, list):
            return answer
        missing = tuple(plural for plural, code in self.answers.items() if code == 404)
        kept: list[JSON] = [
            each for each in listed if not cast("Any", each)["name"].startswith(missing)
        ]
        return RawResponse(answer.status, {}, {"resources": kept})

    def stream(self, path: str, **options: Any) -> Stream | RawResponse:  # noqa: ANN401
        """Watch."""
        if (status := self._status(path)) is not None:
            return RawResponse(status, {}, None)
        stream = self._transport.stream(path, **options)
        if not isinstance(stream, RawResponse):
            self._streams.append((path, stream))
        return stream

    def _status(self, path: str) -> int | None:
        found = (status for plural, status in self.answers.items() if f"/{plural}" in path)
        return next(found, None)


@contextmanager
def serving(*objects: dict[str, Any]) -> Iterator[HTTPFacade]:
    """Serve Things, Gadgets and `objects`."""
    names = {"kind": "Gadget", "plural": "gadgets"}
    spec = {**DEFINITION["spec"], "names": names}
    gadgets = {**DEFINITION, "metadata": {"name": "gadgets.example.dev"}, "spec": spec}
    world = load([DEFINITION, gadgets, *objects], now=NOW)
    with HTTPFacade(world, kinds=BUILTIN) as facade:
        yield facade


def lines(caplog: pytest.LogCaptureFixture, least: int = logging.WARNING) -> list[str]:
    """Return the messages of the log from a level on."""
    return [each.getMessage() for each in caplog.records if each.levelno >= least]


def failing_for(name: str, fail: Callable[[], Any]) -> Decide:
    """Return a function that fails for the key of this name."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        if key.name == name:
            return cast("Decision", fail())
        return Decision((), timedelta(seconds=30), Verdict("Fine"))

    return decide


def raising() -> None:
    """Fail with a text that nobody may see."""
    raise LookupError("canary")


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (raising, "LookupError at test_bad_input.py:"),
        (lambda: None, "DecisionError: decide returned a NoneType, expected a Decision"),
        (lambda: (), "DecisionError: decide returned a tuple, expected a Decision"),
        (
            lambda: Decision(cast("Any", None), None, Verdict("x")),
            "DecisionError: the actions of a decision are a NoneType, expected a tuple",
        ),
        (
            lambda: Decision(cast("Any", ("create",)), None, Verdict("x")),
            "DecisionError: an action of a decision is a str, expected Create, Patch,",
        ),
        (
            lambda: Decision((), cast("Any", 30), Verdict("x")),
            "DecisionError: requeue_after of a decision is an int, expected a timedelta or None",
        ),
    ],
)
def test_a_decision_that_fails_is_one_line_and_the_other_keys_go_on(
    caplog: pytest.LogCaptureFixture, fail: Callable[[], Any], expected: str
) -> None:
    """Each failure counts and is retried after a growing backoff; the text of others is hidden."""
    metrics = InMemoryMetrics()
    made = Operator("things", failing_for("a", fail), primary=THINGS)
    with serving(THING, OTHER) as server, running(made, server, metrics=metrics) as errors:
        fine = {"controller": "things", "result": "requeue_after"}
        eventually(
            lambda: metrics.value("controller_runtime_reconcile_total", RESULT) >= 3,
            "the failure is retried",
        )
        eventually(
            lambda: metrics.value("controller_runtime_reconcile_total", fine), "b is decided"
        )
    assert errors == []
    (line,) = lines(caplog)
    assert line.startswith(f"the pass failed and will be retried: {expected}")
    assert "canary" not in line
    failures = metrics.value("controller_runtime_reconcile_errors_total", ERRORS)
    assert 3 <= failures < 30


@frozen
class HalfVerdict:
    """A verdict whose message is no text."""

    reason: str
    message: int = 5


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (raising, "decide raised LookupError at test_bad_input.py"),
        (lambda: None, "decide returned a NoneType"),
        (lambda: Decision(cast("Any", 1), None, Verdict("x")), "the actions of a decision are an"),
        (
            lambda: Decision(cast("Any", (None,)), None, Verdict("x")),
            "an action of a decision is None: difference returns None where nothing differs",
        ),
        (
            lambda: Decision((), None, cast("Any", "Ready")),
            "the verdict of a decision is a str, and it has no reason: expected",
        ),
        (
            lambda: Decision((), None, cast("Any", HalfVerdict("Ready"))),
            "the verdict of a decision is a HalfVerdict, and its message is an int: expected",
        ),
    ],
)
def test_in_memory_a_decision_that_fails_is_one_error(
    fail: Callable[[], Any], expected: str
) -> None:
    """`plan` and `simulate` raise DecisionError and nothing else."""
    made = Operator("things", failing_for("a", fail), primary=THINGS)
    for try_it in (made.plan, made.simulate):
        with pytest.raises(DecisionError) as raised:
            try_it([THING], "fleet", "a", NOW)
        assert str(raised.value).startswith(expected)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"kind": "Secret"}, "the decision reads a dict, expected an ObjectRef: ref_of makes one"),
        (
            ref_of({"kind": "ConfigMap", "metadata": {"name": "a"}}),
            "the decision reads ConfigMap a, which has no apiVersion or no kind",
        ),
    ],
)
def test_a_read_of_something_else_than_an_object_is_named(asked: Any, expected: str) -> None:  # noqa: ANN401
    """A manifest without apiVersion is no kind that could be declared."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        read(asked)
        return Decision((), None, Verdict("Seen"))

    with pytest.raises(DecisionError) as raised:
        Operator("things", decide, primary=THINGS).plan([THING], "fleet", "a", NOW)
    assert str(raised.value) == expected


def reading_gadget(found: list[Any]) -> Decide:
    """Return the toy's decision that also reads a Gadget, often."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        found.append(read(GADGET))
        return evolve(keep(key, read, state, now=now), requeue_after=timedelta(milliseconds=100))

    return decide


def test_an_operator_goes_on_without_a_kind_that_the_server_does_not_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its objects are unreadable, one line names it, and once it is there they are absent."""
    found = list[Any]()
    caplog.set_level(logging.INFO)
    made = Operator("things", reading_gadget(found), primary=THINGS, reads=[CONFIG_MAPS, GADGETS])
    with serving(THING) as server:
        transport = Meddling(server, gadgets=404)
        with running(made, server, transport=transport) as errors:
            eventually(is_there(server, LATCH), "the latch is created")
            assert isinstance(found[0], Unreadable)
            assert found[0].reason == "NotServed"
            transport.answers = {}
            eventually(lambda: found[-1] is ABSENT, "the gadget is absent")
    assert errors == []
    begin, *rest = [each.getMessage() for each in caplog.records if "gadgets" in each.getMessage()]
    assert begin.endswith(
        " without gadgets.example.dev: NotServed: /apis/example.dev/v1/gadgets: HTTP 404:"
        " is its CustomResourceDefinition installed?"
    )
    assert rest == ["gadgets.example.dev: current again"]


def test_a_kind_without_permission_is_one_line_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its objects are unreadable; once it is granted, the watch goes on by itself."""
    found = list[Any]()
    made = Operator("things", reading_gadget(found), primary=THINGS, reads=[CONFIG_MAPS, GADGETS])
    with serving(THING) as server:
        transport = Meddling(server, gadgets=403)
        with running(made, server, transport=transport) as errors:
            eventually(is_there(server, LATCH), "the latch is created")
            assert isinstance(found[0], Unreadable)
            assert found[0].reason == "Forbidden"
            transport.answers = {}
            eventually(lambda: found[-1] is ABSENT, "the gadget is absent")
    assert errors == []
    (line,) = lines(caplog)
    assert line.endswith(
        " without gadgets.example.dev: Forbidden: /apis/example.dev/v1/gadgets: HTTP 403:"
        " grant list and watch"
    )


def test_without_permission_for_the_primary_kind_an_operator_does_not_start() -> None:
    """The line says what to grant."""
    made = Operator("things", keep, primary=THINGS, reads=[CONFIG_MAPS])
    with (
        serving(THING) as server,
        pytest.raises(
            GatewayError, match=r"may not list things\.example\.dev in the whole cluster"
        ),
    ):
        made.run(transport=Meddling(server, things=403))


def test_a_definition_that_is_removed_while_running_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its objects are unreadable and not absent: an operator must not create them again."""
    found = list[Any]()
    caplog.set_level(logging.INFO)
    made = Operator("things", reading_gadget(found), primary=THINGS, reads=[CONFIG_MAPS, GADGETS])
    with serving(THING) as server:
        transport = Meddling(server)
        with running(made, server, transport=transport) as errors:
            eventually(is_there(server, LATCH), "the latch is created")
            assert found[-1] is ABSENT
            transport.answers = {"gadgets": 404}
            transport.close("gadgets")
            eventually(lambda: any("NotServed" in line for line in lines(caplog)), "it is seen")
            gone = Request("delete", "v1", "ConfigMap", CHILD.namespace, CHILD.name, body={})
            server.apply(lambda world: serve(world, gone)[0])
            eventually(is_there(server, CHILD), "the child is mended meanwhile")
            assert cast("Unreadable", found[-1]).reason == "NotServed"
            transport.answers = {}
            eventually(lambda: found[-1] is ABSENT, "the gadget is absent again")
    assert errors == []
    missing, back = [each for each in lines(caplog, logging.INFO) if "gadgets" in each]
    assert missing == (
        "gadgets.example.dev: not current: NotServed: /apis/example.dev/v1/gadgets: HTTP 404:"
        " is its CustomResourceDefinition installed?"
    )
    assert back == "gadgets.example.dev: current again"


def test_two_operators_with_one_lease_are_named_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The second one waits, writes nothing, and works once the lease is free."""
    lease = Lease("fleet", "shared")
    first = Operator("gadgets", keep, primary=GADGETS, reads=[CONFIG_MAPS])
    second = Operator("things", keep, primary=THINGS, reads=[CONFIG_MAPS])

    def warned() -> bool:
        return any("is held by another operator" in line for line in lines(caplog))

    with serving(THING) as server:
        with running(first, server, lease=lease):
            eventually(lambda: _holder(server).startswith("gadgets_"), "the first one leads")
            waiting = running(second, server, lease=lease)
            waiting.__enter__()
            eventually(warned, "the second one names the first")
            assert not is_there(server, CHILD)()
        eventually(is_there(server, CHILD), "the second one works", within=20)
        waiting.__exit__(None, None, None)
    (line,) = lines(caplog)
    assert line.startswith("the lease fleet/shared is held by another operator, gadgets (gadgets_")
    assert line.endswith("): give each operator a lease of its own")


def _holder(server: HTTPFacade) -> str:
    leases = [each for each in server.world.objects() if each["kind"] == "Lease"]
    return str(leases[0]["spec"].get("holderIdentity") or "") if leases else ""


def test_a_kind_by_its_metadata_shows_nothing_else_in_memory() -> None:
    """A plan must not see what the operator on a cluster cannot see."""
    found = list[Any]()

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        found.append(read(key))
        return Decision((), None, Verdict("Seen"))

    primary = Kind(KEY.api_version, KEY.kind, payload="metadata")
    Operator("things", decide, primary=primary).plan([THING], "fleet", "a", NOW)
    assert set(found[0]) == {"apiVersion", "kind", "metadata"}
