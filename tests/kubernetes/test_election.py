"""Leader election without I/O: never two leaders, whatever network and clocks do, and one in the
end.
"""

import heapq
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from captep_core import JSON
from captep_kubernetes import LeaseTimes
from captep_kubernetes._election import Elector

WALL = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = LeaseTimes()
OVERLONG = evolve(TIMES)
object.__setattr__(OVERLONG, "renew_deadline", 25.0)
"""Times that validation refuses: leading outlasts the lease."""


@frozen
class Fate:
    """The fate of one request: seconds until it lands and is answered, None for never."""

    lands: float | None
    answer: float | None


@frozen
class Clock:
    """A machine's clock: where it started and how fast it runs."""

    offset: float
    rate: float

    def local(self, at: float) -> float:
        """The machine's time when the true time is `at`."""
        return self.offset + self.rate * at


@define
class LeaseServer:
    """One Lease with the API server's semantics for what is used here: versions, conflicts, 404."""

    lease: dict[str, Any] | None = None
    version: int = 0

    def write(self, claim: dict[str, Any], *, creates: bool) -> dict[str, JSON] | None:
        """Accept or refuse a claim; None is a refusal."""
        current = self.lease
        if creates is not (current is None) or (
            current
            and claim["metadata"]["resourceVersion"] != current["metadata"]["resourceVersion"]
        ):
            return None
        self.version += 1
        spec = {**(current["spec"] if current else {}), **claim["spec"]}
        self.lease = {"metadata": {"resourceVersion": str(self.version)}, "spec": spec}
        return self.lease


@define
class ElectionWorld:
    """Candidates, their clocks and what is under way, in true time."""

    electors: list[Elector]
    clocks: list[Clock]
    fates: list[list[Fate]]
    server: LeaseServer = field(factory=LeaseServer)
    queue: list[tuple[float, int, Any]] = field(factory=list)
    led: list[tuple[float, int]] = field(factory=list)
    overlaps: list[float] = field(factory=list)
    count: int = 0

    def at(self, when: float, act: Any) -> None:  # noqa: ANN401  # any callable
        """Do `act` at the true time `when`."""
        self.count += 1
        heapq.heappush(self.queue, (when, self.count, act))

    def run(self, until: float) -> "ElectionWorld":
        """Let everybody compete; look every quarter of a second who leads."""
        for index in range(len(self.electors)):
            self.at(0.1 * index, self.turn(index))
        for tick in range(int(until * 4)):
            self.at(tick / 4, self.look)
        while self.queue and self.queue[0][0] <= until:
            when, _, act = heapq.heappop(self.queue)
            act(when)
        return self

    def look(self, when: float) -> None:
        """Note who leads."""
        leading = [
            i
            for i, elector in enumerate(self.electors)
            if elector.is_leading(now=self.clocks[i].local(when))
        ]
        self.led += [(when, index) for index in leading]
        if len(leading) > 1:
            self.overlaps.append(when)

    def turn(self, index: int) -> Any:  # noqa: ANN401  # a callable
        """One candidate reads, and claims when it may."""

        def act(when: float) -> None:
            fate = self.fates[index].pop(0) if self.fates[index] else Fate(0.0, 0.0)
            retry = self.electors[index].times.retry_period / self.clocks[index].rate
            if fate.lands is None or fate.answer is None:
                self.at(when + 5, self.turn(index))
                return
            self.at(
                when + fate.lands,
                lambda then: self.at(
                    then + fate.answer, self.read(index, self.server.lease, retry)
                ),
            )

        return act

    def read(self, index: int, lease: dict[str, Any] | None, retry: float) -> Any:  # noqa: ANN401  # a callable
        """The answer to the read is there."""

        def act(when: float) -> None:
            now = self.clocks[index].local(when)
            self.electors[index] = self.electors[index].observe(lease, now=now)
            claim = self.electors[index].claim(now=now, wall=WALL)
            if claim is not None:
                self.send(index, when, claim)
            self.at(when + retry, self.turn(index))

        return act

    def send(self, index: int, when: float, claim: dict[str, JSON]) -> None:
        """A claim is on its way; it may land late, never, or without an answer."""
        fate = self.fates[index].pop(0) if self.fates[index] else Fate(0.0, 0.0)
        sent_at, creates = self.clocks[index].local(when), self.electors[index].lease is None

        def land(then: float) -> None:
            accepted = self.server.write(claim, creates=creates)
            if accepted is not None and fate.answer is not None:
                self.at(then + fate.answer, lambda at: self.accept(index, accepted, sent_at, at))

        if fate.lands is not None:
            self.at(when + fate.lands, land)

    def accept(self, index: int, lease: dict[str, JSON], sent_at: float, when: float) -> None:
        """The answer to a claim is there."""
        self.electors[index] = self.electors[index].claimed(
            lease, sent_at=sent_at, now=self.clocks[index].local(when)
        )


def world(clocks: list[Clock], fates: list[list[Fate]], times: LeaseTimes = TIMES) -> ElectionWorld:
    """Candidates a, b, ... with these clocks and networks."""
    return ElectionWorld(
        [Elector("abc"[index], times) for index in range(len(clocks))],
        clocks,
        [[*mine] for mine in fates],
    )


delays = st.one_of(st.just(0.0), st.sampled_from([0.5, 3.0, 12.0, 20.0, None]))
networks = st.lists(st.builds(Fate, delays, delays), max_size=8)
clocks = st.builds(Clock, st.sampled_from([0.0, 1e6, -500.0]), st.sampled_from([0.85, 1.0, 1.15]))
cases = st.tuples(
    st.lists(clocks, min_size=3, max_size=3), st.lists(networks, min_size=3, max_size=3)
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases)
def test_no_two_lead_at_once_and_somebody_leads_in_the_end(
    case: tuple[list[Clock], list[list[Fate]]],
) -> None:
    """Requests lost or late by 20 s, clocks off by years and 15 %: never two leaders, and one after
    that.
    """
    done = world(*case).run(300)
    assert done.overlaps == []
    assert {when for when, _ in done.led} >= {tick / 4 for tick in range(1160, 1200)}


def test_the_world_finds_two_leaders_when_leading_outlasts_the_lease() -> None:
    """Keeps the property above from looking at a world where nothing can go wrong."""
    quick = settings(max_examples=2000, deadline=None, database=None, phases=[Phase.generate])
    find(
        cases,
        lambda case: bool(world(case[0], case[1], OVERLONG).run(100).overlaps),
        settings=quick,
    )


def test_leadership_changes_hands() -> None:
    """`a` is cut off after its first claim: `a` stops after 10 s, `b` leads after 15 s and not
    before.
    """
    cut = [Fate(0.0, 0.0), Fate(0.0, 0.0), *[Fate(None, None)] * 20]
    done = world([Clock(0, 1), Clock(1e6, 1)], [cut, []]).run(40)
    first, second = ([when for when, index in done.led if index == mine] for mine in (0, 1))
    assert (first[0], first[-1]) == (0.25, 9.75)
    assert 15.0 <= second[0] <= 17.2
    assert done.server.lease is not None
    assert done.server.lease["spec"]["leaseTransitions"] == 1


def lease(holder: str | None, version: str = "7", **spec: JSON) -> dict[str, JSON]:
    """A Lease as read."""
    return {
        "metadata": {"resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, **spec},
    }


HELD: dict[str, JSON] = {
    "holderIdentity": "a",
    "leaseDurationSeconds": 15,
    "renewTime": "2026-01-01T00:00:00.000000Z",
}
TAKEN: dict[str, JSON] = {**HELD, "acquireTime": "2026-01-01T00:00:00.000000Z"}


@pytest.mark.parametrize(
    ("seen", "after", "claim"),
    [
        (None, 0.0, {"metadata": {}, "spec": {**TAKEN, "leaseTransitions": 0}}),
        (
            lease("", leaseTransitions=4),
            0.0,
            {"metadata": {"resourceVersion": "7"}, "spec": {**TAKEN, "leaseTransitions": 5}},
        ),
        (
            lease(None),
            0.0,
            {"metadata": {"resourceVersion": "7"}, "spec": {**TAKEN, "leaseTransitions": 1}},
        ),
        (lease("a", leaseTransitions=4), 0.0, {"metadata": {"resourceVersion": "7"}, "spec": HELD}),
        (lease("b"), 14.9, None),
        (
            lease("b"),
            15.0,
            {"metadata": {"resourceVersion": "7"}, "spec": {**TAKEN, "leaseTransitions": 1}},
        ),
        (lease("b", leaseDurationSeconds=60), 59.0, None),
        (
            lease("b", leaseDurationSeconds=60),
            60.0,
            {"metadata": {"resourceVersion": "7"}, "spec": {**TAKEN, "leaseTransitions": 1}},
        ),
        (lease("b", leaseDurationSeconds=None), 14.0, None),
        (lease("b", leaseDurationSeconds=0), 14.9, None),
        (lease("b", leaseDurationSeconds=-5), 14.9, None),
        (lease("b", leaseDurationSeconds=1), 0.9, None),
        (
            lease("b", leaseDurationSeconds=1),
            1.0,
            {"metadata": {"resourceVersion": "7"}, "spec": {**TAKEN, "leaseTransitions": 1}},
        ),
        (
            {"metadata": {"resourceVersion": "7"}, "spec": None},
            0.0,
            {"metadata": {"resourceVersion": "7"}, "spec": {**TAKEN, "leaseTransitions": 1}},
        ),
    ],
)
def test_a_claim_needs_a_free_own_or_expired_lease(
    seen: dict[str, JSON] | None, after: float, claim: dict[str, JSON] | None
) -> None:
    """A free lease at once, an own one without a transition, another's when it has not changed for
    its time.
    """
    assert Elector("a").observe(seen, now=100.0).claim(now=100.0 + after, wall=WALL) == claim


def marked(holder: str, text: JSON) -> dict[str, JSON]:
    """A Lease whose annotation says a number of shards."""
    seen = lease(holder)
    seen["metadata"] = {"resourceVersion": "7", "annotations": {"captep/shards": text}}
    return seen


@pytest.mark.parametrize("holder", ["", "a", "b"])
@pytest.mark.parametrize(
    ("text", "shards"), [("3", 2), ("1", 2), ("2", 1), ("two", 2), ("two", 1), ("", 1), (2, 1)]
)
def test_a_lease_of_another_number_of_shards_is_never_claimed(
    holder: str, text: JSON, shards: int
) -> None:
    """Neither when it is free, nor after it expired, nor by its own holder."""
    candidate = Elector("a", shards=shards).observe(marked(holder, text), now=0.0)
    assert candidate.is_of_others
    assert candidate.claim(now=1000.0, wall=WALL) is None


def test_a_lease_without_a_number_is_of_a_fleet_of_one() -> None:
    """A candidate of two leaves it alone, one of one takes it; each new one says its number."""
    assert not Elector("a").observe(lease(""), now=0.0).is_of_others
    assert Elector("a", shards=2).observe(lease(""), now=0.0).claim(now=99.0, wall=WALL) is None
    assert Elector("a").observe(marked("", "1"), now=0.0).claim(now=0.0, wall=WALL) is not None
    made = Elector("a", shards=2).claim(now=0.0, wall=WALL)
    assert made is not None
    assert made["metadata"] == {"annotations": {"captep/shards": "2"}}


def test_a_holder_stops_when_its_lease_gets_another_number() -> None:
    """Somebody edited it: another fleet may own its keys from now on."""
    leader = Elector("a", shards=2).claimed(marked("a", "2"), sent_at=0.0, now=0.0)
    assert leader.is_leading(now=1.0)
    assert not leader.observe(marked("a", "3"), now=1.0).is_leading(now=1.0)


def test_a_renewal_is_seen_as_one_only_when_the_version_moves() -> None:
    """Reading the same lease again does not start the wait again; a renewal does."""
    candidate = Elector("a").observe(lease("b"), now=0.0).observe(lease("b"), now=14.0)
    assert candidate.claim(now=15.0, wall=WALL) is not None
    assert candidate.observe(lease("b", "8"), now=14.0).claim(now=28.9, wall=WALL) is None


def test_a_lease_that_was_deleted_under_its_holder_is_waited_for() -> None:
    """Its holder does not know yet."""
    candidate = Elector("a").observe(lease("b"), now=0.0).observe(None, now=5.0)
    assert candidate.claim(now=19.9, wall=WALL) is None
    assert candidate.claim(now=20.0, wall=WALL) is not None
    assert (
        Elector("a").observe(lease(""), now=0.0).observe(None, now=5.0).claim(now=5.0, wall=WALL)
        is not None
    )


def test_a_deleted_lease_is_waited_for_as_long_as_it_said() -> None:
    """Its holder may use longer times than ours: 60 s, counted from the first look without the
    lease.
    """
    candidate = (
        Elector("a")
        .observe(lease("b", leaseDurationSeconds=60), now=0.0)
        .observe(None, now=5.0)
        .observe(None, now=7.0)
    )
    assert candidate.claim(now=64.9, wall=WALL) is None
    assert candidate.claim(now=65.0, wall=WALL) is not None


def test_a_holder_that_lost_its_lease_stops_at_once() -> None:
    """Read as another's, or as gone: no more leading, whatever the deadline."""
    leader = Elector("a").claimed(lease("a"), sent_at=0.0, now=0.5)
    assert (leader.is_leading(now=9.9), leader.is_leading(now=10.0)) == (True, False)
    assert leader.observe(lease("a", "8"), now=1.0).is_leading(now=9.9)
    assert (leader.lease, leader.seen_at) == (lease("a"), 0.5)
    assert not leader.observe(lease("b", "8"), now=1.0).is_leading(now=1.0)
    assert not leader.observe(None, now=1.0).is_leading(now=1.0)
    assert not leader.stepped_down().is_leading(now=1.0)


def test_a_deleted_lease_that_said_nothing_is_waited_for_as_long_as_ours_lasts() -> None:
    """Neither longer nor shorter."""
    candidate = (
        Elector("a").observe(lease("b", leaseDurationSeconds=None), now=0.0).observe(None, now=5.0)
    )
    assert [candidate.claim(now=now, wall=WALL) is None for now in (19.9, 20.0)] == [True, False]


def test_only_a_holder_gives_back() -> None:
    """Nobody's name, a second to wait, and the version that it was."""
    released = {
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }
    assert Elector("a", lease=lease("a")).release(wall=WALL) == {
        "metadata": {"resourceVersion": "7"},
        "spec": released,
    }
    assert Elector("a", lease=lease("b")).release(wall=WALL) is None
    assert Elector("a").release(wall=WALL) is None


@pytest.mark.parametrize("wrong", [(10, 10, 2), (15, 10, 10), (15, 10, 0), (15, 16, 2)])
def test_times_that_allow_two_leaders_are_refused(wrong: tuple[float, float, float]) -> None:
    """lease_duration > renew_deadline > retry_period > 0."""
    with pytest.raises(
        ValueError, match="expected lease_duration > renew_deadline > retry_period > 0"
    ):
        LeaseTimes(*wrong)
