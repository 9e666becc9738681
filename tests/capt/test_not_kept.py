"""A field that the server does not keep is wanted once; where that helps, the verdict names it."""

from typing import Any

import pytest

from captep_core import Degraded, ObjectRef, Patch, Policy, ReconcileState, decide, write_of
from captep_core._not_kept import digest_of, not_kept
from captep_core._observation import NotKept
from captep_core.capt._verdict import Severity
from captep_memory import MemoryGateway, load
from captep_runtime import WriteHistory, run_pass
from tests.capt.driving import KEY, NOW, look, ref
from tests.capt.worlds import KUBECONFIG, Objects, base64_of, changed, find, ready

KEPT = (
    "ready",
    "initialized",
    "secretsReady",
    "phase",
    "version",
    "workspaceTemplateStatus",
    "conditions",
)
STATUS_LOST: dict[str, Any] = {"status": {"workspaceStatus": None}}
SECRET = ref(find(ready(), "Secret", "tokyo-kubeconfig"))


def decided(objects: Objects, *known: NotKept, deleted: tuple[Any, ...] = ()) -> Any:  # noqa: ANN401
    """Decide once, with fields that the server did not keep."""
    gateway = MemoryGateway(load(objects, now=NOW))
    return decide(KEY, gateway.read, ReconcileState(not_kept=known, deleted=deleted), now=NOW)


def records_of(objects: Objects, pruned: Objects) -> tuple[NotKept, ...]:
    """The records of the first write, had the server answered with the object of `pruned`."""
    write = look(objects).actions[0]
    assert isinstance(write, Patch)
    answer = find(pruned, write.target.kind, write.target.name)
    return not_kept(write, answer)


def test_a_status_field_that_a_definition_prunes_is_not_wanted_again() -> None:
    """Older definitions lack `status.workspaceStatus`: the loop rests, and says nothing of it."""
    pruned = changed(ready(), "CAPTControlPlane", "tokyo", STATUS_LOST)
    records = records_of(pruned, pruned)
    assert [each.path[:2] for each in records] == [("status", "workspaceStatus")] * len(records)
    assert look(pruned).actions != ()
    quiet = decided(pruned, *records)
    assert (quiet.actions, quiet.verdict.reason) == ((), "Ready")


def test_another_value_of_such_a_field_is_worth_a_try() -> None:
    """The record is about one value: a server that prunes it would prune the next one too, once."""
    pruned = changed(ready(), "CAPTControlPlane", "tokyo", STATUS_LOST)
    records = records_of(pruned, pruned)
    outputs = {"status": {"atProvider": {"outputs": {"cluster_endpoint": "https://new.example"}}}}
    moved = changed(pruned, "Workspace", "tokyo-eks-controlplane", outputs)
    assert decided(moved, *records).actions != ()


def test_a_new_generation_is_worth_a_try() -> None:
    """Somebody changed the object: a definition may have changed with it."""
    pruned = changed(ready(), "CAPTControlPlane", "tokyo", STATUS_LOST)
    pruned = changed(pruned, "CAPTControlPlane", "tokyo", {"metadata": {"generation": 7}})
    records = records_of(pruned, pruned)
    newer = changed(pruned, "CAPTControlPlane", "tokyo", {"metadata": {"generation": 8}})
    assert decided(pruned, *records).actions == ()
    assert decided(newer, *records).actions != ()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("CAPTControlPlane", "EndpointUpdateFailed"), ("Cluster", "EndpointUpdateFailed")],
)
def test_a_spec_field_that_is_not_kept_is_named_in_the_verdict(kind: str, reason: str) -> None:
    """A person has to look: nothing else makes the endpoint appear."""
    pruned = changed(ready(), kind, "tokyo", {"spec": {"controlPlaneEndpoint": None}})
    records = records_of(pruned, pruned)
    assert records != ()
    quiet = decided(pruned, *records)
    assert isinstance(quiet.verdict, Degraded)
    assert quiet.verdict.reason == reason
    assert "the server does not keep spec.controlPlaneEndpoint" in quiet.verdict.message
    assert f"{kind} fleet/tokyo" in quiet.verdict.message
    assert all(action.subresource == "status" or action.target == KEY for action in quiet.actions)
    assert quiet.requeue_after == Policy().failing


def opaque(objects: Objects) -> Objects:
    """Something sets the type of the kubeconfig Secret."""
    return changed(objects, "Secret", "tokyo-kubeconfig", {"type": "Opaque"})


def test_a_wrong_type_is_corrected_by_one_deletion() -> None:
    """The Go controller left other types, and the type of a Secret is immutable."""
    [delete] = look(opaque(ready())).actions
    assert str(delete.target) == "Secret fleet/tokyo-kubeconfig"


@pytest.mark.parametrize("how", ["altered by the creation", "deleted before"])
def test_a_type_that_a_policy_sets_is_reported_and_the_secret_stays_filled(how: str) -> None:
    """Deleting it again would alternate with the policy for ever."""
    record = NotKept(
        SECRET, None, ("type",), digest_of("cluster.x-k8s.io/secret"), digest_of("Opaque")
    )
    known = (record,) if how == "altered by the creation" else ()
    deleted = () if known else (SECRET,)
    stale = changed(opaque(ready()), "Secret", "tokyo-kubeconfig", {"data": {"value": "eA=="}})
    filled = decided(stale, *known, deleted=deleted)
    assert [action.body for action in filled.actions] == [
        {"data": {"value": base64_of(KUBECONFIG)}}
    ]
    quiet = decided(opaque(ready()), *known, deleted=deleted)
    assert isinstance(quiet.verdict, Degraded)
    assert (quiet.verdict.severity, quiet.verdict.reason) == (
        Severity.FAILURE,
        "SecretReconciliationFailed",
    )
    assert "has the type Opaque, expected cluster.x-k8s.io/secret" in quiet.verdict.message


def test_records_of_other_objects_change_nothing() -> None:
    """A record counts for its own object, incarnation and subresource."""
    pruned = changed(ready(), "CAPTControlPlane", "tokyo", STATUS_LOST)
    for record in records_of(pruned, pruned):
        for other in (
            NotKept(SECRET, record.subresource, record.path, record.wanted, record.kept),
            NotKept(KEY, None, record.path, record.wanted, record.kept, record.uid),
            NotKept(KEY, "status", record.path, record.wanted, record.kept, "uid-of-another"),
        ):
            assert decided(pruned, other).verdict.reason == "Ready"
            assert decided(pruned, other).actions == look(pruned).actions


def definition() -> dict[str, Any]:
    """A definition of the control plane that knows only some fields of its status."""
    known = {name: {"x-kubernetes-preserve-unknown-fields": True} for name in KEPT}
    status = {"type": "object", "properties": known}
    spec = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    group = "controlplane.cluster.x-k8s.io"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"captcontrolplanes.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "CAPTControlPlane", "plural": "captcontrolplanes"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def test_with_a_definition_that_prunes_one_write_is_tried_and_then_the_loop_rests() -> None:
    """The server drops `status.workspaceStatus` of every write, as older definitions do."""
    gateway = MemoryGateway(load([*ready(), definition()], now=NOW))
    state, history = ReconcileState(), WriteHistory()
    sent: list[str] = []
    for _ in range(10):
        done = run_pass(decide, gateway, KEY, state, now=NOW, history=history)
        state, history = done.state, done.history
        sent += [str(write_of(action)) for action, _ in done.sent]
    assert sent == ["patch CAPTControlPlane fleet/tokyo/status"]
    assert {each.path[:2] for each in state.not_kept} == {("status", "workspaceStatus")}
    assert (done.decision.verdict.reason, done.requeue_after) == ("Ready", Policy().ready)


LABEL = ("metadata", "labels", "cluster.x-k8s.io/cluster-name")


def test_a_field_of_a_dependent_that_is_not_kept_is_named() -> None:
    """The reason is that of the dependent."""
    record = NotKept(SECRET, None, LABEL, digest_of("tokyo"), uid="uid-of-secret-tokyo-kubeconfig")
    verdict = decided(ready(), record).verdict
    assert verdict.reason == "SecretReconciliationFailed"
    assert "the server does not keep metadata.labels" in verdict.message


@pytest.mark.parametrize(
    "record",
    [
        NotKept(SECRET, None, LABEL, "", uid="uid-of-another"),
        NotKept(KEY, None, ("spec", "x"), "", uid="", generation=99),
        NotKept(SECRET, None, ("type",), ""),
        NotKept(ObjectRef("v1", "Secret", "fleet", "other"), None, LABEL, ""),
    ],
    ids=["another incarnation", "another generation", "a type that is right", "another object"],
)
def test_a_record_that_no_longer_applies_is_not_reported(record: NotKept) -> None:
    """The verdict is about the objects as they are."""
    assert decided(ready(), record).verdict.reason == "Ready"
