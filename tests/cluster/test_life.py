"""A whole life of one control plane under `captep run` on a real kube-apiserver, judged from the server's audit log.

Users and neighbours send a request only while the controller rests, so each part of the life has as many writes as in memory, no more, no less.
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
from tests.cluster.around import Caller, told_by
from tests.cluster.manifests import granted
from tests.cluster.process import Captep
from tests.cluster.test_run import WRITES
from tests.cluster.turns import PARTS, InMemory, Turns

pytestmark = pytest.mark.cluster
NAMESPACE, USER = "life", "controller"
QUIET_SECONDS = 36.0
"""Longer than the longest interval, jitter included: each control plane is looked at once more."""
_REST_SECONDS = 0.4
"""Many times what the controller takes from an event to the request that follows from it."""


class OnServer:
    """`Place` on a real server, with a process of `captep run` at work, from `start`; a context manager that ends it."""

    def __init__(self, server: ApiServer, start: Callable[[], Captep]) -> None:
        self._server, self._start = server, start
        self.processes: list[Captep] = []
        self.call: Callable[[Request], Response] = Caller(load_transport(server.kubeconfig()))
        self._position = server.audit_from(0)[1]

    def rest(self, _now: datetime) -> None:
        """Wait until the controller has asked nothing but for the lease for a while."""
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
        """End the process as SIGTERM does; a new one after it."""
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
    """What was asked in each part of a life, by a controller that leads."""
    apiserver.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for template in stories.templates(NAMESPACE):
        path = RESOURCES[template["apiVersion"], template["kind"]].path(
            template["metadata"]["namespace"]
        )
        # The template for kubeconfigs is in `default`, where other tests share it.
        assert apiserver.call("POST", path, template)[0] in (201, 409)
    recorded: dict[str, Any] = {}
    folder, born = tmp_path_factory.mktemp("life"), len(apiserver.audit())
    words = ("--leader-elect", "--namespace", NAMESPACE, "--namespace", "default")
    with OnServer(apiserver, lambda: Captep(controller, folder, *words)) as place:
        recorded["start"] = told_by(apiserver, USER, since=born)
        turns = Turns(place, Subject(NAMESPACE, "tokyo"))
        for title, part in PARTS.items():
            since = len(apiserver.audit())
            part(turns)
            recorded[title] = told_by(apiserver, USER, since=since)
            recorded[f"{title} took"] = seconds_after_the_last_other(apiserver, since)
            if title == "creation":
                since = len(apiserver.audit())
                time.sleep(QUIET_SECONDS)
                recorded["quiet"] = told_by(apiserver, USER, since=since)
        recorded["end"] = place.processes[-1].end()
        recorded["log"] = [line for process in place.processes for line in process.log()]
    return recorded


def seconds_after_the_last_other(server: ApiServer, since: int) -> float:
    """From the answer to the last write of somebody else to the answer to the last write of the controller, by the server's clock."""
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
    """The writes as text, but for the Lease's; none was refused. An Event may be a new one or the count of an old one."""
    told = [
        (verb, ref, sub, status)
        for verb, ref, sub, status in asked
        if verb in WRITES and ref.kind != "Lease"
    ]
    assert all(status < 300 for _, _, _, status in told), told
    return [
        "Event" if ref.kind == "Event" else f"{verb} {ref}{'/' + sub if sub else ''}"
        for verb, ref, sub, _ in told
    ]


def writes(asked: list[Any]) -> list[str]:
    """The writes without Events."""
    return [each for each in written(asked) if each != "Event"]


@pytest.fixture(scope="module")
def in_memory() -> dict[str, list[str]]:
    """The writes of each part of the same life in memory."""
    place = InMemory(NAMESPACE)
    turns, written = Turns(place, Subject(NAMESPACE, "tokyo")), dict[str, list[str]]()
    for title, part in PARTS.items():
        since = len(place.written)
        part(turns)
        written[title] = place.written[since:]
    return written


@pytest.mark.parametrize("title", PARTS)
def test_the_writes_are_those_of_the_same_life_in_memory(
    life: dict[str, Any], in_memory: dict[str, list[str]], title: str
) -> None:
    """Each part has the same writes in the same order, Events too, none refused."""
    assert written(life[title]) == in_memory[title]


def test_creation_takes_at_most_thirteen_writes(life: dict[str, Any]) -> None:
    """Thirteen writes make a control plane of nothing; the fresh token that Terraform's next look brings is one more."""
    *made, fresh = writes(life["creation"])
    assert fresh == "patch Secret life/tokyo-kubeconfig"
    assert len(made) == 13
    assert fresh not in made


@pytest.mark.parametrize("title", ["rotation", "repair", "tag"])
def test_one_write_repairs_a_difference_within_a_second(life: dict[str, Any], title: str) -> None:
    """A rotated token, a deleted Secret and an edited tag."""
    assert len(writes(life[title])) == 1
    assert 0 <= life[f"{title} took"] < 1


def test_deletion_takes_four_writes(life: dict[str, Any]) -> None:
    """The Cluster's endpoint, both applies, the finalizer, in this order; done within a second of the Workspace's end."""
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
    """A failure of Terraform under a Ready control plane is surfaced, and taken back, by two writes to the status."""
    assert writes(life[title]) == ["patch CAPTControlPlane life/tokyo/status"] * 2


def test_at_rest_nothing_is_written_and_nothing_is_read(life: dict[str, Any]) -> None:
    """For longer than the longest interval there is no request at all but those for the lease and watches that are renewed."""
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
    """SIGTERM ends it with status 0 inside ten seconds, and nobody holds the lease after that."""
    status, seconds = life["end"]
    assert status == 0
    assert seconds < 10
    _, lease = apiserver.call("GET", LEASES.path("kube-system", "captep"))
    assert lease["spec"]["holderIdentity"] == ""


def test_the_log_names_changes_with_their_fields(life: dict[str, Any]) -> None:
    """Every line is JSON; what is told of a control plane has controller, namespace, name and reconcileID; no traceback, no token."""
    assert not [line for line in life["log"] if "raw" in line]
    told = [line for line in life["log"] if line["logger"] == "captep.controller"]
    assert told
    assert all(
        (line["controller"], line["namespace"], line["name"])
        == ("captcontrolplane", "life", "tokyo")
        for line in told
    )
    assert all(line["reconcileID"] for line in told)
    assert "bmV3" not in str(life["log"])


def test_the_permissions_are_those_that_are_used(life: dict[str, Any]) -> None:
    """What a whole life asks for is what the manifests grant: nothing was refused, and no rule is spare."""
    asked = [each for title in ("start", "quiet", *PARTS) for each in life[title]]
    assert [each for each in asked if each[3] == 403] == []
    plurals = {each.kind: each.plural for each in (*RESOURCES.values(), EVENTS, LEASES)}
    used = {
        (group(ref.api_version), plurals.get(ref.kind, ref.kind) + (f"/{sub}" if sub else ""), verb)
        for verb, ref, sub, _ in asked
        if ref is not None
    }
    assert used == set(granted("base"))


def group(api_version: str) -> str:
    """The API group of `group/version`."""
    return api_version.rpartition("/")[0]
