"""Quiet logs: at most 20 lines for a control plane that is made, none at rest, none per request."""

import base64
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from captep_demo._lanes import LANES, START, CaptepLoop
from captep_demo._timeline import Timeline
from captep_memory import load
from captep_memory.http import HTTPFacade
from captep_world import Pace, Simulation, Subject, VirtualClock, WorldServer, neighbours, stories
from tests.cli.tls_relay import TLSRelay
from tests.cluster.crds import definitions

MOST = 20
"""13 writes and 3 verdicts, and some room."""
CONTROL_PLANES = 10


def test_a_control_plane_costs_twenty_lines_to_make_and_none_at_rest() -> None:
    """From creation to Ready, then an hour of passes in which no other actor changes anything."""
    clock = VirtualClock(START)
    server = WorldServer(load(stories.templates("fleet"), now=START))
    timeline = Timeline(START)
    subject = Subject("fleet", "tokyo", LANES[-1].secret)
    story = stories.creation_to_ready
    simulation = Simulation(server, clock, neighbours(Pace()), story, subject)
    loop = CaptepLoop(server, clock, timeline)
    simulation.attach(loop)
    simulation.run(START + timedelta(hours=1))
    made = timeline.total()
    assert simulation.is_over
    assert 0 < made.lines <= MOST
    until = clock.now() + timedelta(hours=1)
    loop.notify(subject.control_plane)
    while (due := loop.run_due(clock.now(), limit=100)) is not None and due < until:
        clock.move(due)
    rest = timeline.total()
    assert rest.passes - made.passes > 100
    assert (rest.lines, rest.writes) == (made.lines, made.writes)


def fleet() -> list[dict[str, Any]]:
    """Return control planes that wait for their Cluster: each has a verdict and no write but one."""
    return [
        {
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta1",
            "kind": "CAPTControlPlane",
            "metadata": {"name": f"c{number}", "namespace": "fleet"},
            "spec": {"version": "1.33", "workspaceTemplateRef": {"name": "eks"}},
        }
        for number in range(CONTROL_PLANES)
    ]


def lines_of_a_run(url: str, folder: Path, **cluster: object) -> list[dict[str, Any]]:
    """Run `captep run` until each control plane has its verdict; return the lines of its log."""
    config = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": url, **cluster}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    kubeconfig = folder / "config"
    kubeconfig.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "captep_cli", "run", "--kubeconfig", str(kubeconfig)]
    command += ["--log-format", "json"]
    command += ["--metrics-bind-address", "0", "--health-probe-bind-address", "0"]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    lines: list[dict[str, Any]] = []
    verdicts = set[str]()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(json.loads(line))
            is_running = len(verdicts) < CONTROL_PLANES
            if "verdict" in lines[-1]:
                verdicts.add(lines[-1]["name"])
            if is_running and len(verdicts) == CONTROL_PLANES:
                process.terminate()
        assert process.wait(timeout=60) == 0, lines
    return lines


@pytest.mark.parametrize("verified", [True, False], ids=["verified", "unverified"])
def test_the_number_of_lines_does_not_depend_on_the_number_of_requests(
    tmp_path: Path, *, verified: bool
) -> None:
    """Without verification there is one warning in all, not one for each request."""
    world = load([*definitions(), *fleet()], now=START)
    with HTTPFacade(world) as server, TLSRelay(int(server.url.rpartition(":")[2])) as relay:
        authority = base64.b64encode(relay.authority.cert_pem.bytes()).decode()
        trust: dict[str, object] = {"certificate-authority-data": authority}
        if not verified:
            trust = {"insecure-skip-tls-verify": True}
        lines = lines_of_a_run(relay.url, tmp_path, **trust)
        requests = len(server.log)
    about = [line for line in lines if "name" in line]
    others = [line for line in lines if "name" not in line]
    assert requests > 3 * CONTROL_PLANES
    assert len(about) <= 4 * CONTROL_PLANES
    assert len(others) <= 6
    warned = [line["message"] for line in lines if line["logger"] == "py.warnings"]
    assert len(warned) <= (0 if verified else 1)
