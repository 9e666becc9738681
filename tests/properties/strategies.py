"""Worlds for Hypothesis: arbitrary ones, live ones, settled ones.

`arbitrary_worlds` combines every shape of every object, whether or not a history leads there.
`live_worlds` have a control plane that is to exist and has its finalizer. `settled_worlds` are
built by driving, not by filtering.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from captep_core import ObjectRef, Unreadable
from captep_memory import load
from tests.capt import worlds as moments
from tests.capt.worlds import SINCE, Object, find, plus
from tests.properties import shapes
from tests.properties.driving import NOW, Blind, Scene, drive
from tests.properties.shapes import patched

__all__ = [
    "arbitrary_worlds",
    "live_worlds",
    "loaded",
    "ref_of",
    "seeing_worlds",
    "settled_worlds",
    "shuffled",
]

T = TypeVar("T")

_MAIN = "tokyo-eks-controlplane-apply"
_CHECK = "tokyo-spot-role-check"
_KUBECONFIG = "tokyo-kubeconfig-apply"
_CREATE = "tokyo-spot-role-create"
_VPC = "tokyo-vpc"


def ref_of(obj: Object) -> ObjectRef:
    """Refer to an object."""
    return ObjectRef(
        obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]
    )


def loaded(objects: Sequence[Object], blind: Blind | None = None) -> Scene:
    """A server with these objects."""
    return Scene(load(objects, now=NOW), blind or {})


def _everything() -> list[Object]:
    """A Ready world with the objects that only some worlds have."""
    ready = moments.ready()
    check = find(ready, "WorkspaceTemplateApply", _CHECK)
    create = patched(
        check,
        {"metadata": {"name": _CREATE, "uid": moments.uid("WorkspaceTemplateApply", _CREATE)}},
    )
    create = patched(
        create,
        {
            "spec": {"templateRef": {"name": "spot-role-create"}},
            "status": {"workspaceName": _CREATE},
        },
    )
    return plus(
        ready,
        create,
        moments.workspace(_CREATE, {"role_arn": "arn:aws:iam::1:role/x"}),
        moments.apply(_VPC, {}),
    )


_BASE = _everything()


def _base(kind: str, name: str) -> Object:
    return find(_BASE, kind, name)


def _shaped(kind: str, name: str, *choices: Sequence[shapes.Patch]) -> st.SearchStrategy[Object]:
    """One object: as a Ready world has it, or with one shape of each of the choices."""
    base = _base(kind, name)
    return _favoured((), st.tuples(*map(st.sampled_from, choices))).map(
        lambda patches: patched(base, *patches)
    )


def _favoured(usual: T, others: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """The usual value in half of all draws; Hypothesis shrinks to it."""
    return st.booleans().flatmap(lambda is_other: others if is_other else st.just(usual))


def _secret(
    name: str, data: Sequence[shapes.Data], namespace: str = "fleet"
) -> st.SearchStrategy[Object]:
    def made(texts: shapes.Data) -> Object:
        held = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        return {**moments.secret(name, {}, namespace=namespace), "data": held}

    return _favoured(data[0], st.sampled_from(data)).map(made)


def _neighbours() -> dict[tuple[str, str], st.SearchStrategy[Object]]:
    """Every object except the control plane, in any shape."""
    # `s` keeps the table below readable: one row for one object.
    s = shapes
    apply = "WorkspaceTemplateApply"
    space = "Workspace"
    ours = (s.OWNERSHIP, s.APPLY_CONTENTS, s.APPLY_STATUSES)
    strategies = {
        ("Cluster", "tokyo"): (s.CLUSTER_SPECS, s.CLUSTER_ENDPOINTS, s.CLUSTER_STATUSES),
        ("WorkspaceTemplate", "eks"): (),
        (apply, _MAIN): ours,
        (space, "tokyo-eks-controlplane"): (s.WORKSPACE_CONDITIONS, s.WORKSPACE_OUTPUTS),
        (apply, _KUBECONFIG): ours,
        (space, "tokyo-kubeconfig"): (s.WORKSPACE_CONDITIONS,),
        (apply, _CHECK): ours,
        (space, _CHECK): (s.WORKSPACE_CONDITIONS, s.SPOT_OUTPUTS),
        (apply, _CREATE): ours,
        (space, _CREATE): (s.WORKSPACE_CONDITIONS, s.SPOT_OUTPUTS),
        (apply, _VPC): (s.APPLY_STATUSES,),
        ("Secret", "tokyo-ca"): (s.OWNERSHIP, s.OURS_CA),
        ("Secret", "tokyo-kubeconfig"): (s.OWNERSHIP, s.OURS_KUBECONFIG),
    }
    made = {
        (kind, name): _shaped(kind, name, *choices) for (kind, name), choices in strategies.items()
    }
    connection = _secret("tokyo-eks-connection", s.CONNECTION_DATA)
    outputs = _secret("tokyo-outputs-kubeconfig", s.OUTPUTS_DATA)
    return {**made, ("Secret", "connection"): connection, ("Secret", "outputs"): outputs}


_RARE = {_VPC, _CREATE}
_FATE = ("there",) * 13 + ("absent",) * 3 + ("unreadable", "malformed")
_FATES = {False: st.sampled_from(_FATE), True: st.sampled_from(("absent",) * len(_FATE) + _FATE)}


def _control_planes(*, live: bool) -> st.SearchStrategy[Object]:
    s = shapes
    base = _base("CAPTControlPlane", "tokyo")
    metadata = [
        each for each in s.CONTROL_PLANE_METADATA if not live or _is_live(patched(base, each))
    ]
    fate = [{}] if live else [{}, {}, {"metadata": {"deletionTimestamp": SINCE}}]
    choices = (metadata, s.CONTROL_PLANE_SPECS, s.ENDPOINTS, s.CONTROL_PLANE_STATUSES)
    shaped = st.tuples(
        st.sampled_from(fate), *(_favoured({}, st.sampled_from(each)) for each in choices)
    )
    return shaped.map(lambda patches: patched(base, *patches))


def _is_live(control_plane: Object) -> bool:
    return moments.FINALIZER in control_plane["metadata"].get("finalizers", ())


_NEIGHBOURS = _neighbours()
_CONTROL_PLANES = {live: _control_planes(live=live) for live in (False, True)}


@st.composite
def arbitrary_worlds(draw: st.DrawFn, *, live: bool = False, sees_all: bool = False) -> Scene:
    """Any combination of shapes; `live`: with finalizer, not deleted; `sees_all`: all readable."""
    objects = [draw(_CONTROL_PLANES[live])]
    blind = dict[ObjectRef, Any]()
    for (_, name), strategy in _NEIGHBOURS.items():
        chosen = draw(_FATES[name in _RARE])
        if chosen != "absent":
            objects.append(obj := draw(strategy))
            if chosen in ("unreadable", "malformed") and not sees_all:
                blind[ref_of(obj)] = draw(_misread(obj, chosen))
    return loaded(objects, blind)


def _misread(obj: Object, how: str) -> st.SearchStrategy[Unreadable | Object]:
    if how == "unreadable":
        return st.sampled_from(shapes.BLIND)
    return st.sampled_from(shapes.MALFORMED.get(obj["kind"], shapes.MALFORMED["other"])).map(
        lambda patch: patched(obj, patch)
    )


def live_worlds() -> st.SearchStrategy[Scene]:
    """Worlds of a control plane that is to exist."""
    return arbitrary_worlds(live=True)


def seeing_worlds() -> st.SearchStrategy[Scene]:
    """Worlds in which every object can be read."""
    return arbitrary_worlds(sees_all=True)


def settled_worlds(start: st.SearchStrategy[Scene]) -> st.SearchStrategy[Scene]:
    """Worlds in which the loop has come to rest."""
    return start.map(lambda scene: Scene(drive(scene).end, scene.blind))


def shuffled(value: Any, turn: Callable[[list[Any]], list[Any]]) -> Any:  # noqa: ANN401 - JSON
    """The same JSON with the keys of every object in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], turn) for key in turn(list(value))}
    return [shuffled(item, turn) for item in value] if isinstance(value, list) else value
