"""Measures the quiet pass of one checkout; `compare.py` runs it as a process.

    python quiet_pass.py CHECKOUT WORLD.json

The packages of CHECKOUT must come first on the path. It prints one JSON object: microseconds of
CPU by figure. It imports nothing but the public names of both generations of the core, so that the
same file measures a checkout from before their renaming.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_ROUNDS = 15
_TIMES = 200
"""Ten milliseconds or more a round: long against the tick of the CPU clock."""


def _microseconds(since: float, times: int = 1) -> float:
    return (time.process_time() - since) / times * 1e6


def best(*functions: Callable[[], object]) -> list[float]:
    """Return the least CPU time of each function; the rounds of all functions alternate."""
    least = [float("inf")] * len(functions)
    for _ in range(_ROUNDS):
        for place, function in enumerate(functions):
            began = time.process_time()
            for _ in range(_TIMES):
                function()
            least[place] = min(least[place], _microseconds(began, _TIMES))
    return least


def main(checkout: str, world: str) -> None:
    """Measure and print."""
    began = time.process_time()
    import captep_core  # noqa: PLC0415 - the import is measured

    importing = _microseconds(began)
    core: Any = captep_core
    reconcile = core.reconcile
    with_domain = _microseconds(began)
    assert str(core.__file__).startswith(checkout), f"{core.__file__} is not in {checkout}"
    # The name before the renaming was Recollection.
    state = getattr(core, "ReconcileState", None) or core.Recollection
    texts = {
        core.ObjectRef(
            each["apiVersion"],
            each["kind"],
            each["metadata"].get("namespace"),
            each["metadata"]["name"],
        ): json.dumps(each)
        for each in json.loads(Path(world).read_text())
    }

    def read(ref: object) -> Mapping[str, Any] | Any:
        return json.loads(texts[ref]) if ref in texts else core.ABSENT

    key = core.control_plane_ref("fleet", "tokyo")
    now = datetime(2026, 1, 1, 1, tzinfo=UTC)
    observation = core.observe(key, read)
    assert reconcile(*observation, now=now).actions == (), "the world is not at rest"
    loads, quiet, raw = best(
        lambda: [json.loads(text) for text in texts.values()],
        lambda: reconcile(*observation, now=now),
        lambda: core.decide(key, read, state(), now=now),
    )
    figures = {
        "json.loads of the objects": loads,
        "quiet reconcile": quiet,
        "raw JSON to decision": raw,
        "import captep_core": importing,
        "import captep_core and its domain": with_domain,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
