"""Laws of every single write, in any world: P8, P9, P10 and P13.

The table of owned fields repeats the contract on purpose: it is not read from the code under test.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from captep_core import FINALIZER, Create, Delete, ObjectRef, Patch, RecordEvent
from captep_memory import World
from tests.properties.driving import KEY, Step, stored

__all__ = [
    "bound_to_its_incarnation",
    "disciplined",
    "every_write_is_safe",
    "framed",
    "main_apply",
    "never_empties",
]

Path: TypeAlias = tuple[str, ...]

_BOOKKEEPING: Final = {
    ("metadata", "resourceVersion"),
    ("metadata", "generation"),
    ("metadata", "managedFields"),
}
_TERMINATION: Final = {
    ("metadata", "deletionTimestamp"),
    ("metadata", "deletionGracePeriodSeconds"),
}
_LOCKED_LISTS: Final = {"finalizers", "ownerReferences", "waitForWorkspaces", "conditions"}
_OWNED: Final[Mapping[str, frozenset[Path]]] = {
    "CAPTControlPlane": frozenset(
        {
            ("metadata", "finalizers"),
            ("metadata", "ownerReferences"),
            ("spec", "workspaceTemplateApplyName"),
            ("spec", "controlPlaneEndpoint"),
            ("status", "ready"),
            ("status", "initialized"),
            ("status", "secretsReady"),
            ("status", "phase"),
            ("status", "version"),
            ("status", "failureReason"),
            ("status", "failureMessage"),
            ("status", "workspaceTemplateStatus", "ready"),
            ("status", "workspaceTemplateStatus", "lastAppliedRevision"),
            ("status", "workspaceTemplateStatus", "lastFailureMessage"),
            ("status", "workspaceStatus"),
            ("status", "conditions"),
        }
    ),
    "Cluster": frozenset(
        {
            ("spec", "controlPlaneEndpoint"),
            ("status", "controlPlaneReady"),
            ("status", "failureReason"),
            ("status", "failureMessage"),
            ("status", "conditions"),
        }
    ),
    "WorkspaceTemplateApply": frozenset(
        {
            ("metadata", "ownerReferences"),
            ("spec", "templateRef"),
            ("spec", "variables"),
            ("spec", "writeConnectionSecretToRef"),
            ("spec", "waitForWorkspaces"),
        }
    ),
    "Secret": frozenset(
        {
            ("metadata", "ownerReferences"),
            ("metadata", "labels", "cluster.x-k8s.io/cluster-name"),
            ("data", "tls.crt"),
            ("data", "ca.crt"),
            ("data", "value"),
        }
    ),
}
"""The fields that the loop writes, as docs/reference.md lists them."""
_CONDITIONS: Final = {
    "CAPTControlPlane": ("Ready", "Paused"),
    "Cluster": ("ControlPlaneInitialized",),
}


def every_write_is_safe(steps: Iterable[Step]) -> None:
    """Check each step on its own."""
    for step in steps:
        bound_to_its_incarnation(step)
        framed(step)
        disciplined(step)
        never_empties(step)


def bound_to_its_incarnation(step: Step) -> None:
    """P8: a delete or patch carries the uid of the object that it hits."""
    action = step.action
    if not isinstance(action, Delete | Patch):
        return
    assert action.preconditions.uid, f"{action} carries no uid"
    if isinstance(action, Patch) and (
        action.subresource or _LOCKED_LISTS & set(_keys(action.body))
    ):
        assert action.preconditions.resource_version, f"{action} carries no resourceVersion"
    if step.is_effective:
        assert _metadata(step.before, action.target)["uid"] == action.preconditions.uid


def _keys(body: Mapping[str, Any]) -> Iterator[str]:
    for part in ("metadata", "spec", "status"):
        yield from body.get(part) or ()


def _metadata(world: World, ref: ObjectRef) -> dict[str, Any]:
    obj = stored(world, ref)
    assert obj is not None, f"{ref} is not there"
    return dict(obj["metadata"])


def framed(step: Step) -> None:
    """P9: a write changes one object, of it the fields that we own, and no foreign object."""
    target = step.action.target
    before = stored(step.before, target)
    after = stored(step.after, target)
    if (
        target.kind in ("WorkspaceTemplateApply", "Secret")
        and before is not None
        and stored(step.before, KEY) is not None
    ):
        assert _controllers(before) <= {_metadata(step.before, KEY)["uid"]}, (
            f"{step.action} touches what another controls"
        )
    if not step.is_effective:
        return
    assert _others(step.before, target) == _others(step.after, target)
    if isinstance(step.action, Patch) and before is not None and after is not None:
        foreign = {path for path in _differences(before, after) if not _is_owned(target.kind, path)}
        assert not foreign, f"{step.action} changes {foreign}"
        assert _entries_of_others(target, before) == _entries_of_others(target, after)


def _others(world: World, ref: ObjectRef) -> list[Any]:
    here = (ref.kind, ref.namespace, ref.name)
    return [
        obj
        for obj in world.objects()
        if (obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) != here
    ]


def _controllers(obj: Mapping[str, Any]) -> set[str]:
    return {
        ref["uid"] for ref in obj["metadata"].get("ownerReferences", ()) if ref.get("controller")
    }


def _differences(before: object, after: object, path: Path = ()) -> Iterator[Path]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {*before, *after}:
            yield from _differences(before.get(key, {}), after.get(key, {}), (*path, key))
    elif isinstance(after, dict) and before in ({}, None):
        yield from _differences({}, after, path)
    elif before != after or type(before) is not type(after):
        yield path


def _is_owned(kind: str, path: Path) -> bool:
    return path in _BOOKKEEPING or any(
        path[: len(owned)] == owned for owned in _OWNED.get(kind, ())
    )


def _entries_of_others(
    target: ObjectRef, obj: Mapping[str, Any]
) -> tuple[list[Any], list[Any], list[Any]]:
    metadata = obj["metadata"]
    mine = _CONDITIONS.get(target.kind, ())
    ours = ("Cluster",) if target == KEY else ("CAPTControlPlane",)
    finalizers = [
        each for each in metadata.get("finalizers", ()) if target != KEY or each != FINALIZER
    ]
    references = [each for each in metadata.get("ownerReferences", ()) if each["kind"] not in ours]
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return finalizers, references, [each for each in conditions if each["type"] not in mine]


def disciplined(step: Step) -> None:
    """P10: our finalizer comes first, goes last, and is the only one that we touch."""
    if not step.is_effective:
        return
    action = step.action
    before = stored(step.before, KEY)
    after = stored(step.after, KEY)
    assert before is not None, f"{action} without a control plane"
    held = before["metadata"].get("finalizers", [])
    if _needs_cleaning_up(step):
        assert FINALIZER in held, f"{action} before the finalizer"
    kept = [] if after is None else after["metadata"].get("finalizers", [])
    if before["metadata"].get("deletionTimestamp"):
        assert FINALIZER in held or FINALIZER not in kept, (
            "the finalizer is added to what is being deleted"
        )
    else:
        assert FINALIZER not in held or FINALIZER in kept, (
            "the finalizer is taken off what is to stay"
        )
    if FINALIZER in held and FINALIZER not in kept:
        _is_cleaned_up(step.before, before)
    assert [each for each in held if each != FINALIZER] == [
        each for each in kept if each != FINALIZER
    ]


def _needs_cleaning_up(step: Step) -> bool:
    kind = step.action.target.kind
    action = step.action
    return isinstance(action, Create | Patch) and (
        kind == "WorkspaceTemplateApply"
        or (kind == "Cluster" and "spec" in action.body and not _is_deleting(step.before, KEY))
    )


def _is_deleting(world: World, ref: ObjectRef) -> bool:
    obj = stored(world, ref)
    return obj is not None and bool(obj["metadata"].get("deletionTimestamp"))


def main_apply(control_plane: Mapping[str, Any]) -> str:
    """The name of the main apply; "" when it is the name of another apply of ours."""
    main = (control_plane.get("spec") or {}).get(
        "workspaceTemplateApplyName"
    ) or f"{KEY.name}-eks-controlplane-apply"
    taken = {
        f"{KEY.name}-{rest}"
        for rest in ("kubeconfig-apply", "spot-role-check", "spot-role-create", "vpc")
    }
    return "" if main in taken else str(main)


def _is_cleaned_up(world: World, control_plane: Mapping[str, Any]) -> None:
    name = KEY.name
    uid = control_plane["metadata"]["uid"]
    main = main_apply(control_plane)
    for apply in (each for each in world.objects() if each["kind"] == "WorkspaceTemplateApply"):
        if apply["metadata"]["name"] not in (main, f"{name}-kubeconfig-apply") or not _controllers(
            apply
        ) <= {uid}:
            continue
        assert apply["metadata"].get("deletionTimestamp"), (
            f"the finalizer goes before {apply['metadata']['name']}"
        )
        status = apply.get("status") or {}
        spec = apply.get("spec") or {}
        if apply["metadata"]["name"] == main and not spec.get("retainWorkspaceOnDelete"):
            names = {
                each["metadata"]["name"] for each in world.objects() if each["kind"] == "Workspace"
            }
            assert status.get("workspaceName") not in names, (
                "the finalizer goes before the Workspace"
            )


def never_empties(step: Step) -> None:
    """P13: no Secret of ours gets an empty value, and no endpoint is emptied."""
    action = step.action
    if not step.is_effective or isinstance(action, Delete | RecordEvent):
        return
    obj = stored(step.after, action.target)
    if action.target.kind == "Secret":
        assert obj is not None, f"{action.target} is not there"
        keys = ("value",) if action.target.name.endswith("-kubeconfig") else ("tls.crt", "ca.crt")
        assert all(base64.b64decode(obj["data"][key]).strip() for key in keys), (
            f"{action} writes nothing"
        )
    elif action.target.kind in ("CAPTControlPlane", "Cluster"):
        was = _host(stored(step.before, action.target))
        may_go = action.target.kind == "Cluster" and _is_deleting(step.before, KEY)
        assert may_go or not was or obj is None or _host(obj), f"{action} takes the endpoint away"


def _host(obj: Mapping[str, Any] | None) -> str:
    endpoint = ((obj or {}).get("spec") or {}).get("controlPlaneEndpoint") or {}
    return str(endpoint.get("host") or "")
