"""The whole life of one control plane under `captep run` on a real kube-apiserver.

The server's audit log is the judge. Users and neighbours send a request only while the controller
rests, so each part of the life has exactly as many writes as in memory.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from captep_core.capt._resources import RESOURCES
from captep_kubernetes import EVENTS, LEASES, load_transport
from captep_memory import Request, Response
from captep_world import Subject, stories
from tests.cluster.apiserver import ADMIN, ApiServer, eventually
from tests.cluster.around import Caller, requests_by
from tests.cluster.manifests import granted
from tests.cluster.process import Captep
from tests.cluster.test_run import WRITES
from tests.cluster.turns import PARTS, InMemory, Turns

pytestmark = pytest.mark.cluster
NAMESPACE, USER = "life", "controller"
QUIET_SECONDS = 36.0
"""Longer than the longest interval with jitter: each control plane is reconciled once more."""
_REST_SECONDS = 0.4
"""Many times as long as the controller takes from an event to its next request."""


class OnServer:
    """`Place` on a real server; a context manager that runs `captep run`, which `start` starts."""

    def __init__(self, server: ApiServer, start: Callable[[], Captep]) -> None:
        self._server = server
        self._start = start
        self.processes: list[Captep] = []
        self.call: Callable[[Request], Response] = Caller(load_transport(server.kubeconfig()))
        self._position = server.audit_from(0)[1]

    def rest(self, _now: datetime) -> None:
        """Wait until the controller has sent no request for a while, other than for the lease."""
        heard_at = time.monotonic()

        def is_quiet() -> bool:
            nonlocal heard_at
            events, self._position = self._server.audit_from(self._position)
            if any(
                event["user"].get("username") == USER
                and event.get("objectRef", {}).get("resource") != "leases"
                for event in events
            ):
                heard_at = time.monotonic()
            return time.monotonic() - heard_at >= _REST_SECONDS

        eventually(is_quiet, what="the controller rests", within=30)

    @contextmanager
    def absence(self) -> Iterator[None]:
        """End the process by SIGTERM, and start a new one afterwards."""
        assert self.processes[-1].end()[0] == 0
        yield
        self._begin()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes:
            process.kill()

    def _begin(self) -> None:
        self.processes.append(self._start())
        self.processes[-1].wait_until_it_works()


@pytest.fixture(scope="module")
def life(
    apiserver: ApiServer, controller: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The requests of a leading controller in each part of a life."""
    apiserver.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for template in stories.templates(NAMESPACE):
        path = RESOURCES[template["apiVersion"], template["kind"]].path(
            template["metadata"]["namespace"]
        )
        # 409: the template for kubeconfigs is in `default`, where other tests share it.
        assert apiserver.call("POST", path, template)[0] in (201, 409)
    recorded: dict[str, Any] = {}
    folder = tmp_path_factory.mktemp("life")
    born = len(apiserver.audit())
    words = ("--leader-elect", "--namespace", NAMESPACE, "--namespace", "default")
    with OnServer(apiserver, lambda: Captep(controller, folder, *words)) as place:
        recorded["start"] = requests_by(apiserver, USER, since=born)
        turns = Turns(place, Subject(NAMESPACE, "tokyo"))
        for title, part in PARTS.items():
            since = len(apiserver.audit())
            part(turns)
            recorded[title] = requests_by(apiserver, USER, since=since)
            recorded[f"{title} took"] = seconds_after_the_last_other(apiserver, since)
            if title == "creation":
                since = len(apiserver.audit())
                time.sleep(QUIET_SECONDS)
                recorded["quiet"] = requests_by(apiserver, USER, since=since)
        recorded["end"] = place.processes[-1].end()
        recorded["log"] = [line for process in place.processes for line in process.log()]
    return recorded


def seconds_after_the_last_other(server: ApiServer, since: int) -> float:
    """Return the seconds from the last write of the others to that of the controller.

    The server's clock counts, at the answer to each write.
    """
    at: dict[str, float] = {}
    for event in server.audit()[since:]:
        if event["verb"] in WRITES and event.get("objectRef", {}).get("resource") not in (
            "events",
            "leases",
        ):
            at[event["user"]["username"]] = datetime.fromisoformat(
                event["stageTimestamp"]
            ).timestamp()
    return at[USER] - at[ADMIN]


def written(asked: list[Any]) -> list[str]:
    """Return the writes as text, without those of the Lease; fail if the server refused one.

    An Event is only named as such: it may be a new one or the count of an old one.
    """
    accepted = [
        (verb, ref, sub, status)
        for verb, ref, sub, status in asked
        if verb in WRITES and ref.kind != "Lease"
    ]
    assert all(status < 300 for _, _, _, status in accepted), accepted
    return [
        "Event" if ref.kind == "Event" else f"{verb} {ref}{'/' + sub if sub else ''}"
        for verb, ref, sub, _ in accepted
    ]


def writes(asked: list[Any]) -> list[str]:
    """Return the writes without Events."""
    return [each for each in written(asked) if each != "Event"]


@pytest.fixture(scope="module")
def in_memory() -> dict[str, list[str]]:
    """The writes of each part of the same life in memory."""
    place = InMemory(NAMESPACE)
    turns = Turns(place, Subject(NAMESPACE, "tokyo"))
    written: dict[str, list[str]] = {}
    for title, part in PARTS.items():
        since = len(place.written)
        part(turns)
        written[title] = place.written[since:]
    return written


@pytest.mark.parametrize("title", PARTS)
def test_the_writes_are_those_of_the_same_life_in_memory(
    life: dict[str, Any], in_memory: dict[str, list[str]], title: str
) -> None:
    """Each part has the same writes in the same order, Events included, and no refused one."""
    assert written(life[title]) == in_memory[title]


def test_creation_takes_twelve_writes(life: dict[str, Any]) -> None:
    """Twelve writes create a control plane, one less than without Cluster API's core.

    The token of Terraform's next look is one more.
    """
    *made, fresh = writes(life["creation"])
    assert fresh == "patch Secret life/tokyo-kubeconfig"
    assert len(made) == 12
    assert fresh not in made


@pytest.mark.parametrize("title", ["rotation", "repair", "tag"])
def test_one_write_repairs_a_difference_within_a_second(life: dict[str, Any], title: str) -> None:
    """A rotated token, a deleted Secret and an edited tag cost one write each."""
    assert len(writes(life[title])) == 1
    assert 0 <= life[f"{title} took"] < 1


def test_deletion_takes_four_writes(life: dict[str, Any]) -> None:
    """The Cluster's endpoint, both applies and the finalizer go, in this order."""
    assert writes(life["deletion"]) == [
        "patch Cluster life/tokyo",
        "delete WorkspaceTemplateApply life/tokyo-eks-controlplane-apply",
        "delete WorkspaceTemplateApply life/tokyo-kubeconfig-apply",
        "patch CAPTControlPlane life/tokyo",
    ]


@pytest.mark.parametrize("title", ["failure", "failure again"])
def test_failure_and_recovery_are_reported_and_nothing_else(
    life: dict[str, Any], title: str
) -> None:
    """Two status writes report a Terraform failure under a Ready control plane and its end."""
    assert writes(life[title]) == ["patch CAPTControlPlane life/tokyo/status"] * 2


def test_at_rest_nothing_is_written_and_nothing_is_read(life: dict[str, Any]) -> None:
    """For longer than the longest interval, only the lease and renewed watches cause requests."""
    others = [
        each
        for each in life["quiet"]
        if each[1] is None or (each[1].kind != "Lease" and each[0] != "watch")
    ]
    assert others == []
    leases = [
        (verb, status)
        for verb, ref, _, status in life["quiet"]
        if ref is not None and ref.kind == "Lease"
    ]
    assert set(leases) == {("patch", 200)}
    assert len(leases) <= QUIET_SECONDS / 2 + 2


def test_the_process_ends_in_time_and_gives_the_lease_back(
    life: dict[str, Any], apiserver: ApiServer
) -> None:
    """SIGTERM ends it with status 0 inside ten seconds, and then the lease has no holder."""
    status, seconds = life["end"]
    assert status == 0
    assert seconds < 10
    _, lease = apiserver.call("GET", LEASES.path("kube-system", "captep"))
    assert lease["spec"]["holderIdentity"] == ""


def test_the_log_names_changes_with_their_fields(life: dict[str, Any]) -> None:
    """Every line is JSON, those of the controller name the object, and no line has a token."""
    assert not [line for line in life["log"] if "raw" in line]
    reconciled = [line for line in life["log"] if line["logger"] == "captep.controller"]
    assert reconciled
    assert all(
        (line["controller"], line["namespace"], line["name"])
        == ("captcontrolplane", "life", "tokyo")
        for line in reconciled
    )
    assert all(line["reconcileID"] for line in reconciled)
    assert "a2luZDogQ29uZmlnCiMgbmV3Cg==" not in str(life["log"])


def test_the_permissions_are_those_that_are_used(life: dict[str, Any]) -> None:
    """A whole life uses exactly the permissions of the manifests, and no request is refused."""
    asked = [each for title in ("start", "quiet", *PARTS) for each in life[title]]
    assert [each for each in asked if each[3] == 403] == []
    plurals = {each.kind: each.plural for each in (*RESOURCES.values(), EVENTS, LEASES)}
    used = {
        (group(ref.api_version), plurals.get(ref.kind, ref.kind) + (f"/{sub}" if sub else ""), verb)
        for verb, ref, sub, _ in asked
        if ref is not None
    }
    # Core acts on the Cluster of this life and publishes its status; without core, captep does.
    without_core = {("cluster.x-k8s.io", "clusters/status", "patch")}
    # A fight, which this life does not have, is named by one read of the object.
    in_a_fight = {
        ("controlplane.cluster.x-k8s.io", "captcontrolplanes", "get"),
        ("cluster.x-k8s.io", "clusters", "get"),
        ("infrastructure.cluster.x-k8s.io", "workspacetemplateapplies", "get"),
    }
    assert used | without_core | in_a_fight == set(granted("base"))


def group(api_version: str) -> str:
    """Return the API group of `group/version`."""
    return api_version.rpartition("/")[0]
