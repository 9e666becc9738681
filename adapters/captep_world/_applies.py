"""The controller of WorkspaceTemplateApplies.

It makes a Workspace of a template once, then mirrors its conditions until they are Ready.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from captep_core import ObjectRef
from captep_core._objects import rfc3339
from captep_memory._json import Object
from captep_world._neighbour import (
    IDLE,
    Memory,
    Objects,
    Turn,
    creation,
    deletion,
    is_true,
    patch,
    ref_of,
    with_finalizer,
    without_finalizer,
)
from captep_world._pace import REAL_PACE, Pace

__all__ = ["APPLY_FINALIZER", "WorkspaceTemplateApplies", "workspace_of"]

APPLY_FINALIZER = "infrastructure.cluster.x-k8s.io/finalizer"
_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
_WORKSPACE = "tf.upbound.io/v1beta1"


def workspace_of(name: str) -> ObjectRef:
    """Refer to a Workspace; it is cluster-scoped."""
    return ObjectRef(_WORKSPACE, "Workspace", None, name)


@frozen
class WorkspaceTemplateApplies:
    """Reconciles WorkspaceTemplateApplies as the Go project's controller does, with its oddities.

    It watches no Workspace: it polls until the conditions say Ready, and then never looks again. It
    reads the template in the namespace of the reference, and without one nowhere.
    """

    pace: Pace = REAL_PACE
    name: str = "workspacetemplateapply"

    def concerned(self, ref: ObjectRef, _obj: Mapping[str, Any], /) -> ObjectRef | None:
        """It watches WorkspaceTemplateApplies alone."""
        return ref if ref.kind == "WorkspaceTemplateApply" else None

    def turn(self, key: ObjectRef, objects: Objects, memory: Memory, /, *, now: datetime) -> Turn:
        """Create the Workspace, mirror it, or delete it."""
        apply = objects.get(key)
        if apply is None:
            return Turn()
        workspace = objects.get(workspace_of(_workspace_name(apply)))
        if apply["metadata"].get("deletionTimestamp"):
            return self._delete(apply, workspace, now=now)
        if finalizer := with_finalizer(apply, APPLY_FINALIZER):
            return Turn(finalizer, due=now)
        if apply.get("status", {}).get("applied"):
            return self._mirror(apply, workspace, memory, now=now)
        return self._apply(apply, objects, memory, now=now)

    def _apply(self, apply: Object, objects: Objects, memory: Memory, *, now: datetime) -> Turn:
        if any(
            not is_true(_awaited(objects, each["name"]), "Ready")
            for each in apply["spec"].get("waitForWorkspaces", ())
        ):
            return Turn(due=now + timedelta(seconds=self.pace.wait))
        to = apply["spec"]["templateRef"]
        template = objects.get(
            ObjectRef(_INFRASTRUCTURE, "WorkspaceTemplate", to.get("namespace") or "", to["name"])
        )
        if template is None:
            return Turn(
                due=now + self.pace.backoff(memory.tries), memory=Memory(tries=memory.tries + 1)
            )
        status = {
            "applied": True,
            "workspaceName": _workspace_name(apply),
            "lastAppliedTime": rfc3339(now),
        }
        requests = (
            creation(_workspace(apply, template)),
            patch(ref_of(apply), {"status": status}, "status"),
        )
        return Turn(requests, due=now + timedelta(seconds=self.pace.mirror))

    def _mirror(
        self, apply: Object, workspace: Object | None, memory: Memory, *, now: datetime
    ) -> Turn:
        if workspace is None:
            return Turn(
                due=now + self.pace.backoff(memory.tries), memory=Memory(tries=memory.tries + 1)
            )
        shown = workspace.get("status", {}).get("conditions", [])
        mirrored = apply["status"].get("conditions", [])
        requests = (
            (patch(ref_of(apply), {"status": {"conditions": shown}}, "status"),)
            if shown != mirrored
            else ()
        )
        settled = is_true(workspace, "Synced") and is_true(workspace, "Ready")
        return Turn(
            requests,
            due=None if settled else now + timedelta(seconds=self.pace.mirror),
            memory=IDLE,
        )

    def _delete(self, apply: Object, workspace: Object | None, *, now: datetime) -> Turn:
        made = apply.get("status", {}).get("workspaceName") and not apply["spec"].get(
            "retainWorkspaceOnDelete"
        )
        if not made or workspace is None:
            return Turn(without_finalizer(apply, APPLY_FINALIZER))
        requests = (
            () if workspace["metadata"].get("deletionTimestamp") else (deletion(ref_of(workspace)),)
        )
        return Turn(requests, due=now + timedelta(seconds=self.pace.mirror))


def _workspace_name(apply: Mapping[str, Any]) -> str:
    name: str = apply.get("status", {}).get("workspaceName") or apply["metadata"][
        "name"
    ].removesuffix("-apply")
    return name


def _awaited(objects: Objects, apply_name: str) -> Object | None:
    return objects.get(workspace_of(apply_name.removesuffix("-apply")))


def _workspace(apply: Object, template: Object) -> Object:
    """Fill the template by replacing text in its JSON, as the Go code does: a quote breaks it."""
    text = json.dumps(template["spec"]["template"]["spec"]).replace(
        "${WORKSPACE_NAME}", apply["metadata"]["name"]
    )
    for name, value in apply["spec"].get("variables", {}).items():
        text = text.replace("${" + name + "}", value)
    spec = json.loads(text)
    if to := apply["spec"].get("writeConnectionSecretToRef"):
        spec["writeConnectionSecretToRef"] = to
    return {
        "apiVersion": _WORKSPACE,
        "kind": "Workspace",
        "metadata": {"name": _workspace_name(apply)},
        "spec": spec,
    }
