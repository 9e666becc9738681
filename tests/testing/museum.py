"""The bug museum: broken relatives of the toy, each with one mistake of real operators.

`docs/properties.md` lists the numbered pieces. The others are mistakes that the kit met on the way.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from captep_core import (
    ABSENT,
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
)
from captep_core.ports import Decide, Read
from captep_memory import World, load
from captep_testing import Kit
from tests.testing.toy import (
    CHILD,
    FINALIZER,
    KEY,
    LATCH,
    NOW,
    SOON,
    THING,
    Verdict,
    child,
    colour,
    concluded,
    is_ours,
    keep,
    lock,
    obj,
    owner,
    released_at_the_end,
    report,
    stored,
    this,
    toy,
)

__all__ = ["MUSEUM", "Piece"]


@frozen
class Piece:
    """One mistake: its name, the kit that makes it, and the property that has to kill it."""

    name: str
    kit: Kit
    killed_by: str


def altered(change: Callable[[Action], Action]) -> Decide:
    """Return the toy with every action changed."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        done = keep(key, read, state, now=now)
        return evolve(done, actions=tuple(map(change, done.actions)))

    return decide


def reporting(more: Callable[[Any, datetime], dict[str, Any]]) -> Decide:
    """Return the toy with more in its status."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        done = keep(key, read, state, now=now)
        thing: Any = read(key)
        if (
            not isinstance(thing, dict)
            or "deletionTimestamp" in thing["metadata"]
            or any(each.subresource is None for each in done.actions)
        ):
            return done
        status: dict[str, Any] = {
            "ready": True,
            "observedGeneration": thing["metadata"]["generation"],
            **more(thing, now),
        }
        actions = (
            (Patch(KEY, {"status": status}, lock(thing), "report", "status"),)
            if thing.get("status") != status
            else ()
        )
        return evolve(done, actions=actions)

    return decide


def by_name(action: Action) -> Action:
    """M3: delete by name, without a uid."""
    return (
        Delete(action.target, Preconditions(), action.reason)
        if isinstance(action, Delete)
        else action
    )


def unlocked_status(action: Action) -> Action:
    """M21: write the status without a resourceVersion."""
    return (
        evolve(action, preconditions=evolve(action.preconditions, resource_version=None))
        if action.subresource
        else action
    )


def clobbering(action: Action) -> Action:
    """M14: write all the metadata that it knows, and so erase foreign labels."""
    if isinstance(action, Patch) and action.target.kind == "ConfigMap":
        metadata: Any = action.body.get("metadata", {})
        return evolve(action, body={**action.body, "metadata": {**metadata, "labels": None}})
    return action


def steps(
    key: ObjectRef,
    read: Read,
    state: ReconcileState,
    make: Callable[[Any, Any, Any], list[Action]],
    leave: Callable[[Any], list[Action]],
) -> Decision | None:
    """Keep or leave a Thing with two functions; None when no Thing exists."""
    thing: Any = read(key)
    sibling, latch = read(CHILD), read(LATCH)
    if not isinstance(thing, dict):
        return None
    if "deletionTimestamp" in thing["metadata"]:
        held = thing["metadata"].get("finalizers", [])
        return concluded(leave(thing) if FINALIZER in held else [], state, "Leaving")
    return concluded(make(thing, sibling, latch) or report(thing, sibling, latch), state, "Kept")


def held(thing: Any) -> list[Action]:  # noqa: ANN401 - JSON
    """Add the finalizer when it is missing."""
    present = thing["metadata"].get("finalizers", [])
    body: dict[str, Any] = {"metadata": {"finalizers": [*present, FINALIZER]}}
    return [] if FINALIZER in present else [Patch(KEY, body, lock(thing), "add the finalizer")]


def making(make: Callable[[Any, Any, Any], list[Action]]) -> Decide:
    """Return the toy with another way to make its ConfigMaps."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        def leave(_: Any) -> list[Action]:  # noqa: ANN401 - JSON
            return list(keep(key, read, state, now=now).actions)

        return steps(key, read, state, make, leave) or keep(key, read, state, now=now)

    return decide


def full_pass_only(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """M4: infer from the child that the latch exists."""
    if isinstance(sibling, Absent):
        return held(thing) + child(thing, CHILD, sibling) + child(thing, LATCH, latch)
    return (
        held(thing)
        + child(thing, CHILD, sibling)
        + (child(thing, LATCH, latch) if isinstance(latch, dict) else [])
    )


def finalizer_last(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """M5: add the finalizer after the objects that it guards."""
    return child(thing, CHILD, sibling) + child(thing, LATCH, latch) + held(thing)


def first_finalizer(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - JSON
    """M13: look for the finalizer in the first place only."""
    present = thing["metadata"].get("finalizers", [])
    body: dict[str, Any] = {
        "metadata": {"finalizers": [FINALIZER, *(each for each in present if each != FINALIZER)]}
    }
    missing = (
        [] if present[:1] == [FINALIZER] else [Patch(KEY, body, lock(thing), "add the finalizer")]
    )
    return missing + child(thing, CHILD, sibling) + child(thing, LATCH, latch)


def unreadable_is_absent(thing: Any, *found: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """M15: treat an unreadable object as absent."""
    known = [ABSENT if isinstance(each, Unreadable) else each for each in found]
    return held(thing) + child(thing, CHILD, known[0]) + child(thing, LATCH, known[1])


def status_at_once(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """M20: write the status in the pass of the other writes, from the view before them."""
    actions = held(thing) + child(thing, CHILD, sibling) + child(thing, LATCH, latch)
    status = report(thing, sibling, latch)
    early: list[Action] = [
        evolve(each, preconditions=this(thing)) for each in status if isinstance(each, Patch)
    ]
    return actions + early if actions else []


def let_go_first(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """M6: remove the finalizer before cleaning up."""

    def leave(thing: Any) -> list[Action]:  # noqa: ANN401 - JSON
        rest = [each for each in thing["metadata"]["finalizers"] if each != FINALIZER]
        return [
            Patch(
                KEY, {"metadata": {"finalizers": rest or None}}, lock(thing), "remove the finalizer"
            )
        ]

    def make(*found: Any) -> list[Action]:  # noqa: ANN401 - Observed
        return [
            each for each in keep(key, read, state, now=now).actions if each.subresource is None
        ]

    return steps(key, read, state, make, leave) or keep(key, read, state, now=now)


def finalizer_while_leaving(
    key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
) -> Decision:
    """M7: add the finalizer to a terminating object."""
    thing: Any = read(key)
    if (
        isinstance(thing, dict)
        and (missing := held(thing))
        and "deletionTimestamp" in thing["metadata"]
    ):
        return concluded(missing, state, "Kept")
    return keep(key, read, state, now=now)


def edge_triggered(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """M10: report only after a pass that it remembers."""
    done = keep(key, read, state, now=now)
    if any(each.subresource for each in done.actions):
        return done if state.verdict == "Making" else evolve(done, actions=())
    making = done.actions and done.verdict.reason == "Kept"
    return evolve(done, verdict=Verdict("Making")) if making else done


def another_name(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """M25: retry a refused create under the next name, at once and for ever."""
    done, tried = keep(key, read, state, now=now), len(state.refusals)
    if not any(isinstance(each, Create) for each in done.actions):
        return done
    actions = tuple(
        _renamed(each, tried) if isinstance(each, Create) and tried else each
        for each in done.actions
    )
    return evolve(done, actions=actions, verdict=Verdict("Kept"), outstanding=state.refusals)


def _renamed(action: Create, number: int) -> Create:
    target = evolve(action.target, name=f"{action.target.name}-{number}")
    metadata: Any = action.body["metadata"]
    return Create(
        target, {**action.body, "metadata": {**metadata, "name": target.name}}, action.reason
    )


def by_number(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Read a resourceVersion as a number and treat odd ones differently."""
    done = keep(key, read, state, now=now)
    thing: Any = read(key)
    odd = isinstance(thing, dict) and str(thing["metadata"]["resourceVersion"])[-1:] in "13579"
    return evolve(done, requeue_after=timedelta(seconds=60)) if odd else done


def start_over(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Delete the child after any refusal and create it again."""
    sibling = read(CHILD)
    if state.refusals and isinstance(sibling, dict):
        return Decision(
            (Delete(CHILD, this(sibling), "start over"),), SOON, Verdict("StartingOver")
        )
    return keep(key, read, state, now=now)


def busy(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Ask for the next pass at once, always."""
    return evolve(keep(key, read, state, now=now), requeue_after=timedelta(0))


def talkative(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """M24: put the content of an object into the verdict."""
    return evolve(keep(key, read, state, now=now), verdict=Verdict("Kept", f"it has {read(CHILD)}"))


def changing(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Change the object that it read."""
    thing: Any = read(key)
    if isinstance(thing, dict):
        thing.setdefault("spec", {})["seen"] = True
    return keep(key, read, state, now=now)


def trusting(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Rely on a field that an object may lack."""
    thing: Any = read(key)
    wanted = thing["spec"]["colour"] if isinstance(thing, dict) else ""
    return evolve(keep(key, read, state, now=now), verdict=Verdict("Kept", str(wanted)))


def shared(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """M8: two Things keep one ConfigMap, each in its own colour."""
    thing: Any = read(key)
    found = read(CHILD)
    if not isinstance(thing, dict) or isinstance(found, Unreadable):
        return Decision((), SOON, Verdict("Gone"))
    wanted = colour(thing, "spec")
    if isinstance(found, Absent):
        return concluded(
            [
                Create(
                    CHILD, obj(CHILD, wanted, ownerReferences=[owner(thing)]), "it does not exist"
                )
            ],
            state,
            "Kept",
        )
    differs = colour(found) != wanted
    return concluded(
        [Patch(CHILD, {"data": {"colour": wanted}}, this(found), "its colour differs")]
        if differs
        else [],
        state,
        "Kept",
    )


def two_things() -> Kit:
    """Return the kit of two Things in different colours."""
    other = {**THING, "metadata": {"name": "b", "namespace": "fleet"}, "spec": {"colour": "red"}}
    kit = toy(shared, moves={}, always={}, sometimes={})
    return evolve(
        kit,
        keys=(KEY, evolve(KEY, name="b")),
        worlds=(load([THING, other], now=NOW),),
        matches=lambda _: True,
    )


def pruning() -> Kit:
    """M12: want a status field that the server prunes."""
    fields: Any = {"ready": {"type": "boolean"}, "observedGeneration": {"type": "integer"}}
    properties: Any = {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "status": {"type": "object", "properties": fields},
    }
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    version["schema"] = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    spec = {
        "group": "example.dev",
        "names": {"kind": "Thing", "plural": "things"},
        "scope": "Namespaced",
        "versions": [version],
    }
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.dev"},
        "spec": spec,
    }
    return evolve(toy(reporting(lambda _, __: {"note": ""})), worlds=(load([crd, THING], now=NOW),))


def recreating(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """M9: delete an object to change it, and create it again in the next pass."""
    actions = held(thing) + child(thing, CHILD, sibling) + child(thing, LATCH, latch)
    return [
        Delete(each.target, this(latch), "its colour differs")
        if isinstance(each, Patch) and each.target == LATCH
        else each
        for each in actions
    ]


def latch_stays(before: World, after: World) -> bool:
    """The latch of a living Thing is never deleted."""
    thing = stored(before, KEY)
    gone = stored(before, LATCH) is not None and stored(after, LATCH) is None
    return not gone or thing is None or "deletionTimestamp" in thing["metadata"]


WORKLOAD = ObjectRef("apps.example.dev/v1", "StatefulSet", "fleet", "a-nodes")


def with_workload(change: Callable[[Any], bool]) -> Decide:
    """Return the toy with a StatefulSet whose containers `change` compares."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        done = keep(key, read, state, now=now)
        thing: Any = read(key)
        found: Any = read(WORKLOAD)
        if not isinstance(thing, dict) or "deletionTimestamp" in thing["metadata"]:
            return done
        if any(each.subresource is None for each in done.actions) or isinstance(found, Unreadable):
            return done
        spec: Any = {"containers": [{"name": "a", "image": "a:1"}]}
        if isinstance(found, Absent):
            body = {**obj(WORKLOAD, "", ownerReferences=[owner(thing)]), "spec": spec}
            return evolve(done, actions=(Create(WORKLOAD, body, "it does not exist"),))
        if not is_ours(thing, found):
            return evolve(done, verdict=Verdict("NodesBelongToAnother"))
        if change(found.get("spec")):
            patch = Patch(WORKLOAD, {"spec": spec}, lock(found), "it differs")
            return evolve(done, actions=(patch,))
        return done

    return decide


def timely_name(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """M16: create under a fresh name, and know of the object by memory alone."""
    done = keep(key, read, state, now=now)
    thing: Any = read(key)
    living = isinstance(thing, dict) and "deletionTimestamp" not in thing["metadata"]
    if done.actions or not living or state.verdict == "Logged":
        return evolve(done, verdict=Verdict("Logged")) if not done.actions else done
    target = evolve(CHILD, name=f"a-log-{now:%H%M%S}-{len(state.refusals)}")
    log = obj(target, "log", ownerReferences=[owner(thing)])
    create = Create(target, log, "nothing is logged yet")
    return Decision((create,), SOON, Verdict("Logged"), state.refusals)


SECRET = ObjectRef("v1", "Secret", "fleet", "a-secret")


def with_secret(**change: Any) -> Decide:  # noqa: ANN401 - JSON
    """Return the toy with a Secret that it changes in place."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        done = keep(key, read, state, now=now)
        thing: Any = read(key)
        found: Any = read(SECRET)
        if done.actions or not isinstance(thing, dict) or "deletionTimestamp" in thing["metadata"]:
            return done
        if not isinstance(found, dict) or {**found, **change} == found:
            return done
        return evolve(done, actions=(Patch(SECRET, change, this(found), "it differs"),))

    return decide


def secret_kit(decide: Decide) -> Kit:
    """Return the kit with an immutable Secret of the user."""
    meta = {"name": "a-secret", "namespace": "fleet"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "immutable": True}
    secret |= {"type": "Opaque", "data": {"key": "b2xk"}}
    kit = toy(decide, owned=None, moves={}, sometimes={})
    return evolve(kit, worlds=(load([THING, secret], now=NOW),))


def sleepy(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """M19: rotate a certificate at its end, and look once a day."""
    done = keep(key, read, state, now=now)
    found: Any = read(CHILD)
    if done.actions or not isinstance(found, dict):
        return done
    expires = datetime(2026, 1, 1, 12, tzinfo=UTC)
    if now < expires or (found["data"] or {}).get("renewed"):
        return evolve(done, requeue_after=timedelta(hours=20))
    patch = Patch(CHILD, {"data": {"renewed": "yes"}}, this(found), "the certificate expires")
    return evolve(done, actions=(patch,))


def colour_stays(before: World, after: World) -> bool:
    """No write gives the child another colour than the Thing wants, once it has the wanted one."""
    thing = stored(before, KEY)
    old = stored(before, CHILD)
    new = stored(after, CHILD)
    if thing is None or old is None or new is None:
        return True
    wanted = colour(thing, "spec")
    return bool(colour(old) != wanted or colour(new) == wanted)


def adopting(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """M23: adopt whatever has the name, even what an earlier Thing controls."""
    actions = held(thing) + child(thing, CHILD, sibling) + child(thing, LATCH, latch)
    if isinstance(latch, dict) and owner(thing) not in latch["metadata"].get("ownerReferences", []):
        body: Any = {"metadata": {"ownerReferences": [owner(thing)]}}
        actions.append(Patch(LATCH, body, lock(latch), "adopt it"))
    return actions


def of_any_thing(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """Compare the kind of the controller and not its uid."""

    def taken(found: Any) -> Any:  # noqa: ANN401 - Observed
        owners = found["metadata"].get("ownerReferences", []) if isinstance(found, dict) else []
        if not any(each["kind"] == "Thing" for each in owners):
            return found
        return {**found, "metadata": {**found["metadata"], "ownerReferences": [owner(thing)]}}

    return held(thing) + child(thing, CHILD, taken(sibling)) + child(thing, LATCH, taken(latch))


def counting_from_a_time(
    key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
) -> Decision:
    """Wait longer, the older the Thing is."""
    done = keep(key, read, state, now=now)
    return evolve(done, requeue_after=timedelta(minutes=1) + (now - NOW) / 10)


def passing_latch(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """Need the latch until the child exists, and look for it no more once the status says so."""
    if isinstance(sibling, Absent):
        return held(thing) + child(thing, LATCH, latch) + child(thing, CHILD, sibling)
    status = {"ready": True, "observedGeneration": thing["metadata"]["generation"]}
    if is_ours(thing, latch) and thing.get("status") != status:
        return [Delete(LATCH, this(latch), "the child exists")]
    changed = held(thing) + child(thing, CHILD, sibling)
    if changed or thing.get("status") == status or not isinstance(latch, Absent):
        return changed
    return [Patch(KEY, {"status": status}, lock(thing), "report", "status")]


def passing_kit() -> Kit:
    """Return the kit of a latch that exists for a while only."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        thing: Any = read(key)
        sibling, latch = read(CHILD), read(LATCH)
        if not isinstance(thing, dict) or "deletionTimestamp" in thing["metadata"]:
            return keep(key, read, state, now=now)
        if isinstance(sibling, Unreadable) or isinstance(latch, Unreadable):
            return Decision((), SOON, Verdict("Unreadable"))
        return concluded(passing_latch(thing, sibling, latch), state, "Kept")

    def is_done(world: World) -> bool:
        thing = stored(world, KEY)
        made = stored(world, CHILD)
        if thing is None or stored(world, LATCH) is not None:
            return False
        return made is not None and bool(thing.get("status", {}).get("ready"))

    kit = toy(decide, moves={}, sometimes={}, slack=9)
    return evolve(kit, worlds=(load([THING], now=NOW),), matches=is_done)


def believing(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """M26: take the status of a StatefulSet for true, whichever generation it speaks of."""
    done = keep(key, read, state, now=now)
    thing: Any = read(key)
    nodes: Any = read(WORKLOAD)
    if not isinstance(thing, dict) or "deletionTimestamp" in thing["metadata"]:
        return done
    if any(each.subresource is None for each in done.actions) or isinstance(nodes, Unreadable):
        return done
    ready = isinstance(nodes, dict) and (nodes.get("status") or {}).get("readyReplicas") == 1
    status: dict[str, Any] = {
        "ready": ready,
        "observedGeneration": thing["metadata"]["generation"],
    }
    report = Patch(KEY, {"status": status}, lock(thing), "report", "status")
    return evolve(done, actions=() if thing.get("status") == status else (report,))


def with_nodes() -> Kit:
    """Return the kit of a Thing with a StatefulSet that runs."""
    nodes = obj(WORKLOAD, "") | {"spec": {"replicas": 1}}
    nodes |= {"status": {"observedGeneration": 1, "readyReplicas": 1}}
    kit = toy(believing, moves={}, sometimes={})
    return evolve(kit, worlds=(load([THING, nodes], now=NOW),))


def condition(thing: Any, now: datetime) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a status with one condition, which keeps its time while the generation stays."""
    status = thing.get("status") or {}
    held = status.get("conditions") or []
    current = status.get("observedGeneration") == thing["metadata"]["generation"]
    times = [each["lastTransitionTime"] for each in held if current and each["type"] == "Ready"]
    since = next(iter(times), f"{now:%Y-%m-%dT%H:%M:%SZ}")
    ready = {"type": "Ready", "status": "True", "reason": "Kept", "message": ""}
    others = [each for each in held if each["type"] != "Ready"]
    return {"conditions": [{**ready, "lastTransitionTime": since}, *others]}


def condition_of_its_start(thing: Any, now: datetime) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a status with one condition, which keeps its time for ever."""
    held = (thing.get("status") or {}).get("conditions")
    return {"conditions": held[:1]} if held else condition(thing, now)


def uncorrected(thing: Any, sibling: Any, latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """Create the child, and never look at its colour again."""
    wanted = held(thing) + child(thing, CHILD, sibling) + child(thing, LATCH, latch)
    return [each for each in wanted if each.target != CHILD or not isinstance(each, Patch)]


def outspoken(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Name a password in the verdict; the kit declares no canary."""
    done = keep(key, read, state, now=now)
    found: Any = read(SECRET)
    data = found.get("data") or {} if isinstance(found, dict) else {}
    text = data.get("password", "")
    return evolve(done, verdict=Verdict(done.verdict.reason, f"with {text}"))


def new_thing(decide: Decide, *more: dict[str, Any]) -> Kit:
    """Return the kit with nobody but the loop, and a Thing that has nothing yet."""
    kit = toy(decide, moves={}, sometimes={})
    return evolve(kit, worlds=(load([THING, *more], now=NOW),))


PASSWORD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": SECRET.name, "namespace": SECRET.namespace},
    "data": {"password": "aHVudGVyMg=="},
}

MUSEUM = (
    Piece(
        "M1 own resourceVersion in status",
        toy(reporting(lambda thing, _: {"seen": thing["metadata"]["resourceVersion"]})),
        "P2",
    ),
    Piece("M2 time of the pass in status", toy(reporting(lambda _, now: {"at": str(now)})), "P2"),
    Piece("M3 delete by name", toy(altered(by_name)), "P8"),
    Piece("M4 only a full pass is recognised", toy(making(full_pass_only)), "P1"),
    Piece("M5 finalizer last", toy(making(finalizer_last)), "P13"),
    Piece(
        "M6 let go before cleaning up",
        toy(let_go_first, always={"latch before finalizer": released_at_the_end}),
        "P13",
    ),
    Piece("M7 finalizer while terminating", toy(finalizer_while_leaving), "P2a"),
    Piece("M8 two primaries, one child", two_things(), "P4a"),
    Piece(
        "M9 changes by delete and create",
        toy(making(recreating), always={"the latch of a living Thing stays": latch_stays}),
        "P13",
    ),
    Piece("M10 edge-triggered", toy(edge_triggered), "P1"),
    Piece(
        "M11 compares defaults",
        toy(
            with_workload(lambda spec: spec != {"containers": [{"name": "a", "image": "a:1"}]}),
            owned=None,
        ),
        "P20",
    ),
    Piece("M12 a pruned field", pruning(), "P2a"),
    Piece("M13 order of a list", toy(making(first_finalizer)), "P5"),
    Piece("M14 clobbers labels", toy(altered(clobbering)), "P9"),
    Piece("M15 unreadable is absent", toy(making(unreadable_is_absent)), "F24"),
    Piece("M16 creates under fresh names", toy(timely_name), "P18"),
    Piece("M17 updates an immutable Secret", secret_kit(with_secret(data={"key": "bmV3"})), "P2a"),
    Piece("M18 changes the type of a Secret", secret_kit(with_secret(type="example.com/x")), "P2a"),
    Piece("M19 sleeps past a deadline", toy(sleepy, owned=None), "P15a"),
    Piece("M20 status with the writes", toy(making(status_at_once)), "P3"),
    Piece("M21 status without resourceVersion", toy(altered(unlocked_status)), "P14"),
    Piece(
        "M22 a late write undoes a newer one",
        toy(always={"no write undoes the wanted colour": colour_stays}),
        "P13",
    ),
    Piece("M23 adopts an earlier incarnation's", toy(making(adopting)), "P9a"),
    Piece("M24 content in a message", toy(talkative, canaries=("green",)), "P17"),
    Piece("M25 refused, tried under another name", toy(another_name), "P16"),
    Piece("M26 believes an outdated status", with_nodes(), "P14b"),
    Piece("M27 transition time with every write", new_thing(reporting(condition)), "P14"),
    Piece("M28 drops foreign conditions", new_thing(reporting(condition_of_its_start)), "P9c"),
    Piece("M29 never corrects its child", new_thing(making(uncorrected)), "P1"),
    Piece("M30 a password in a message", new_thing(outspoken, PASSWORD), "P17"),
    Piece("resourceVersion as a number", toy(by_number), "P-sym"),
    Piece("starts over after any refusal", toy(start_over), "P18"),
    Piece("looks again at once", toy(busy), "P15"),
    Piece("changes what it reads", toy(changing), "P5"),
    Piece("raises for what is missing", toy(trusting), "P5a"),
    Piece("takes the child of any Thing", toy(making(of_any_thing), moves={}, sometimes={}), "P9a"),
    Piece("counts from a recorded time", toy(counting_from_a_time, moves={}, sometimes={}), "P15"),
    Piece("forgets what it has removed", passing_kit(), "P1"),
)
