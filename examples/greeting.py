"""An operator of one custom kind: a Greeting keeps a ConfigMap with its text, and says so.

`greeting.yaml` has the definition and a Greeting. `kopf_host.py` and `metacontroller_webhook.py`
run the same `decide` inside other frameworks.

    python examples/greeting.py simulate -f examples/greeting.yaml
    python examples/greeting.py run
"""

from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from captep_core import (
    JSON,
    Absent,
    Action,
    Create,
    Decision,
    ObjectRef,
    Patch,
    Preconditions,
    ReconcileState,
    merge_patch,
    write_of,
)
from captep_core.ports import Read
from captep_operator import Kind, Operator

__all__ = ["decide", "operator"]


@frozen
class Verdict:
    """The outcome of one pass."""

    reason: str
    message: str = ""


def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:  # noqa: ARG001 - captep_core.ports.Decide has `now`
    """Keep the ConfigMap of a Greeting, then report that it is there."""
    greeting: Any = read(key)
    if isinstance(greeting, Absent):
        return Decision((), None, Verdict("Gone"))
    if not isinstance(greeting, dict):
        return Decision((), timedelta(seconds=10), Verdict("Unreadable", str(greeting)))
    if "deletionTimestamp" in greeting["metadata"]:
        return Decision((), None, Verdict("Leaving"))
    text = ObjectRef("v1", "ConfigMap", key.namespace, f"{key.name}-greeting")
    found: Any = read(text)
    data: dict[str, JSON] = {"text": f"hello {greeting['spec']['name']}"}
    if isinstance(found, Absent):
        return write(Create(text, config_map(text, data, greeting), "it does not exist"), state)
    if not isinstance(found, dict):
        return Decision((), timedelta(seconds=10), Verdict("Unreadable", str(found)))
    owners = [owner["uid"] for owner in found["metadata"].get("ownerReferences", ())]
    if greeting["metadata"]["uid"] not in owners:
        return Decision((), timedelta(minutes=1), Verdict("NameTaken", f"{text} is not ours"))
    if patch := merge_patch({"data": found.get("data", {})}, {"data": data}):
        uid = Preconditions(found["metadata"]["uid"])
        return write(Patch(text, patch, uid, "its text differs"), state)
    if greeting.get("status") != {"ready": True}:
        meta = greeting["metadata"]
        this = Preconditions(meta["uid"], meta["resourceVersion"])
        return write(Patch(key, {"status": {"ready": True}}, this, "report", "status"), state)
    return Decision((), timedelta(minutes=5), Verdict("Ready"))


def config_map(ref: ObjectRef, data: dict[str, JSON], owner: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the ConfigMap that a Greeting owns: garbage collection takes it with the Greeting."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    metadata = {"name": ref.name, "namespace": ref.namespace, "ownerReferences": [reference]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def write(action: Action, state: ReconcileState) -> Decision:
    """Decide one write, and say when the server keeps refusing it."""
    refused = tuple(known for known in state.refusals if known.write == write_of(action))
    verdict = Verdict("WriteRefused" if refused else "Writing", str(write_of(action)))
    return Decision((action,), timedelta(seconds=5), verdict, refused)


operator = Operator(
    "greeting",
    decide,
    primary=Kind("example.com/v1", "Greeting"),
    reads=[Kind("v1", "ConfigMap")],
)

if __name__ == "__main__":
    operator.main()
