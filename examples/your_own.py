"""Your own operator: a pure function from the objects that it reads to actions.

captep provides the loop, the in-memory API server and the adapters. This operator copies each
ConfigMap of the namespace `source` to the ConfigMap of the same name in the namespace `target`.
"""

from datetime import UTC, datetime, timedelta

from attrs import frozen

from captep_core import (
    Absent,
    Decision,
    Manifest,
    ObjectRef,
    ReconcileState,
    Unreadable,
    difference,
    is_deleting,
    outstanding,
    worded,
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
    source, found = read(key), read(copy)
    if isinstance(source, Absent):
        return Decision((), None, Verdict("Gone"))
    if isinstance(source, Unreadable) or isinstance(found, Unreadable):
        return Decision((), timedelta(seconds=10), Verdict("Unreadable"))
    if isinstance(found, dict) and is_taken(found):
        return Decision((), timedelta(seconds=10), Verdict("CopyBelongsToAnother"))
    # We own all of `data`: null removes what the source does not have.
    surplus = dict.fromkeys(found.get("data", {})) if isinstance(found, dict) else {}
    desired: Manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": copy.name, "namespace": copy.namespace},
        "data": {**surplus, **source.get("data", {})},
    }
    write = difference(desired, found, "the copy differs from its source")
    if write is None:
        return Decision((), timedelta(minutes=5), Verdict("Copied"))
    refused = outstanding(state, [write])
    verdict = Verdict("WriteRefused", worded(refused[0])) if refused else Verdict("Copying")
    return Decision((write,), timedelta(seconds=5), verdict, refused)


def is_taken(found: Manifest) -> bool:
    """Whether an object is being deleted, or another controller owns it."""
    owners = found["metadata"].get("ownerReferences", [])
    return is_deleting(found) or any(owner.get("controller") for owner in owners)


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
