"""The operator of the databases comes to rest in a right world, whatever happens on the way."""

import base64
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve

from captep_core import JSON, Create, ObjectRef, ReconcileState, ref_of, write_of
from captep_memory import (
    Admission,
    Key,
    MemoryGateway,
    Object,
    Request,
    Response,
    World,
    denied,
    load,
)
from captep_operator import Operator
from captep_runtime import run_pass
from captep_testing import Kit, check, converge, moves, sweep
from examples.database import database as under_test
from tests.objects import manifest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ObjectRef("db.example.com/v1", "Database", "team", "orders")
DATABASE: Object = {
    "apiVersion": "db.example.com/v1",
    "kind": "Database",
    "metadata": {"name": "orders", "namespace": "team"},
    "spec": {"version": "17", "replicas": 2},
}
SEED = b"a seed of the tests"
decide = partial(under_test.decide, seed=SEED)
operator = Operator(
    "database", decide, primary=under_test.operator.primary, reads=under_test.operator.reads
)


def controllers(world: World) -> World:
    """Do what the controllers of StatefulSets and Jobs do in the end: everything runs."""
    for obj in list(world.objects()):
        generation = obj["metadata"].get("generation")
        match obj["kind"]:
            case "StatefulSet":
                replicas = obj["spec"]["replicas"]
                status = {"observedGeneration": generation, "readyReplicas": replicas}
                status["replicas"] = replicas
            case "Job":
                status = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
            case _:
                continue
        if obj.get("status") != status:
            world, _ = world.put(key_of(ref_of(obj)), {**obj, "status": status})
    return world


def key_of(ref: ObjectRef) -> Key:
    """Return where the server stores an object."""
    return Key(ref.api_version.rpartition("/")[0], ref.kind, ref.namespace, ref.name)


def stored(world: World, kind: str, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return an object, None without one."""
    found = (obj for obj in world.objects() if obj["kind"] == kind)
    return next((obj for obj in found if obj["metadata"]["name"] == name), None)


def is_modelled() -> bool:
    """Whether the in-memory server knows the kinds that the operator writes."""
    kinds = (("apps/v1", "StatefulSet"), ("v1", "Service"), ("batch/v1", "Job"))
    gateway = MemoryGateway(load([], now=NOW))
    creates = [
        Create(ObjectRef(*kind, "team", "a"), manifest(ObjectRef(*kind, "team", "a")), "try it")
        for kind in kinds
    ]
    return all(gateway.send(create).status not in (404, 501) for create in creates)


pytestmark = pytest.mark.skipif(
    not is_modelled(), reason="the in-memory server does not model StatefulSets, Services or Jobs"
)


def condition(world: World) -> dict[str, str]:
    """Return status, reason and message of the database's condition, empty without one."""
    status = stored(world, "Database", "orders").get("status") or {}
    return {
        name: each[name]
        for each in status.get("conditions", [])
        for name in ("status", "reason", "message")
    }


def is_right(world: World) -> bool:
    """Whether a database that exists is Ready, and one that is deleted is gone."""
    database = stored(world, "Database", "orders")
    if database is None:
        return True
    names = (("Secret", "-password"), ("Service", ""), ("StatefulSet", ""))
    has_all = all(stored(world, kind, f"orders{suffix}") is not None for kind, suffix in names)
    is_leaving = "deletionTimestamp" in database["metadata"]
    return not is_leaving and has_all and condition(world).get("status") == "True"


def grown(objects: list[Object], **spec: JSON) -> World:
    """Return the world that the operator makes of some objects, after a change of the spec."""
    simulation = operator.simulate(objects, "team", "orders", NOW)
    world = controllers(simulation.world)
    edited = moves.edit(KEY, {"spec": spec})(world) if spec else world
    assert edited is not None
    return edited


def secret_of(world: World) -> str:
    """Return the password."""
    data: str = stored(world, "Secret", "orders-password")["data"]["password"]
    return base64.b64decode(data).decode()


@pytest.fixture(scope="module")
def kit() -> Kit:
    """The operator with four worlds: a new database, another version, a deletion, an orphan."""
    complete = grown([DATABASE])
    deleted = moves.delete(KEY)(complete)
    assert deleted is not None
    orphan = manifest(
        ObjectRef("v1", "Service", "team", "orders"),
        spec={"clusterIP": "None", "ports": [{"name": "sql", "port": 1}]},
    )
    worlds = {
        "new": load([DATABASE], now=NOW),
        "another version": grown([DATABASE], version="18", replicas=3),
        "deleted": deleted,
        "with an orphan": load([DATABASE, orphan], now=NOW),
    }
    everything: tuple[tuple[str, ...], ...] = ((),)
    return Kit(
        decide,
        keys=(KEY,),
        worlds=worlds,
        matches=is_right,
        neighbours=controllers,
        owned={
            "Database": (("metadata", "finalizers"), ("status",)),
            **dict.fromkeys(("Secret", "Service", "StatefulSet", "Job"), everything),
        },
        canaries=(secret_of(complete),),
        waive={"P-sym": "the password is derived from the uid"},
    )


def test_every_decision_is_pure_and_careful(kit: Kit) -> None:
    """Single decisions: purity, preconditions, unreadable and foreign objects, secrecy."""
    check(kit).require()


def test_the_loop_comes_to_rest_in_a_right_world(kit: Kit) -> None:
    """From each world, with the fewest writes."""
    converge(kit).require()


def test_a_fault_at_any_write_does_no_harm(kit: Kit) -> None:
    """Crashes, lost answers and lasting refusals, from a new and from a deleted database."""
    worlds = {name: world for name, world in kit.named_worlds() if name in ("new", "deleted")}
    sweep(evolve(kit, worlds=worlds)).require()


def test_the_password_is_generated_once() -> None:
    """A process with another seed, or a rolled-out version, keeps the password that exists."""
    first = grown([DATABASE])
    other = partial(under_test.decide, seed=b"another process")
    gateway = MemoryGateway(first)
    for _ in range(3):
        run_pass(other, gateway, KEY, ReconcileState(), now=NOW)
    assert secret_of(gateway.world) == secret_of(first)
    fresh = MemoryGateway(load([DATABASE], now=NOW))
    run_pass(other, fresh, KEY, ReconcileState(), now=NOW)
    assert secret_of(fresh.world) != secret_of(first)


def test_the_condition_says_why_the_server_refuses() -> None:
    """The words of a quota reach the user, and the other children exist meanwhile."""

    def quota(request: Request, _obj: Object, _old: Object | None) -> Response | None:
        is_set = request.verb == "create" and request.kind == "StatefulSet"
        return denied("quota", "only 3 databases per team", code=422) if is_set else None

    world = load([DATABASE], now=NOW)
    gateway = MemoryGateway(evolve(world, admission=(Admission(validate=quota),)))
    state = ReconcileState()
    for _ in range(4):
        state = run_pass(decide, gateway, KEY, state, now=NOW).state
    said = 'HTTP 422 Invalid: admission webhook "quota" denied the request: only 3 databases'
    shown = condition(gateway.world)
    assert (shown["status"], shown["reason"]) == ("False", "WriteRefused")
    assert shown["message"] == f"create StatefulSet team/orders is refused: {said} per team"
    assert stored(gateway.world, "Service", "orders") is not None


def test_an_edited_port_is_as_before_with_what_the_server_derived_from_it() -> None:
    """The server derives the target of a port only when it is missing."""
    complete = grown([DATABASE])
    service = ObjectRef("v1", "Service", "team", "orders")
    edited = moves.edit(service, {"spec": {"ports": [{"name": "sql", "port": 1}]}})(complete)
    assert edited is not None
    gateway = MemoryGateway(edited)
    run_pass(decide, gateway, KEY, ReconcileState(), now=NOW)
    before, after = (stored(each, "Service", "orders") for each in (complete, gateway.world))
    assert after["spec"] == before["spec"]


def test_a_failed_archive_keeps_the_database() -> None:
    """The finalizer stays until somebody looks."""
    deleted = moves.delete(KEY)(grown([DATABASE]))
    assert deleted is not None
    gateway = MemoryGateway(deleted)
    run_pass(decide, gateway, KEY, ReconcileState(), now=NOW)
    job = stored(gateway.world, "Job", "orders-archive")
    failed = {"conditions": [{"type": "Failed", "status": "True"}]}
    gateway.world = gateway.world.put(key_of(ref_of(job)), {**job, "status": failed})[0]
    run_pass(decide, gateway, KEY, ReconcileState(), now=NOW)
    assert condition(gateway.world)["reason"] == "ArchiveFailed"


def ending(world: World) -> list[Object]:
    """Return the objects of a world whose namespace is being deleted, as its controller does it."""
    namespace: Object = {
        **manifest(ObjectRef("v1", "Namespace", None, "team")),
        "metadata": {"name": "team", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"finalizers": ["kubernetes"]},
    }
    return [namespace, *world.objects()]


def test_a_database_whose_namespace_is_deleted_goes_without_an_archive() -> None:
    """The server takes no new Job there; the finalizer would hold the namespace for ever."""
    deleted = moves.delete(KEY)(grown([DATABASE]))
    assert deleted is not None
    run = operator.simulate(ending(deleted), "team", "orders", NOW)
    assert [str(write_of(action)) for each in run.passes for action, _ in each.sent] == [
        "patch Database team/orders"
    ]
    assert run.passes[0].decision.verdict.reason == "Unarchived"
    assert stored(run.world, "Database", "orders") is None


def test_an_archive_that_has_begun_is_waited_for_in_a_deleted_namespace() -> None:
    """The Job was there before the namespace was deleted."""
    deleted = moves.delete(KEY)(grown([DATABASE]))
    assert deleted is not None
    begun = operator.simulate([*deleted.objects()], "team", "orders", NOW).world
    assert stored(begun, "Job", "orders-archive") is not None
    run = operator.simulate(ending(begun), "team", "orders", NOW)
    assert run.passes[-1].decision.verdict.reason == "Archiving"
    assert stored(run.world, "Database", "orders") is not None


HERE = Path(__file__).parent


def documents(name: str) -> list[Object]:
    """Return the objects of a file next to this one."""
    return [each for each in yaml.safe_load_all((HERE / name).read_text()) if each]


def test_the_role_covers_every_kind_that_the_operator_uses() -> None:
    """It watches each kind, patches it but for namespaces, creates children, deletes nothing."""
    (role,) = (each for each in documents("deployment.yaml") if each["kind"] == "ClusterRole")
    granted = {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    watched = {"get", "list", "watch", "patch"}
    assert granted["db.example.com", "databases"] == watched
    assert granted["", "namespaces"] == {"list", "watch"}
    for kind in under_test.operator.reads:
        if kind.kind == "Namespace":
            continue
        group = kind.api_version.rpartition("/")[0]
        assert granted[group, f"{kind.kind.lower()}s"] == {*watched, "create"}


def test_the_definition_keeps_every_field_of_the_example_and_of_the_status() -> None:
    """What a definition does not name, the server prunes."""
    (definition,) = documents("definition.yaml")
    (database,) = documents("example.yaml")
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]
    assert database["spec"].keys() <= schema["spec"]["properties"].keys()
    status = stored(grown([DATABASE]), "Database", "orders")["status"]
    assert status.keys() == schema["status"]["properties"].keys()
    condition_schema = schema["status"]["properties"]["conditions"]["items"]
    assert set(condition_schema["required"]) <= status["conditions"][0].keys()
    assert status["conditions"][0].keys() <= condition_schema["properties"].keys()


def test_the_author_wrote_less_than_150_lines_to_decide() -> None:
    """From `decide` to the end of the decision; the manifests of the children come after it."""
    lines = (HERE / "database.py").read_text().splitlines()
    begin = lines.index("def decide(")
    end = next(number for number, line in enumerate(lines) if line.startswith("def child("))
    assert end - begin < 150


@pytest.mark.skipif(not hasattr(operator, "main"), reason="an Operator has no command line yet")
def test_the_file_is_a_program() -> None:
    """`python database.py --help` names its commands."""
    done = subprocess.run(
        [sys.executable, HERE / "database.py", "--help"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": f"{HERE.parent.parent}:{HERE.parent.parent / 'adapters'}"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(command in done.stdout for command in ("run", "plan", "simulate"))
