"""Traces in files: written by a counterexample, read by `pytest --captep-replay FILE`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from captep_testing._code import name_of
from captep_testing._kit import Kit
from captep_testing._report import Counterexample

__all__ = ["Trace", "load_trace", "request", "requested", "save_trace"]


@frozen
class Trace:
    """A trace as a file holds it; `operator` is the name of the function under test."""

    operator: str
    labels: tuple[str, ...]
    world: int = 0
    instances: int = 1


class _Requests:
    """The trace that this process replays instead of searching."""

    trace: Trace | None = None


def save_trace(kit: Kit, found: Counterexample, file: Path) -> None:
    """Write the trace of a counterexample as JSON, with its steps for people."""
    trace = asdict(Trace(name_of(kit.decide), found.labels, found.world, found.instances))
    shown = [str(step) for step in found.steps]
    content = {**trace, "violation": asdict(found.violation), "steps": shown}
    file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def load_trace(file: Path) -> Trace:
    """Read a trace.

    Raises:
        ValueError: the file holds no trace; the message names the file and the field.
    """
    try:
        content: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
        labels = tuple(map(str, content["labels"]))
        return Trace(
            str(content["operator"]),
            labels,
            int(content.get("world", 0)),
            int(content.get("instances", 1)),
        )
    except KeyError as error:
        raise ValueError(f"{file}: no trace: the field {error} is missing") from error
    except (TypeError, json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"{file}: no trace: {error}") from error


def request(trace: Trace | None) -> None:
    """Replay a trace in every later `explore` of its operator; None searches again."""
    _Requests.trace = trace


def requested(kit: Kit) -> Trace | None:
    """Return the trace to replay for a kit, None to search."""
    trace = _Requests.trace
    return trace if trace is not None and trace.operator == name_of(kit.decide) else None
