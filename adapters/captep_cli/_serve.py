"""`captep serve`: the in-memory API server as a process, with the peers of a control plane."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from captep_cli._operator import PROGRAM
from captep_memory import Scope
from captep_memory.http import HTTPFacade
from captep_memory.server import run
from captep_operator.command import InputError, read_manifests

__all__ = ["serve"]

_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io"
_KINDS = (
    ("controlplane.cluster.x-k8s.io", "CAPTControlPlane"),
    ("cluster.x-k8s.io", "Cluster"),
    (_INFRASTRUCTURE, "WorkspaceTemplate"),
    (_INFRASTRUCTURE, "WorkspaceTemplateApply"),
    ("tf.upbound.io", "Workspace"),
)
_SCOPES: dict[tuple[str, str], Scope] = {("tf.upbound.io", "Workspace"): "Cluster"}


def serve(options: argparse.Namespace) -> int:
    """Serve until a signal; return the exit status.

    Raises:
        InputError: a file is malformed, the port is taken, or a path cannot be used.
    """
    peers = _Peers(options.world, options.speed)
    objects = [manifest.object for manifest in read_manifests(options.files, PROGRAM.is_namespaced)]
    path = None if options.kubeconfig is None else Path(options.kubeconfig)

    def started(facade: HTTPFacade) -> None:
        peers.start(facade)
        print(f"serving at {facade.url}", flush=True)
        if path is not None:
            print(f"export KUBECONFIG={path.resolve()}", flush=True)

    try:
        run(
            [*peers.objects(), *objects],
            port=options.port,
            kubeconfig_path=path,
            store=None if options.store is None else Path(options.store),
            started=started,
            each=peers.act,
            scopes=_SCOPES,
            kinds=_KINDS if options.world == "captep" else (),
            tick_seconds=0.1,
        )
    except (OSError, ValueError) as exc:
        raise InputError(str(exc)) from exc
    print("stopped", file=sys.stderr)
    return 0


class _Peers:
    """The simulated peers, or nobody."""

    def __init__(self, world: str | None, speed: float) -> None:
        self._is_captep, self._speed = world == "captep", speed
        self._live: Callable[[HTTPFacade], None] | None = None

    def objects(self) -> list[dict[str, object]]:
        """Return the templates that control planes in the namespace default need."""
        if not self._is_captep:
            return []
        from captep_world import stories  # noqa: PLC0415 - a plain server needs no peers

        return list(stories.templates("default"))

    def start(self, facade: HTTPFacade) -> None:
        """Let the peers act from now on."""
        if not self._is_captep:
            return
        from captep_world import neighbours  # noqa: PLC0415 - as above
        from captep_world.live import LiveNeighbours, quickened  # noqa: PLC0415

        self._live = LiveNeighbours(facade, neighbours(quickened(self._speed)))

    def act(self, facade: HTTPFacade) -> None:
        """Take the turns that are due."""
        if self._live is not None:
            self._live(facade)
