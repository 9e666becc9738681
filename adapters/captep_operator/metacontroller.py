"""The hooks of a Metacontroller CompositeController as a `Decide`, in whatever language they are.

    from captep_operator.metacontroller import Stdio, metacontroller

    decide = metacontroller(Stdio(["node", "sync.js"]), children=[("v1", "ConfigMap")])

The convergence kit then checks, sweeps and explores the hook, and `Operator` simulates or runs it.
Shapes and rules are those of Metacontroller's CompositeController (metacontroller.io):

1. A request has `controller`, `parent`, `children` by `Kind.apiVersion` and name, `related` (always
   empty) and `finalizing`. The children are those that the parent controls.
2. An answer has `children`, `status`, `resyncAfterSeconds` and `finalized`. A child that is not
   among them is deleted, another one is created or corrected. `status` replaces the status, with
   `observedGeneration` added.
3. With `finalizes`, a finalizer comes before everything else, and stays until the hook answers
   `finalized`.
4. Children are written before the status.

What differs: the status follows in the pass after the last write of a child, from a fresh answer of
the hook, and waits for no child whose write is refused. Every child is updated in place
(`updateStrategy` InPlace) by the smallest difference; a field that the hook no longer names stays.
A child name that another object has is left alone and reported in the verdict. There is no
`customize` hook. A hook that fails raises `HookError`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import field, frozen

from captep_core._actions import Action, Delete, Manifest, ObjectRef, Preconditions
from captep_core._decision import Decision
from captep_core._manifest import controller_reference, is_deleting, outstanding
from captep_core._observation import ABSENT, Absent, Observed, ReconcileState, Unreadable
from captep_core._refusals import worded
from captep_core._write import difference
from captep_core.ports import Decide, Read
from captep_operator._hooks import Hook, HookError, Stdio, http

__all__ = ["Hook", "HookError", "Stdio", "Verdict", "http", "metacontroller"]

_UNREADABLE: Final = timedelta(seconds=10)
_TAKEN: Final = timedelta(minutes=1)
_NAME: Final = "captep"
# The fields by which Metacontroller's apply merges lists of maps.
_MERGED_BY: Final = (
    "containerPort",
    "port",
    "name",
    "uid",
    "ip",
    "mountPath",
    "devicePath",
    "topologyKey",
    "type",
)


@frozen
class Verdict:
    """The outcome of one sync."""

    reason: str
    message: str = ""


@frozen
class _Composite:
    """One CompositeController."""

    sync: Hook = field(repr=False)
    children: tuple[tuple[str, str], ...]
    finalize: Hook | None = field(repr=False)
    finalizer: str
    controller: Mapping[str, Any] = field(repr=False)

    def __call__(
        self,
        key: ObjectRef,
        read: Read,
        state: ReconcileState,
        *,
        now: datetime,  # noqa: ARG002 - captep_core.ports.Decide has it
    ) -> Decision:
        """Ask the hook what the parent needs."""
        parent = read(key)
        if isinstance(parent, Absent):
            return Decision((), None, Verdict("Gone"))
        if isinstance(parent, Unreadable):
            return Decision((), _UNREADABLE, Verdict("Unreadable", str(parent)))
        holds = self.finalizer in (parent["metadata"].get("finalizers") or [])
        if is_deleting(parent) and not (self.finalize and holds):
            return Decision((), None, Verdict("Leaving"))
        if self.finalize and not holds:
            held = [*(parent["metadata"].get("finalizers") or []), self.finalizer]
            return _decided(state, [_finalizers(parent, held)], "Holding")
        owned = self._owned(parent, read)
        if isinstance(owned, Unreadable):
            return Decision((), _UNREADABLE, Verdict("Unreadable", str(owned)))
        return self._synced(parent, owned, read, state)

    def _owned(self, parent: Manifest, read: Read) -> dict[ObjectRef, Manifest] | Unreadable:
        """Return the children that the parent controls."""
        found: dict[ObjectRef, Manifest] = {}
        for api_version, kind in self.children:
            listed = read.list(api_version, kind, parent["metadata"].get("namespace"))
            if isinstance(listed, Unreadable):
                return listed
            for child in listed:
                if _controller(child) == parent["metadata"]["uid"]:
                    meta = child["metadata"]
                    ref = ObjectRef(api_version, kind, meta.get("namespace"), meta["name"])
                    found[ref] = child
        return found

    def _synced(
        self,
        parent: Manifest,
        owned: Mapping[ObjectRef, Manifest],
        read: Read,
        state: ReconcileState,
    ) -> Decision:
        hook = self.finalize if is_deleting(parent) and self.finalize else self.sync
        answer = _checked(hook(self._request(parent, owned)))
        wanted = dict(_wanted(answer, parent))
        seen: dict[ObjectRef, Observed[Manifest]] = {
            ref: owned[ref] if ref in owned else read(ref) for ref in wanted
        }
        blind = [each for each in seen.values() if isinstance(each, Unreadable)]
        if blind:
            return Decision((), _UNREADABLE, Verdict("Unreadable", str(blind[0])))
        taken = [ref for ref, found in seen.items() if ref not in owned and found is not ABSENT]
        writes = [_delete(ref, owned[ref]) for ref in owned if ref not in wanted]
        writes += [
            _difference(_child(wanted[ref], ref, parent), seen[ref], state)
            for ref in wanted
            if ref not in taken
        ]
        if not _progress(writes, state):
            writes.append(self._last(parent, answer, state))
        resync = timedelta(seconds=answer.get("resyncAfterSeconds") or 0)
        if taken:
            resync = min(resync or _TAKEN, _TAKEN)
            return _decided(state, writes, "NameTaken", f"{taken[0]} is not ours", resync)
        return _decided(state, writes, "Synced", "", resync)

    def _last(
        self, parent: Manifest, answer: Mapping[str, Any], state: ReconcileState
    ) -> Action | None:
        """Let a parent go that the hook has finalized, else report its status."""
        if is_deleting(parent) and answer.get("finalized") is True:
            held = parent["metadata"]["finalizers"]
            return _finalizers(parent, [each for each in held if each != self.finalizer])
        if "status" in answer:
            return _status(parent, answer["status"] or {}, state)
        return None

    def _request(self, parent: Manifest, owned: Mapping[ObjectRef, Manifest]) -> dict[str, Any]:
        children: dict[str, dict[str, Manifest]] = {
            f"{kind}.{api_version}": {} for api_version, kind in self.children
        }
        place = parent["metadata"].get("namespace")
        for ref, child in owned.items():
            name = ref.name if ref.namespace == place else f"{ref.namespace}/{ref.name}"
            children[f"{ref.kind}.{ref.api_version}"][name] = child
        return {
            "controller": self.controller,
            "parent": parent,
            "children": children,
            "related": {},
            "finalizing": is_deleting(parent),
        }


def metacontroller(
    sync: Hook,
    *,
    children: Iterable[tuple[str, str]],
    finalize: Hook | None = None,
    name: str = _NAME,
) -> Decide:
    """Return the decision of a CompositeController.

    Args:
        sync: the sync hook, `Stdio([...])` or `http("http://...")`.
        children: apiVersion and kind of each child resource; namespaced parents have children in
            their own namespace.
        finalize: the finalize hook, often the same as `sync`; without it no finalizer is added.
        name: the name of the CompositeController.
    """
    kinds = tuple(children)
    controller = {
        "apiVersion": "metacontroller.k8s.io/v1alpha1",
        "kind": "CompositeController",
        "metadata": {"name": name},
        "spec": {"generateSelector": True},
    }
    finalizer = f"metacontroller.io/compositecontroller-{name}"
    return _Composite(sync, kinds, finalize, finalizer, controller)


def _decided(
    state: ReconcileState,
    writes: Iterable[Action | None],
    reason: str,
    message: str = "",
    resync: timedelta = timedelta(0),
) -> Decision:
    """Return a decision with its writes, and with the refusals of those that are still wanted."""
    actions = tuple(each for each in writes if each is not None)
    refused = outstanding(state, actions)
    verdict = Verdict("WriteRefused", worded(refused[0])) if refused else Verdict(reason, message)
    return Decision(actions, resync or None, verdict, refused)


def _progress(writes: Iterable[Action | None], state: ReconcileState) -> bool:
    """Whether a write is among these that the server has not refused yet."""
    wanted = [each for each in writes if each is not None]
    return len(wanted) > len(outstanding(state, wanted))


def _finalizers(parent: Manifest, held: list[str]) -> Action | None:
    desired = {**_head(parent), "metadata": {**_name(parent), "finalizers": held}}
    return difference(desired, parent, "hold the parent until its children are gone")


def _status(parent: Manifest, status: Mapping[str, Any], state: ReconcileState) -> Action | None:
    """Replace the status; null removes what the hook does not name."""
    generation = parent["metadata"].get("generation")
    observed = {} if generation is None else {"observedGeneration": generation}
    surplus = dict.fromkeys(parent.get("status") or {})
    desired = {
        **_head(parent),
        "metadata": _name(parent),
        "status": {**surplus, **status, **observed},
    }
    return difference(
        desired, parent, "report the status", subresource="status", known=state.not_kept
    )


def _child(child: Mapping[str, Any], ref: ObjectRef, parent: Manifest) -> Manifest:
    metadata = {**child["metadata"], "ownerReferences": [controller_reference(parent)]}
    if ref.namespace is not None:
        metadata["namespace"] = ref.namespace
    return {**child, "metadata": metadata}


def _difference(
    desired: Manifest, observed: Observed[Manifest], state: ReconcileState
) -> Action | None:
    return difference(
        desired,
        observed,
        "the sync hook wants it",
        keys=dict(_list_keys(desired, "")),
        known=state.not_kept,
    )


def _list_keys(value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """Yield the paths of lists of maps, each with the field that identifies their entries."""
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        below = f"{path}.{name}" if path else name
        if isinstance(item, list) and item and below != "metadata.ownerReferences":
            key = next((each for each in _MERGED_BY if _have(item, each)), None)
            if key is not None:
                yield below, key
        else:
            yield from _list_keys(item, below)


def _have(entries: list[Any], name: str) -> bool:
    return all(isinstance(each, dict) and name in each for each in entries)


def _delete(ref: ObjectRef, child: Manifest) -> Action | None:
    if is_deleting(child):
        return None
    uid = Preconditions(child["metadata"]["uid"])
    return Delete(ref, uid, "the sync hook no longer wants it")


_ANSWER: Final[Mapping[str, tuple[type, ...]]] = {
    "children": (list,),
    "status": (dict,),
    "resyncAfterSeconds": (int, float),
    "finalized": (bool,),
}


def _checked(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an answer whose fields have the types that Metacontroller takes.

    Raises:
        HookError: a field has another type.
    """
    for name, types in _ANSWER.items():
        value = answer.get(name)
        if value is not None and type(value) not in types:
            expected = " or ".join(each.__name__ for each in types)
            found = type(value).__name__
            raise HookError(f"{name} of the answer: expected {expected}, found {found}")
    return answer


def _wanted(
    answer: Mapping[str, Any], parent: Manifest
) -> Iterator[tuple[ObjectRef, Mapping[str, Any]]]:
    """Yield the children of an answer."""
    for number, child in enumerate(answer.get("children") or ()):
        meta = child.get("metadata") if isinstance(child, dict) else None
        if not isinstance(meta, dict):
            raise HookError(f"children[{number}] of the answer is no object with metadata")
        texts = (child.get("apiVersion"), child.get("kind"), meta.get("name"))
        if not all(isinstance(text, str) and text for text in texts):
            raise HookError(
                f"children[{number}] of the answer: expected texts as apiVersion, kind and"
                " metadata.name"
            )
        place = meta.get("namespace") or parent["metadata"].get("namespace")
        yield ObjectRef(child["apiVersion"], child["kind"], place, meta["name"]), child


def _head(obj: Manifest) -> dict[str, Any]:
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}


def _name(obj: Manifest) -> dict[str, Any]:
    return {
        name: obj["metadata"][name] for name in ("name", "namespace") if name in obj["metadata"]
    }


def _controller(obj: Manifest) -> str | None:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((each.get("uid") for each in owners if each.get("controller") is True), None)
