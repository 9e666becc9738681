"""Everything at once: a fleet, users, a wire, a server and a process that each do at random what other tests let them do alone.

Rules of this module:

1. The order is that of a seed; what happens at the same moment is the machine's. So the bounds hold for any order.
2. The wire is whole while a process starts: one that reaches no server ends, as it should. One that has begun to work never ends by itself.
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
from tests.cluster.around import Around, told_by
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
    """A process that works on a fleet, and all that befalls them."""

    def __init__(
        self,
        server: ApiServer,
        wire: Tampering,
        fleet: list[Subject],
        kubeconfig: Path,
        folder: Path,
    ) -> None:
        self._server, self._wire, self._fleet = server, wire, fleet
        self._kubeconfig, self._folder = kubeconfig, folder
        self._chance, self._tampers = random.Random(16), itertools.cycle(TAMPERS)
        self.deleted: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.process = self._started()

    def do_something(self) -> None:
        """Let one thing happen, and wait a moment."""
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
        """Kill the process; another one begins."""
        self.process.kill()
        self.process = self._started()

    def end(self) -> None:
        """End the process as SIGTERM does; another one begins."""
        status, seconds = self.process.end()
        assert (status, seconds < 10) == (0, True)
        self.process = self._started()

    def restart_server(self) -> None:
        """Let kube-apiserver be away for a moment."""
        self._server.kill_apiserver()
        time.sleep(self._chance.uniform(0.0, 2.0))
        self._server.start_apiserver()

    def tamper(self) -> None:
        """Do something to a part of all requests, each time something else."""
        what, part, each = (
            next(self._tampers),
            self._chance.random(),
            random.Random(self._chance.random()),
        )
        self._wire.tamper = lambda _: what if each.random() < part else PASS
        time.sleep(self._chance.uniform(0.5, 3.0))
        self._wire.tamper = lambda _: PASS
        self._wire.end_watches()

    def cut(self) -> None:
        """Break every connection."""
        self._wire.cut()

    def rotate(self) -> None:
        """Write another token, or the same again."""
        value = self._chance.choice(["bmV3", "bmV3ZXI=", "b2xk"])
        self._merge(
            SECRETS.path(*self._secret("outputs-kubeconfig")), {"data": {"kubeconfig": value}}
        )

    def delete(self) -> None:
        """Delete a Secret that is ours."""
        namespace, name = self._secret(self._chance.choice(["kubeconfig", "ca"]))
        status, _ = self._server.call("DELETE", SECRETS.path(namespace, name))
        self.deleted[f"Secret {namespace}/{name}"] += status == 200

    def damage(self) -> None:
        """Write nonsense into a Secret that is ours."""
        self._merge(SECRETS.path(*self._secret("ca")), {"data": {"tls.crt": "eA=="}})

    def tag(self) -> None:
        """Edit a control plane, as its user does."""
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
        # What is not there yet cannot be changed.
        status, _ = self._server.call(
            "PATCH", path, body, content_type="application/merge-patch+json"
        )
        assert status in (200, 404)


def is_well(server: ApiServer, around: Around, subject: Subject) -> bool:
    """Whether a control plane is usable, with the token and the certificate of now."""
    source, authority = (
        secret_of(server, subject, "outputs-kubeconfig"),
        secret_of(server, subject, "ca"),
    )
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
    """Sixty deeds on a fleet in the making: all is well an interval later and followed as ever; nothing was created but what was not there."""
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
            what="all is well",
            within=INTERVAL + SLACK,
        )
        for each in fleet:
            rotate(apiserver, each, "bGFzdA==")
        assert_at_rest(apiserver, "controller")
    finally:
        chaos.process.kill()
    told = [
        each
        for each in told_by(apiserver, "controller", since=since)
        if each[0] == "create" and each[3] == 201
    ]
    created = Counter(
        str(ref) for _, ref, _, _ in told if isinstance(ref, ObjectRef) and ref.kind != "Event"
    )
    assert len(created) == 5 * len(fleet)
    assert {name: count for name, count in created.items() if count > 1 + chaos.deleted[name]} == {}
