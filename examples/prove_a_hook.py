"""Prove of a sync hook of Metacontroller, in any language, that its loop comes to rest.

The hook is a process: `examples/hooks/greeting_sync.py` here. `http(URL)` takes one behind a URL.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from captep_core import ObjectRef
from captep_memory import Key, World, load
from captep_operator.metacontroller import Hook, Stdio, metacontroller
from captep_testing import Kit, check, converge, explore, moves, sweep

__all__ = ["kit_of"]

HOOK = Path(__file__).parent / "hooks" / "greeting_sync.py"
greeting = ObjectRef("example.com/v1", "Greeting", "default", "first")
text = ObjectRef("v1", "ConfigMap", "default", "first-greeting")
GREETING: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Greeting",
    "metadata": {"name": "first", "namespace": "default"},
    "spec": {"name": "world"},
}


def is_right(world: World) -> bool:
    """Whether the text is there as long as the Greeting is, and both agree."""
    found = world.get(Key("example.com", "Greeting", "default", "first"))
    child = world.get(Key("", "ConfigMap", "default", "first-greeting"))
    if found is None:
        return child is None
    return child is not None and child["data"] == {"text": f"hello {found['spec']['name']}"}


def kit_of(hook: Hook) -> Kit:
    """Return the kit of a hook, which finalizes too."""
    return Kit(
        metacontroller(hook, children=[("v1", "ConfigMap")], finalize=hook),
        keys=(greeting,),
        worlds={"new": load([GREETING], now=datetime(2026, 1, 1, tzinfo=UTC))},
        matches=is_right,
        moves={
            "user renames it": moves.edit(greeting, {"spec": {"name": "you"}}),
            "user deletes it": moves.delete(greeting),
            "somebody deletes the text": moves.delete(text),
        },
    )


if __name__ == "__main__":
    with Stdio([sys.executable, "-S", str(HOOK)]) as hook:
        kit = kit_of(hook)
        for report in (check(kit), converge(kit), sweep(kit), explore(kit, faults=1, events=1)):
            print(report.require())
