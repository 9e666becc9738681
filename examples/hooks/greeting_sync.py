"""A sync hook of Metacontroller over stdio: a Greeting has one ConfigMap with its text.

One request a line comes in, one answer a line goes out; any language can do this. An argument names
a mistake that the hook then makes, for `tests/operator/test_metacontroller.py`.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["sync"]


def sync(request: Mapping[str, Any], mistake: str = "") -> dict[str, Any]:
    """Return the children and the status that a Greeting should have."""
    parent = request["parent"]
    name = f"{parent['metadata']['name']}-greeting"
    found = request["children"]["ConfigMap.v1"].get(name)
    if request["finalizing"]:
        return {"children": [], "finalized": found is None}
    text = f"hello {parent.get('spec', {}).get('name', 'nobody')}"
    if mistake == "echoes a version":
        text += parent["metadata"]["resourceVersion"]
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"text": text},
    }
    is_right = found is not None and found.get("data") == child["data"]
    if mistake == "creates once" and found is None and parent.get("status"):
        return {"children": [], "status": {"ready": False}}
    if mistake == "drops its child" and is_right:
        return {"children": [], "status": {"ready": True}}
    return {
        "children": [child],
        "status": {"ready": is_right},
        "resyncAfterSeconds": 0.01 if mistake == "never rests" else 300,
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(sync(json.loads(line), *sys.argv[1:])), flush=True)
