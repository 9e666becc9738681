"""The words of verdicts, reasons and Events, all of them, so that none changes by accident."""

import pytest

from captep_core import RecordEvent, Unknown, write_of
from captep_core.capt._verdict import ControlPlaneUnreadable
from tests.capt.driving import look, ref
from tests.capt.worlds import (
    Object,
    Objects,
    apply,
    base64_of,
    changed,
    created,
    deleting,
    find,
    new,
    plus,
    provided,
    ready,
    waiting,
    without,
    workspace,
)

APPLY = "WorkspaceTemplateApply"
MAIN = "tokyo-eks-controlplane-apply"
KUBECONFIG = "tokyo-kubeconfig-apply"

THE_MAIN, THE_CHECK, THE_GENERATOR = (
    f"{APPLY} fleet/{name}" for name in (MAIN, "tokyo-spot-role-check", KUBECONFIG)
)
OF = "of uid-of-captcontrolplane-tokyo"


def orphaned(objects: Objects, *names: tuple[str, str]) -> Objects:
    """Return the world in which nobody owns these objects."""

    def bare(obj: Object) -> Object:
        return {
            **obj,
            "metadata": {
                key: value for key, value in obj["metadata"].items() if key != "ownerReferences"
            },
        }

    return plus(objects, *(bare(find(objects, *name)) for name in names))


LEAVING = deleting(ready(), "CAPTControlPlane", "tokyo")
GONE = without(LEAVING, "Workspace", "tokyo-eks-controlplane")
WORLDS = {
    "unreported": changed(
        created(), "CAPTControlPlane", "tokyo", {"status": {"conditions": None, "phase": None}}
    ),
    "new": new(),
    "provided": provided(),
    "leaving": LEAVING,
    "workspace gone": GONE,
    "all gone": without(GONE, APPLY, MAIN),
    "orphans": orphaned(
        ready(),
        (APPLY, MAIN),
        (APPLY, "tokyo-spot-role-check"),
        (APPLY, KUBECONFIG),
        ("Secret", "tokyo-ca"),
        ("Secret", "tokyo-kubeconfig"),
    ),
    "version": changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"version": "1.99"}}),
    "differs": changed(
        changed(
            changed(ready(), "Secret", "tokyo-ca", {"data": {"tls.crt": base64_of("x")}}),
            "Secret",
            "tokyo-kubeconfig",
            {"metadata": {"labels": None}, "data": {"value": base64_of("x")}},
        ),
        APPLY,
        KUBECONFIG,
        {"spec": {"variables": {"region": "x"}}},
    ),
    "type": changed(ready(), "Secret", "tokyo-kubeconfig", {"type": "Opaque"}),
    "url": changed(
        ready(), "Cluster", "tokyo", {"spec": {"controlPlaneEndpoint": {"host": "https://x"}}}
    ),
    "secrets": without(without(ready(), "Secret", "tokyo-ca"), "Secret", "tokyo-kubeconfig"),
    "no role": plus(waiting(), workspace("tokyo-spot-role-check", {"role_exists": False})),
}
EXPECTED: dict[str, tuple[str, list[str]]] = {
    "unreported": (
        "Creating: Control plane is being created",
        [
            "patch CAPTControlPlane fleet/tokyo/status: report: conditions, phase",
            f"Normal Creating {OF}: Control plane is being created",
        ],
    ),
    "new": (
        "Creating: Control plane is being created",
        [
            (
                "patch CAPTControlPlane fleet/tokyo: add the finalizer, refer to Cluster tokyo as "
                "the owner, name the WorkspaceTemplateApply"
            ),
            f"create {THE_CHECK}: check for the role that spot instances need",
            f"create {THE_MAIN}: apply the template of the control plane",
        ],
    ),
    "provided": (
        "Creating: Waiting for secrets",
        [
            "patch CAPTControlPlane fleet/tokyo: publish the endpoint",
            f"create {THE_GENERATOR}: apply the template that makes the kubeconfig",
            "create Secret fleet/tokyo-ca: copy the certificate authority",
            "patch Cluster fleet/tokyo: publish the endpoint",
        ],
    ),
    "leaving": (
        "AwaitingWorkspaceDeletion: waiting until Workspace tokyo-eks-controlplane is destroyed",
        [
            "patch Cluster fleet/tokyo: withdraw the endpoint that was ours",
            f"delete {THE_MAIN}: the control plane is being deleted",
            f"Normal Deleting {OF}: {THE_MAIN} is deleted",
            (
                f"Normal AwaitingWorkspaceDeletion {OF}: waiting until Workspace "
                "tokyo-eks-controlplane is destroyed"
            ),
        ],
    ),
    "workspace gone": (
        "Deleting: CAPTControlPlane fleet/tokyo is being deleted",
        [
            "patch Cluster fleet/tokyo: withdraw the endpoint that was ours",
            f"delete {THE_MAIN}: the control plane is being deleted",
            f"Normal Deleting {OF}: {THE_MAIN} is deleted",
            f"delete {THE_GENERATOR}: the Workspace is gone",
            "patch CAPTControlPlane fleet/tokyo: release the control plane",
        ],
    ),
    "all gone": (
        "Deleting: CAPTControlPlane fleet/tokyo is being deleted",
        [
            "patch Cluster fleet/tokyo: withdraw the endpoint that was ours",
            f"delete {THE_GENERATOR}: the Workspace is gone",
            "patch CAPTControlPlane fleet/tokyo: release the control plane",
            f"Normal Deleting {OF}: nothing is left to delete",
        ],
    ),
    "orphans": (
        "Ready: Control plane is ready",
        [
            f"patch {THE_CHECK}: check for the role that spot instances need: adopt it",
            f"patch {THE_MAIN}: apply the template of the control plane: adopt it",
        ],
    ),
    "version": (
        "Ready: Control plane is ready",
        [
            f"patch {THE_MAIN}: apply the template of the control plane: its spec differs",
            (
                f"Warning VersionNotPassedOn {OF}: spec.version is written to {MAIN}, which was "
                "applied before and does not pass it on to its Workspace"
            ),
        ],
    ),
    "differs": (
        "Ready: Control plane is ready",
        [
            (
                f"patch {THE_GENERATOR}: apply the template that makes the kubeconfig: "
                "its spec differs"
            ),
            "patch Secret fleet/tokyo-ca: copy the certificate authority: its content differs",
            (
                "patch Secret fleet/tokyo-kubeconfig: copy the kubeconfig: "
                "its label is missing, its content differs"
            ),
        ],
    ),
    "type": (
        "Ready: Control plane is ready",
        [
            (
                "delete Secret fleet/tokyo-kubeconfig: its type is not cluster.x-k8s.io/secret and "
                "cannot be changed: it is created again"
            )
        ],
    ),
    "url": ("Ready: Control plane is ready", ["patch Cluster fleet/tokyo: publish the endpoint"]),
    "secrets": (
        "Ready: Control plane is ready",
        [
            "create Secret fleet/tokyo-ca: copy the certificate authority",
            "create Secret fleet/tokyo-kubeconfig: copy the kubeconfig",
        ],
    ),
    "no role": (
        "Creating: Control plane is being created",
        [f"create {APPLY} fleet/tokyo-spot-role-create: create the role that spot instances need"],
    ),
}
UNREADABLE: dict[tuple[str, str], str] = {
    ("ready", "WorkspaceTemplateApply fleet/tokyo-vpc"): (
        "WorkspaceTemplateApplyUnreadable: Failed to get WorkspaceTemplateApply: "
        "WorkspaceTemplateApply fleet/tokyo-vpc cannot be read: Timeout"
    ),
    ("ready", "WorkspaceTemplate fleet/eks"): (
        "WorkspaceTemplateUnreadable: Failed to get WorkspaceTemplate: "
        "WorkspaceTemplate fleet/eks cannot be read: Timeout"
    ),
    ("ready", "WorkspaceTemplateApply fleet/tokyo-spot-role-check"): (
        "SpotServiceLinkedRoleFailed: Failed to get WorkspaceTemplateApply: "
        "WorkspaceTemplateApply fleet/tokyo-spot-role-check cannot be read: Timeout"
    ),
    ("ready", "Workspace tokyo-spot-role-check"): (
        "SpotServiceLinkedRoleFailed: Failed to reconcile Spot Service-Linked Role: "
        "Workspace tokyo-spot-role-check cannot be read: Timeout"
    ),
    ("ready", "WorkspaceTemplateApply fleet/tokyo-eks-controlplane-apply"): (
        "WorkspaceTemplateApplyUnreadable: Failed to get WorkspaceTemplateApply: "
        "WorkspaceTemplateApply fleet/tokyo-eks-controlplane-apply cannot be read: Timeout"
    ),
    ("ready", "Workspace tokyo-eks-controlplane"): (
        "WorkspaceStatusUpdateFailed: Failed to update workspace status: "
        "Workspace tokyo-eks-controlplane cannot be read: Timeout"
    ),
    ("ready", "Secret fleet/tokyo-eks-connection"): (
        "SecretError: Failed to get secret: the connection Secret cannot be read: Timeout"
    ),
    ("ready", "CAPTControlPlane fleet/tokyo"): (
        "ControlPlaneUnreadable: CAPTControlPlane fleet/tokyo cannot be read: Timeout"
    ),
    ("ready", "Cluster fleet/tokyo"): (
        "ClusterUnreadable: Failed to get owner cluster: "
        "Cluster fleet/tokyo cannot be read: Timeout"
    ),
    ("ready", "WorkspaceTemplateApply fleet/tokyo-kubeconfig-apply"): (
        "KubeconfigGenerationFailed: Failed to get WorkspaceTemplateApply: "
        "WorkspaceTemplateApply fleet/tokyo-kubeconfig-apply cannot be read: Timeout"
    ),
    ("ready", "Secret fleet/tokyo-outputs-kubeconfig"): (
        "SecretReconciliationFailed: "
        "Failed to reconcile secrets: the outputs Secret cannot be read: Timeout"
    ),
    ("ready", "Secret fleet/tokyo-ca"): (
        "SecretReconciliationFailed: Failed to get Secret: "
        "Secret fleet/tokyo-ca cannot be read: Timeout"
    ),
    ("ready", "Secret fleet/tokyo-kubeconfig"): (
        "SecretReconciliationFailed: Failed to get Secret: "
        "Secret fleet/tokyo-kubeconfig cannot be read: Timeout"
    ),
    ("leaving", "WorkspaceTemplateApply fleet/tokyo-eks-controlplane-apply"): (
        "WorkspaceTemplateApplyUnreadable: Failed to delete: "
        "WorkspaceTemplateApply fleet/tokyo-eks-controlplane-apply cannot be read: Timeout"
    ),
    ("leaving", "Workspace tokyo-eks-controlplane"): (
        "WorkspaceStatusUpdateFailed: Failed to delete: "
        "Workspace tokyo-eks-controlplane cannot be read: Timeout"
    ),
    ("leaving", "CAPTControlPlane fleet/tokyo"): (
        "ControlPlaneUnreadable: CAPTControlPlane fleet/tokyo cannot be read: Timeout"
    ),
    ("leaving", "Cluster fleet/tokyo"): (
        "ClusterUnreadable: Failed to get owner cluster: "
        "Cluster fleet/tokyo cannot be read: Timeout"
    ),
    ("leaving", "WorkspaceTemplateApply fleet/tokyo-kubeconfig-apply"): (
        "KubeconfigGenerationFailed: Failed to delete: "
        "WorkspaceTemplateApply fleet/tokyo-kubeconfig-apply cannot be read: Timeout"
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_a_decision_explains_itself(name: str) -> None:
    """The verdict, and for each action its write and its reason."""
    decision = look(WORLDS[name])
    said = [
        f"{action.type} {action.reason} of {action.preconditions.uid}: {action.message}"
        if isinstance(action, RecordEvent)
        else f"{write_of(action)}: {action.reason}"
        for action in decision.actions
    ]
    assert (f"{decision.verdict.reason}: {decision.verdict.message}", said) == EXPECTED[name]


def test_a_template_without_a_namespace_is_named_with_ours() -> None:
    """The message names the place of the lookup."""
    objects = changed(
        ready(),
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"workspaceTemplateRef": {"namespace": None}}},
    )
    verdict = look(
        objects, unreadable={ref(find(ready(), "WorkspaceTemplate", "eks")): "Timeout"}
    ).verdict
    assert (
        f"{verdict.reason}: {verdict.message}" == UNREADABLE["ready", "WorkspaceTemplate fleet/eks"]
    )


def test_every_unreadable_object_that_matters_is_named() -> None:
    """Each object in turn, in a Ready world and in a terminating one."""
    found = {}
    for obj in (*ready(), apply("tokyo-vpc", {})):
        waits = (obj["kind"], obj["metadata"]["name"]) == ("Workspace", "tokyo-eks-controlplane")
        for label, objects in (("ready", ready()), ("leaving", LEAVING if waits else GONE)):
            verdict = look(objects, unreadable={ref(obj): "Timeout"}).verdict
            if isinstance(verdict, Unknown | ControlPlaneUnreadable):
                found[label, str(ref(obj))] = f"{verdict.reason}: {verdict.message}"
    assert found == UNREADABLE


@pytest.mark.parametrize("verdict", ["Deleting", "AwaitingWorkspaceDeletion"])
def test_a_deletion_is_announced_once(verdict: str) -> None:
    """One Event when it starts."""
    assert not any(
        isinstance(action, RecordEvent)
        for action in look(WORLDS["all gone"], verdict=verdict).actions
    )
