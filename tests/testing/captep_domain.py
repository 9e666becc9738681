"""The project's own core as a domain of the kit.

One control plane, its Cluster, its applies and Secrets, and the other actors on them.
"""

from typing import Any

from captep_core import FINALIZER, ObjectRef, control_plane_ref, decide
from captep_memory import Key, World, group_of, load
from captep_testing import Kit, Move, moves
from tests.capt import worlds
from tests.capt.driving import NOW

__all__ = ["KEY", "captep", "captep_worlds", "matches", "neighbours"]

KEY = control_plane_ref("fleet", "tokyo")
CLUSTER = ObjectRef(worlds.CLUSTER_API, "Cluster", "fleet", "tokyo")
MAIN = ObjectRef(
    worlds.INFRASTRUCTURE_API, "WorkspaceTemplateApply", "fleet", "tokyo-eks-controlplane-apply"
)
CA = ObjectRef("v1", "Secret", "fleet", "tokyo-ca")
KUBECONFIG = ObjectRef("v1", "Secret", "fleet", "tokyo-kubeconfig")
WORKSPACE = ObjectRef(worlds.TERRAFORM_API, "Workspace", None, "tokyo-eks-controlplane")

_PROVIDED: dict[str, dict[str, Any] | None] = {
    "tokyo-eks-controlplane-apply": {"cluster_endpoint": worlds.ENDPOINT},
    "tokyo-spot-role-check": {"role_exists": True},
    "tokyo-kubeconfig-apply": None,
}
_SECRETS: dict[str, dict[str, str]] = {
    "tokyo-eks-controlplane-apply": {
        "cluster_endpoint": worlds.ENDPOINT,
        "cluster_certificate_authority_data": worlds.CA_OF_EKS,
    },
    "tokyo-kubeconfig-apply": {"kubeconfig": worlds.KUBECONFIG},
}


def _key(obj: Any) -> Key:  # noqa: ANN401 - JSON
    return Key(
        group_of(obj["apiVersion"]),
        obj["kind"],
        obj["metadata"].get("namespace"),
        obj["metadata"]["name"],
    )


def at(world: World, ref: ObjectRef) -> Any:  # noqa: ANN401 - JSON
    """Return a stored object, None when the server has none."""
    return world.get(Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name))


def neighbours(world: World) -> World:
    """Let Terraform and Crossplane work.

    Apply every new apply, destroy every orphaned Workspace.
    """
    applies = dict(
        world.shelf("infrastructure.cluster.x-k8s.io", "WorkspaceTemplateApply", "fleet")
    )
    for name, apply in applies.items():
        if not apply.get("status", {}).get("applied"):
            world = _applied(world, name, apply)
    for name in list(world.shelf("tf.upbound.io", "Workspace", None)):
        if not {f"{name}-apply", name} & set(applies):
            world = world.remove(_key(at(world, _workspace(name))))
    return world


def _workspace(name: str) -> ObjectRef:
    return ObjectRef(worlds.TERRAFORM_API, "Workspace", None, name)


def _applied(world: World, name: str, apply: Any) -> World:  # noqa: ANN401 - JSON
    workspace, to = name.removesuffix("-apply"), apply["spec"].get("writeConnectionSecretToRef")
    made = [worlds.workspace(workspace, _PROVIDED[name], to=to)]
    made += [worlds.secret(to["name"], _SECRETS[name], namespace=to["namespace"])] if to else []
    for obj in made:
        if world.get(_key(obj)) is None:
            world = world.put(_key(obj), obj)[0]
    status = {
        "applied": True,
        "workspaceName": workspace,
        "lastAppliedTime": worlds.SINCE,
        "conditions": worlds.conditions(),
    }
    return world.put(_key(apply), {**apply, "status": status})[0]


def matches(world: World) -> bool:
    """Whether a deleted control plane is released with all it owned, and a living one is Ready and
    published.
    """
    cp, cluster = at(world, KEY), at(world, CLUSTER)
    if cp is None or "deletionTimestamp" in cp["metadata"]:
        return (cp is None or FINALIZER not in cp["metadata"].get("finalizers", [])) and (
            cp is not None or at(world, MAIN) is None
        )
    endpoint, status = {"host": worlds.HOST, "port": 443}, cp.get("status", {})
    secrets = [at(world, CA), at(world, KUBECONFIG)]
    copied = [
        {"tls.crt": worlds.base64_of(worlds.CA), "ca.crt": worlds.base64_of(worlds.CA)},
        {"value": worlds.base64_of(worlds.KUBECONFIG)},
    ]
    return (
        cp["spec"].get("controlPlaneEndpoint")
        == cluster["spec"].get("controlPlaneEndpoint")
        == endpoint
        and all(
            each is not None and copy.items() <= each["data"].items()
            for each, copy in zip(secrets, copied, strict=True)
        )
        and status.get("ready")
        is status.get("secretsReady")
        is cluster.get("status", {}).get("controlPlaneReady")
        is True
    )


def is_published(world: World) -> bool:
    """Whether the control plane shows its endpoint, which is what its Ready promises."""
    cp = at(world, KEY)
    return cp is not None and cp["spec"].get("controlPlaneEndpoint") == {
        "host": worlds.HOST,
        "port": 443,
    }


def finalizer_before_applies(before: World, after: World) -> bool:
    """A control plane without a finalizer gets no apply, unless it is being deleted."""
    cp, made = at(before, KEY), at(before, MAIN) is None and at(after, MAIN) is not None
    return (
        not made
        or cp is None
        or "deletionTimestamp" in cp["metadata"]
        or FINALIZER in cp["metadata"].get("finalizers", [])
    )


def leaves_workspaces_alone(before: World, after: World) -> bool:
    """Workspaces belong to Terraform: the loop never creates, changes or deletes one."""
    return dict(before.shelf("tf.upbound.io", "Workspace", None)) == dict(
        after.shelf("tf.upbound.io", "Workspace", None)
    )


def captep_worlds() -> dict[str, World]:
    """Return a control plane at six moments; `held` is a new one with a foreign finalizer."""
    moments = {
        "new": worlds.new(),
        "held": worlds.changed(
            worlds.new(),
            "CAPTControlPlane",
            "tokyo",
            {"metadata": {"finalizers": ["example.com/other"]}},
        ),
        "created": worlds.created(),
        "provided": worlds.provided(),
        "ready": worlds.ready(),
        "leaving": worlds.deleting(worlds.ready(), "CAPTControlPlane", "tokyo"),
    }
    return {name: load(objects, now=NOW) for name, objects in moments.items()}


MOVES: dict[str, Move] = {
    "neighbours do their work": neighbours,
    "user deletes the control plane": moves.delete(KEY),
    "user changes the version": moves.edit(KEY, {"spec": {"version": "1.34"}}),
    "somebody deletes the CA": moves.delete(CA),
    "somebody replaces the kubeconfig": moves.recreate(
        KUBECONFIG, change=lambda obj: {**obj, "data": {"value": "b3RoZXI="}}
    ),
    "somebody labels the Cluster": moves.edit(CLUSTER, {"metadata": {"labels": {"team": "a"}}}),
    "Workspace loses its endpoint": moves.edit(
        WORKSPACE, {"status": {"atProvider": {"outputs": None}}}, subresource="status"
    ),
}
OWNED = {
    "CAPTControlPlane": (
        ("metadata", "finalizers", FINALIZER),
        ("metadata", "ownerReferences"),
        ("spec", "workspaceTemplateApplyName"),
        ("spec", "controlPlaneEndpoint"),
        ("status",),
    ),
    "Cluster": (
        ("spec", "controlPlaneEndpoint"),
        ("status", "controlPlaneReady"),
        ("status", "conditions", "ControlPlaneInitialized"),
        ("status", "failureReason"),
        ("status", "failureMessage"),
    ),
    "WorkspaceTemplateApply": (("metadata", "ownerReferences"), ("spec",)),
    "Secret": (
        ("metadata", "ownerReferences"),
        ("metadata", "labels", worlds.CLUSTER_LABEL),
        *(("data", name) for name in ("tls.crt", "ca.crt", "value")),
    ),
}


_NOT_YET = (
    "somebody deletes the CA",
    "somebody replaces the kubeconfig",
    "Workspace loses its endpoint",
)
IMPOSSIBLE: dict[str, tuple[str, ...]] = {
    "new": _NOT_YET,
    "held": _NOT_YET,
    "created": _NOT_YET,
    "provided": ("somebody replaces the kubeconfig",),
    "ready": ("neighbours do their work",),
    "leaving": ("user deletes the control plane",),
}
"""The moves that are impossible as the first one after a moment: K1 would miss them."""

_TOO_EARLY = "Terraform works first, and nobody deletes the Secret that the loop makes"
UNREACHED: dict[str, dict[str, str]] = {
    "new": {"somebody replaces the kubeconfig": _TOO_EARLY},
    "held": {
        "somebody replaces the kubeconfig": _TOO_EARLY,
        "control plane gone": "the finalizer of another controller stays",
    },
    "created": {"somebody replaces the kubeconfig": _TOO_EARLY},
    "leaving": {"user deletes the control plane": "it is being deleted"},
}
"""The moves and events that two moves after a moment do not reach, with the reasons."""


def captep(*names: str, all_moves: bool = False) -> Kit:
    """Return the kit of captep's core with the named moments, by default all."""
    moments = captep_worlds()
    impossible = set.intersection(*(set(IMPOSSIBLE[name]) for name in names or moments))
    possible = {name: move for name, move in MOVES.items() if all_moves or name not in impossible}
    unreached = [UNREACHED.get(name, {}) for name in names or moments]
    everywhere = set.intersection(*map(set, unreached)) & {*possible, "control plane gone"}
    return Kit(
        decide,
        (KEY,),
        {name: moments[name] for name in names or moments},
        matches,
        owned=OWNED,
        moves=possible,
        neighbours=neighbours,
        shared=(CLUSTER,),
        ready=is_published,
        always={
            "finalizer before applies": finalizer_before_applies,
            "Workspaces left alone": leaves_workspaces_alone,
        },
        sometimes={"control plane gone": lambda world: at(world, KEY) is None},
        waive={f"K1: {name}": unreached[0][name] for name in sorted(everywhere)},
        canaries=(worlds.KUBECONFIG, "canary-token", "c2VjcmV0LWNhbmFyeS1jYS1ib2R5AAA="),
    )
