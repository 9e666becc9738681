"""Several processes share the keys of one fleet: never two owners of a key, whatever happens."""

import heapq
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import define, field, frozen
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from captep_core import JSON, Create, Decision, ObjectRef, ReconcileState
from captep_core._observation import Absent
from captep_core.errors import GatewayError
from captep_core.ports import Read
from captep_kubernetes import LeaseTimes, RawResponse, UnansweredError, marks, shards_of
from captep_kubernetes._election import Elector
from captep_memory import load
from captep_memory.http import HTTPFacade
from captep_operator import Kind, Lease, Operator, Shard
from captep_operator._preflight import check_shards
from captep_runtime import InMemoryMetrics
from tests.gateways import eventually
from tests.kubernetes.scripted import transport_to
from tests.objects import manifest
from tests.operator.test_controller import Counted, controller
from tests.operator.test_operator import (
    BUILTIN,
    DEFINITION,
    NOW,
    THINGS,
    running,
    stored,
)
from tests.operator.test_process import Scripted
from tests.testing.toy import KEY, THING, Verdict

FLEET = Lease("fleet", "things")
WALL = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = LeaseTimes()
PERIOD = 1.2 * TIMES.retry_period
"""The longest pause between two looks of a candidate."""


def key(name: str, namespace: str | None = "fleet") -> ObjectRef:
    """Return a key of the primary kind."""
    return ObjectRef(KEY.api_version, KEY.kind, namespace, name)


@pytest.mark.parametrize(
    ("of", "count", "index"),
    [
        (key("tokyo"), 2, 2),
        (key("oregon"), 2, 1),
        (key("tokyo"), 7, 6),
        (key("tokyo", None), 7, 5),
    ],
)
def test_the_owner_of_a_key_is_the_one_that_the_docstring_computes(
    of: ObjectRef, count: int, index: int
) -> None:
    """The numbers are those of `sha256sum` and a calculator, not of this program."""
    assert [Shard(i, count).owns(of) for i in range(1, count + 1)] == [
        i == index for i in range(1, count + 1)
    ]


@settings(max_examples=30, deadline=None)
@given(name=st.text(), namespace=st.none() | st.text(), count=st.integers(1, 12))
def test_each_key_has_one_shard(name: str, namespace: str | None, count: int) -> None:
    """Of all shards of a fleet exactly one owns a key."""
    owners = [i for i in range(1, count + 1) if Shard(i, count).owns(key(name, namespace))]
    assert len(owners) == 1


def test_the_shards_are_about_equal() -> None:
    """Of 2,000 keys each of four shards has a quarter, within a tenth of it."""
    keys = [key(f"c{number}") for number in range(2000)]
    sizes = [sum(map(Shard(index, 4).owns, keys)) for index in (1, 2, 3, 4)]
    assert sum(sizes) == 2000
    assert all(abs(size - 500) < 50 for size in sizes)


@pytest.mark.parametrize(
    "text",
    ["0/2", "3/2", "a/b", "1/0", "", "1", "/2", "1/", "-1/2", "01/2", "1/2/3", " 1/2", "1/10000"],
)
def test_a_shard_of_another_form_is_refused(text: str) -> None:
    """The error has the text and the form."""
    expected = "expected a shard I/N with I from 1 to N and N up to 9999, found "
    with pytest.raises(ValueError, match=expected):
        Shard.parse(text)


def test_a_shard_reads_back() -> None:
    """The Lease of the fleet has no suffix when one shard is all of it."""
    assert Shard.parse(str(Shard(2, 12))) == Shard(2, 12)
    assert [str(FLEET.of(Shard(1, count))) for count in (1, 2)] == [
        "fleet/things",
        "fleet/things-shard-1",
    ]


def test_a_controller_has_the_keys_of_its_shard_alone() -> None:
    """The other keys stay in its cache, and no pass runs for them."""
    for owns in (True, False):
        made = controller(Counted())
        made._owns = lambda _key, owns=owns: owns  # type: ignore[misc]  # mypy infers no default
        made.informers[0].observe_write(
            {
                "apiVersion": KEY.api_version,
                "kind": KEY.kind,
                "metadata": {
                    "name": KEY.name,
                    "namespace": KEY.namespace,
                    "uid": "u",
                    "resourceVersion": "1",
                },
            }
        )
        assert made._loop.keys() == ((KEY,) if owns else ())


@frozen
class Life:
    """A replica: its shard, when it joins, how long it stays, whether it crashes at the end."""

    shard: Shard
    joins: float
    stays: float
    crashes: bool


@define
class Replica:
    """A replica that competes; `ended` is when it stopped for good."""

    life: Life
    elector: Elector
    ended: float


@define
class Fleet:
    """Replicas and their Leases in virtual time; requests take none."""

    lives: list[Life]
    leases: dict[str, dict[str, Any]] = field(factory=dict)
    replicas: list[Replica] = field(factory=list)
    queue: list[tuple[float, int, Callable[[float], None]]] = field(factory=list)
    samples: list[tuple[float, tuple[int, ...]]] = field(factory=list)
    version: int = 0
    count: int = 0

    def at(self, when: float, act: Callable[[float], None]) -> None:
        """Do `act` at `when`."""
        self.count += 1
        heapq.heappush(self.queue, (when, self.count, act))

    def run(self, until: float = 120.0) -> "Fleet":
        """Let the replicas live; look every quarter of a second who leads."""
        for life in self.lives:
            self.at(life.joins, lambda when, life=life: self.join(life, when))  # type: ignore[misc]  # mypy infers no default
        for tick in range(int(until * 4)):
            self.at(tick / 4, self.sample)
        while self.queue and self.queue[0][0] < until:
            when, _, act = heapq.heappop(self.queue)
            act(when)
        return self

    def sample(self, when: float) -> None:
        """Note who leads."""
        leading = tuple(
            number
            for number, each in enumerate(self.replicas)
            if when < each.ended and each.elector.is_leading(now=when)
        )
        self.samples.append((when, leading))

    def write(self, name: str, claim: dict[str, Any]) -> dict[str, JSON]:
        """Store a claim as the server does; between a read and its claim nothing else happens."""
        self.version += 1
        before = self.leases.get(name, {"metadata": {}, "spec": {}})
        metadata = {**before["metadata"], **claim["metadata"]}
        self.leases[name] = {
            "metadata": {**metadata, "resourceVersion": str(self.version)},
            "spec": {**before["spec"], **claim.get("spec", {})},
        }
        return self.leases[name]

    def join(self, life: Life, when: float) -> None:
        """Start as `check_shards` lets a process start; one with another number ends at once."""
        root = FLEET.name
        if life.shard.count > 1 and root not in self.leases:
            self.write(root, {"metadata": marks(life.shard.count)})
        if root in self.leases and shards_of(self.leases[root]) != life.shard.count:
            return
        name = f"r{len(self.replicas)}"
        elector = Elector(name, TIMES, shards=life.shard.count)
        replica = Replica(life, elector, when + life.stays)
        self.replicas.append(replica)
        self.at(when, lambda then: self.look(replica, then))
        if not life.crashes:
            self.at(replica.ended, lambda then: self.leave(replica, then))

    def look(self, replica: Replica, when: float) -> None:
        """Read, and claim when the elector may."""
        if when >= replica.ended:
            return
        name = replica.life.shard.lease_name(FLEET.name)
        elector = replica.elector.observe(self.leases.get(name), now=when)
        claim = elector.claim(now=when, wall=WALL)
        if claim is not None:
            elector = elector.claimed(self.write(name, claim), sent_at=when, now=when)
        replica.elector = elector
        left = elector.expires_at - when
        is_waiting = not elector.is_leading(now=when) and left > 0
        pause = min(PERIOD, left) if is_waiting else PERIOD
        self.at(when + pause, lambda then: self.look(replica, then))

    def leave(self, replica: Replica, when: float) -> None:
        """End in order: give the Lease back."""
        release = replica.elector.release(wall=WALL)
        if release is not None and replica.elector.is_leading(now=when):
            self.write(replica.life.shard.lease_name(FLEET.name), release)

    def owned_twice(self, keys: tuple[ObjectRef, ...]) -> list[tuple[float, str]]:
        """Return when which key had two owners."""
        return [
            (when, each.name)
            for when, leading in self.samples
            for each in keys
            if sum(self.replicas[number].life.shard.owns(each) for number in leading) > 1
        ]

    def longest_gap(self) -> float:
        """Return the longest time that a replica was there while its shard had no owner."""
        longest = 0.0
        for replica in self.replicas:
            since = replica.life.joins
            for when, leading in self.samples:
                if not replica.life.joins <= when < replica.ended or any(
                    self.replicas[number].life.shard == replica.life.shard for number in leading
                ):
                    since = max(when, replica.life.joins)
                longest = max(longest, when - since)
        return longest


KEYS = tuple(key(name) for name in ("tokyo", "oregon", "otaru", "nikko"))


def lives(*shards: Shard) -> st.SearchStrategy[list[Life]]:
    """Replicas of these shards that come and go in the first minute and a half."""
    return st.lists(
        st.builds(
            Life,
            st.sampled_from(shards),
            st.integers(0, 180).map(lambda half: half / 2),
            st.sampled_from([0.5, 3.0, 9.0, 16.0, 40.0, 200.0]),
            st.booleans(),
        ),
        min_size=2,
        max_size=7,
    )


HALVES = (Shard(1, 2), Shard(2, 2))
MIXED = (*HALVES, Shard(1, 1), Shard(3, 3))


@settings(max_examples=40, deadline=None)
@given(lives(*MIXED))
def test_no_key_has_two_owners_while_replicas_come_and_go(found: list[Life]) -> None:
    """Also when processes with another number of shards, and without shards, start between them."""
    assert Fleet(found).run().owned_twice(KEYS) == []


@settings(max_examples=40, deadline=None)
@given(lives(*HALVES))
def test_a_shard_with_a_replica_has_an_owner_after_a_lease_and_one_look(found: list[Life]) -> None:
    """A replica sees the last claim of a crashed one at its next look, and waits from there."""
    assert Fleet(found).run().longest_gap() <= TIMES.lease_duration + PERIOD + 0.25


def test_the_world_finds_two_owners_when_a_lease_belongs_to_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keeps the property above from looking at a world where nothing can go wrong."""
    monkeypatch.setattr(Elector, "is_of_others", property(lambda _: False))
    monkeypatch.setattr("tests.operator.test_shards.shards_of", lambda _: 2)
    monkeypatch.setattr(Fleet, "join", _joining_anyway)
    find(
        lives(*MIXED),
        lambda found: bool(Fleet(found).run().owned_twice(KEYS)),
        settings=settings(max_examples=200, database=None, phases=[Phase.generate]),
    )


def _joining_anyway(fleet: Fleet, life: Life, when: float) -> None:
    replica = Replica(life, Elector(f"r{len(fleet.replicas)}", TIMES), when + life.stays)
    fleet.replicas.append(replica)
    fleet.at(when, lambda then: fleet.look(replica, then))


def test_a_replica_that_leaves_hands_over_at_the_next_look() -> None:
    """A crashed one is waited for as long as its lease says, and one look more at most."""
    gaps = [
        Fleet([Life(HALVES[0], 0.0, 31.0, crashes), Life(HALVES[0], 1.0, 200.0, crashes=False)])
        .run()
        .samples
        for crashes in (False, True)
    ]
    ends = [max(when for when, leading in samples if leading == (0,)) for samples in gaps]
    begins = [min(when for when, leading in samples if leading == (1,)) for samples in gaps]
    handed, crashed = (begin - end for begin, end in zip(begins, ends, strict=True))
    assert handed <= PERIOD + 0.25
    assert PERIOD < crashed <= TIMES.lease_duration + PERIOD + 0.25


def mark(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Create the ConfigMap of a Thing."""
    ref = ObjectRef("v1", "ConfigMap", key.namespace, f"{key.name}-child")
    is_due = isinstance(read(key), dict) and isinstance(read(ref), Absent)
    return Decision(
        (Create(ref, manifest(ref), "missing"),) if is_due else (), None, Verdict("Marked")
    )


def operator() -> Operator:
    """Return the operator that marks Things."""
    config_maps = Kind("v1", "ConfigMap", plural="configmaps")
    return Operator("things", mark, primary=THINGS, reads=[config_maps])


@pytest.fixture
def server() -> Iterator[HTTPFacade]:
    """A server with the definition and twenty Things."""
    things = [{**THING, "metadata": {**THING["metadata"], "name": name}} for name in NAMES]
    with HTTPFacade(load([DEFINITION, *things], now=NOW), kinds=BUILTIN) as facade:
        yield facade


NAMES = tuple(f"t{number}" for number in range(20))


def children(server: HTTPFacade, shard: Shard | None = None) -> set[str]:
    """Return the Things of a shard that have their child."""
    return {
        name
        for name in NAMES
        if (shard is None or shard.owns(key(name)))
        and stored(server.world, ObjectRef("v1", "ConfigMap", "fleet", f"{name}-child"))
    }


def lease_of(server: HTTPFacade, name: str) -> dict[str, Any]:
    """Return a Lease as the server has it."""
    ref = ObjectRef("coordination.k8s.io/v1", "Lease", FLEET.namespace, name)
    return stored(server.world, ref) or {}


def test_two_shards_do_the_work_of_one(server: HTTPFacade) -> None:
    """Each does its own share alone, under a Lease of its own; the fleet's Lease has no holder."""
    metrics = InMemoryMetrics()
    with ExitStack() as stack:
        errors = stack.enter_context(
            running(operator(), server, lease=FLEET, shard="1/2", metrics=metrics)
        )
        eventually(
            lambda: (
                children(server, HALVES[0]) == {name for name in NAMES if HALVES[0].owns(key(name))}
            ),
            "the first shard is done",
        )
        assert children(server, HALVES[1]) == set()
        other = stack.enter_context(running(operator(), server, lease=FLEET, shard=HALVES[1]))
        eventually(lambda: children(server) == set(NAMES), "both are done")
        assert errors == other == []
        assert metrics.value("captep_shard_info", {"shard": "1", "shards": "2"}) == 1
    fleet = lease_of(server, "things")
    assert (shards_of(fleet), fleet.get("spec", {}).get("holderIdentity")) == (2, None)
    for index in (1, 2):
        lease = lease_of(server, f"things-shard-{index}")
        assert (shards_of(lease), lease["spec"]["holderIdentity"]) == (2, "")


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ("1/2", "1/3", "is of a fleet with 2 shards, and this process is of one with 3 shards"),
        ("1/2", "3/3", "is of a fleet with 2 shards, and this process is of one with 3 shards"),
        ("2/2", "1/1", "is of a fleet with 2 shards, and this process is of one with 1 shard"),
        ("1/1", "2/2", "is of a fleet with 1 shard, and this process is of one with 2 shards"),
    ],
)
def test_a_process_with_another_number_does_not_start(
    server: HTTPFacade, first: str, second: str, line: str
) -> None:
    """Its error names the Lease, both numbers, and how to change the number."""
    with running(operator(), server, lease=FLEET, shard=first):
        eventually(lambda: children(server), "the first one works")
    with pytest.raises(GatewayError) as error:
        operator().run(transport=transport_to(server.url), lease=FLEET, shard=second)
    shards = Shard.parse(first).count
    names = "things things-shard-{1..2}" if shards == 2 else "things"
    assert str(error.value) == (
        f"the Lease fleet/things {line}: start it with the number of the others, or end all of"
        f" them, then kubectl delete lease --namespace fleet {names}"
    )


@pytest.mark.parametrize("text", ["three", "", "\u0663"])
def test_a_number_that_is_no_number_is_refused(server: HTTPFacade, text: str) -> None:
    """Somebody edited it: no process of any number starts, and the error names that Lease alone."""
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "things-shard-1",
            "namespace": "fleet",
            "annotations": {"captep/shards": text},
        },
    }
    with (
        HTTPFacade(load([DEFINITION, THING, lease], now=NOW), kinds=BUILTIN) as facade,
        pytest.raises(GatewayError, match=r"with 0 shards, .* delete lease .* things-shard-1$"),
    ):
        operator().run(transport=transport_to(facade.url), lease=FLEET, shard="1/2")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (RawResponse(403, {}, None), "cannot create the Lease fleet/things: HTTP 403: grant get"),
        (UnansweredError("reset", may_have_landed=True), "the API server does not answer: reset"),
    ],
)
def test_a_number_that_cannot_be_agreed_on_ends_the_start(
    answer: RawResponse | UnansweredError, line: str
) -> None:
    """One line says what is missing."""
    path = "/apis/coordination.k8s.io/v1/namespaces/fleet/leases"
    with pytest.raises(GatewayError, match=line):
        check_shards(Scripted({path: answer}), FLEET, HALVES[0])
    made = {path: RawResponse(201, {}, None), f"{path}/things": answer}
    with pytest.raises(GatewayError, match=line.replace("create", "read")):
        check_shards(Scripted(made), FLEET, HALVES[0])


def test_shards_without_a_lease_are_refused() -> None:
    """A dry run writes nothing, so it needs none."""
    with pytest.raises(ValueError, match="shard 1/2 without a lease"):
        operator().run(shard="1/2")
    with pytest.raises(ValueError, match="expected a shard I/N"):
        operator().run(shard="2/1")
