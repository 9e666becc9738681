"""The in-memory API server as a process: `run` serves a world until a signal ends it."""

import json
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from captep_memory._garbage import collect_all, departed
from captep_memory._http import HTTPFacade
from captep_memory._kinds import NO_SCOPES, Scope
from captep_memory._load import load
from captep_memory._store import read_store, write_store
from captep_memory._world import Quirks, World

__all__ = ["LIKE_A_CLUSTER", "NAMESPACES", "kubeconfig", "run", "with_namespaces"]

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
"""The namespaces that every cluster has."""
LIKE_A_CLUSTER = Quirks(managed_fields="always")
"""A server for any client shows what a cluster shows."""
# How often the clock of the served world moves; ages in tables have whole seconds.
_TICK_SECONDS = 0.5


def with_namespaces(objects: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return objects with the built-in namespaces, and with a namespace for each namespaced one."""
    given = [dict(each) for each in objects]
    named = {
        each["metadata"].get("name")
        for each in given
        if (each.get("apiVersion"), each.get("kind")) == ("v1", "Namespace")
    }
    used = {each.get("metadata", {}).get("namespace") for each in given}
    missing = sorted({*NAMESPACES, *filter(None, used)} - named)
    return [*(_namespace(name) for name in missing), *given]


def _namespace(name: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
    spec = {"finalizers": ["kubernetes"]}
    status = {"phase": "Active"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def kubeconfig(url: str) -> str:
    """Return a kubeconfig for a server without authentication, as JSON, which is YAML too."""
    name = "captep-memory"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return json.dumps(config, indent=1) + "\n"


def run(
    objects: Iterable[Mapping[str, Any]] = (),
    *,
    port: int = 0,
    kubeconfig_path: Path | None = None,
    store: Path | None = None,
    started: Callable[[HTTPFacade], None] = lambda _: None,
    each: Callable[[HTTPFacade], None] = lambda _: None,
    scopes: Mapping[tuple[str, str], Scope] = NO_SCOPES,
    kinds: Iterable[tuple[str, str]] = (),
    tick_seconds: float = _TICK_SECONDS,
) -> None:
    """Serve a world on loopback until SIGTERM or SIGINT.

    Args:
        objects: what the server holds first; the built-in namespaces are added.
        port: 0 for a free one.
        kubeconfig_path: where to write a kubeconfig, None for nowhere.
        store: a folder that keeps the objects across restarts; what it holds replaces `objects`.
        started: called once the server listens, with the facade.
        each: called with the facade after each move of the clock.
        scopes: the scopes of kinds without a definition, as for `load`.
        kinds: (group, kind) of kinds with neither a definition nor an object, for their URLs.
        tick_seconds: the time between two moves of the clock.

    Raises:
        OSError: the port is taken, or a path cannot be read or written.
        ValueError: an object is malformed.
    """
    ended = threading.Event()
    stored = None if store is None else read_store(store)
    given = with_namespaces(objects if stored is None else stored)
    world = load(given, now=datetime.now(UTC), quirks=LIKE_A_CLUSTER, scopes=scopes)
    written = -1
    with HTTPFacade(world, port=port, kinds=kinds) as facade:
        previous = _on_signals(ended)
        try:
            if kubeconfig_path is not None:
                kubeconfig_path.write_text(kubeconfig(facade.url), "utf-8")
            started(facade)
            while not ended.wait(tick_seconds):
                facade.apply(_at_present)
                each(facade)
                if store is not None and facade.world.resource_version != written:
                    written = facade.world.resource_version
                    write_store(store, facade.world)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            if store is not None:
                write_store(store, facade.world)


def _at_present(world: World) -> World:
    """Move the clock, and collect garbage as the controller manager of a cluster does."""
    return collect_all(world.at(datetime.now(UTC)), known_owner=departed(world))


def _on_signals(ended: threading.Event) -> dict[int, Any]:
    """Set `ended` on SIGTERM and SIGINT; return the handlers before."""

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    return {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
