"""The observation of one control plane: each object in it is present, absent or unreadable.

`captep_core.capt._observe` fills these classes; nothing here reads or decides.
"""

from typing import TypeAlias

from attrs import Factory, frozen

from captep_core._actions import ObjectRef
from captep_core._observation import ABSENT, Observed, ReconcileState
from captep_core.capt._model import (
    CAPTControlPlane,
    Cluster,
    Secret,
    Workspace,
    WorkspaceTemplate,
    WorkspaceTemplateApply,
)
from captep_core.capt._names import Names, names_of

__all__ = ["AppliedTemplate", "ControlPlane", "ForeignSecret", "ObservedSecret", "Secrets"]


@frozen
class AppliedTemplate:
    """A WorkspaceTemplateApply with the Workspace that its status names; absent while it names
    none.
    """

    apply: Observed[WorkspaceTemplateApply] = ABSENT
    workspace: Observed[Workspace] = ABSENT

    @property
    def workspace_name(self) -> str:
        """The name of the Workspace, "" while the apply names none."""
        apply = self.apply
        return apply.status.workspace_name if isinstance(apply, WorkspaceTemplateApply) else ""


def _usual_names(observed: "ControlPlane") -> Names:
    return names_of(observed.key, observed.key.name, "")


@frozen
class ControlPlane:
    """A control plane with the objects that it belongs to and depends on, and the state of earlier
    passes.

    `names` are the names under which the dependents were looked up. `cluster` is the Cluster of
    that name; whether it is the right one is judged later. `state` comes from the executor.
    """

    key: ObjectRef
    object: Observed[CAPTControlPlane]
    names: Names = Factory(_usual_names, takes_self=True)
    cluster: Observed[Cluster] = ABSENT
    template: Observed[WorkspaceTemplate] = ABSENT
    vpc: Observed[WorkspaceTemplateApply] = ABSENT
    main: AppliedTemplate = AppliedTemplate()
    kubeconfig: AppliedTemplate = AppliedTemplate()
    spot_check: AppliedTemplate = AppliedTemplate()
    spot_create: AppliedTemplate = AppliedTemplate()
    state: ReconcileState = ReconcileState()


@frozen
class ForeignSecret:
    """A reference leads to a Secret of another namespace; it is not read, or does not count.

    Otherwise the writer of an apply in one namespace could have the content of any Secret copied
    there.
    """

    ref: ObjectRef


ObservedSecret: TypeAlias = Observed[Secret] | ForeignSecret


@frozen
class Secrets:
    """The four Secrets: Crossplane fills `connection` and `outputs`, Cluster API reads `ca` and
    `kubeconfig`.
    """

    connection: ObservedSecret = ABSENT
    outputs: ObservedSecret = ABSENT
    ca: Observed[Secret] = ABSENT
    kubeconfig: Observed[Secret] = ABSENT
