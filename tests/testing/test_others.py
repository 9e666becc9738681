"""What other actors do to the objects of a loop, for free, and what is no fault of the loop."""

from datetime import datetime
from typing import Any

from attrs import evolve

from captep_core import (
    Absent,
    Action,
    Create,
    Decision,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    ReconcileState,
    Unreadable,
    is_deleting,
    with_finalizer,
    without_finalizer,
)
from captep_core.ports import Read
from captep_memory import Key, World, load
from captep_testing import Kit, WriteFault, check, explore, moves, sweep
from captep_testing._delivery import deliver
from captep_testing._hostile import defaulted, lost_marks, marked, outdated
from tests.objects import manifest
from tests.testing import museum
from tests.testing.toy import FINALIZER, KEY, NOW, SOON, THING, Verdict, lock, stored, this

FOREIGN = "example.com/foreign"
LOOSE = ObjectRef("v1", "ConfigMap", "elsewhere", "a-loose")
JOB = ObjectRef("batch/v1", "Job", "fleet", "a-job")
POD: dict[str, Any] = {
    "restartPolicy": "Never",
    "containers": [{"name": "a", "image": "a:1"}],
}


def piece(name: str) -> Kit:
    """Return the kit of a piece of the museum."""
    return next(piece.kit for piece in museum.MUSEUM if piece.name.startswith(name))


def loose(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Keep a ConfigMap in another namespace, which no ownerReference can reach."""
    thing, found = read(key), read(LOOSE)
    if isinstance(thing, Absent):
        return Decision((), None, Verdict("Gone"))
    if isinstance(thing, Unreadable) or isinstance(found, Unreadable):
        return Decision((), SOON, Verdict("Unreadable"))
    held = FINALIZER in thing["metadata"].get("finalizers", [])
    actions: list[Action] = []
    if is_deleting(thing):
        if held and isinstance(found, dict):
            actions.append(Delete(LOOSE, this(found), "the Thing is deleted"))
        elif held:
            actions.append(_finalizers(thing, without_finalizer(thing, FINALIZER)))
    elif not held:
        actions.append(_finalizers(thing, with_finalizer(thing, FINALIZER)))
    elif isinstance(found, Absent):
        actions.append(Create(LOOSE, manifest(LOOSE), "it does not exist"))
    return Decision(tuple(actions), SOON if actions else None, Verdict("Kept"))


def _finalizers(thing: Any, wanted: Any) -> Patch:  # noqa: ANN401 - JSON
    names = wanted["metadata"].get("finalizers") or None
    return Patch(KEY, {"metadata": {"finalizers": names}}, lock(thing), "the finalizer differs")


def is_kept(world: World) -> bool:
    """Whether the ConfigMap exists as long as the Thing does."""
    thing = stored(world, KEY)
    return (thing is None or is_deleting(thing)) == (stored(world, LOOSE) is None)


def test_a_late_create_without_an_owner_is_left_out_and_counted() -> None:
    """No loop can fence it off once the finalizer is gone: the report counts it instead."""
    kit = Kit(
        loose,
        (KEY,),
        {"new": load([THING], now=NOW)},
        is_kept,
        moves={"user deletes the Thing": moves.delete(KEY)},
    )
    report = explore(kit, faults=1, events=1).require()
    left_out = report.counts["late create without an owner"]
    assert left_out > 0
    assert f"; {left_out} late creates without an owner left out" in str(report)


def test_a_deletion_that_the_server_propagates_changes_no_field_of_another() -> None:
    """The server adds the finalizer `orphan` to a Job, and a second delete finds it terminating."""
    job = manifest(JOB, spec={"template": {"spec": POD}})
    world = load([THING, job], now=NOW)
    kit = Kit(loose, (KEY,), (world,), is_kept, owned={"Job": ()})
    found = stored(world, JOB) or {}
    uid = found["metadata"]["uid"]
    delete = Delete(JOB, Preconditions(uid), "it is done")
    twice = WriteFault("delivered twice", 2)
    done = deliver(kit, world, delete, uid, undisturbed=True, fault=twice)
    left = done.world.get(Key("batch", "Job", "fleet", "a-job")) or {}
    assert (left["metadata"]["finalizers"], done.violation) == (["orphan"], None)


def test_rules_without_a_name_get_no_invented_default() -> None:
    """P20: containers have a name and get defaults, the rules of a NetworkPolicy do not."""
    spec: dict[str, Any] = {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}
    policy = manifest(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", "a", "b"), spec=spec)
    workload = manifest(JOB, spec={"containers": POD["containers"]})
    filled: Any = defaulted(policy), defaulted(workload)
    assert filled[0]["spec"]["ingress"] == spec["ingress"]
    assert "defaultedByTheServer" in filled[1]["spec"]["containers"][0]


def test_a_lost_condition_and_a_lost_annotation_of_a_template_are_named() -> None:
    """P9c: conditions of others stay, and so does the annotation of `kubectl rollout restart`."""
    template: dict[str, Any] = {"metadata": {"annotations": {"ours": "1"}}, "spec": POD}
    conditions: list[Any] = [{"type": "Ready", "status": "True"}]
    job = manifest(JOB, spec={"template": template}, status={"conditions": conditions})
    before = marked({**job, "kind": "Thing"})
    assert [each["type"] for each in before["status"]["conditions"]] == ["Ready", FOREIGN]
    after = {**before, "spec": job["spec"], "status": job["status"]}
    assert list(lost_marks(before, after)) == ["condition", "annotation of the template"]
    assert list(lost_marks(before, before)) == []
    assert "status" not in marked(manifest(JOB))


def test_an_object_is_outdated_only_where_its_status_names_a_generation() -> None:
    """P14b: most kinds have no observedGeneration, and nothing is judged by them."""
    current: Any = manifest(JOB, status={"observedGeneration": 3})
    current["metadata"]["generation"] = 3
    assert (outdated(current) or {})["metadata"]["generation"] == 4
    assert outdated({**current, "status": {}}) is None
    assert outdated({**current, "status": {"observedGeneration": 2}}) is None


def test_a_finding_names_the_part_that_an_object_lacks() -> None:
    """P5a: the author sees for which object the function raises."""
    (found,) = check(piece("raises for what is missing")).counterexamples
    assert found.violation.message.endswith(", when Thing fleet/a has no spec")


def test_a_finding_names_the_field_that_somebody_edited() -> None:
    """F14: at rest each field that the loop has set gets another value."""
    found = {each.violation.message for each in sweep(piece("M29")).counterexamples}
    edited = "after somebody edits data.colour of ConfigMap fleet/a-config at rest"
    assert any(each.startswith(edited) for each in found)


def test_a_secret_that_leaves_its_secret_is_named_by_its_field() -> None:
    """P17: no canary is declared, and the finding does not repeat the value."""
    kit = evolve(piece("M30"), waive={"P-sym": "it shows an object"})
    found = {each.violation.message for each in check(kit).counterexamples}
    assert "the output holds the field password of Secret fleet/a-secret" in found
    assert "hunter2" not in str(check(kit))
