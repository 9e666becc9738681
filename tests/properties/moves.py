"""Requests of neighbours and users, one at a time, and the worlds that histories of them lead to.

Crossplane and Terraform work on each WorkspaceTemplateApply in the order of the real controllers:
applied with an empty Secret, filled, Ready. Users edit, pause, delete and damage. The loop runs in
between, and may be interrupted after any write.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from captep_memory import Request, World, load, serve
from tests.capt import worlds as moments
from tests.capt.worlds import CA_OF_EKS, ENDPOINT, KUBECONFIG, SINCE, Object, base64_of, conditions
from tests.properties.driving import NOW, Fault, Scene, collected, drive
from tests.properties.shapes import OTHER_CA, OTHER_ENDPOINT, OTHER_KUBECONFIG

__all__ = ["MOVES", "Move", "destroy", "reachable_worlds", "request", "settle", "terraform"]

Move: TypeAlias = Callable[[World], World]

_APIS: Final = {
    "CAPTControlPlane": "controlplane.cluster.x-k8s.io/v1beta1",
    "Cluster": "cluster.x-k8s.io/v1beta1",
    "WorkspaceTemplate": "infrastructure.cluster.x-k8s.io/v1beta1",
    "WorkspaceTemplateApply": "infrastructure.cluster.x-k8s.io/v1beta1",
    "Workspace": "tf.upbound.io/v1beta1",
    "Secret": "v1",
}
_APPLY_FINALIZER = "infrastructure.cluster.x-k8s.io/finalizer"
_MAIN = "tokyo-eks-controlplane-apply"
_KUBECONFIG = "tokyo-kubeconfig-apply"
_CHECK = "tokyo-spot-role-check"
_CREATE = "tokyo-spot-role-create"


def request(
    verb: Any,  # noqa: ANN401 - the server's own literal
    kind: str,
    name: str,
    body: Mapping[str, Any] | None = None,
    *,
    subresource: str | None = None,
    namespace: str = "fleet",
) -> Move:
    """One request of somebody else; a refused one changes nothing."""
    where = None if kind == "Workspace" else namespace
    about = Request(verb, _APIS[kind], kind, where, name, subresource, dict(body) if body else None)
    return lambda world: collected(serve(world, about)[0])


def _patch(kind: str, name: str, body: Mapping[str, Any], *, namespace: str = "fleet") -> Move:
    return request("patch", kind, name, body, namespace=namespace)


def _report(kind: str, name: str, status: Mapping[str, Any]) -> Move:
    return request("patch", kind, name, {"status": dict(status)}, subresource="status")


def _create(obj: Object) -> Move:
    def move(world: World) -> World:
        metadata = {
            key: value
            for key, value in obj["metadata"].items()
            if key not in ("uid", "resourceVersion")
        }
        made = {**obj, "metadata": metadata}
        about = Request(
            "create", obj["apiVersion"], obj["kind"], metadata.get("namespace"), body=made
        )
        return serve(world, about)[0]

    return move


def _all(*moves: Move) -> Move:
    def move(world: World) -> World:
        for each in moves:
            world = each(world)
        return world

    return move


def _find(world: World, kind: str, name: str, namespace: str | None = "fleet") -> Object | None:
    about = Request("get", _APIS[kind], kind, None if kind == "Workspace" else namespace, name)
    response = serve(world, about)[1]
    return response.body if response.ok else None


_OUTPUTS: Final[Mapping[str, Mapping[str, Any]]] = {
    _MAIN: {"cluster_endpoint": ENDPOINT},
    _KUBECONFIG: {},
    _CHECK: {"role_exists": False},
    _CREATE: {"role_arn": "arn:aws:iam::1:role/x"},
}
_SECRETS: Final[Mapping[str, Mapping[str, str]]] = {
    _MAIN: {"cluster_endpoint": ENDPOINT, "cluster_certificate_authority_data": CA_OF_EKS},
    _KUBECONFIG: {"kubeconfig": KUBECONFIG},
}


def _applied(name: str) -> Move:
    """The apply's controller creates a Workspace, and Crossplane the empty Secret."""

    def move(world: World) -> World:
        apply = _find(world, "WorkspaceTemplateApply", name)
        if apply is None or (apply.get("status") or {}).get("applied"):
            return world
        to = (apply.get("spec") or {}).get("writeConnectionSecretToRef")
        workspace = name.removesuffix("-apply")
        held = [*apply["metadata"].get("finalizers", ()), _APPLY_FINALIZER]
        steps = [
            _patch("WorkspaceTemplateApply", name, {"metadata": {"finalizers": held}}),
            _create(moments.workspace(workspace, to=to, entries=[])),
            _report(
                "WorkspaceTemplateApply",
                name,
                {"applied": True, "workspaceName": workspace, "lastAppliedTime": SINCE},
            ),
        ]
        if to:
            steps.append(_create(moments.secret(to["name"], {}, namespace=to["namespace"])))
        return _all(*steps)(world)

    return move


def _filled(name: str, texts: Mapping[str, str]) -> Move:
    """Terraform writes its outputs into the Secret that the Workspace names."""

    def move(world: World) -> World:
        workspace = _find(world, "Workspace", name.removesuffix("-apply"))
        to = ((workspace or {}).get("spec") or {}).get("writeConnectionSecretToRef")
        if not to:
            return world
        data = {key: base64_of(text) for key, text in texts.items()}
        return _patch("Secret", to["name"], {"data": data}, namespace=to["namespace"])(world)

    return move


def _shown(name: str, outputs: Mapping[str, Any] | None, entries: list[Object]) -> Move:
    """The Workspace shows outputs and conditions, and the apply mirrors the conditions."""
    status: dict[str, Any] = {"conditions": entries} | (
        {"atProvider": {"outputs": dict(outputs)}} if outputs is not None else {}
    )
    return _all(
        _report("Workspace", name.removesuffix("-apply"), status),
        _report("WorkspaceTemplateApply", name, {"conditions": entries}),
    )


def terraform(name: str) -> Move:
    """Everything that follows from an apply, to its end."""
    filled = _filled(name, _SECRETS.get(name, {}))
    return _all(_applied(name), filled, _shown(name, _OUTPUTS[name], conditions()))


def destroy(world: World) -> World:
    """Terraform destroys the Workspace of every terminating apply; the apply follows."""
    for obj in [each for each in world.objects() if each["kind"] == "WorkspaceTemplateApply"]:
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            status = obj.get("status") or {}
            if status.get("workspaceName") and not (obj.get("spec") or {}).get(
                "retainWorkspaceOnDelete"
            ):
                world = request("delete", "Workspace", status["workspaceName"])(world)
            held = [each for each in metadata.get("finalizers", ()) if each != _APPLY_FINALIZER]
            world = _patch(
                "WorkspaceTemplateApply",
                metadata["name"],
                {"metadata": {"finalizers": held or None}},
            )(world)
    return world


def settle(world: World) -> World:
    """The loop runs until it rests."""
    return drive(Scene(world)).end


def _interrupted(writes: int) -> Move:
    """The loop runs, and its process dies after a number of writes, or before the first one."""

    def move(world: World) -> World:
        run = drive(Scene(world), limit=1)
        steps = run.all_steps[:writes]
        return collected(steps[-1].after) if steps else world

    return move


def _lost_answers(world: World) -> World:
    """One pass whose writes land without an answer."""
    return drive(Scene(world), faults=lambda _: Fault.LOST_ANSWER, limit=1).end


def _spec(body: Mapping[str, Any]) -> Move:
    return _patch("CAPTControlPlane", "tokyo", {"spec": dict(body)})


_APPLIES = (_MAIN, _KUBECONFIG, _CHECK, _CREATE)
_USERS: tuple[Move, ...] = (
    _spec({"version": "1.34"}),
    _spec({"additionalTags": {"Team": None, "Cost": "1"}}),
    _spec({"controlPlaneConfig": None}),
    _spec({"controlPlaneEndpoint": {"host": "mine.example.com", "port": 1}}),
    _patch("CAPTControlPlane", "tokyo", {"metadata": {"finalizers": None}}),
    _patch(
        "CAPTControlPlane", "tokyo", {"metadata": {"annotations": {"cluster.x-k8s.io/paused": ""}}}
    ),
    _patch("CAPTControlPlane", "tokyo", {"metadata": {"annotations": None}}),
    request("delete", "CAPTControlPlane", "tokyo"),
    _create(moments.control_plane()),
    request("delete", "Cluster", "tokyo"),
    _create(moments.cluster()),
    _patch("Cluster", "tokyo", {"spec": {"paused": True}}),
    _patch("Cluster", "tokyo", {"spec": {"paused": False}}),
    _patch(
        "Cluster",
        "tokyo",
        {"metadata": {"annotations": {"cluster.x-k8s.io/region": "ap-northeast-1"}}},
    ),
    request("delete", "WorkspaceTemplate", "eks"),
    _create(moments.template()),
    request("delete", "Secret", "tokyo-ca"),
    request("delete", "Secret", "tokyo-kubeconfig"),
    _patch("Secret", "tokyo-kubeconfig", {"data": {"value": "eA=="}, "metadata": {"labels": None}}),
    _patch("Secret", "tokyo-ca", {"data": {"ca.crt": None}, "metadata": {"ownerReferences": None}}),
    *(request("delete", "WorkspaceTemplateApply", name) for name in _APPLIES),
    _patch(
        "WorkspaceTemplateApply",
        _MAIN,
        {"spec": {"variables": {"region": "us-east-1", "mine": "1"}}},
    ),
    _create(moments.apply("tokyo-vpc", {})),
)
_PROVIDERS: tuple[Move, ...] = (
    *(_applied(name) for name in _APPLIES),
    *(terraform(name) for name in _APPLIES),
    *(_shown(name, None, conditions(synced="apply failed: quota")) for name in _APPLIES),
    _all(_filled(_MAIN, _SECRETS[_MAIN]), _shown(_MAIN, None, conditions(ready=False))),
    _shown(_MAIN, None, conditions(ready=False)),
    _shown(_MAIN, {"cluster_endpoint": "https://not a host"}, conditions()),
    _shown(_MAIN, {"cluster_endpoint": OTHER_ENDPOINT}, conditions()),
    _filled(
        _MAIN, {"cluster_endpoint": OTHER_ENDPOINT, "cluster_certificate_authority_data": OTHER_CA}
    ),
    _filled(_KUBECONFIG, {"kubeconfig": OTHER_KUBECONFIG}),
    _filled(_KUBECONFIG, {"kubeconfig": ""}),
    request("delete", "Secret", "tokyo-eks-connection"),
    request("delete", "Workspace", "tokyo-eks-controlplane"),
    destroy,
)
_LOOP: tuple[Move, ...] = (settle, *(_interrupted(writes) for writes in range(4)), _lost_answers)
MOVES: Final[tuple[Move, ...]] = (settle, *_PROVIDERS, *_USERS, *_LOOP)


def _moved(start: World, moves: Sequence[Move]) -> Scene:
    return Scene(_all(*moves)(start))


def reachable_worlds() -> st.SearchStrategy[Scene]:
    """Worlds with a history, from a new control plane or from a provided one."""
    new = load(moments.new(), now=NOW)
    provided = _all(settle, terraform(_CHECK), terraform(_MAIN), settle, terraform(_KUBECONFIG))(
        new
    )
    starts = st.sampled_from((new, provided, settle(provided)))
    usual = st.lists(
        st.one_of(st.sampled_from(_PROVIDERS), st.sampled_from(_USERS), st.sampled_from(_LOOP)),
        max_size=8,
    )
    return st.builds(_moved, starts, usual)
