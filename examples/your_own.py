"""Your own operator: a pure function from the objects that it reads to actions.

captep provides the loop, the in-memory API server and the adapters. This operator copies each
ConfigMap of the namespace `source` to the ConfigMap of the same name in the namespace `target`.
"""

from datetime import UTC, datetime, timedelta
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
    Unreadable,
    merge_patch,
    write_of,
)
from captep_core.ports import Read
from captep_memory import MemoryGateway, load
from captep_runtime import run_pass


@frozen
class Verdict:
    """The outcome of one pass."""

    reason: str
    message: str = ""


def decide(
    key: ObjectRef,
    read: Read,
    state: ReconcileState,
    *,
    now: datetime,  # noqa: ARG001 - captep_core.ports.Decide has it
) -> Decision:
    """Keep the copy in `target` equal to `key`."""
    copy = ObjectRef("v1", "ConfigMap", "target", key.name)
    source = read(key)
    found: Any = read(copy)
    if isinstance(source, Absent):
        return Decision((), None, Verdict("Gone"))
    if isinstance(source, Unreadable) or isinstance(found, Unreadable):
        return Decision((), timedelta(seconds=10), Verdict("Unreadable"))
    if isinstance(found, Absent):
        body: dict[str, JSON] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": copy.name, "namespace": copy.namespace},
            "data": source.get("data", {}),
        }
        return write(Create(copy, body, "the copy does not exist"), state)
    if is_taken(found["metadata"]):
        return Decision((), timedelta(seconds=10), Verdict("CopyBelongsToAnother"))
    patch = merge_patch({"data": found.get("data", {})}, {"data": source.get("data", {})})
    if not patch:
        return Decision((), timedelta(minutes=5), Verdict("Copied"))
    uid = Preconditions(found["metadata"]["uid"])
    return write(Patch(copy, patch, uid, "the copy differs"), state)


def is_taken(metadata: dict[str, Any]) -> bool:
    """Whether an object is being deleted, or another controller owns it."""
    owners = metadata.get("ownerReferences", [])
    return "deletionTimestamp" in metadata or any(ref.get("controller") for ref in owners)


def write(action: Action, state: ReconcileState) -> Decision:
    """Decide one write, and say when the server keeps refusing it."""
    refused = tuple(known for known in state.refusals if known.write == write_of(action))
    verdict = Verdict("WriteRefused" if refused else "Copying")
    return Decision((action,), timedelta(seconds=5), verdict, refused)


def main() -> None:
    """Run the loop for one ConfigMap until it comes to rest."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    key = ObjectRef("v1", "ConfigMap", "source", "config")
    state = ReconcileState()
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "config", "namespace": "source"},
            "data": {"colour": "green"},
        }
    ]
    gateway = MemoryGateway(load(objects, now=now))
    while (done := run_pass(decide, gateway, key, state, now=now)).changed:
        for action, answer in done.sent:
            print(answer.status, action.reason)
        state = done.state
    print(f"at rest: {done.decision.verdict.reason}")


if __name__ == "__main__":
    main()
