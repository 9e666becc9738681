"""What wakes a key that lists, and when its quiet pass is skipped."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Decision,
    Listed,
    ObjectRef,
    ReconcileState,
    Selection,
    Unreadable,
)
from captep_core.ports import Answer, Read, Reads
from captep_runtime import InMemoryMetrics, Loop
from captep_runtime._reads import ReadIndex
from tests.runtime.toys import KEY, Clock, Said, child

OTHER = ObjectRef(KEY.api_version, KEY.kind, "fleet", "osaka")
LABELS = {"app": "db"}
CHILDREN = Selection("v1", "ConfigMap", "fleet")
EVERYWHERE = Selection("v1", "ConfigMap")
LABELLED = Selection("v1", "ConfigMap", "fleet", LABELS)
ELSEWHERE = Selection("v1", "ConfigMap", "elsewhere")
PODS = Selection("v1", "Pod", "fleet")
HOUR = timedelta(hours=1)


def manifest(app: str | None) -> dict[str, JSON]:
    """An object with one label, or with none."""
    return {"metadata": {"name": "a", "labels": {} if app is None else {"app": app}}}


class Shelf:
    """A server with one list, which has a version."""

    def __init__(self) -> None:
        self.listed: Listed = ()
        self.version = "1"
        self.read: Read = Reads(lambda _: ABSENT, lambda _: self.listed)

    def send(self, action: Action) -> Answer:
        """Refuse everything: no decision here writes."""
        raise AssertionError(action)


def lists_nothing(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """List the children, and do nothing for an hour after `now`."""
    read.list(CHILDREN.api_version, CHILDREN.kind, CHILDREN.namespace)
    return Decision((), HOUR, Said(str(now)))


class Listing:
    """A loop over one key that lists one selection, and the times of its passes."""

    def __init__(self, *selections: Selection, knows_versions: bool = True) -> None:
        self.server = Shelf()
        self.clock = Clock()
        self.passes = 0
        self.selections = selections
        self.found: list[Listed] = []
        self.loop = Loop(
            self.decide,
            self.server,
            self.clock,
            version=lambda _: None,
            list_version=(lambda _: self.server.version) if knows_versions else None,
        )
        self.loop.add(KEY)
        self.run()

    def decide(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """List and do nothing."""
        self.passes += 1
        self.found += [
            read.list(each.api_version, each.kind, each.namespace, labels=dict(each.labels))
            for each in self.selections
        ]
        return Decision((), HOUR, Said())

    def run(self) -> int:
        """Run what is due; return the number of passes."""
        before = self.passes
        self.loop.run_due(self.clock.time)
        return self.passes - before


def test_a_pass_reads_what_the_server_lists() -> None:
    """The list reaches the decision unchanged, a failed one as unreadable."""
    listing = Listing(CHILDREN)
    listing.found.clear()
    listing.server.listed = ({"metadata": {"name": "a"}},)
    listing.loop.add(KEY)
    listing.server.version = "2"
    listing.run()
    listing.server.listed = Unreadable("Forbidden")
    listing.server.version = "3"
    listing.loop.add(KEY)
    listing.run()
    assert listing.found == [({"metadata": {"name": "a"}},), Unreadable("Forbidden")]


@pytest.mark.parametrize(
    ("selection", "wakes"),
    [(CHILDREN, True), (EVERYWHERE, True), (LABELLED, True), (ELSEWHERE, False), (PODS, False)],
)
def test_a_change_in_the_place_of_a_list_wakes_its_reader(
    selection: Selection, *, wakes: bool
) -> None:
    """Kind and namespace count; without the object, its labels are unknown and may fit."""
    listing = Listing(selection)
    listing.server.version = "2"
    listing.loop.notify(child("a"))
    assert listing.run() == wakes


@pytest.mark.parametrize(
    ("before", "after", "wakes"),
    [
        ([], ["db"], True),
        (["db"], ["db"], True),
        (["db"], [], True),
        (["db"], ["web"], True),
        (["web"], ["db"], True),
        (["web"], ["other"], False),
        ([None], [None], False),
    ],
)
def test_joining_leaving_and_changing_members_wake_and_others_do_not(
    before: list[str | None], after: list[str | None], *, wakes: bool
) -> None:
    """An object counts as it was and as it is."""
    listing = Listing(LABELLED)
    listing.server.version = "2"
    listing.loop.notify(child("a"), lambda: [manifest(app) for app in (*before, *after)])
    assert listing.run() == wakes


def test_a_list_that_the_last_pass_did_not_read_wakes_nobody() -> None:
    """As with objects, the index keeps what the last pass read."""
    listing = Listing(CHILDREN)
    listing.selections = ()
    listing.server.version = "2"
    listing.loop.notify(child("a"))
    assert listing.run() == 1
    listing.loop.notify(child("a"))
    assert listing.run() == 0


def test_a_key_that_is_to_sleep_on_is_not_woken_by_its_own_list() -> None:
    """`but` is for a caller that has woken it already."""
    listing = Listing(CHILDREN)
    listing.server.version = "2"
    listing.loop.notify(child("a"), but=KEY)
    assert listing.run() == 0


def test_a_change_wakes_a_key_that_lists_and_sleeps_once() -> None:
    """A key that is due already will see the change; client-go counts no second addition either."""
    metrics = InMemoryMetrics()
    loop = Loop(lists_nothing, Shelf(), Clock(), name="toy", metrics=metrics)
    for key in KEYS:
        loop.add(key)
    loop.run_due(Clock().now())
    labels = {"controller": "toy", "name": "toy"}
    before = metrics.value("workqueue_adds_total", labels)
    for name in "abc":
        loop.notify(child(name))
    assert metrics.value("workqueue_adds_total", labels) - before == len(KEYS)


def test_a_quiet_pass_is_skipped_while_the_list_has_its_version() -> None:
    """An unchanged list costs no decision, a changed one costs one."""
    listing = Listing(CHILDREN)
    listing.loop.add(KEY)
    assert listing.run() == 0
    listing.server.version = "2"
    listing.loop.add(KEY)
    assert listing.run() == 1


def test_a_list_without_a_version_is_read_at_each_interval() -> None:
    """So is one that failed: it may come back without any change of an object."""
    unversioned = Listing(CHILDREN, knows_versions=False)
    unversioned.loop.add(KEY)
    assert unversioned.run() == 1
    failing = Listing(CHILDREN)
    failing.server.listed = Unreadable("Timeout")
    failing.server.version = "2"
    failing.loop.add(KEY)
    failing.run()
    failing.loop.add(KEY)
    assert failing.run() == 1


KEYS = (KEY, OTHER)
SELECTIONS = (CHILDREN, EVERYWHERE, LABELLED, ELSEWHERE, PODS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KEYS), st.sampled_from(SELECTIONS)),
        st.tuples(st.sampled_from(KEYS), st.sets(st.sampled_from(SELECTIONS))),
    ),
    max_size=30,
)


@given(STEPS, st.sampled_from([None, "db", "web"]))
def test_the_index_has_the_listers_of_the_model(
    steps: list[tuple[ObjectRef, Selection | set[Selection]]], app: str | None
) -> None:
    """They agree after any notes and ends of passes, and the index keeps nothing else."""
    index, model = ReadIndex(), {key: set[Selection]() for key in KEYS}
    shown = manifest(app)
    for key, noted in steps:
        if isinstance(noted, Selection):
            index.note_list(key, noted)
            model[key].add(noted)
        else:
            index.keep_only(key, (), noted)
            model[key] &= noted
    near = {CHILDREN, EVERYWHERE, LABELLED}
    fitting = {each for each in near if each.fits(shown)}
    readers = index.readers(child("a"), lambda: (shown,))
    assert readers == {key for key in KEYS if model[key] & fitting}
    assert index.readers(child("a")) == {key for key in KEYS if model[key] & near}
    for key in KEYS:
        index.keep_only(key, ())
    assert (index._listers, index._lists) == ({}, {})
