"""The dependents that a control plane controls: one row for each, which findings, writes and
refusals share.

To add a dependent, follow "Add an owned child" in CONTRIBUTING.md: the row here is one of its
steps.
"""

from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from captep_core._actions import ObjectRef
from captep_core._observation import Observed
from captep_core.capt._facts import Facts
from captep_core.capt._model import Secret, WorkspaceTemplateApply
from captep_core.capt._verdict import Rank

__all__ = [
    "CA",
    "CHILDREN",
    "KUBECONFIG",
    "KUBECONFIG_APPLY",
    "MAIN",
    "SPOT_CHECK",
    "SPOT_CREATE",
    "Child",
    "child_of",
]

ObservedChild: TypeAlias = Observed[WorkspaceTemplateApply] | Observed[Secret]


@frozen
class Child:
    """One dependent.

    `rank` and `reason` are those of its findings: another controller has it, or its write is
    refused. `unreadable_reason` is the reason when it cannot be read. `purpose` says why it is
    written.
    """

    ref: Callable[[Facts], ObjectRef]
    observed: Callable[[Facts], ObservedChild]
    rank: Rank
    reason: str
    unreadable_reason: str
    purpose: str


MAIN = Child(
    ref=lambda facts: facts.names.main,
    observed=lambda facts: facts.observed.main.apply,
    rank=Rank.APPLY,
    reason="WorkspaceTemplateApplyFailed",
    unreadable_reason="WorkspaceTemplateApplyUnreadable",
    purpose="apply the template of the control plane",
)
SPOT_CHECK = Child(
    ref=lambda facts: facts.names.spot_check,
    observed=lambda facts: facts.observed.spot_check.apply,
    rank=Rank.SPOT_ROLE,
    reason="SpotServiceLinkedRoleFailed",
    unreadable_reason="SpotServiceLinkedRoleFailed",
    purpose="check for the role that spot instances need",
)
SPOT_CREATE = Child(
    ref=lambda facts: facts.names.spot_create,
    observed=lambda facts: facts.observed.spot_create.apply,
    rank=Rank.SPOT_ROLE,
    reason="SpotServiceLinkedRoleFailed",
    unreadable_reason="SpotServiceLinkedRoleFailed",
    purpose="create the role that spot instances need",
)
KUBECONFIG_APPLY = Child(
    ref=lambda facts: facts.names.kubeconfig_apply,
    observed=lambda facts: facts.observed.kubeconfig.apply,
    rank=Rank.KUBECONFIG,
    reason="KubeconfigGenerationFailed",
    unreadable_reason="KubeconfigGenerationFailed",
    purpose="apply the template that makes the kubeconfig",
)
CA = Child(
    ref=lambda facts: facts.names.ca,
    observed=lambda facts: facts.secrets.ca,
    rank=Rank.SECRET,
    reason="SecretReconciliationFailed",
    unreadable_reason="SecretReconciliationFailed",
    purpose="copy the certificate authority",
)
KUBECONFIG = Child(
    ref=lambda facts: facts.names.kubeconfig,
    observed=lambda facts: facts.secrets.kubeconfig,
    rank=Rank.SECRET,
    reason="SecretReconciliationFailed",
    unreadable_reason="SecretReconciliationFailed",
    purpose="copy the kubeconfig",
)

# MAIN stands behind the other applies: where its name is ambiguous, the object is theirs.
CHILDREN = (SPOT_CHECK, SPOT_CREATE, KUBECONFIG_APPLY, MAIN, CA, KUBECONFIG)


def child_of(facts: Facts, target: ObjectRef) -> Child | None:
    """Find the row of a dependent; None for the control plane and its Cluster."""
    for child in CHILDREN:
        if child.ref(facts) == target:
            return child
    return None
