"""What both peers want of a `Database`: the children of examples/database, and its status."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from captep_core import set_condition
from examples.database import database as example

__all__ = ["LABEL", "children", "holds", "status"]

LABEL: Final = "db.example.com/name"
"""On each child, with the name of its database."""


def children(database: dict[str, Any], seed: bytes) -> list[dict[str, Any]]:
    """Return the children as they should be created."""
    return [
        example.password(database, seed),
        example.service(database),
        example.stateful_set(database),
    ]


def status(
    database: dict[str, Any], stateful_set: dict[str, Any], found: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the status: Ready while the StatefulSet is, as it should be; `found` is by kind."""
    kind = stateful_set["kind"]
    is_ready = (
        kind in found
        and holds(found[kind], example.changeable(stateful_set))
        and example.is_running({**found[kind], "kind": kind})
    )
    before = database.get("status") or {}
    generation = database["metadata"]["generation"]
    conditions = set_condition(
        before.get("conditions"),
        "Ready",
        "True" if is_ready else "False",
        "Ready" if is_ready else "Creating",
        "" if is_ready else "waiting for the StatefulSet",
        now=datetime.now(UTC),
        generation=generation,
    )
    return {**before, "observedGeneration": generation, "conditions": conditions}


def holds(observed: Any, desired: Any) -> bool:
    """Whether an object has every field that it should have; the server's defaults are more."""
    match desired:
        case dict():
            return isinstance(observed, Mapping) and all(
                holds(observed.get(name), value) for name, value in desired.items()
            )
        case list():
            return (
                isinstance(observed, list)
                and len(observed) == len(desired)
                and all(map(holds, observed, desired))
            )
        case _:
            return bool(observed == desired)
