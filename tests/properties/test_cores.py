"""With any release of Cluster API's core at work, no field is written in turn (P4a)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_memory import World
from tests.capt import worlds as moments
from tests.properties.cores import CORES, core
from tests.properties.driving import KEY, Scene, Step, drive, stored
from tests.properties.moves import MOVES, Move, reachable_worlds, request, terraform
from tests.properties.oracles import every_write_is_safe
from tests.properties.profile import examples, reaches
from tests.properties.strategies import loaded, ref_of

_CLUSTER = ref_of(moments.cluster())
_ROUNDS = 8
"""Enough for claim, applies, endpoint, Secrets and report, with core in between."""

Path: TypeAlias = tuple[str, ...]
_OURS: frozenset[Path] = frozenset(
    {
        ("spec", "controlPlaneEndpoint", "host"),
        ("spec", "controlPlaneEndpoint", "port"),
        ("spec", "controlPlaneEndpoint"),
        ("status", "failureReason"),
        ("status", "failureMessage"),
    }
)
"""Core sets the endpoint once and copies failures; healing and clearing them is ours."""


def _leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _changed(before: World, after: World) -> set[Path]:
    """The fields of the Cluster that differ, of spec and status."""
    old = dict(_leaves(_content(before)))
    new = dict(_leaves(_content(after)))
    return {path for path in {*old, *new} if old.get(path) != new.get(path)}


def _content(world: World) -> Mapping[str, Any]:
    obj = stored(world, _CLUSTER) or {}
    return {key: obj[key] for key in ("spec", "status") if key in obj}


class _Stage:
    """The loop and core in turns; who wrote which field of the Cluster last."""

    def __init__(self, world: World, release: str) -> None:
        self.world = world
        self.steps: list[Step] = []
        self.trespasses: list[str] = []
        self._core = core(release)
        self._last: dict[Path, str] = {}

    def loop(self) -> bool:
        """Let the loop settle; return whether it changed anything."""
        run = drive(Scene(self.world))
        assert run.is_settled
        self.steps += run.all_steps
        for step in run.effective:
            if step.action.target == _CLUSTER:
                self._note(step.before, step.after, "us")
        self.world = run.end
        return bool(run.effective)

    def core(self) -> bool:
        """Let core make one pass; return whether it changed anything."""
        before = self.world
        self.world = self._core(before)
        self._note(before, self.world, "core")
        return before.resource_version != self.world.resource_version

    def move(self, move: Move) -> None:
        """Let somebody else act; the writers of what is there are forgotten."""
        self.world = move(self.world)
        self._last.clear()

    def settle(self, *, core_first: bool) -> int:
        """Let both act in turns until neither changes anything; return after how many rounds."""
        for round_ in range(_ROUNDS):
            acts = (self.core, self.loop) if core_first else (self.loop, self.core)
            changes = [act() for act in acts]
            if True not in changes:
                return round_
        return _ROUNDS

    def _note(self, before: World, after: World, who: str) -> None:
        for path in _changed(before, after):
            if who == "us" and self._last.get(path) == "core" and path not in _OURS:
                self.trespasses.append("/".join(path))
            self._last[path] = who


_HISTORIES = st.tuples(
    reachable_worlds(), st.lists(st.sampled_from(MOVES), max_size=4), st.booleans()
)


def _played(history: tuple[Scene, Sequence[Move], bool], release: str) -> tuple[_Stage, list[int]]:
    scene, moves, core_first = history
    stage = _Stage(scene.world, release)
    rounds = [stage.settle(core_first=core_first)]
    for move in moves:
        stage.move(move)
        rounds.append(stage.settle(core_first=core_first))
    return stage, rounds


@pytest.mark.parametrize("release", CORES)
@examples(40)
@given(_HISTORIES)
def test_p4a_the_loop_and_core_come_to_rest(
    release: str, history: tuple[Scene, Sequence[Move], bool]
) -> None:
    """After every move of others, in either order, both are quiet after a few rounds."""
    stage, rounds = _played(history, release)
    assert max(rounds) < _ROUNDS
    assert stage.trespasses == []
    every_write_is_safe(stage.steps)


def _lost_and_found(release: str, core_first: bool) -> tuple[_Stage, list[int]]:
    """A life: Ready, the Workspace lost, and back again."""
    stage = _Stage(loaded(moments.ready()).world, release)
    rounds = [stage.settle(core_first=core_first)]
    stage.move(request("delete", "Workspace", "tokyo-eks-controlplane"))
    rounds.append(stage.settle(core_first=core_first))
    back = moments.find(moments.ready(), "Workspace", "tokyo-eks-controlplane")
    metadata = {"name": back["metadata"]["name"]}
    stage.move(request("create", "Workspace", "", {**back, "metadata": metadata}))
    rounds.append(stage.settle(core_first=core_first))
    return stage, rounds


@pytest.mark.parametrize("core_first", [True, False])
@pytest.mark.parametrize("release", CORES)
def test_p4a_a_ready_that_goes_and_comes_back_starts_no_fight(
    release: str, core_first: bool
) -> None:
    """The fight of 1.13: we took `controlPlaneReady` back, and core set it again, for ever."""
    stage, rounds = _lost_and_found(release, core_first)
    assert max(rounds) < 4
    assert stage.trespasses == []
    assert [
        step for step in stage.steps if step.action.target == _CLUSTER and step.is_effective
    ] == []


@pytest.mark.parametrize("release", CORES)
def test_p4a_a_whole_life_with_core_writes_each_field_once(release: str) -> None:
    """From a new control plane to Ready: our writes to the Cluster are the endpoint at most."""
    stage = _Stage(loaded(moments.new()).world, release)
    for apply in (
        "tokyo-spot-role-check",
        "tokyo-eks-controlplane-apply",
        "tokyo-kubeconfig-apply",
    ):
        assert stage.settle(core_first=True) < _ROUNDS
        stage.move(terraform(apply))
    assert stage.settle(core_first=True) < _ROUNDS
    assert ((stored(stage.world, KEY) or {})["status"])["ready"] is True
    ours = [step for step in stage.steps if step.action.target == _CLUSTER and step.is_effective]
    assert len(ours) <= 1
    assert all(step.action.subresource is None for step in ours)
    assert (_content(stage.world)["status"])["controlPlaneReady"] is True


def _is_withdrawn(stage: _Stage) -> bool:
    status = (stored(stage.world, KEY) or {}).get("status") or {}
    return bool(status.get("initialized")) and not status.get("ready")


@pytest.mark.parametrize("release", CORES)
def test_p4a_the_histories_withdraw_ready(release: str) -> None:
    """The property meets the state in which the fight began."""
    reaches(_HISTORIES, lambda history: _is_withdrawn(_played(history, release)[0]))
