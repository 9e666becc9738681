"""Look at the world of one control plane: the three arguments of `reconcile`, each object in them present, absent or unreadable.

Rules of this module:

1. It looks things up by name and decides nothing; what was asked for is what the control plane depends on.
2. What cannot be looked up because the object that names it is unreadable is unreadable too.
"""

from attrs import frozen

from captep_core._actions import ObjectRef
from captep_core._observation import ABSENT, Observed, ReconcileState, Unreadable
from captep_core.capt._model import (
    CAPTControlPlane,
    Cluster,
    ObjectReference,
    OwnerReference,
    Secret,
    Workspace,
    WorkspaceTemplate,
    WorkspaceTemplateApply,
)
from captep_core.capt._names import (
    CLUSTER_GROUP,
    apply_ref,
    cluster_ref,
    names_of,
    secret_ref,
    template_ref,
    workspace_ref,
)
from captep_core.capt._outputs import Endpoint, Missing, parse_endpoint
from captep_core.capt.wire import as_observed
from captep_core.ports import Read

__all__ = ["AppliedTemplate", "ControlPlane", "Secrets", "cluster_reference", "observe"]


@frozen
class AppliedTemplate:
    """A WorkspaceTemplateApply with the Workspace that its status names (absent while it names none)."""

    apply: Observed[WorkspaceTemplateApply] = ABSENT
    workspace: Observed[Workspace] = ABSENT

    @property
    def workspace_name(self) -> str:
        """The name of the Workspace, "" while the apply names none."""
        return (
            self.apply.status.workspace_name
            if isinstance(self.apply, WorkspaceTemplateApply)
            else ""
        )


@frozen
class ControlPlane:
    """A control plane with the objects that it belongs to and depends on, and what the executor remembers of it.

    `cluster` is the Cluster of the name that the owner reference gives, or of the control plane's own name; whether it is the right one
    is judged later.
    """

    key: ObjectRef
    object: Observed[CAPTControlPlane]
    cluster: Observed[Cluster] = ABSENT
    template: Observed[WorkspaceTemplate] = ABSENT
    vpc: Observed[WorkspaceTemplateApply] = ABSENT
    main: AppliedTemplate = AppliedTemplate()
    kubeconfig: AppliedTemplate = AppliedTemplate()
    spot_check: AppliedTemplate = AppliedTemplate()
    spot_create: AppliedTemplate = AppliedTemplate()
    state: ReconcileState = ReconcileState()


@frozen
class Secrets:
    """The four Secrets: two that Crossplane fills, two that Cluster API reads."""

    connection: Observed[Secret] = ABSENT
    outputs: Observed[Secret] = ABSENT
    ca: Observed[Secret] = ABSENT
    kubeconfig: Observed[Secret] = ABSENT


def observe(
    key: ObjectRef, read: Read, state: ReconcileState = ReconcileState()
) -> tuple[ControlPlane, Secrets, Endpoint]:
    """Look up, by `read`, all that the control plane `key` depends on."""
    control_plane = as_observed(read(key), CAPTControlPlane)
    if not isinstance(control_plane, CAPTControlPlane):
        return ControlPlane(key, control_plane), Secrets(), Missing()
    namespace, spec = key.namespace or "", control_plane.spec
    owner, template = cluster_reference(control_plane), spec.workspace_template_ref
    cluster_name = owner.name if owner else key.name
    names = names_of(key.name, cluster_name, spec.workspace_template_apply_name)
    main = _applied(read, namespace, names.main)
    kubeconfig = _applied(read, namespace, names.kubeconfig_apply)
    secrets = Secrets(
        connection=_connection(read, main, ObjectReference(names.connection, namespace)),
        outputs=_outputs(read, kubeconfig, ObjectReference(names.outputs, namespace)),
        ca=as_observed(read(secret_ref(namespace, names.ca)), Secret),
        kubeconfig=as_observed(read(secret_ref(namespace, names.kubeconfig)), Secret),
    )
    observed = ControlPlane(
        key=key,
        object=control_plane,
        cluster=as_observed(read(cluster_ref(namespace, cluster_name)), Cluster),
        template=as_observed(
            read(template_ref(template.namespace or namespace, template.name)), WorkspaceTemplate
        ),
        vpc=as_observed(read(apply_ref(namespace, names.vpc)), WorkspaceTemplateApply),
        main=main,
        kubeconfig=kubeconfig,
        spot_check=_applied(read, namespace, names.spot_check),
        spot_create=_applied(read, namespace, names.spot_create),
        state=state,
    )
    return observed, secrets, _published(main, secrets.connection)


def cluster_reference(control_plane: CAPTControlPlane) -> OwnerReference | None:
    """Find the owner reference to a Cluster of Cluster API, whatever its version; the controlling one first."""
    found = None
    for ref in control_plane.metadata.owner_references:
        if (
            ref.kind == "Cluster"
            and ref.api_version.partition("/")[0] == CLUSTER_GROUP
            and (found is None or ref.controller > found.controller)
        ):
            found = ref
    return found


def _applied(read: Read, namespace: str, name: str) -> AppliedTemplate:
    apply = as_observed(read(apply_ref(namespace, name)), WorkspaceTemplateApply)
    if isinstance(apply, WorkspaceTemplateApply):
        named = apply.status.workspace_name
        return AppliedTemplate(
            apply, as_observed(read(workspace_ref(named)), Workspace) if named else ABSENT
        )
    return AppliedTemplate(apply, apply)


def _connection(read: Read, main: AppliedTemplate, default: ObjectReference) -> Observed[Secret]:
    """Read the connection Secret of the main Workspace from where that one says it writes it."""
    if isinstance(main.apply, Unreadable):
        return main.apply
    to = (
        main.workspace.spec.write_connection_secret_to_ref
        if isinstance(main.workspace, Workspace)
        else None
    )
    return _secret(read, to or _written_to(main.apply) or default)


def _outputs(read: Read, kubeconfig: AppliedTemplate, default: ObjectReference) -> Observed[Secret]:
    """Read the Secret with the kubeconfig from where the existing apply says; an apply that the Go controller made keeps its own place."""
    if isinstance(kubeconfig.apply, Unreadable):
        return kubeconfig.apply
    return _secret(read, _written_to(kubeconfig.apply) or default)


def _written_to(apply: Observed[WorkspaceTemplateApply]) -> ObjectReference | None:
    return (
        apply.spec.write_connection_secret_to_ref
        if isinstance(apply, WorkspaceTemplateApply)
        else None
    )


def _secret(read: Read, to: ObjectReference) -> Observed[Secret]:
    return as_observed(read(secret_ref(to.namespace, to.name)), Secret)


def _published(main: AppliedTemplate, connection: Observed[Secret]) -> Endpoint:
    """Find the endpoint in the outputs of the main Workspace, else in its connection Secret."""
    workspace = main.workspace
    if isinstance(workspace, Unreadable):
        return workspace
    if isinstance(workspace, Workspace) and workspace.status.at_provider:
        output = workspace.status.at_provider.outputs.get("cluster_endpoint")
        if isinstance(output, str):
            endpoint = parse_endpoint(output)
            if not isinstance(endpoint, Missing):
                return endpoint
    if isinstance(connection, Unreadable):
        return connection
    if isinstance(connection, Secret):
        return parse_endpoint(connection.data.get("cluster_endpoint", b"").decode(errors="replace"))
    return Missing()
