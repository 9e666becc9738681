"""CA and kubeconfig: copied when they differ, from good sources only; secretsReady is computed."""

from typing import Any

import pytest

from captep_core import Policy, Preconditions
from captep_core._objects import ObjectMeta
from captep_core.capt._model import Secret
from captep_core.capt._outputs import Invalid
from tests.capt.driving import NOW, look, ref, run, writes_of
from tests.capt.worlds import (
    CA,
    CA_OF_EKS,
    ENDPOINT,
    KUBECONFIG,
    ROTATED,
    Object,
    Objects,
    base64_of,
    changed,
    conditions,
    deleting,
    find,
    owner,
    plus,
    provided,
    ready,
    secret,
    unpaused,
    waiting,
    without,
    workspace,
)

LABEL = {"cluster.x-k8s.io/cluster-name": "tokyo"}
NEW_CA = CA.replace("MIIB", "MIIC")
OURS = {"tokyo-ca": {"tls.crt": CA, "ca.crt": CA}, "tokyo-kubeconfig": {"value": KUBECONFIG}}
NOT_IN_SECRET = (
    "Failed to get certificate authority data: "
    "cluster_certificate_authority_data not found in secret"
)


def _data(texts: dict[str, str]) -> Object:
    return {"data": {key: base64_of(text) for key, text in texts.items()}}


def _status(objects: Objects, **how: Any) -> Object:  # noqa: ANN401 - passed on
    found: Object = run(objects, **how).find("CAPTControlPlane", "tokyo")["status"]
    return found


@pytest.mark.parametrize("name", OURS)
def test_a_deleted_secret_is_created_again(name: str) -> None:
    """The whole manifest: type, label, owner and content; one write, Ready stays."""
    done = run(without(ready(), "Secret", name))
    metadata = {
        "name": name,
        "namespace": "fleet",
        "labels": LABEL,
        "ownerReferences": [owner("CAPTControlPlane", "tokyo")],
    }
    assert [each.body for each in done.writes] == [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "cluster.x-k8s.io/secret",
            **_data(OURS[name]),
        },
    ]
    assert (done.last.verdict.reason, len(done.passes)) == ("Ready", 2)


@pytest.mark.parametrize(
    ("name", "damage", "cure"),
    [
        ("tokyo-kubeconfig", _data({"value": "old"}), _data({"value": KUBECONFIG})),
        ("tokyo-kubeconfig", {"data": None}, _data({"value": KUBECONFIG})),
        ("tokyo-kubeconfig", {"data": {"value": ""}}, _data({"value": KUBECONFIG})),
        ("tokyo-ca", _data({"tls.crt": "old"}), _data({"tls.crt": CA})),
        ("tokyo-ca", {"data": {"ca.crt": None}}, _data({"ca.crt": CA})),
        ("tokyo-ca", {"data": None}, _data({"tls.crt": CA, "ca.crt": CA})),
        ("tokyo-ca", {"metadata": {"labels": None}}, {"metadata": {"labels": LABEL}}),
        (
            "tokyo-ca",
            {"metadata": {"labels": {"cluster.x-k8s.io/cluster-name": "b"}}},
            {"metadata": {"labels": LABEL}},
        ),
        (
            "tokyo-kubeconfig",
            {"metadata": {"labels": None}, **_data({"value": "old"})},
            {"metadata": {"labels": LABEL}, **_data({"value": KUBECONFIG})},
        ),
    ],
)
def test_a_damaged_secret_is_repaired_by_one_patch_of_the_difference(
    name: str, damage: Object, cure: Object
) -> None:
    """Keys and labels are compared one by one."""
    done = run(changed(ready(), "Secret", name, damage))
    assert [each.body for each in done.writes] == [cure]
    assert done.writes[0].preconditions == Preconditions(f"uid-of-secret-{name}")
    assert (done.last.verdict.reason, len(done.passes)) == ("Ready", 2)


@pytest.mark.parametrize("name", OURS)
def test_foreign_keys_and_labels_of_a_secret_stay(name: str) -> None:
    """Other labels, annotations and keys are not ours."""
    foreign = {
        "metadata": {"labels": {"clusterctl.cluster.x-k8s.io/move": ""}, "annotations": {"a": "b"}},
        "data": {"other": "eA=="},
    }
    assert look(changed(ready(), "Secret", name, foreign)).actions == ()


def test_a_rotated_token_is_one_write() -> None:
    """A new kubeconfig is copied by one patch of one key."""
    done = run(
        changed(ready(), "Secret", "tokyo-outputs-kubeconfig", _data({"kubeconfig": ROTATED}))
    )
    assert [(str(each.target), each.body) for each in done.writes] == [
        ("Secret fleet/tokyo-kubeconfig", _data({"value": ROTATED}))
    ]


def test_a_token_is_copied_while_the_workspace_is_not_ready() -> None:
    """After the first Ready, a withdrawn Ready does not stop the token's rotation."""
    objects = changed(
        ready(),
        "Workspace",
        "tokyo-eks-controlplane",
        {"status": {"conditions": conditions(ready=False)}},
    )
    done = run(plus(objects, secret("tokyo-outputs-kubeconfig", {"kubeconfig": ROTATED})))
    assert "patch Secret fleet/tokyo-kubeconfig" in writes_of(done.writes)
    assert done.find("CAPTControlPlane", "tokyo")["status"]["ready"] is False


def test_nothing_is_copied_before_the_workspace_is_ready_for_the_first_time() -> None:
    """provider-terraform fills the connection Secret before its Workspace is Ready."""
    full = secret(
        "tokyo-eks-connection",
        {"cluster_endpoint": ENDPOINT, "cluster_certificate_authority_data": CA_OF_EKS},
    )
    early = secret("tokyo-outputs-kubeconfig", {"kubeconfig": KUBECONFIG})
    done = run(plus(waiting(), full, early))
    assert {each.target.kind for each in done.writes} <= {"CAPTControlPlane"}


def test_a_new_certificate_is_copied_and_passed_on() -> None:
    """A rotated CA reaches its Secret and the kubeconfig's apply, each by one write."""
    source = _data({"cluster_certificate_authority_data": NEW_CA})
    done = run(changed(ready(), "Secret", "tokyo-eks-connection", source))
    assert [each.body for each in done.writes] == [
        {"spec": {"variables": {"cluster_certificate_authority_data": NEW_CA}}},
        _data({"tls.crt": NEW_CA, "ca.crt": NEW_CA}),
    ]


def test_a_kubeconfig_secret_of_the_wrong_type_is_replaced() -> None:
    """The delete carries the uid, because a type cannot be changed."""
    done = run(changed(ready(), "Secret", "tokyo-kubeconfig", {"type": "Opaque"}))
    assert writes_of(done.writes) == [
        "delete Secret fleet/tokyo-kubeconfig",
        "create Secret fleet/tokyo-kubeconfig",
    ]
    assert done.writes[0].preconditions == Preconditions("uid-of-secret-tokyo-kubeconfig")
    made = done.find("Secret", "tokyo-kubeconfig")
    assert (made["type"], made["data"]) == (
        "cluster.x-k8s.io/secret",
        _data(OURS["tokyo-kubeconfig"])["data"],
    )


def test_a_wrong_type_is_not_deleted_twice_or_without_a_source() -> None:
    """A terminating Secret, or one that could not be created again, is not deleted."""
    wrong = changed(ready(), "Secret", "tokyo-kubeconfig", {"type": "Opaque"})
    assert look(deleting(wrong, "Secret", "tokyo-kubeconfig")).actions == ()
    without_source = run(without(wrong, "Secret", "tokyo-outputs-kubeconfig"))
    assert without_source.has("Secret", "tokyo-kubeconfig")


def test_a_ca_secret_keeps_the_type_it_has() -> None:
    """A CA Secret that the Go controller made stays Opaque."""
    assert look(changed(ready(), "Secret", "tokyo-ca", {"type": "Opaque"})).actions == ()


@pytest.mark.parametrize(
    ("name", "source", "reason", "message", "interval"),
    [
        ("tokyo-eks-connection", None, "Creating", "Waiting for secrets", Policy().initializing),
        (
            "tokyo-outputs-kubeconfig",
            None,
            "Creating",
            "Waiting for secrets",
            Policy().initializing,
        ),
        ("tokyo-eks-connection", {"other": "x"}, "SecretError", NOT_IN_SECRET, Policy().failing),
        (
            "tokyo-eks-connection",
            {"cluster_certificate_authority_data": " "},
            "SecretError",
            NOT_IN_SECRET,
            Policy().failing,
        ),
        (
            "tokyo-eks-connection",
            {"cluster_certificate_authority_data": "canary-rubbish"},
            "SecretError",
            (
                "Failed to get certificate authority data: "
                "cluster_certificate_authority_data is not a PEM certificate"
            ),
            Policy().failing,
        ),
        (
            "tokyo-outputs-kubeconfig",
            {},
            "SecretError",
            "Failed to get kubeconfig: kubeconfig not found in secret",
            Policy().failing,
        ),
        (
            "tokyo-outputs-kubeconfig",
            {"kubeconfig": "\n"},
            "SecretError",
            "Failed to get kubeconfig: kubeconfig not found in secret",
            Policy().failing,
        ),
    ],
)
def test_a_bad_source_is_reported_and_the_copy_stays(
    name: str, source: dict[str, str] | None, reason: str, message: str, interval: object
) -> None:
    """secretsReady goes; the good Secret and Ready stay."""
    objects = without(ready(), "Secret", name)
    done = run(objects if source is None else plus(objects, secret(name, source)))
    assert (done.last.verdict.reason, done.last.verdict.message, done.last.requeue_after) == (
        reason,
        message,
        interval,
    )
    for ours in OURS:
        assert done.find("Secret", ours) == find(ready(), "Secret", ours)
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["initialized"], status["secretsReady"], status["phase"]) == (
        True,
        True,
        False,
        "Ready",
    )
    assert (status["conditions"][0]["reason"], status["conditions"][0]["message"]) == (
        reason,
        message,
    )
    assert status["workspaceTemplateStatus"]["lastFailureMessage"] == message
    assert writes_of(done.writes) == ["patch CAPTControlPlane fleet/tokyo/status"]


@pytest.mark.parametrize("entries", [[], conditions(ready=False)], ids=["running", "Creating"])
def test_an_empty_source_is_missing_while_crossplane_works_on_it(entries: Objects) -> None:
    """The outputs Secret is empty until its Workspace is Ready: waiting, 5 s."""
    to = {"name": "tokyo-outputs-kubeconfig", "namespace": "fleet"}
    objects = plus(
        ready(),
        secret("tokyo-outputs-kubeconfig", {}),
        workspace("tokyo-kubeconfig", to=to, entries=entries),
    )
    objects = changed(
        objects,
        "WorkspaceTemplateApply",
        "tokyo-kubeconfig-apply",
        {"status": {"conditions": entries}},
    )
    before = changed(
        without(objects, "Secret", "tokyo-kubeconfig"),
        "CAPTControlPlane",
        "tokyo",
        {"status": None},
    )
    done = run(before)
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "Creating",
        "Waiting for secrets",
    )
    assert done.last.requeue_after == Policy().initializing
    assert not done.has("Secret", "tokyo-kubeconfig")


def test_an_empty_connection_secret_is_missing_before_the_workspace_is_ready() -> None:
    """With a Workspace that is not Ready, the loop waits for the Secret."""
    objects = plus(ready(), secret("tokyo-eks-connection", {}))
    objects = changed(
        objects,
        "Workspace",
        "tokyo-eks-controlplane",
        {"status": {"conditions": conditions(ready=False)}},
    )
    done = run(objects)
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "Creating",
        "Control plane is being created",
    )
    assert done.find("CAPTControlPlane", "tokyo")["status"]["secretsReady"] is False


def test_nothing_is_ready_before_both_secrets_are() -> None:
    """Without the outputs Secret: no Ready, secretsReady or ControlPlaneInitialized."""
    done = run(provided())
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["initialized"], status["secretsReady"], status["phase"]) == (
        False,
        False,
        False,
        "Creating",
    )
    assert done.find("Cluster", "tokyo")["status"] == {"controlPlaneReady": False}
    assert (done.has("Secret", "tokyo-ca"), done.has("Secret", "tokyo-kubeconfig")) == (True, False)


def test_secrets_ready_is_recomputed() -> None:
    """The earlier report never counts."""
    lying = changed(ready(), "CAPTControlPlane", "tokyo", {"status": {"secretsReady": False}})
    assert [each.body for each in run(lying).writes] == [{"status": {"secretsReady": True}}]


@pytest.mark.parametrize(
    ("name", "key"),
    [("tokyo-ca", "tls.crt"), ("tokyo-ca", "ca.crt"), ("tokyo-kubeconfig", "value")],
)
def test_a_secret_that_agrees_in_part_does_not_agree(name: str, key: str) -> None:
    """Each of our keys counts, in a foreign Secret too."""
    foreign = changed(
        ready(), "Secret", name, {"metadata": {"ownerReferences": [owner("A", "b", of="c")]}}
    )
    assert _status(foreign)["secretsReady"] is True
    assert (
        _status(changed(foreign, "Secret", name, {"data": {key: base64_of("x")}}))["secretsReady"]
        is False
    )
    assert _status(changed(foreign, "Secret", name, {"data": {key: None}}))["secretsReady"] is False


def test_a_foreign_secret_with_our_content_is_still_reported() -> None:
    """Its content does not matter: 10 s."""
    foreign = changed(
        ready(), "Secret", "tokyo-ca", {"metadata": {"ownerReferences": [owner("A", "b", of="c")]}}
    )
    done = run(foreign)
    assert (done.last.verdict.reason, done.last.requeue_after) == (
        "SecretReconciliationFailed",
        Policy().failing,
    )


@pytest.mark.parametrize("name", ["tokyo-eks-connection", "tokyo-outputs-kubeconfig", *OURS])
def test_an_unreadable_secret_changes_no_report(name: str) -> None:
    """secretsReady included; one Warning Event at the start, and nothing is overwritten."""
    objects = (
        changed(ready(), "Secret", "tokyo-ca", _data({"tls.crt": "old"}))
        if name == "tokyo-eks-connection"
        else ready()
    )
    target = {ref(find(objects, "Secret", name)): "Forbidden"}
    done = run(objects, unreadable=target)
    assert (
        done.objects
        == run(
            [],
        ).objects
        + done.objects
    )
    assert (done.writes, done.last.requeue_after) == ((), Policy().failing)
    assert [(each.type, each.reason) for each in done.events] == [
        ("Warning", done.last.verdict.reason)
    ]
    assert done.last.verdict.reason == (
        "SecretError" if name == "tokyo-eks-connection" else "SecretReconciliationFailed"
    )


def test_an_unreadable_secret_before_the_first_ready_is_failed() -> None:
    """Ready=False with upstream's reason for that object."""
    objects = changed(ready(), "CAPTControlPlane", "tokyo", {"status": None})
    status = _status(
        objects, unreadable={ref(find(objects, "Secret", "tokyo-kubeconfig")): "Forbidden"}
    )
    assert (status["phase"], status.get("ready", False), status["secretsReady"]) == (
        "Failed",
        False,
        False,
    )
    assert status["conditions"] == [
        {
            "type": "Ready",
            "status": "False",
            "reason": "SecretReconciliationFailed",
            "message": "Failed to get Secret: "
            "Secret fleet/tokyo-kubeconfig cannot be read: Forbidden",
            "lastTransitionTime": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        unpaused(NOW.strftime("%Y-%m-%dT%H:%M:%SZ")),
    ]


@pytest.mark.parametrize("reported", [True, False])
@pytest.mark.parametrize("name", ["tokyo-eks-connection", "tokyo-outputs-kubeconfig", *OURS])
def test_an_unreadable_secret_keeps_the_reported_secrets_ready(name: str, reported: bool) -> None:
    """This holds even when the rest of the report changes."""
    before = {"status": {"initialized": False, "secretsReady": reported, "conditions": None}}
    objects = changed(ready(), "CAPTControlPlane", "tokyo", before)
    status = _status(objects, unreadable={ref(find(objects, "Secret", name)): "Forbidden"})
    assert (status["phase"], status["secretsReady"]) == ("Failed", reported)


def test_the_first_ready_waits_for_a_terminating_secret() -> None:
    """Sources alone are not enough: both Secrets exist and agree first."""
    fresh = changed(ready(), "CAPTControlPlane", "tokyo", {"status": None})
    objects = deleting(
        changed(fresh, "Secret", "tokyo-kubeconfig", _data({"value": "old"})),
        "Secret",
        "tokyo-kubeconfig",
    )
    decision = run(objects).last
    assert (decision.verdict.reason, decision.verdict.message) == (
        "Creating",
        "Waiting for secrets",
    )
    assert decision.requeue_after == Policy().initializing


def test_a_malformed_secret_is_an_unreadable_one() -> None:
    """Its content stays out of the message."""
    decision = look(ready(), unreadable={ref(find(ready(), "Secret", "tokyo-ca")): "Malformed"})
    assert (
        decision.verdict.message
        == "Failed to get Secret: Secret fleet/tokyo-ca cannot be read: Malformed"
    )


def test_no_content_of_a_secret_leaks() -> None:
    """Verdicts, reasons, Events, conditions and reprs quote nothing."""
    for objects in (
        without(ready(), "Secret", "tokyo-kubeconfig"),
        changed(ready(), "Secret", "tokyo-ca", _data({"tls.crt": "old"})),
        provided(),
    ):
        done = run(objects)
        output = repr([each.decision for each in done.passes]) + repr(
            done.find("CAPTControlPlane", "tokyo")["status"]["conditions"]
        )
        for canary in ("canary-token", base64_of(KUBECONFIG), "MIIBszCC", base64_of(CA)):
            assert canary not in output
    assert "canary" not in repr(Secret(ObjectMeta("a"), data={"a": b"canary"}))
    assert "canary" not in repr(Invalid("not a certificate"))


def test_a_terminating_secret_with_old_content_is_waited_for() -> None:
    """It cannot be repaired: secretsReady is false, Ready says so, 5 s."""
    leaving = changed(
        deleting(ready(), "Secret", "tokyo-kubeconfig"),
        "Secret",
        "tokyo-kubeconfig",
        {"data": {"value": base64_of("old")}},
    )
    done = run(leaving)
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["secretsReady"], done.last.requeue_after) == (
        True,
        False,
        Policy().initializing,
    )
    assert done.last.verdict.message == "Waiting for secrets"


def test_an_empty_connection_secret_is_reported_in_upstreams_words() -> None:
    """The message is the Go controller's."""
    message = look(plus(ready(), secret("tokyo-eks-connection", {}))).verdict.message
    assert message == "Failed to get certificate authority data: secret or secret data is nil"
