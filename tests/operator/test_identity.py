"""An operator signs what it does with its own name; only captep is captep."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from captep_cli._operator import PROGRAM
from captep_core import Decision, ObjectRef, ReconcileState, RecordEvent
from captep_core.errors import GatewayError
from captep_core.ports import Read
from captep_memory import load
from captep_memory.http import HTTPFacade
from captep_memory.server import kubeconfig
from captep_operator import Lease, Operator
from captep_operator._identity import Identity
from captep_runtime import InMemoryMetrics
from tests.gateways import eventually
from tests.kubernetes.scripted import Asked, replying, serving
from tests.operator.test_operator import BUILTIN, CONFIG_MAPS, DEFINITION, THINGS, running
from tests.testing.toy import NOW, THING, Verdict, keep


@pytest.mark.parametrize(
    ("made", "agent"),
    [
        (Identity("things", "things"), "things captep/"),
        (Identity("things", "things", "1.2"), "things/1.2 captep/"),
        (Identity("captep", "captcontrolplane"), "captep/"),
    ],
)
def test_the_user_agent_begins_with_the_operator(made: Identity, agent: str) -> None:
    """The library follows, so that a server's log shows both."""
    assert made.user_agent().startswith(agent)


def test_captep_keeps_its_own_names() -> None:
    """Dashboards and field managers of running installations know them."""
    identity = PROGRAM.operator.identity
    assert (identity.name, identity.controller) == ("captep", "captcontrolplane")


@pytest.mark.parametrize("name", ["", "Things", "a_b", "a/b", "-a", "a" * 64, "a b"])
def test_a_name_that_no_lease_can_have_raises(name: str) -> None:
    """The operator could not be elected under it."""
    with pytest.raises(ValueError, match="name of an operator: expected at most 63 lower case"):
        Operator(name, keep, primary=THINGS)


def test_every_request_bears_the_name_of_the_operator(tmp_path: Path) -> None:
    """The user agent is that of the operator, and so is the field manager of its writes."""
    made = Operator("things", keep, primary=THINGS, version="1.2")

    def reply(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        answer = (200, {"gitVersion": "v1.37.2"}) if asked.method == "GET" else (403, {})
        replying(*answer)(asked, handler)

    with serving(reply) as server:
        path = tmp_path / "config"
        path.write_text(kubeconfig(server.url))
        with pytest.raises(GatewayError, match="no permission to create the Lease fleet/things"):
            made.run(kubeconfig=str(path), lease=Lease("fleet", "things"))
    sent = [
        (asked.method, asked.headers["user-agent"].partition(" ")[0], dict(asked.query))
        for asked in server.asked
    ]
    assert sent == [
        ("GET", "things/1.2", {}),
        ("POST", "things/1.2", {"dryRun": "All", "fieldManager": "things"}),
    ]


def noting(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Record one Event."""
    thing: Any = read(key)
    event = RecordEvent(key, "Normal", "Seen", "it is there", thing["metadata"]["uid"])
    return Decision((event,), timedelta(seconds=30), Verdict("Seen"))


def events(objects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the Events among objects."""
    return [each for each in objects if each["kind"] == "Event"]


def test_events_metrics_and_lines_bear_the_name_of_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The label `controller` separates operators; the names of the metrics are the library's."""
    caplog.set_level(logging.INFO)
    metrics = InMemoryMetrics()
    made = Operator("things", noting, primary=THINGS, reads=[CONFIG_MAPS])
    labels = {"controller": "things", "result": "requeue_after"}
    with (
        HTTPFacade(load([DEFINITION, THING], now=NOW), kinds=BUILTIN) as server,
        running(made, server, metrics=metrics),
    ):
        eventually(lambda: events(server.world.objects()), "the Event is recorded")
        eventually(
            lambda: metrics.value("controller_runtime_reconcile_total", labels), "it is counted"
        )
        (event,) = events(server.world.objects())
    assert event["source"] == {"component": "things"}
    assert event["reportingComponent"] == "things"
    lines = [
        vars(each)["captep_fields"] for each in caplog.records if "captep_fields" in vars(each)
    ]
    assert {each["controller"] for each in lines} == {"things"}


def test_events_in_memory_bear_the_name_of_the_operator() -> None:
    """A simulation shows them as a cluster would."""
    made = Operator("things", noting, primary=THINGS)
    (event,) = events(made.simulate([THING], "fleet", "a", NOW).world.objects())
    assert event["source"] == {"component": "things"}
