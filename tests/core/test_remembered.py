"""`remembered`: a decision is repeated exactly as long as the function would decide the same."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

import pytest
from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from captep_core import (
    ABSENT,
    Decision,
    Listed,
    ObjectRef,
    Observed,
    Policy,
    ReconcileState,
    RecordEvent,
    Refused,
    Selection,
    Unreadable,
    Write,
    _remembered,
    control_plane_ref,
    decide,
    remembered,
)
from captep_core.capt.wire import Parsed
from captep_core.ports import Read, Reads
from captep_memory import load
from tests.capt import worlds

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEY = ObjectRef("v1", "Toy", "fleet", "tokyo")
REF = ObjectRef("v1", "ConfigMap", "fleet", "a")
MEMBERS = Selection("v1", "Pod", "fleet")
Manifest: TypeAlias = dict[str, Any]


def manifest(version: str = "1", uid: str = "u", **content: object) -> Manifest:
    """Return an object with some content."""
    return {"metadata": {"name": "a", "uid": uid, "resourceVersion": version}, **content}


@define
class Inputs:
    """All that a decision can depend on."""

    found: Observed[Manifest] = field(factory=manifest)
    listed: Listed = field(factory=lambda: (manifest(),))
    state: ReconcileState = ReconcileState()
    now: datetime = NOW
    options: dict[str, object] = field(factory=dict)

    def decide(self, function: Any) -> Decision:  # noqa: ANN401 - a `Decide` with options
        """Decide about these inputs."""
        read = Reads(lambda _: self.found, lambda _: self.listed)
        decision: Decision = function(KEY, read, self.state, now=self.now, **self.options)
        return decision


@frozen
class Said:
    """A verdict that shows all inputs but the time."""

    message: str
    reason: str = "Said"


def showing(
    key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime, mood: object = ""
) -> Decision:
    """Show every input in the verdict; the object's `until` is a deadline, and `busy` acts."""
    found = read(REF)
    listed = read.list(MEMBERS.api_version, MEMBERS.kind, MEMBERS.namespace)
    content = found if isinstance(found, dict) else {}
    ends = NOW + timedelta(seconds=content.get("until", 60))
    message = repr((found, listed, state, mood, now >= ends))
    event = RecordEvent(key, "Normal", "Busy", now.isoformat())
    actions = (event,) if content.get("busy") else ()
    wakes_at = ends if now < ends else None
    return Decision(actions, timedelta(seconds=30), Said(message), wakes_at=wakes_at)


def refused(message: str = "", status: int = 403) -> ReconcileState:
    """Return a state with one refusal."""
    return ReconcileState(refusals=(Refused(Write("create", REF), status, "Forbidden", message),))


def setting(**values: object) -> Callable[[Inputs], None]:
    """Return the change that sets some inputs."""

    def change(inputs: Inputs) -> None:
        for name, value in values.items():
            setattr(inputs, name, value)

    return change


UNVERSIONED: Manifest = {"metadata": {"name": "a", "uid": "u"}}
CHANGES: Mapping[str, Callable[[Inputs], None]] = {
    "nothing": setting(),
    "a version": setting(found=manifest("2", is_new=True)),
    "a busy version": setting(found=manifest("3", busy=True)),
    "another deadline": setting(found=manifest("4", until=10)),
    "another uid": setting(found=manifest("1", uid="other")),
    "absent": setting(found=ABSENT),
    "back": setting(found=manifest()),
    "unreadable": setting(found=Unreadable("Timeout")),
    "unreadable otherwise": setting(found=Unreadable("Timeout", "after 5 s")),
    "no version": setting(found={**UNVERSIONED, "content": 1}),
    "no version, other content": setting(found={**UNVERSIONED, "content": 2}),
    "no metadata": setting(found={"content": 1}),
    "empty list": setting(listed=()),
    "a list of two": setting(listed=(manifest(), manifest(uid="other"))),
    "a changed member": setting(listed=(manifest("2"),)),
    "unreadable list": setting(listed=Unreadable("Forbidden")),
    "a refusal": setting(state=refused()),
    "a refusal with a message": setting(state=refused("over quota")),
    "another refusal": setting(state=refused(status=422)),
    "a verdict": setting(state=ReconcileState(verdict="Said")),
    "an equal state": setting(state=ReconcileState()),
    "a second later": setting(now=NOW + SECOND),
    "just before the deadline": setting(now=NOW + timedelta(seconds=60) - timedelta.resolution),
    "the deadline": setting(now=NOW + timedelta(seconds=60)),
    "an hour later": setting(now=NOW + timedelta(hours=1)),
    "a clock set back": setting(now=NOW - SECOND),
    "options": setting(options={"mood": "good"}),
}


def differences() -> Iterator[tuple[str, ...]]:
    """Yield each two changes after which the remembered function decides otherwise."""
    for names in itertools.product(CHANGES, repeat=2):
        inputs, function = Inputs(), remembered(showing)
        for name in ("nothing", *names):
            CHANGES[name](inputs)
            if inputs.decide(function) != inputs.decide(showing):
                yield names
                break


def test_every_two_changes_lead_to_the_decision_of_the_function_itself() -> None:
    """Each of 27 changes is followed by each: versions, answers, lists, state, time, options."""
    assert list(differences()) == []


@pytest.mark.parametrize(
    ("change", "times"),
    [
        ("nothing", 1),
        ("an equal state", 1),
        ("a second later", 1),
        ("just before the deadline", 1),
        *((name, 2) for name in ("the deadline", "a version", "a clock set back", "options")),
    ],
)
def test_the_function_runs_again_only_for_a_change_that_counts(change: str, times: int) -> None:
    """The same versions, an equal state and a time before the deadline are no such change."""
    ran = []

    def counted(
        key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime, **options: object
    ) -> Decision:
        ran.append(now)
        return showing(key, read, state, now=now, **options)

    inputs, function = Inputs(), remembered(counted)
    inputs.decide(function)
    CHANGES[change](inputs)
    inputs.decide(function)
    assert len(ran) == times


MUTANTS: Mapping[str, Callable[[Any], Any]] = {
    "version_of": lambda real: lambda found: _without(real(found), 0),
    "version_of of another incarnation": lambda real: lambda found: _without(real(found), 1),
    "version_of, whatever the answer": lambda real: (
        lambda found: real(found) if isinstance(found, dict) else None
    ),
    "version_of without a version": lambda real: (
        lambda found: None if type(real(found)) is object else real(found)
    ),
    "_versions_of": lambda _: lambda found: None if isinstance(found, Unreadable) else len(found),
    "_are_same": lambda _: lambda one, other: one == other,
    "_Known.may_hold at any time": lambda real: (
        lambda known, state, options, _: real(known, state, options, known.since)
    ),
    "_Known.may_hold of any state": lambda real: (
        lambda known, _, options, now: real(known, known.state, options, now)
    ),
    "_Known.may_hold with any options": lambda real: (
        lambda known, state, _, now: real(known, state, known.options, now)
    ),
}


def _without(version: object, place: int) -> object:
    return version[1 - place] if isinstance(version, tuple) else version


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_key_that_forgets_an_input_is_found(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each counts: versions, kind of answer, members, messages, time, state and options."""
    path = mutant.replace(",", " ").split(" ")[0].split(".")
    owner: Any = _remembered
    for name in path[:-1]:
        owner = getattr(owner, name)
    monkeypatch.setattr(owner, path[-1], MUTANTS[mutant](getattr(owner, path[-1])))
    assert any(differences())


def test_an_object_that_changes_during_the_pass_is_not_remembered() -> None:
    """The decision saw both versions, and the next one may see the first alone."""
    answers: list[Observed[Manifest]] = [ABSENT, manifest()]

    def twice(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), SECOND, Said(repr((read(REF), read(REF)))))

    function = remembered(twice)
    read = Reads(lambda _: answers.pop(0) if answers else ABSENT, lambda _: ())
    first = function(KEY, read, ReconcileState(), now=NOW)
    again = function(KEY, read, ReconcileState(), now=NOW)
    assert first != again == twice(KEY, read, ReconcileState(), now=NOW)


def test_a_forgotten_key_is_decided_again() -> None:
    """Forgetting frees the memory of a key that nobody asks about any more."""
    inputs, function = Inputs(), remembered(showing)
    first = inputs.decide(function)
    assert inputs.decide(function) is first
    function.forget(KEY)
    assert inputs.decide(function) is not first


def test_a_decision_without_a_next_look_is_not_remembered() -> None:
    """So the memory keeps nothing of a key that is gone."""

    def resting(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), None, Said(repr(read(REF))))

    inputs, function = Inputs(), remembered(resting)
    assert inputs.decide(function) is not inputs.decide(function)


def versioned(inputs: Inputs, version: str, list_version: str | None) -> tuple[list[object], bool]:
    """Decide twice with versions from a cache; return what was read, and whether it is the same."""
    asked: list[object] = []

    def noted(place: object, found: Any) -> Any:  # noqa: ANN401 - an object or a list
        asked.append(place)
        return found

    read = Reads(lambda ref: noted(ref, inputs.found), lambda each: noted(each, inputs.listed))
    function = remembered(showing, version=lambda _: version, list_version=lambda _: list_version)
    first = function(KEY, read, ReconcileState(), now=NOW)
    return asked, function(KEY, read, ReconcileState(), now=NOW) is first


def test_versions_of_a_cache_make_reads_needless() -> None:
    """The second look asks for versions alone."""
    assert versioned(Inputs(), "7", "8") == ([REF, MEMBERS], True)


@pytest.mark.parametrize(
    ("inputs", "list_version"),
    [
        (Inputs(), None),
        (Inputs(found=Unreadable("Timeout")), "8"),
        (Inputs(listed=Unreadable("Timeout")), "8"),
    ],
    ids=["a list without a version", "unreadable", "an unreadable list"],
)
def test_what_a_cache_has_no_version_for_is_not_remembered(
    inputs: Inputs, list_version: str | None
) -> None:
    """Such an answer may change without a new version."""
    assert versioned(inputs, "7", list_version) == ([REF, MEMBERS] * 2, False)


def test_a_list_that_changes_during_the_pass_is_not_remembered() -> None:
    """It is as with an object."""
    lists = iter([(manifest(),), (), (manifest(),), (manifest(),)])

    def twice(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), SECOND, Said(repr([read.list("v1", "Pod") for _ in range(2)])))

    function = remembered(twice)
    read = Reads(lambda _: ABSENT, lambda _: next(lists))
    first = function(KEY, read, ReconcileState(), now=NOW)
    assert function(KEY, read, ReconcileState(), now=NOW) != first


STAGES = {
    stage.__name__: tuple(load(stage(), now=NOW).objects())
    for stage in (worlds.new, worlds.created, worlds.waiting, worlds.provided, worlds.ready)
}
PLACES = tuple(
    ObjectRef(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
    for o in STAGES["ready"]
)
EDITS = st.one_of(
    st.tuples(st.just("stage"), st.sampled_from(sorted(STAGES))),
    st.tuples(
        st.sampled_from(["absent", "unreadable", "marked", "as before"]), st.sampled_from(PLACES)
    ),
    st.tuples(st.just("time"), st.integers(-2, 100_000)),
    st.tuples(st.just("state"), st.sampled_from([ReconcileState(), refused(), refused("quota")])),
    st.tuples(st.just("policy"), st.sampled_from([Policy(), Policy(ready=SECOND)])),
)
TOKYO = control_plane_ref("fleet", "tokyo")


class Fleet:
    """A control plane whose objects somebody edits, each edit with a new resourceVersion."""

    def __init__(self) -> None:
        self.version = 1000
        self.objects: dict[ObjectRef, Manifest] = {}
        self.answers: dict[ObjectRef, Observed[Manifest]] = {}
        self.state = ReconcileState()
        self.now = NOW
        self.policy = Policy()
        self.edit("stage", "ready")

    def edit(self, what: str, value: Any) -> None:  # noqa: ANN401 - as `EDITS` has them
        """Change one input."""
        match what:
            case "stage":
                objects = [self._again(each) for each in STAGES[value]]
                self.objects = {_ref(each): each for each in objects}
            case "absent":
                self.answers[value] = ABSENT
            case "unreadable":
                self.answers[value] = Unreadable("Timeout")
            case "as before":
                self.answers.pop(value, None)
            case "marked" if value in self.objects:
                marked = self._again(self.objects[value])
                marked["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                self.objects[value] = marked
            case "time":
                self.now = NOW + value * SECOND
            case "state":
                self.state = value
            case "policy":
                self.policy = value
            case _:
                pass

    def _again(self, obj: Mapping[str, Any]) -> Manifest:
        self.version += 1
        again = deepcopy(dict(obj))
        again["metadata"]["resourceVersion"] = str(self.version)
        return again

    def decide(self, function: Any) -> Decision:  # noqa: ANN401 - a `Decide` with options
        """Decide about the control plane."""
        decision: Decision = function(
            TOKYO, Reads(self._get, self._find), self.state, now=self.now, policy=self.policy
        )
        return decision

    def _get(self, ref: ObjectRef) -> Observed[Manifest]:
        return self.answers.get(ref, self.objects.get(ref, ABSENT))

    def _find(self, selection: Selection) -> Listed:
        return tuple(
            obj
            for ref, obj in self.objects.items()
            if (ref.kind, ref.namespace) == (selection.kind, selection.namespace)
        )


def _ref(obj: Mapping[str, Any]) -> ObjectRef:
    metadata = obj["metadata"]
    return ObjectRef(obj["apiVersion"], obj["kind"], metadata.get("namespace"), metadata["name"])


def lived(edits: Iterable[tuple[str, Any]]) -> list[bool]:
    """Compare after each edit; return for each whether the decision was a repeated one."""
    fleet, ran, repeated = Fleet(), [], []

    def counted(*given: Any, **options: Any) -> Decision:  # noqa: ANN401 - those of `decide`
        ran.append(given)
        return decide(*given, **options)

    remembering, parsing = remembered(counted), partial(decide, parsed=Parsed(most=8))
    for edit in (("state", ReconcileState()), *edits):
        fleet.edit(*edit)
        before = len(ran)
        expected = fleet.decide(decide)
        assert fleet.decide(remembering) == expected
        assert fleet.decide(parsing) == expected
        repeated.append(len(ran) == before)
    return repeated


@given(st.lists(EDITS, max_size=8))
@settings(max_examples=40)
def test_captep_decides_the_same_with_and_without_memories(edits: list[tuple[str, Any]]) -> None:
    """Objects of five stages change, go and cannot be read; time, state and policy change."""
    lived(edits)


def test_the_comparison_reaches_repeated_and_new_decisions() -> None:
    """A later time repeats the decision; a changed Secret, a refusal and a policy do not."""
    secret = next(ref for ref in PLACES if ref.kind == "Secret")
    edits = [
        ("time", 5000),
        ("as before", secret),
        ("unreadable", secret),
        ("time", 6000),
        ("as before", secret),
        ("state", refused()),
        ("policy", Policy(ready=SECOND)),
        ("time", 7000),
    ]
    assert lived(edits) == [False, True, True, False, False, False, False, False, True]
