"""Applies, strategic merge patches and managedFields are those of a real kube-apiserver (K3).

The record in tests/memory/golden keeps some of the sequences for tests without a cluster. To
record again, for a new version, run this command and read the difference:

    CAPTEP_RECORD=1 make test-cluster PYTEST_ADDOPTS="-k test_any_apply"

For a long run with other sequences each time, here 10,000 of them:

    CAPTEP_EXAMPLES_SCALE=50 make test-cluster PYTEST_ADDOPTS="-k test_any_apply --timeout 0"
"""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from captep_memory import Object, Quirks
from captep_memory._typed import typed_kinds
from tests.cluster.apiserver import ApiServer
from tests.cluster.apply_sequences import APPLIES, RESETS, STRATEGICS
from tests.cluster.calls import Direct
from tests.memory.applies import (
    DEFINITION,
    NAMESPACE,
    RECORD,
    Talk,
    fake_of,
    lines,
    replay,
    without_owners,
)
from tests.memory.kinds import MANIFESTS
from tests.memory.record import VERSION
from tests.memory.support import Free
from tests.properties.profile import examples

pytestmark = pytest.mark.cluster
REACHED = {
    "apply 200",
    "apply 201",
    "apply 400",
    "apply 409",
    "apply 422",
    "apply 500",
    "strategic-merge 200",
    "strategic-merge 500",
    "strategic-merge 422",
    "merge 200",
    "json 200",
    "update 200",
}
"""Outcomes that the sequences must reach for the property not to be vacuous (K1)."""
_RECORDED = 60
_REPEATS = 20
_ATTEMPTS = 3
# A server gives some kinds values that differ from another's (uids, addresses); a Pod needs a
# ServiceAccount, and the plural of Endpoints is its own.
SHARED = [
    each
    for each in MANIFESTS
    if each["kind"] not in ("Job", "Service", "Pod", "Endpoints")
    and typed_kinds()[f"{each['apiVersion']}/{each['kind']}"]["resource"]["namespaced"]
]


@pytest.fixture(scope="module")
def real(apiserver: ApiServer) -> Iterator[Direct]:
    """The real server with the kind; a server of another version skips."""
    version = apiserver.call("GET", "/version")[1]["gitVersion"]
    if version != f"v{VERSION}":
        pytest.skip(f"the in-memory server models {VERSION}, and this server is {version}")
    apiserver.install([DEFINITION])
    with closing(Direct(apiserver)) as direct:
        yield direct


@define
class Agreement:
    """Sends sequences to the real server and to two fakes, and counts the outcomes.

    One fake tracks managedFields from the first write, the other from the first apply.
    """

    server: ApiServer
    real: Direct
    seen: Counter[str] = field(factory=Counter)
    unmodelled: int = 0
    recorded: list[list[Object]] = field(factory=list)
    prefix: str = "apply"
    _numbers: Iterator[int] = field(factory=itertools.count)

    def of(self, sequence: list[Object]) -> None:
        """Fail at the first answer that differs each time; an answer of 501 is not compared.

        Entries of managedFields are in the order of their times, which have no fractions: a second
        that begins between two requests moves an entry that a later one names by its index.
        """
        for _ in range(_ATTEMPTS - 1):
            with suppress(AssertionError):
                self._compare(sequence)
                return
        self._compare(sequence)

    def _compare(self, sequence: list[Object]) -> None:
        namespace = f"{self.prefix}-{next(self._numbers)}"
        body = {"metadata": {"name": namespace}}
        assert self.server.call("POST", "/api/v1/namespaces", body)[0] == 201
        always = Talk(fake_of(namespace, Quirks(managed_fields="always")))
        late, theirs = Talk(fake_of(namespace, Quirks())), Talk(self.real)
        asked: list[Object] = []
        has_nothing = False
        for template in sequence:
            request = {**template, "namespace": namespace}
            ours = always(request)
            if ours["status"] == 501:
                self.unmodelled += 1
                continue
            answer = theirs(request)
            for _ in range(_REPEATS if ours["status"] >= 400 else 0):
                # Go meets the faults of a patch in any order, and answers the first.
                if ours == answer or answer["status"] < 400:
                    break
                answer = theirs(request)
            assert ours == answer, template
            asked.append({"request": template, "answer": _anonymous(answer, namespace)})
            shown = late(request)
            has_owners = "managedFields" in shown["body"].get("metadata", {})
            assert shown == (answer if has_owners else without_owners(answer)), sequence
            has_nothing = has_nothing or _stores_nothing(template)
            # A watch shows what a server stores without an effect.
            assert has_nothing or always.wrote == theirs.wrote == late.wrote, sequence
            content_type = template.get("content_type", "").removeprefix("application/")
            name = content_type.partition("-")[0]
            name = "strategic-merge" if name == "strategic" else name or template["verb"]
            self.seen[f"{name} {answer['status']}"] += 1
        self.recorded.append(asked)


def _stores_nothing(template: Object) -> bool:
    """Return whether an apply puts an empty value into the metadata of a custom resource.

    The real server stores it, never shows it, and drops it with the next write, whatever that is.
    The in-memory server never has it.
    """
    is_custom = template["kind"] == "Mesh"
    is_apply = template.get("content_type", "").startswith("application/apply")
    body = template.get("body")
    metadata = body.get("metadata") if is_apply and isinstance(body, dict) else None
    values = metadata.values() if isinstance(metadata, dict) else ()
    return is_custom and any(map(_is_hollow, values))


def _is_hollow(value: Free) -> bool:
    """Return whether a value is empty, or a member of it."""
    if isinstance(value, dict) and value:
        return any(map(_is_hollow, value.values()))
    return value in ({}, [], None)


def _anonymous(answer: Free, namespace: str) -> Free:
    parsed: Free = json.loads(json.dumps(answer).replace(namespace, NAMESPACE))
    return parsed


@pytest.mark.timeout(1200)  # a failure is made small first
def test_any_apply_and_strategic_patch_is_answered_as_by_the_real_server(
    apiserver: ApiServer, real: Direct
) -> None:
    """Answers agree with every owner of every field, and every outcome occurs."""
    agreement = Agreement(apiserver, real)
    for sequence in RESETS:
        agreement.of(sequence)

    @examples(200)
    @given(st.one_of(APPLIES, STRATEGICS))
    def agree(sequence: list[Object]) -> None:
        agreement.of(sequence)

    agree()
    assert agreement.unmodelled < agreement.seen.total() / 10
    assert agreement.seen.keys() >= REACHED, REACHED - agreement.seen.keys()
    if "CAPTEP_RECORD" in os.environ:
        kept = [each for each in agreement.recorded if each][: len(RESETS) + _RECORDED]
        RECORD.write_text("".join(f"{json.dumps(each)}\n" for each in kept), "utf-8")


@pytest.mark.parametrize("manifest", SHARED, ids=lambda each: str(each["kind"]))
def test_every_built_in_kind_is_applied_and_patched_as_by_the_real_server(
    apiserver: ApiServer, real: Direct, manifest: Object
) -> None:
    """Two appliers, an updater and a strategic patch; and an object that a POST made."""
    agreement = Agreement(apiserver, real, prefix=str(manifest["kind"]).lower())
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    of_kind: Object = {"api_version": api_version, "kind": kind}
    first, second = ({**manifest, "metadata": {"name": name}} for name in ("a", "b"))

    def patch(media_type: str, name: str, manager: str, body: Object, **more: bool) -> Object:
        content_type = f"application/{media_type}"
        request = {"verb": "patch", **of_kind, "name": name, "content_type": content_type}
        return {**request, "field_manager": manager, "body": body, **more}

    nothing = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}
    noted = {**second, "metadata": {"name": "b", "annotations": {"k": "v"}}}
    agreement.of(
        [
            patch("apply-patch+yaml", "a", "m1", first),
            patch("apply-patch+yaml", "a", "m2", first),
            patch("strategic-merge-patch+json", "a", "u", {"metadata": {"labels": {"z": "1"}}}),
            patch("apply-patch+yaml", "a", "m2", nothing),
            {"verb": "create", **of_kind, "body": second, "field_manager": "maker"},
            patch("apply-patch+yaml", "b", "m1", noted, force=True),
            patch("merge-patch+json", "b", "u", {"metadata": {"annotations": {"k": None}}}),
            patch("apply-patch+yaml", "b", "m1", second, force=True),
        ]
    )
    assert agreement.seen.total() > 3


def test_the_recorded_applies_are_those_of_this_version(apiserver: ApiServer, real: Direct) -> None:
    """The first twenty sequences of the record, asked again."""

    for number, sequence in enumerate(lines()[:20]):
        namespace = f"again-{number}"
        body = {"metadata": {"name": namespace}}
        assert apiserver.call("POST", "/api/v1/namespaces", body)[0] == 201
        for line, now in replay(sequence, Talk(real), namespace):
            assert _anonymous(now, namespace) == line["answer"], line["request"]
