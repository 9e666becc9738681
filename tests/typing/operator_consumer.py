"""An operator of another author, as `test_wheel.py` checks it against the built wheel."""

import argparse
import signal
from datetime import datetime, timedelta

from captep_core import (
    ABSENT,
    JSON,
    Absent,
    Create,
    Decision,
    ObjectRef,
    ReconcileState,
    Unreadable,
)
from captep_core.errors import GatewayError
from captep_core.ports import Decide, Read
from captep_kubernetes import DryRun
from captep_memory import MemoryGateway, load
from captep_operator import Kind, Lease, Operator, Serving
from captep_runtime import NO_METRICS, run_pass
from captep_testing import Kit, check


class Verdict:
    """Why an object is where it is."""

    def __init__(self, reason: str, message: str = "") -> None:
        self.reason, self.message = reason, message


def decide(
    key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
) -> Decision[Verdict]:
    """Create a Secret for each Database."""
    database = read(key)
    match database:
        case Absent():
            return Decision((), None, Verdict("Gone"))
        case Unreadable(reason=reason):
            return Decision((), timedelta(seconds=10), Verdict("Unreadable", reason))
        case dict():
            metadata = database["metadata"]
    labels = metadata.get("labels")
    secret = ObjectRef("v1", "Secret", key.namespace, f"{key.name}-password")
    if read(secret) is ABSENT and not state.refusals:
        body: dict[str, JSON] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"labels": labels},
        }
        return Decision((Create(secret, body, "it does not exist"),), None, Verdict("Creating"))
    return Decision((), timedelta(minutes=5), Verdict("Ready", now.isoformat()))


operator = Operator(
    "database",
    decide,
    primary=Kind("db.example.com/v1", "Database", plural="databases"),
    reads=[
        Kind("v1", "Secret", payload="on demand"),
        Kind("apps/v1", "StatefulSet", labels={"app": "db"}, project={"spec": {"replicas": None}}),
        Kind("v1", "Node", payload="metadata", namespaced=False, fields="spec.unschedulable=false"),
    ],
    version="1.0",
)


def embedded() -> str:
    """Run in a process of one's own."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: operator.stop())
    try:
        operator.run(
            namespaces=["team"],
            lease=Lease("database-system", "database"),
            dry_run=DryRun.CLIENT,
            metrics=NO_METRICS,
            serving=Serving(probes=":8081"),
        )
    except GatewayError as error:
        return str(error)
    return ""


def in_memory(now: datetime) -> list[str]:
    """Plan, simulate, one pass, the kit."""
    world: list[dict[str, JSON]] = []
    key = ObjectRef("db.example.com/v1", "Database", "team", "main")
    decision = operator.plan(world, "team", "main", now)
    run = operator.simulate(world, "team", "main", now, further=1)
    gateway = MemoryGateway(load(world, now=now))
    done = run_pass(decide, gateway, key, ReconcileState(), now=now)
    report = check(Kit(decide, (key,), (run.world,), lambda _world: True))
    return [decision.verdict.reason, done.decision.verdict.reason, str(report)]


def deciding(options: argparse.Namespace) -> Decide:
    """Return the decision that the options ask for."""
    return decide if options.enabled else operator.decide


def main() -> None:
    """Be a command line with a flag of its own."""
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument("--enabled", action="store_true")
    operator.main(["plan", "-f", "world.yaml"], flags=flags, deciding=deciding)
