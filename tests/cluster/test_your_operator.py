"""`examples/database` on a real kube-apiserver, as a process with the roles of its manifests.

The first test types the commands of docs/your-operator.md; the others look at times and writes.
"""

import itertools
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import requests_by
from tests.cluster.controllers import Controllers
from tests.cluster.manifests import bind
from tests.cluster.process import Captep
from tests.cluster.terminal import commands, terminal_in

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
DATABASE = Path(__file__).resolve().parents[2] / "examples" / "database"
ACCOUNT = "system:serviceaccount:database-system:database"
OWNERS = "/apis/db.example.com/v1/databases"
SETS = "/apis/apps/v1/statefulsets"
JOBS = "/apis/batch/v1/jobs"
ADMISSION = "/apis/admissionregistration.k8s.io/v1/validatingadmission"
LABEL = "kubernetes.io/metadata.name"
PROBE = {
    "serviceName": "probe",
    "selector": {"matchLabels": {"a": "b"}},
    "template": {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    },
}
WRITES = ("create", "patch", "update", "delete")
QUIET_SECONDS = 15.0
"""Longer than the interval at which a decision looks again when something is in its way."""
LEASE_SECONDS = 15.0
"""The standby waits for so long after the last renewal of a leader that died."""

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Start a cluster of its own, without anything of the operator."""
    server = ApiServer(
        Path(os.environ["KUBEBUILDER_ASSETS"]),
        tmp_path_factory.mktemp("databases"),
        users=("operator", "standby"),
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Life:
    """A namespace with databases, and the operator's processes in it."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path) -> None:
        self.server = server
        self.namespace = namespace
        self._folder = folder

    def start(self, *words: str, user: str = "operator") -> Captep:
        """Start `python examples/database/database.py run`, as a user with the roles alone."""
        return Captep(
            self.server.kubeconfig(user),
            self._folder,
            "--namespace",
            self.namespace,
            *words,
            program=(str(DATABASE / "database.py"),),
        )

    def create(self, name: str) -> None:
        """Create the database of the example under another name."""
        database = yaml.safe_load((DATABASE / "example.yaml").read_text())
        metadata = {"name": name, "namespace": self.namespace}
        self.server.create(self.path(OWNERS), {**database, "metadata": metadata})

    def path(self, collection: str, name: str = "") -> str:
        """Return the path of an object, or of a collection."""
        root, _, plural = collection.rpartition("/")
        return f"{root}/namespaces/{self.namespace}/{plural}{'/' if name else ''}{name}"

    def find(self, collection: str, name: str) -> dict[str, Any] | None:
        """Return an object, None without one."""
        status, obj = self.server.call("GET", self.path(collection, name))
        return dict(obj) if status == 200 else None

    def delete(self, collection: str, name: str) -> None:
        """Delete an object as a person does."""
        status, answer = self.server.call("DELETE", self.path(collection, name))
        assert status in (200, 202), answer

    def condition(self, name: str) -> tuple[str, str, str]:
        """Return status, reason and message of the condition of a database."""
        database = self.find(OWNERS, name) or {}
        conditions = database.get("status", {}).get("conditions", [])
        found = [(each["status"], each["reason"], each["message"]) for each in conditions]
        return found[0] if found else ("", "", "")

    def is_ready(self, name: str) -> bool:
        """Whether the operator says so."""
        return self.condition(name)[:2] == ("True", "Ready")

    def wait_until_ready(self, name: str) -> None:
        """Wait for the condition."""
        eventually(lambda: self.is_ready(name), what=f"{name} is Ready", within=30)

    def now(self) -> int:
        """Return the number of requests so far, for `writes`."""
        return len(self.server.audit())

    def writes(self, since: int, *users: str) -> list[tuple[str, str, str, datetime]]:
        """Return verb, resource, user and time of the accepted writes, without Leases, Events."""
        return [
            (
                event["verb"],
                "/".join(
                    each
                    for each in (
                        event["objectRef"]["resource"],
                        event["objectRef"].get("subresource"),
                    )
                    if each
                ),
                event["user"]["username"],
                datetime.fromisoformat(event["stageTimestamp"]),
            )
            for event in self.server.audit()[since:]
            if event["verb"] in WRITES
            and event["user"]["username"] in users
            and event["responseStatus"]["code"] < 300
            and event["objectRef"]["resource"] not in ("leases", "events")
            and event["objectRef"].get("namespace") == self.namespace
        ]


@pytest.fixture(scope="module")
def prepared(server: ApiServer) -> Iterator[ApiServer]:
    """The server with the definition, the roles of the example bound to its users, and peers."""
    if server.call("GET", "/api/v1/namespaces/database-system")[0] != 200:
        server.create("/api/v1/namespaces", {"metadata": {"name": "database-system"}})
    if server.call("GET", OWNERS)[0] != 200:
        server.install([yaml.safe_load((DATABASE / "definition.yaml").read_text())])
    for user in ("operator", "standby"):
        bind(server, str(DATABASE), user, lease_namespace="database-system")
    with Controllers(server, OWNERS):
        yield server


@pytest.fixture
def life(prepared: ApiServer, request: pytest.FixtureRequest, tmp_path: Path) -> Life:
    """A namespace of its own."""
    namespace = f"life-{next(_numbers)}"
    prepared.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    return Life(prepared, namespace, tmp_path)


def test_the_walk_of_the_page_leads_through_the_life_of_a_database(
    server: ApiServer, tmp_path: Path
) -> None:
    """Every command does what the page says, and the roles of the example suffice."""
    said: dict[str, str] = {}
    folder = tmp_path / "captep"
    with Controllers(server, OWNERS), terminal_in(tmp_path, server.kubeconfig()) as terminal:
        for line in commands("your-operator.md", "7. On a cluster, step by step"):
            said[line] = terminal.type(line)
            if line.startswith("run > standby.log"):
                log = folder / "standby.log"
                eventually(
                    lambda log=log: log.exists() and "waiting for the lease" in log.read_text(),  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                    what="the standby waits",
                    within=30,
                )
    (plan,) = (each for line, each in said.items() if " plan " in line)
    assert "verdict     Creating: waiting for the StatefulSet" in plan
    assert "+ create StatefulSet team/orders" in plan
    (message,) = (each for line, each in said.items() if "conditions[0].message" in line)
    assert message.strip() == (
        "create StatefulSet team/second is refused: HTTP 403 Forbidden: statefulsets.apps"
        ' "second" is forbidden: exceeded quota: databases, requested: count/statefulsets.apps=1,'
        " used: count/statefulsets.apps=1, limited: count/statefulsets.apps=1"
    )
    assert "working with" in (folder / "standby.log").read_text()
    # The quota, and nothing else, has refused a write.
    refused = {
        (verb, ref.kind)
        for verb, ref, _, status in requests_by(server, ACCOUNT)
        if status == 403 and ref is not None
    }
    assert refused == {("create", "statefulsets")}


@pytest.mark.parametrize(
    ("collection", "name"),
    [("/api/v1/secrets", "a-password"), ("/api/v1/services", "a"), (SETS, "a")],
)
def test_a_deleted_child_is_back_within_a_second(life: Life, collection: str, name: str) -> None:
    """One create mends it, and the database is Ready again."""
    with life.start() as process:
        process.wait_until_it_works()
        life.create("a")
        life.wait_until_ready("a")
        before = life.find(collection, name)
        assert before is not None
        since = life.now()
        life.delete(collection, name)
        eventually(
            lambda: (
                (life.find(collection, name) or before)["metadata"]["uid"]
                != before["metadata"]["uid"]
            ),
            what=f"{name} is back",
        )
        life.wait_until_ready("a")
        deleted, *mended = [
            each
            for each in life.writes(since, "admin", "operator")
            if each[1] == collection.rpartition("/")[2]
        ]
    assert [each[:3] for each in mended] == [("create", deleted[1], "operator")]
    assert (mended[0][3] - deleted[3]).total_seconds() < 1


def test_at_rest_nothing_is_written_and_nothing_is_read(life: Life) -> None:
    """A Ready database costs no request but those of the watches."""
    with life.start() as process:
        process.wait_until_it_works()
        life.create("a")
        life.wait_until_ready("a")
        time.sleep(1)
        since = life.now()
        time.sleep(QUIET_SECONDS)
        asked = requests_by(life.server, "operator", since=since)
    assert [each for each in asked if each[0] != "watch"] == []


def test_an_edit_is_reverted_with_one_write_and_a_fight_slows_down(life: Life) -> None:
    """The fourth revert comes 10 seconds after the third, and the condition names the writer."""
    with life.start() as process:
        process.wait_until_it_works()
        life.create("a")
        life.wait_until_ready("a")
        since = life.now()
        _edit(life)
        _wait_until_reverted(life)
        edited, reverted = _of_sets(life, since)
        assert (reverted[3] - edited[3]).total_seconds() < 1
        for _ in range(2):
            _edit(life)
            _wait_until_reverted(life)
        _edit(life)
        eventually(lambda: life.condition("a")[1] == "WriteRefused", what="the fight is reported")
        message = life.condition("a")[2]
        _wait_until_reverted(life)
        life.wait_until_ready("a")
        reverts = [each[3] for each in _of_sets(life, since) if each[2] == "operator"]
    assert message == (
        f"patch StatefulSet {life.namespace}/a is accepted but does not last:"
        " captep-tests changes spec.replicas"
    )
    assert len(reverts) == 4
    # The first ones repair at once; from the third one on it is a fight.
    assert (reverts[3] - reverts[2]).total_seconds() > 9


def _edit(life: Life) -> None:
    life.server.merge(life.path(SETS, "a"), {"spec": {"replicas": 5}})


def _wait_until_reverted(life: Life) -> None:
    eventually(
        lambda: (life.find(SETS, "a") or {})["spec"]["replicas"] == 1,
        what="the edit is reverted",
        within=45,
    )


def _of_sets(life: Life, since: int) -> list[tuple[str, str, str, datetime]]:
    return [
        each
        for each in life.writes(since, "admin", "operator")
        if each[1] == "statefulsets" and each[0] == "patch"
    ]


EDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "port": ("/api/v1/services", {"spec": {"ports": [{"name": "sql", "port": 5433}]}}),
    "selector": ("/api/v1/services", {"spec": {"selector": {"db.example.com/name": "b"}}}),
    "label": (SETS, {"metadata": {"labels": {"app.kubernetes.io/name": None}}}),
    "owner": (SETS, {"metadata": {"ownerReferences": None}}),
}
"""Edits of fields that the operator owns."""

LEFT_ALONE: dict[str, tuple[str, dict[str, Any]]] = {
    "label": ("/api/v1/services", {"metadata": {"labels": {"team": "blue"}}}),
    "policy": ("/api/v1/services", {"spec": {"publishNotReadyAddresses": True}}),
    "restart": (
        SETS,
        {"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}},
    ),
    "history": (SETS, {"spec": {"revisionHistoryLimit": 3}}),
}
"""Edits of fields that the operator does not name."""


def test_only_what_the_operator_owns_is_reverted(life: Life) -> None:
    """One write per edit brings a field back; fields that the operator does not name stay."""
    with life.start() as process:
        process.wait_until_it_works()
        life.create("a")
        life.wait_until_ready("a")
        for title, (collection, body) in EDITS.items():
            before = _owned(life, collection)
            since = life.now()
            life.server.merge(life.path(collection, "a"), body)
            eventually(
                lambda collection=collection, before=before: _owned(life, collection) == before,  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                what=f"{title} is as before",
            )
            life.wait_until_ready("a")
            plural = collection.rpartition("/")[2]
            reverts = [each[:2] for each in life.writes(since, "operator") if each[1] == plural]
            assert reverts == [("patch", plural)], title
        for collection, body in LEFT_ALONE.values():
            life.server.merge(life.path(collection, "a"), body)
        edited = [_owned(life, collection) for collection in ("/api/v1/services", SETS)]
        since = life.now()
        # The pass that mends the Secret judges the other children as well.
        life.delete("/api/v1/secrets", "a-password")
        eventually(lambda: life.find("/api/v1/secrets", "a-password"), what="it is back")
        life.wait_until_ready("a")
        assert [_owned(life, collection) for collection in ("/api/v1/services", SETS)] == edited
        written = {each[1] for each in life.writes(since, "operator")}
    assert written <= {"secrets", "databases/status"}


def _owned(life: Life, collection: str) -> Any:  # noqa: ANN401  # JSON
    """Return what an edit may touch, without what the server counts."""
    found = life.find(collection, "a") or {}
    metadata = {name: found["metadata"].get(name) for name in ("labels", "ownerReferences")}
    return metadata, found["spec"]


def test_a_deleted_namespace_lets_its_database_go(life: Life) -> None:
    """The server takes no new Job there, so the finalizer would hold the namespace for ever."""
    with life.start() as process:
        process.wait_until_it_works()
        life.create("a")
        life.wait_until_ready("a")
        life.server.call("DELETE", f"/api/v1/namespaces/{life.namespace}")
        # The namespace controller deletes the content, which the test does in its place.
        life.delete(OWNERS, "a")
        eventually(lambda: life.find(OWNERS, "a") is None, what="it is gone", within=30)
        assert process.process.poll() is None
    assert any("Unarchived" in str(line) for line in process.log()), process.log()[-6:]


def test_a_deletion_waits_for_the_archive(life: Life) -> None:
    """The Job comes first, and the finalizer goes when it is complete; nothing is left."""
    with life.start() as process:
        process.wait_until_it_works()
        life.create("a")
        life.wait_until_ready("a")
        since = life.now()
        life.delete(OWNERS, "a")
        eventually(lambda: life.find(OWNERS, "a") is None, what="it is gone", within=30)
        written = [each[:2] for each in life.writes(since, "operator")]
        for collection, name in (
            ("/api/v1/secrets", "a-password"),
            ("/api/v1/services", "a"),
            (SETS, "a"),
            (JOBS, "a-archive"),
        ):
            eventually(
                lambda place=(collection, name): life.find(*place) is None,  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                what=f"{name} is collected",
                within=30,
            )
    assert written == [
        ("create", "jobs"),
        ("patch", "databases/status"),
        ("patch", "databases"),
    ]


def test_a_policy_is_quoted_in_the_condition(life: Life) -> None:
    """The words of an administrator reach the user, and the other children exist meanwhile."""
    name = f"{life.namespace}.example.com"
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["statefulsets"],
    }
    words = "team quota: only 3 databases per team, ask #platform"
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": words}],
    }
    where = {"namespaceSelector": {"matchLabels": {LABEL: life.namespace}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
    for plural, spec in (("policies", policy), ("policybindings", binding)):
        body = {"metadata": {"name": name}, "spec": spec}
        life.server.create(f"{ADMISSION}{plural}", body)
    eventually(lambda: _is_denied(life), what="the policy is in force", within=30)
    with life.start() as process:
        process.wait_until_it_works()
        life.create("a")
        eventually(
            lambda: life.condition("a")[1] == "WriteRefused", what="it is reported", within=30
        )
        status, _, message = life.condition("a")
        assert life.find("/api/v1/services", "a") is not None
        assert life.find("/api/v1/secrets", "a-password") is not None
        life.server.call("DELETE", f"{ADMISSION}policybindings/{name}")
        life.wait_until_ready("a")
    assert status == "False"
    assert message.startswith(f"create StatefulSet {life.namespace}/a is refused: HTTP 422 Invalid")
    assert message.endswith(words)


def _is_denied(life: Life) -> bool:
    body = {"metadata": {"name": "probe"}, "spec": PROBE}
    return life.server.call("POST", f"{life.path(SETS)}?dryRun=All", body)[0] == 422


def test_a_standby_goes_on_where_a_killed_leader_ended(life: Life) -> None:
    """It waits for the lease to expire, mends what broke meanwhile, and keeps the password."""
    lease = (
        "--leader-elect",
        "--leader-election-id",
        life.namespace,
        "--leader-election-namespace",
        "database-system",
    )
    with life.start(*lease) as leader:
        leader.wait_until_it_works()
        with life.start(*lease, user="standby") as standby:
            eventually(
                lambda: standby.says("waiting for the lease"), what="the standby waits", within=20
            )
            life.create("a")
            life.wait_until_ready("a")
            password = (life.find("/api/v1/secrets", "a-password") or {})["data"]
            since = life.now()
            leader.kill()
            killed_at = time.monotonic()
            life.delete("/api/v1/services", "a")
            life.create("b")
            life.wait_until_ready("b")
            assert time.monotonic() - killed_at < LEASE_SECONDS + 10
            eventually(lambda: life.find("/api/v1/services", "a"), what="it is back")
            life.wait_until_ready("a")
            assert (life.find("/api/v1/secrets", "a-password") or {})["data"] == password
            written = life.writes(since, "operator", "standby")
    assert {each[2] for each in written} == {"standby"}


def test_a_restart_of_the_server_is_survived(life: Life) -> None:
    """The process idles while the server is away, and then mends what broke; it never ends."""
    with life.start() as process:
        process.wait_until_it_works()
        life.create("a")
        life.wait_until_ready("a")
        life.server.kill_apiserver()
        time.sleep(1)
        life.server.start_apiserver()
        since = life.now()
        life.delete("/api/v1/services", "a")
        life.create("b")
        life.wait_until_ready("b")
        eventually(lambda: life.find("/api/v1/services", "a"), what="it is back", within=30)
        assert process.process.poll() is None
        written = [each[:2] for each in life.writes(since, "operator") if each[0] == "create"]
    assert sorted(written) == [
        ("create", "secrets"),
        ("create", "services"),
        ("create", "services"),
        ("create", "statefulsets"),
    ]
