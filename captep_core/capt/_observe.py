"""Read the three arguments of `reconcile` through the port `Read`.

Rules of this module:

1. Objects are looked up by name, and nothing is decided. The objects that were asked for are those
   that the control plane depends on: a change of one of them wakes it.
2. An object is unreadable when the object that names it is unreadable.
"""

from captep_core._actions import ObjectRef
from captep_core._observation import Observed, ReconcileState, Unreadable
from captep_core.capt._model import (
    CAPTControlPlane,
    Cluster,
    ObjectReference,
    Secret,
    Workspace,
    WorkspaceTemplate,
    WorkspaceTemplateApply,
)
from captep_core.capt._names import names_of, secret_ref, template_ref, workspace_ref
from captep_core.capt._observed import AppliedTemplate, ControlPlane, Secrets
from captep_core.capt._outputs import Endpoint, Missing, parse_endpoint
from captep_core.capt._ownership import cluster_reference
from captep_core.capt.wire import as_observed
from captep_core.ports import Read

__all__ = ["observe"]

_NO_STATE = ReconcileState()


def observe(
    key: ObjectRef, read: Read, state: ReconcileState = _NO_STATE
) -> tuple[ControlPlane, Secrets, Endpoint]:
    """Read every object that the control plane `key` depends on; the result is what `reconcile`
    takes.
    """
    control_plane = as_observed(read(key), CAPTControlPlane)
    if not isinstance(control_plane, CAPTControlPlane):
        return ControlPlane(key, control_plane), Secrets(), Missing()
    namespace = key.namespace or ""
    spec = control_plane.spec
    owner = cluster_reference(control_plane)
    cluster_name = owner.name if owner else key.name
    names = names_of(key, cluster_name, spec.workspace_template_apply_name)
    template = template_ref(
        spec.workspace_template_ref.namespace or namespace, spec.workspace_template_ref.name
    )
    main = _applied(read, names.main)
    kubeconfig = _applied(read, names.kubeconfig_apply)
    secrets = Secrets(
        connection=_connection(read, main, names.connection),
        outputs=_outputs(read, kubeconfig, names.outputs),
        ca=as_observed(read(names.ca), Secret),
        kubeconfig=as_observed(read(names.kubeconfig), Secret),
    )
    observed = ControlPlane(
        key=key,
        object=control_plane,
        names=names,
        cluster=as_observed(read(names.cluster), Cluster),
        template=as_observed(read(template), WorkspaceTemplate),
        vpc=as_observed(read(names.vpc), WorkspaceTemplateApply),
        main=main,
        kubeconfig=kubeconfig,
        spot_check=_applied(read, names.spot_check),
        spot_create=_applied(read, names.spot_create),
        state=state,
    )
    return observed, secrets, _endpoint(main, secrets.connection)


def _applied(read: Read, ref: ObjectRef) -> AppliedTemplate:
    apply = as_observed(read(ref), WorkspaceTemplateApply)
    if isinstance(apply, Unreadable):
        return AppliedTemplate(apply, apply)
    if not isinstance(apply, WorkspaceTemplateApply) or not apply.status.workspace_name:
        return AppliedTemplate(apply)
    workspace = read(workspace_ref(apply.status.workspace_name))
    return AppliedTemplate(apply, as_observed(workspace, Workspace))


def _connection(read: Read, main: AppliedTemplate, usual: ObjectRef) -> Observed[Secret]:
    """Read the connection Secret where the Workspace says that it writes it, else where its apply
    says.
    """
    if isinstance(main.apply, Unreadable):
        return main.apply
    written_to = None
    if isinstance(main.workspace, Workspace):
        written_to = main.workspace.spec.write_connection_secret_to_ref
    return _secret(read, written_to or _written_to(main.apply), usual)


def _outputs(read: Read, kubeconfig: AppliedTemplate, usual: ObjectRef) -> Observed[Secret]:
    """Read the Secret with the kubeconfig where its apply says: one of the Go controller keeps its
    own place.
    """
    if isinstance(kubeconfig.apply, Unreadable):
        return kubeconfig.apply
    return _secret(read, _written_to(kubeconfig.apply), usual)


def _written_to(apply: Observed[WorkspaceTemplateApply]) -> ObjectReference | None:
    if isinstance(apply, WorkspaceTemplateApply):
        return apply.spec.write_connection_secret_to_ref
    return None


def _secret(read: Read, place: ObjectReference | None, usual: ObjectRef) -> Observed[Secret]:
    ref = usual if place is None else secret_ref(place.namespace, place.name)
    return as_observed(read(ref), Secret)


def _endpoint(main: AppliedTemplate, connection: Observed[Secret]) -> Endpoint:
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
        written = connection.data.get("cluster_endpoint", b"")
        return parse_endpoint(written.decode(errors="replace"))
    return Missing()
