"""What the pytest fixtures give to a test: a server in the process, and one over HTTP."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from captep_memory._http import HTTPFacade
from captep_memory._json import Object
from captep_memory._load import load
from captep_memory._request import Key, Request, Response, key_of
from captep_memory._serve import serve
from captep_memory._world import World
from captep_memory.server import LIKE_A_CLUSTER, kubeconfig, with_namespaces

__all__ = ["KubeAPI", "KubeWorld", "serving"]

_START = datetime(2026, 1, 1, tzinfo=UTC)


@define
class KubeWorld:
    """An in-memory server of one test; `world` may be replaced at any time."""

    world: World = field(factory=lambda: World.empty(now=_START))

    def load(self, *objects: Mapping[str, Any]) -> None:
        """Begin again with these objects, as they are."""
        self.world = load(objects, now=self.world.now)

    def request(self, request: Request) -> Response:
        """Serve a request, and keep the world after it."""
        self.world, response = serve(self.world, request)
        return response

    def get(self, api_group: str, kind: str, namespace: str | None, name: str) -> Object | None:
        """Return a stored object, None when it is absent."""
        return self.world.get(Key(api_group, kind, namespace, name))


@frozen
class KubeAPI:
    """A running server: its URL, and a kubeconfig for any client in any language."""

    facade: HTTPFacade
    kubeconfig: Path

    @property
    def url(self) -> str:
        """The base URL."""
        return self.facade.url

    def add(self, *objects: Mapping[str, Any]) -> None:
        """Put objects into the server as they are, with what a server sets supplied."""

        def added(world: World) -> World:
            given = load(objects, now=world.now)
            for obj in given.objects():
                world, _ = world.put(key_of(obj), obj)
            return world

        self.facade.apply(added)


@contextmanager
def serving(path: Path, objects: Iterable[Mapping[str, Any]] = ()) -> Iterator[KubeAPI]:
    """Serve `objects` and the built-in namespaces; write a kubeconfig to `path`."""
    world = load(with_namespaces(objects), now=datetime.now(UTC), quirks=LIKE_A_CLUSTER)
    with HTTPFacade(world) as facade:
        path.write_text(kubeconfig(facade.url), "utf-8")
        yield KubeAPI(facade, path)
