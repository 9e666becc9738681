"""Prove of your own operator that its loop comes to rest.

Describe what is right, what the operator owns and who else acts.
"""

from datetime import UTC, datetime
from typing import Any

from captep_core import ObjectRef
from captep_memory import Key, World, load
from captep_testing import Kit, check, converge, explore, moves, sweep
from examples.your_own import decide

source = ObjectRef("v1", "ConfigMap", "source", "config")
copy = ObjectRef("v1", "ConfigMap", "target", "config")


def config(ref: ObjectRef, **data: str) -> dict[str, Any]:
    """Return a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "data": data,
    }


def is_copied(world: World) -> bool:
    """Whether the copy equals the source, if a source exists."""
    original = world.get(Key("", "ConfigMap", source.namespace, source.name))
    copied = world.get(Key("", "ConfigMap", copy.namespace, copy.name))
    if original is None:
        return True
    return copied is not None and original.get("data") == copied.get("data")


starts: list[list[dict[str, Any]]] = [
    [config(source, colour="green")],
    [config(source), config(copy, colour="blue", size="1")],
]
kit = Kit(
    decide,
    keys=(source,),
    worlds=tuple(load(objects, now=datetime(2026, 1, 1, tzinfo=UTC)) for objects in starts),
    matches=is_copied,
    owned={"ConfigMap": (("data",),)},
    moves={
        "user paints it red": moves.edit(source, {"data": {"colour": "red"}}),
        "somebody deletes the copy": moves.delete(copy),
        "somebody recreates the source": moves.recreate(source),
    },
)
for report in (check(kit), converge(kit), sweep(kit), explore(kit, faults=1, events=2, lag=1)):
    print(report.require())
