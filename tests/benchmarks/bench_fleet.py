"""Measures `captep run` with a large Ready fleet on the in-memory API server over HTTP.

    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_fleet [CONTROL_PLANES]
    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_fleet shards CONTROL_PLANES

Prints one JSON object per figure. The server is a process of its own. The fleet is one control
plane that the simulated peers made Ready, copied under other names.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import yaml

from captep_core import decide
from captep_memory import MemoryGateway, Object, load
from captep_memory.http import HTTPFacade
from captep_runtime import Loop
from captep_world import Simulation, Subject, VirtualClock, WorldServer, neighbours, stories
from tests.benchmarks.bench_cluster import cpu_seconds, idle_rss_mib, rss_mib, show, spent
from tests.cluster.apiserver import eventually
from tests.cluster.around import FAST
from tests.cluster.process import Captep

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "tokyo"
_QUIET_SECONDS = 66.0


class _Gateway:
    """A gateway to the world of a simulation."""

    def __init__(self, server: WorldServer) -> None:
        self._server = server
        self.read = lambda ref: MemoryGateway(server.world).read(ref)

    def send(self, action: Any) -> Any:  # as the port has it
        gateway = MemoryGateway(self._server.world)
        answer = gateway.send(action)
        self._server.world = gateway.world
        return answer


def ready() -> list[Object]:
    """Return the objects of one control plane at rest, without the templates."""
    clock = VirtualClock(_NOW)
    server = WorldServer(load(stories.templates("fleet"), now=_NOW))
    simulation = Simulation(
        server, clock, neighbours(FAST), stories.creation_to_ready, Subject("fleet", MODEL)
    )
    simulation.attach(Loop(decide, _Gateway(server), clock))
    simulation.run(_NOW + timedelta(hours=1))
    assert simulation.is_over
    return [
        obj for obj in server.world.objects() if obj["kind"] not in ("WorkspaceTemplate", "Event")
    ]


def fleet(count: int) -> Iterator[Object]:
    """Yield the objects of `count` control planes, each with names and uids of its own."""
    yield from stories.templates("fleet")
    text = json.dumps(ready())
    uids = {obj["metadata"]["uid"] for obj in json.loads(text)}
    for number in range(count):
        copy = text.replace(MODEL, f"c{number}")
        for uid in uids:
            copy = copy.replace(uid, str(uuid5(UUID(uid), str(number))))
        yield from json.loads(copy)


def serve(count: int) -> None:
    """Serve the fleet until standard input ends."""
    with HTTPFacade(load(fleet(count), now=_NOW)) as server:
        print(server.url, flush=True)
        sys.stdin.read()
        print(
            json.dumps([[each.verb, each.path.partition("?")[0]] for each in server.log]),
            flush=True,
        )


def kubeconfig(url: str, folder: Path) -> Path:
    """Write a kubeconfig for a server without credentials."""
    named = {
        "clusters": [{"name": "fleet", "cluster": {"server": url}}],
        "users": [{"name": "fleet", "user": {"token": "none"}}],
    }
    context = {
        "contexts": [{"name": "fleet", "context": {"cluster": "fleet", "user": "fleet"}}],
        "current-context": "fleet",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **named, **context}))
    return path


def sharded(count: int, shards: int) -> float:
    """Return the CPU seconds of the busiest of so many processes, from the start of the work until
    all its keys ran once.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(_served(count))
        assert server.stdout is not None
        config = kubeconfig(server.stdout.readline().strip(), folder)
        figures = []
        for index in range(1, shards + 1):
            process = stack.enter_context(Captep(config, folder, "--shard", f"{index}/{shards}"))
            pid = process.process.pid
            eventually(process.works, what="works", within=300)
            started = cpu_seconds(pid)
            eventually(lambda pid=pid: spent(pid, 5.0) < 1.0, what="rests", within=900)  # type: ignore[misc]  # mypy infers no default
            # Before the next one starts, so that no time at rest counts.
            figures.append((started, cpu_seconds(pid) - started, rss_mib(pid)))
        show(
            "shards until every control plane ran once",
            control_planes=count,
            shards=shards,
            start_cpu_seconds=[round(started, 1) for started, _, _ in figures],
            cpu_seconds=[round(cpu, 1) for _, cpu, _ in figures],
            mib=[round(memory, 1) for _, _, memory in figures],
        )
        assert server.stdin is not None
        server.stdin.close()
        # It prints its log last, and nobody else reads that.
        server.stdout.read()
        return max(cpu for _, cpu, _ in figures)


def _served(count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_fleet", "serve", str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main(count: int) -> None:
    """Measure everything once."""
    with tempfile.TemporaryDirectory() as folder, _served(count) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url, began = server.stdout.readline().strip(), time.monotonic()
        with Captep(kubeconfig(url, Path(folder)), Path(folder)) as process:
            pid = process.process.pid
            eventually(process.works, what="works", within=300)
            show(
                "start-up to synced",
                control_planes=count,
                seconds=round(time.monotonic() - began, 1),
                cpu_seconds=cpu_seconds(pid),
            )
            eventually(lambda: spent(pid, 5.0) < 2.0, what="rests", within=900)
            show(
                "every control plane reconciled once",
                seconds=round(time.monotonic() - began - 5, 1),
                cpu_seconds=cpu_seconds(pid),
            )
            at_once = rss_mib(pid)
            time.sleep(40)
            share = spent(pid, _QUIET_SECONDS) / _QUIET_SECONDS
            show(
                "CPU at rest",
                control_planes=count,
                percent_of_a_core=round(100 * share, 2),
                target=5,
            )
            resident, idle = rss_mib(pid), idle_rss_mib()
            show(
                "memory",
                control_planes=count,
                mib=round(resident, 1),
                when_ready=round(at_once, 1),
                idle_client_mib=round(idle, 1),
                target=250,
            )
            assert not process.says("rror"), process.log()[-3:]
        server.stdin.close()
        asked = json.loads(server.stdout.readline())
        others = [path for verb, path in asked if verb not in ("get", "list", "watch")]
        show("writes", number=len(others), target=0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    elif sys.argv[1:2] == ["shards"]:
        whole = sharded(int(sys.argv[2]), 1)
        half = sharded(int(sys.argv[2]), 2)
        show("CPU of the busier of two shards, of one process", share=round(half / whole, 2))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
