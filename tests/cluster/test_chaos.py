"""Random faults all at once, which other tests cause one by one: users, wire, server, process.

Rules of this module:

1. A seed fixes the order of the faults. The machine decides which of them coincide, so the bounds
   hold for any order.
2. The wire is whole while a process starts, because a process that reaches no server at its start
   ends. A process that has begun to work never ends by itself.
"""

import itertools
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from captep_core import ObjectRef
from captep_core.capt._resources import RESOURCES
from captep_world import Subject
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around, requests_by
from tests.cluster.process import Captep
from tests.cluster.tampering import PASS, Tamper, Tampering, answered
from tests.cluster.test_faults import INTERVAL, SLACK, assert_at_rest, begin, is_usable
from tests.cluster.test_run import SECRETS, rotate, secret_of
from tests.cluster.test_storms import lagging

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
CONTROL_PLANES = RESOURCES["controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane"]
PAUSED = "cluster.x-k8s.io/paused"
TAMPERS = (
    answered(500),
    answered(503),
    answered(429, Retry_After="1"),
    Tamper(drop=True),
    Tamper(after=0.5),
    Tamper(after=3.0),
    Tamper(lines=lagging),
)
DEEDS = 60


class Chaos:
    """A process that works on a fleet, and the faults around both."""

    def __init__(
        self,
        server: ApiServer,
        wire: Tampering,
        fleet: list[Subject],
        kubeconfig: Path,
        folder: Path,
    ) -> None:
        self._server = server
        self._wire = wire
        self._fleet = fleet
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._chance = random.Random(16)
        self._tampers = itertools.cycle(TAMPERS)
        self.deleted: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.process = self._started()

    def do_something(self) -> None:
        """Cause one random event, and wait a moment."""
        deed = self._chance.choice(
            [
                self.crash,
                self.end,
                self.restart_server,
                *[self.tamper] * 2,
                self.cut,
                self.rotate,
                self.delete,
                self.damage,
                self.tag,
                self.pause,
            ]
        )
        self.done[deed.__name__] += 1
        deed()
        time.sleep(self._chance.uniform(0.0, 0.8))
        assert self.process.process.poll() is None, self.process.log()[-3:]

    def crash(self) -> None:
        """Kill the process and start another one."""
        self.process.kill()
        self.process = self._started()

    def end(self) -> None:
        """End the process by SIGTERM and start another one."""
        status, seconds = self.process.end()
        assert (status, seconds < 10) == (0, True)
        self.process = self._started()

    def restart_server(self) -> None:
        """Stop kube-apiserver for a moment."""
        self._server.kill_apiserver()
        time.sleep(self._chance.uniform(0.0, 2.0))
        self._server.start_apiserver()

    def tamper(self) -> None:
        """Tamper with a part of all requests, each time in the next way."""
        what = next(self._tampers)
        part = self._chance.random()
        each = random.Random(self._chance.random())
        self._wire.tamper = lambda _: what if each.random() < part else PASS
        time.sleep(self._chance.uniform(0.5, 3.0))
        self._wire.tamper = lambda _: PASS
        self._wire.end_watches()

    def cut(self) -> None:
        """Break every connection."""
        self._wire.cut()

    def rotate(self) -> None:
        """Write another token, or the same one again."""
        value = self._chance.choice(
            [
                "a2luZDogQ29uZmlnCiMgbmV3Cg==",
                "a2luZDogQ29uZmlnCiMgbmV3ZXIK",
                "a2luZDogQ29uZmlnCiMgb2xkCg==",
            ]
        )
        self._merge(
            SECRETS.path(*self._secret("outputs-kubeconfig")), {"data": {"kubeconfig": value}}
        )

    def delete(self) -> None:
        """Delete a Secret that the controller owns."""
        namespace, name = self._secret(self._chance.choice(["kubeconfig", "ca"]))
        status, _ = self._server.call("DELETE", SECRETS.path(namespace, name))
        self.deleted[f"Secret {namespace}/{name}"] += status == 200

    def damage(self) -> None:
        """Write nonsense into a Secret that the controller owns."""
        self._merge(SECRETS.path(*self._secret("ca")), {"data": {"tls.crt": "eA=="}})

    def tag(self) -> None:
        """Edit a control plane as its user does."""
        self._merge(
            self._control_plane(),
            {"spec": {"additionalTags": {"Stage": f"{self._chance.random()}"}}},
        )

    def pause(self) -> None:
        """Pause a control plane for a moment."""
        path = self._control_plane()
        for value in ("", None):
            self._merge(path, {"metadata": {"annotations": {PAUSED: value}}})
            time.sleep(0.3)

    def _started(self) -> Captep:
        process = Captep(self._kubeconfig, self._folder, "--namespace", self._fleet[0].namespace)
        process.wait_until_it_works()
        return process

    def _secret(self, suffix: str) -> tuple[str, str]:
        subject = self._chance.choice(self._fleet)
        return subject.namespace, f"{subject.name}-{suffix}"

    def _control_plane(self) -> str:
        subject = self._chance.choice(self._fleet)
        return CONTROL_PLANES.path(subject.namespace, subject.name)

    def _merge(self, path: str, body: dict[str, Any]) -> None:
        # 404: the object does not exist yet.
        status, _ = self._server.call(
            "PATCH", path, body, content_type="application/merge-patch+json"
        )
        assert status in (200, 404)


def is_well(server: ApiServer, around: Around, subject: Subject) -> bool:
    """Whether a control plane is usable, with the current token and certificate."""
    source = secret_of(server, subject, "outputs-kubeconfig")
    authority = secret_of(server, subject, "ca")
    is_current = secret_of(server, subject) == {"value": source.get("kubeconfig")}
    return (
        is_usable(around, subject)
        and is_current
        and len(authority) == 2
        and len(set(authority.values()) - {"eA=="}) == 1
    )


def test_a_fleet_outlives_all_faults_at_once(
    apiserver: ApiServer,
    around: Around,
    through: Path,
    wire: Tampering,
    namespace: str,
    tmp_path: Path,
) -> None:
    """One interval after sixty faults a fleet is well; only missing objects were created."""
    fleet = [
        around.subject(namespace, name)
        for name in ("himeji", "hikone", "inuyama", "matsue", "maruoka")
    ]
    since = len(apiserver.audit())
    chaos = Chaos(apiserver, wire, fleet, through, tmp_path)
    try:
        for subject in fleet:
            begin(around, subject)
        for _ in range(DEEDS):
            chaos.do_something()
        assert len(chaos.done) == 10
        assert chaos.done["tamper"] >= len(TAMPERS)
        eventually(
            lambda: all(is_well(apiserver, around, each) for each in fleet),
            what="the whole fleet is well",
            within=INTERVAL + SLACK,
        )
        for each in fleet:
            rotate(apiserver, each, "a2luZDogQ29uZmlnCiMgbGFzdAo=")
        assert_at_rest(apiserver, "controller")
    finally:
        chaos.process.kill()
    creations = [
        each
        for each in requests_by(apiserver, "controller", since=since)
        if each[0] == "create" and each[3] == 201
    ]
    created = Counter(
        str(ref) for _, ref, _, _ in creations if isinstance(ref, ObjectRef) and ref.kind != "Event"
    )
    assert len(created) == 5 * len(fleet)
    assert {name: count for name, count in created.items() if count > 1 + chaos.deleted[name]} == {}
