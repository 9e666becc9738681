"""The decision is a function of the observation (P5), total over all observations (P5a)."""

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_core import (
    JSON,
    Decision,
    Listed,
    ObjectRef,
    Observed,
    ReconcileState,
    Selection,
    Unreadable,
    decide,
)
from captep_core.ports import Reads, select
from captep_memory import load
from tests.capt import worlds as moments
from tests.capt.worlds import Object
from tests.properties.driving import KEY, NOW, Scene, Server, look
from tests.properties.moves import reachable_worlds
from tests.properties.profile import examples, reaches
from tests.properties.schemas import JSON_GARBAGE, admitted, schemas
from tests.properties.strategies import arbitrary_worlds, live_worlds, ref_of, shuffled

_ANY = st.one_of(live_worlds(), reachable_worlds(), arbitrary_worlds())


def _spelled(decision: Decision) -> str:
    """All of a decision in its own order, the bodies included."""
    actions = [
        (repr(action), dict(action.body) if action.body else None) for action in decision.actions
    ]
    return repr((actions, decision.requeue_after, decision.verdict, decision.outstanding))


@examples(200)
@given(_ANY, st.integers(0, 2**32))
def test_p5_the_order_of_keys_and_objects_does_not_count(scene: Scene, seed: int) -> None:
    """Reordered objects with reordered keys give an equal decision."""

    turn = random.Random(seed)

    def turned(items: list[Any]) -> list[Any]:
        return turn.sample(items, len(items))

    objects = turned([shuffled(obj, turned) for obj in scene.world.objects()])
    blind = {
        ref: shuffled(seen, turned) if isinstance(seen, dict) else seen
        for ref, seen in scene.blind.items()
    }
    other = look(Scene(load(objects, now=NOW), blind))
    assert other == look(scene)
    assert [action.body for action in other.actions] == [
        action.body for action in look(scene).actions
    ]


@examples(200)
@given(_ANY)
def test_p5_a_decision_repeats_exactly_and_changes_no_argument(scene: Scene) -> None:
    """A deep copy gives the same decision to the letter, and the arguments stay."""
    read = Server(scene).read
    seen: dict[ObjectRef, Observed[dict[str, JSON]]] = {}
    lists: dict[Selection, Listed] = {}

    def keeping(ref: ObjectRef) -> Observed[dict[str, JSON]]:
        return seen.setdefault(ref, deepcopy(read(ref)))

    def listing(selection: Selection) -> Listed:
        return lists.setdefault(selection, deepcopy(select(read, selection)))

    kept = Reads(keeping, listing)
    first = decide(KEY, kept, ReconcileState(), now=NOW)
    before, listed = deepcopy((seen, lists))
    assert _spelled(decide(KEY, kept, ReconcileState(), now=NOW)) == _spelled(first)
    copies = Reads(lambda ref: deepcopy(before[ref]), lambda each: deepcopy(listed[each]))
    assert _spelled(decide(KEY, copies, ReconcileState(), now=NOW)) == _spelled(first)
    assert (seen, lists) == (before, listed)


_PROGRAM = """
from tests.capt import worlds as moments
from tests.properties.strategies import loaded
from tests.properties.test_purity import look, _spelled
for moment in (moments.new, moments.waiting, moments.provided, moments.ready, moments.by_go):
    print(_spelled(look(loaded(moment()))))
"""


def test_p5_the_environment_does_not_count() -> None:
    """Hash seed, time zone and locale change no byte of a decision."""
    spoken = {
        _said("0", "UTC", "C"),
        _said("1", "Asia/Tokyo", "C.UTF-8"),
        _said("4711", "America/St_Johns", "POSIX"),
    }
    assert len(spoken) == 1
    assert spoken.pop().count(b"\n") == 5


def _said(seed: str, zone: str, locale: str) -> bytes:
    path = os.pathsep.join(filter(None, sys.path))
    environment = {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        env=environment,
        check=True,
        timeout=60,
    )
    return done.stdout


_KINDS = {
    "CAPTControlPlane": "controlplane.cluster.x-k8s.io/v1beta1",
    "Cluster": "cluster.x-k8s.io/v1beta1",
    "WorkspaceTemplate": "infrastructure.cluster.x-k8s.io/v1beta1",
    "WorkspaceTemplateApply": "infrastructure.cluster.x-k8s.io/v1beta1",
    "Workspace": "tf.upbound.io/v1beta1",
}
_SCHEMAS = schemas()
_METADATA = {
    "type": "object",
    "properties": {
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "deletionTimestamp": {"type": "string"},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "ownerReferences": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {"controller": {"type": "boolean"}}
                | {key: {"type": "string"} for key in ("apiVersion", "kind", "name", "uid")},
            },
        },
    },
}


def _whole(kind: str) -> st.SearchStrategy[Object]:
    def made(metadata: Object, rest: Object) -> Object:
        identity = {
            "name": "tokyo",
            "namespace": "fleet",
            "uid": f"uid-of-{kind.lower()}-tokyo",
            "resourceVersion": "7",
        }
        return {
            **rest,
            "apiVersion": _KINDS[kind],
            "kind": kind,
            "metadata": {**metadata, **identity},
        }

    return st.builds(made, admitted(_METADATA), admitted(_SCHEMAS[kind]))


_SECRETS = st.fixed_dictionaries(
    {"metadata": st.just({"name": "x", "uid": "uid-of-x"})},
    optional={"data": JSON_GARBAGE, "type": JSON_GARBAGE},
)
_CLUSTER_OF_EVERYTHING = st.fixed_dictionaries(
    {**{kind: _whole(kind) for kind in _KINDS}, "Secret": _SECRETS}
)


def _decided(objects: Mapping[str, Any]) -> Decision:
    def read(ref: ObjectRef) -> Observed[dict[str, JSON]]:
        seen: Observed[dict[str, JSON]] = objects[ref.kind]
        return seen

    def find(selection: Selection) -> Listed:
        seen: dict[str, JSON] = objects[selection.kind]
        return (seen, seen)

    return decide(KEY, Reads(read, find), ReconcileState(), now=NOW)


@examples(150)
@given(_CLUSTER_OF_EVERYTHING)
def test_p5a_no_object_that_the_schemas_admit_raises(objects: Mapping[str, Any]) -> None:
    """Null, absent, empty, unknown and extreme values of every field give a decision."""
    assert _spelled(_decided(objects))


@examples(200)
@given(
    st.fixed_dictionaries(
        {kind: st.one_of(_whole(kind), JSON_GARBAGE) for kind in _KINDS} | {"Secret": JSON_GARBAGE}
    )
)
def test_p5a_no_garbage_raises(objects: Mapping[str, Any]) -> None:
    """JSON that is no object of its kind gives a decision."""
    assert _spelled(_decided(objects))


@pytest.mark.parametrize("reason", ["Creating", "ControlPlaneUnreadable", "Released"])
def test_p5a_the_schemas_and_garbage_reach_more_than_one_verdict(reason: str) -> None:
    """Objects of the schemas reach later verdicts than garbage does."""
    objects = (
        _CLUSTER_OF_EVERYTHING
        if reason != "ControlPlaneUnreadable"
        else st.just({"CAPTControlPlane": {"spec": 3}})
    )
    reaches(objects, lambda each: _decided(each).verdict.reason == reason)


_NEIGHBOURS = [ref_of(obj) for obj in moments.ready() if obj["kind"] != "CAPTControlPlane"]


@examples(200)
@given(
    _ANY,
    st.sampled_from(_NEIGHBOURS),
    JSON_GARBAGE.filter(lambda value: not isinstance(value, dict)),
)
def test_p5a_a_malformed_neighbour_is_an_unreadable_one(
    scene: Scene, ref: ObjectRef, garbage: JSON
) -> None:
    """A malformed object gives the actions and the interval of an unreadable one."""
    malformed = look(Scene(scene.world, {**scene.blind, ref: {"metadata": garbage or 1}}))
    unreadable = look(Scene(scene.world, {**scene.blind, ref: Unreadable("Malformed", "it")}))
    assert [(repr(each).split(", message")[0], type(each)) for each in malformed.actions] == [
        (repr(each).split(", message")[0], type(each)) for each in unreadable.actions
    ]
    assert (type(malformed.verdict), malformed.verdict.reason) == (
        type(unreadable.verdict),
        unreadable.verdict.reason,
    )
    assert malformed.requeue_after == unreadable.requeue_after


def test_p5a_absent_and_unreadable_give_different_decisions() -> None:
    """The comparison above is not between decisions that are always equal."""
    ref = next(
        ref for ref in _NEIGHBOURS if ref.name == "tokyo-kubeconfig" and ref.kind == "Secret"
    )

    def differs(scene: Scene) -> bool:
        blind = look(Scene(scene.world, {**scene.blind, ref: Unreadable("Forbidden")}))
        return blind != look(scene)

    reaches(_ANY, differs)


@pytest.mark.parametrize("is_malformed", [False, True])
def test_p5a_lists_show_a_cluster_and_a_malformed_one(*, is_malformed: bool) -> None:
    """Control planes without an owner list the Clusters, and meet both kinds of them."""

    def shows(scene: Scene) -> bool:
        listed: list[Listed] = []
        server = Server(scene)

        def find(selection: Selection) -> Listed:
            listed.append(server.find(selection))
            return listed[-1]

        decide(KEY, Reads(server.get, find), ReconcileState(), now=NOW)
        found = [obj for each in listed if not isinstance(each, Unreadable) for obj in each]
        specs = [isinstance(obj.get("spec"), dict) for obj in found]
        return bool(specs) and all(specs) is not is_malformed

    reaches(_ANY, shows)
