"""provider-terraform 0.18 on crossplane-runtime 1.17: the life of a Workspace.

Rules of this module, in the order of a first apply:

1. The provider creates the connection Secret, empty and owned by the Workspace; then come the
   finalizer and the annotation that creation is pending.
2. Terraform runs within one reconcile of minutes. Meanwhile the Workspace has no conditions at all.
   The provider works on one Workspace at a time.
3. Then it fills the Secret, and after that conditions appear: Ready=False/Creating, without
   outputs.
4. Only the next look brings outputs and Ready=True/Available. Every later look takes fresh outputs,
   and with them fresh tokens.
5. A failure is Synced=False/ReconcileError; Ready keeps its last value.
6. On deletion nothing shows until Terraform has destroyed everything; then come
   Ready=False/Deleting and the end of the object.

The Secret holds string outputs raw and others as JSON text; the status holds those that are not
sensitive.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import evolve, frozen

from captep_core import ObjectRef
from captep_core._objects import rfc3339
from captep_memory._json import Object
from captep_memory._request import Request
from captep_world._neighbour import (
    Memory,
    Objects,
    Turn,
    creation,
    patch,
    ref_of,
    with_conditions,
    with_finalizer,
    without_finalizer,
)
from captep_world._pace import REAL_PACE, Pace, TerraformOutput, outputs

__all__ = ["FAILURE_ANNOTATION", "WORKSPACE_FINALIZER", "Terraform"]

WORKSPACE_FINALIZER = "finalizer.managedresource.crossplane.io"
FAILURE_ANNOTATION = "captep.example/fails-with"
"""Makes the simulated Terraform fail with its value: a stand-in for expired credentials."""
_SECRET_TYPE = "connection.crossplane.io/v1alpha1"  # noqa: S105 - a type, not a password
_PENDING, _SUCCEEDED, _FAILED = (
    f"crossplane.io/external-create-{result}" for result in ("pending", "succeeded", "failed")
)
_SYNCED = {"type": "Synced", "status": "True", "reason": "ReconcileSuccess"}
_AVAILABLE = {"type": "Ready", "status": "True", "reason": "Available"}
_CREATING = {"type": "Ready", "status": "False", "reason": "Creating"}
_DELETING = {"type": "Ready", "status": "False", "reason": "Deleting"}


@frozen
class Terraform:
    """Reconciles Workspaces.

    The memory holds the work under way: "applying", "looking", "destroying", or "resting" until the
    next look. A provider that restarts in the middle of a first apply starts over.
    """

    pace: Pace = REAL_PACE
    name: str = "terraform"

    def concerned(self, ref: ObjectRef, _obj: Mapping[str, Any], /) -> ObjectRef | None:
        """It watches Workspaces alone."""
        return ref if ref.kind == "Workspace" else None

    def turn(self, key: ObjectRef, objects: Objects, memory: Memory, /, *, now: datetime) -> Turn:
        """Take the next step of one Workspace."""
        workspace = objects.get(key)
        if workspace is None:
            return Turn()
        if memory.until is not None and now < memory.until and not _is_roused(workspace, memory):
            return Turn(due=memory.until, memory=memory, occupied=memory.doing != "resting")
        if (
            memory.doing in ("applying", "looking")
            and memory.until is not None
            and now < memory.until
        ):
            # Nothing that happens to the object interrupts Terraform.
            return Turn(due=memory.until, memory=memory, occupied=True)
        if workspace["metadata"].get("deletionTimestamp"):
            return self._destroy(workspace, memory, now=now)
        match memory.doing:
            case "applying":
                return self._applied(workspace, objects, memory, now=now)
            case "looking":
                return self._looked(workspace, objects, memory, now=now)
            case _ if _annotations(workspace).get(_SUCCEEDED):
                return self._begin("looking", self.pace.look, workspace, memory, now=now)
            case _:
                return self._prepare(workspace, objects, memory, now=now)

    def _begin(
        self,
        doing: str,
        between: tuple[float, float],
        workspace: Object,
        memory: Memory,
        *,
        now: datetime,
        requests: tuple[Request, ...] = (),
    ) -> Turn:
        until = now + self.pace.draw(between, workspace["metadata"]["name"], doing)
        return Turn(
            requests,
            due=until,
            memory=Memory(doing, until, memory.tries, _desired(workspace)),
            occupied=True,
        )

    def _prepare(
        self, workspace: Object, objects: Objects, memory: Memory, *, now: datetime
    ) -> Turn:
        to = _secret_of(workspace)
        empty = () if to is None or objects.get(to) else (creation(_secret(workspace, to)),)
        pending = patch(ref_of(workspace), {"metadata": {"annotations": {_PENDING: rfc3339(now)}}})
        between = self.pace.apply if _is_large(workspace) else self.pace.small_apply
        requests = (*empty, *with_finalizer(workspace, WORKSPACE_FINALIZER), pending)
        return self._begin("applying", between, workspace, memory, now=now, requests=requests)

    def _applied(
        self, workspace: Object, objects: Objects, memory: Memory, *, now: datetime
    ) -> Turn:
        failure = _annotations(workspace).get(FAILURE_ANNOTATION)
        if failure:
            noted = patch(ref_of(workspace), {"metadata": {"annotations": {_FAILED: rfc3339(now)}}})
            message = f"create failed: cannot apply Terraform configuration: {failure}"
            return self._failed(workspace, memory, message, (_CREATING,), now=now, before=(noted,))
        noted = patch(ref_of(workspace), {"metadata": {"annotations": {_SUCCEEDED: rfc3339(now)}}})
        requests = (
            noted,
            *_publish(workspace, objects, self._outputs(workspace, now=now)),
            _report(workspace, (_SYNCED, _CREATING), now=now),
        )
        return self._begin(
            "looking",
            self.pace.look,
            workspace,
            evolve(memory, tries=0),
            now=now,
            requests=requests,
        )

    def _looked(
        self, workspace: Object, objects: Objects, memory: Memory, *, now: datetime
    ) -> Turn:
        failure = _annotations(workspace).get(FAILURE_ANNOTATION)
        if failure:
            message = f"observe failed: cannot diff (i.e. plan) Terraform configuration: {failure}"
            return self._failed(workspace, memory, message, (), now=now)
        found = self._outputs(workspace, now=now)
        shown: Object = {
            "outputs": {output.name: output.value for output in found if not output.sensitive}
        }
        report = _report(workspace, (_SYNCED, _AVAILABLE), now=now, at_provider=shown)
        until = now + self.pace.draw(
            self.pace.poll, workspace["metadata"]["name"], "poll", rfc3339(now)
        )
        return Turn(
            (*_publish(workspace, objects, found), report),
            due=until,
            memory=Memory("resting", until, 0, _desired(workspace)),
        )

    def _failed(
        self,
        workspace: Object,
        memory: Memory,
        message: str,
        also: tuple[Mapping[str, str], ...],
        *,
        now: datetime,
        before: tuple[Request, ...] = (),
    ) -> Turn:
        error = {
            "type": "Synced",
            "status": "False",
            "reason": "ReconcileError",
            "message": message,
        }
        until = now + self.pace.backoff(memory.tries)
        kept = Memory("resting", until, memory.tries + 1, _desired(workspace))
        return Turn((*before, _report(workspace, (error, *also), now=now)), due=until, memory=kept)

    def _destroy(self, workspace: Object, memory: Memory, *, now: datetime) -> Turn:
        match memory.doing:
            case "destroying":
                gone = _report(workspace, (_SYNCED, _DELETING), now=now)
                return self._begin(
                    "finishing", self.pace.look, workspace, memory, now=now, requests=(gone,)
                )
            case "finishing":
                return Turn(without_finalizer(workspace, WORKSPACE_FINALIZER))
            case _ if not _annotations(workspace).get(_SUCCEEDED):
                return Turn(without_finalizer(workspace, WORKSPACE_FINALIZER))
            case _:
                between = self.pace.destroy if _is_large(workspace) else self.pace.small_apply
                return self._begin("destroying", between, workspace, memory, now=now)

    def _outputs(self, workspace: Object, *, now: datetime) -> tuple[TerraformOutput, ...]:
        provided = workspace["spec"].get("forProvider", {})
        given = {each["key"]: each["value"] for each in provided.get("vars", ())}
        # The module's own default replaces a placeholder without a variable of the apply.
        variables = {name: value for name, value in given.items() if not value.startswith("${")}
        return outputs(
            provided.get("module", ""),
            variables,
            name=workspace["metadata"]["name"],
            seed=self.pace.seed,
            now=now,
        )


def _is_roused(workspace: Object, memory: Memory) -> bool:
    """Whether crossplane-runtime wakes for a change: of the spec, an annotation, the deletion."""
    return memory.doing == "resting" and memory.seen != _desired(workspace)


def _desired(workspace: Object) -> str:
    metadata = workspace["metadata"]
    return json.dumps(
        [
            metadata.get("generation"),
            metadata.get("deletionTimestamp"),
            _annotations(workspace).get(FAILURE_ANNOTATION),
        ]
    )


def _annotations(workspace: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = workspace["metadata"].get("annotations", {})
    return found


def _is_large(workspace: Object) -> bool:
    """Whether Terraform makes a cluster, which takes minutes, rather than a token or a role."""
    return 'output "cluster_endpoint"' in workspace["spec"].get("forProvider", {}).get("module", "")


def _secret_of(workspace: Object) -> ObjectRef | None:
    to = workspace["spec"].get("writeConnectionSecretToRef")
    return ObjectRef("v1", "Secret", to["namespace"], to["name"]) if to else None


def _secret(workspace: Object, to: ObjectRef, data: Mapping[str, str] | None = None) -> Object:
    owner = {
        "apiVersion": workspace["apiVersion"],
        "kind": workspace["kind"],
        "name": workspace["metadata"]["name"],
    }
    owned = [
        {
            **owner,
            "uid": workspace["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    body: Object = {"apiVersion": "v1", "kind": "Secret", "type": _SECRET_TYPE}
    body["metadata"] = {"name": to.name, "namespace": to.namespace, "ownerReferences": owned}
    return {**body, "data": dict(data)} if data else body


def _publish(
    workspace: Object, objects: Objects, found: tuple[TerraformOutput, ...]
) -> tuple[Request, ...]:
    to = _secret_of(workspace)
    if to is None:
        return ()
    texts = {
        output.name: output.value if isinstance(output.value, str) else json.dumps(output.value)
        for output in found
    }
    data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    held = objects.get(to)
    if held is None:
        return (creation(_secret(workspace, to, data)),)
    return () if held.get("data", {}) == data else (patch(to, {"data": data}),)


def _report(
    workspace: Object,
    conditions: tuple[Mapping[str, str], ...],
    *,
    now: datetime,
    at_provider: Object | None = None,
) -> Request:
    status: Object = {"conditions": with_conditions(workspace, conditions, now=now)}
    return patch(
        ref_of(workspace),
        {"status": status if at_provider is None else {**status, "atProvider": at_provider}},
        "status",
    )
