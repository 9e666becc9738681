"""What core publishes, core owns: `--publish-to-cluster=auto|always|never`, default `auto`.

Where the Cluster shows that Cluster API's core acts on it, the loop leaves its status alone. A
newer core stores `controlPlaneReady` as the one-way `initialization.controlPlaneInitialized`: two
writers of that field fight for ever.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from captep_core import JSON, Policy
from tests.capt.driving import look, run, writes_of
from tests.capt.worlds import (
    ENDPOINT,
    HOST,
    Object,
    Objects,
    changed,
    condition,
    created,
    deleting,
    find,
    new,
    provided,
    ready,
    without,
)

WORKSPACE = "tokyo-eks-controlplane"
MODES = ("auto", "always", "never")
FINALIZER_OF_CORE: Object = {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}}
INITIALIZED: Object = {"status": {"initialization": {"controlPlaneInitialized": True}}}
NOT_YET: Object = {"status": {"initialization": {"infrastructureProvisioned": True}}}
V1BETA2: Object = {"status": {"v1beta2": {"conditions": [condition("Available", False)]}}}

# Each of them alone shows that core acts on the Cluster.
SIGNS: dict[str, Object] = {
    "the finalizer": FINALIZER_OF_CORE,
    "the finalizer among others": {
        "metadata": {"finalizers": ["example.com/a", "cluster.cluster.x-k8s.io"]}
    },
    "an initialization status": INITIALIZED,
    "an initialization that has begun": NOT_YET,
    "an empty initialization": {"status": {"initialization": {}}},
    "a v1beta2 status": V1BETA2,
    "an empty v1beta2 status": {"status": {"v1beta2": {}}},
    "all of them": {**FINALIZER_OF_CORE, "status": {**V1BETA2["status"], **INITIALIZED["status"]}},
}
ONE_WAY = [name for name in SIGNS if "finalizer" not in name]


def _policy(mode: str) -> Policy:
    fields: dict[str, Any] = {"publish_to_cluster": mode}
    return Policy(**fields)


def _cluster(objects: Objects, *patches: Mapping[str, Any]) -> Objects:
    for patch in patches:
        objects = changed(objects, "Cluster", "tokyo", patch)
    return objects


def _bodies(
    objects: Objects, mode: str, subresource: str | None
) -> list[Mapping[str, JSON] | None]:
    return [
        each.body
        for each in run(objects, policy=_policy(mode)).writes
        if each.target.kind == "Cluster" and each.subresource == subresource
    ]


def _unpublished(objects: Objects) -> Objects:
    """The Cluster without anything that is ours to publish."""
    bare = {"spec": {"controlPlaneEndpoint": None}, "status": None}
    return _cluster(objects, bare)


LOST: dict[str, Callable[[Objects], Objects]] = {
    "the Workspace is lost": lambda objects: without(objects, "Workspace", WORKSPACE),
    "the main apply is lost": lambda objects: without(
        objects, "WorkspaceTemplateApply", f"{WORKSPACE}-apply"
    ),
    "the endpoint is lost": lambda objects: changed(
        changed(objects, "Workspace", WORKSPACE, {"status": {"atProvider": None}}),
        "Secret",
        "tokyo-eks-connection",
        {"data": {"cluster_endpoint": None}},
    ),
}
MOMENTS: dict[str, Callable[[], Objects]] = {
    "new": new,
    "created": created,
    "provided": provided,
    "ready": ready,
}


def test_auto_is_the_default() -> None:
    """A policy that says nothing is the one that never fights."""
    assert Policy() == _policy("auto")


@pytest.mark.parametrize("mode", ["", "Auto", "yes", True, None])
def test_another_mode_is_an_error(mode: object) -> None:
    """The name of the field and the three words are in it."""
    fields: dict[str, Any] = {"publish_to_cluster": mode}
    with pytest.raises((TypeError, ValueError), match="publish_to_cluster"):
        Policy(**fields)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("sign", SIGNS)
def test_auto_writes_no_status_where_core_acts(sign: str, moment: str) -> None:
    """At no moment of a life, whatever the status lacks."""
    bare = _unpublished(MOMENTS[moment]())
    for objects in (bare, MOMENTS[moment]()):
        assert _bodies(_cluster(objects, SIGNS[sign]), "auto", "status") == []


@pytest.mark.parametrize("loss", LOST)
@pytest.mark.parametrize("sign", SIGNS)
def test_auto_takes_no_ready_back_where_core_acts(sign: str, loss: str) -> None:
    """Our own status withdraws Ready; core decides what the Cluster shows."""
    objects = LOST[loss](_cluster(ready(), SIGNS[sign]))
    done = run(objects, policy=_policy("auto"))
    assert done.find("CAPTControlPlane", "tokyo")["status"]["ready"] is False
    assert [each for each in done.writes if each.target.kind == "Cluster"] == []
    again = changed(done.objects, "CAPTControlPlane", "tokyo", {})
    assert run(again, policy=_policy("auto")).writes == ()


@pytest.mark.parametrize("sign", SIGNS)
def test_auto_removes_stale_failures_once_ready(sign: str) -> None:
    """Core copies them and never clears them: this one write is ours, and of these fields alone."""
    left = {"status": {"failureReason": "EndpointUpdateFailed", "failureMessage": "conflict"}}
    objects = _cluster(ready(), SIGNS[sign], left)
    body = {"status": {"failureReason": None, "failureMessage": None}}
    assert _bodies(objects, "auto", "status") == [body]
    lost = without(objects, "Workspace", WORKSPACE)
    assert _bodies(lost, "auto", "status") == []


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    "endpoint",
    [None, {"host": "", "port": 0}, {"host": ENDPOINT, "port": 443}, {"host": "x", "port": 1}],
)
@pytest.mark.parametrize("mode", ["auto", "always"])
def test_the_endpoint_is_set_and_healed_where_core_acts(
    mode: str, endpoint: Object | None, sign: str
) -> None:
    """One write, only where it differs: core never corrects an endpoint that is there."""
    objects = _cluster(ready(), SIGNS[sign], {"spec": {"controlPlaneEndpoint": None}})
    objects = _cluster(objects, {"spec": {"controlPlaneEndpoint": endpoint}})
    wanted = {"spec": {"controlPlaneEndpoint": {"host": HOST, "port": 443}}}
    assert _bodies(objects, mode, None) == [wanted]
    assert _bodies(_cluster(ready(), SIGNS[sign]), mode, None) == []


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("mode", ["auto", "always"])
def test_the_endpoint_is_withdrawn_where_core_acts(mode: str, sign: str) -> None:
    """A deletion takes our own endpoint off the Cluster."""
    objects = deleting(_cluster(ready(), SIGNS[sign]), "CAPTControlPlane", "tokyo")
    assert _bodies(objects, mode, None) == [{"spec": {"controlPlaneEndpoint": None}}]
    assert _bodies(objects, mode, "status") == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_never_writes_nothing_of_the_cluster(moment: str) -> None:
    """Neither endpoint nor status nor a stale failure, deletion included."""
    left = {"status": {"failureReason": "A", "failureMessage": "b"}}
    for objects in (
        _unpublished(MOMENTS[moment]()),
        _cluster(MOMENTS[moment](), left),
        deleting(MOMENTS[moment](), "CAPTControlPlane", "tokyo", "example.com/a"),
    ):
        done = run(objects, policy=_policy("never"))
        assert [each for each in done.writes if each.target.kind == "Cluster"] == []
    leaving = deleting(ready(), "CAPTControlPlane", "tokyo")
    assert _bodies(leaving, "never", None) == []


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_without_core_the_status_is_ours(mode: str) -> None:
    """A Cluster that no core touches is reported on as ever, and Ready may be taken back."""
    initialized = {
        "controlPlaneReady": True,
        "conditions": [condition("ControlPlaneInitialized", True, since="2026-01-01T01:00:00Z")],
    }
    assert _bodies(_cluster(ready(), {"status": None}), mode, "status") == [{"status": initialized}]
    for loss in LOST.values():
        assert _bodies(loss(ready()), mode, "status") == [{"status": {"controlPlaneReady": False}}]


@pytest.mark.parametrize("sign", ONE_WAY)
def test_always_does_not_take_a_one_way_field_back(sign: str) -> None:
    """Where the server stores it as `initialization`, false would only be undone."""
    objects = without(_cluster(ready(), SIGNS[sign]), "Workspace", WORKSPACE)
    assert _bodies(objects, "always", "status") == []


def test_always_reports_where_only_the_finalizer_shows() -> None:
    """An older core writes the same values: they agree."""
    objects = _cluster(_cluster(ready(), FINALIZER_OF_CORE), {"status": None})
    [body] = _bodies(objects, "always", "status")
    assert body is not None
    status = body["status"]
    assert isinstance(status, dict)
    assert status["controlPlaneReady"] is True


@pytest.mark.parametrize("sign", SIGNS)
def test_core_s_own_conditions_stay(sign: str) -> None:
    """A False that core explains is core's to change."""
    waiting = condition("ControlPlaneInitialized", False, "WaitingForControlPlaneProvider")
    objects = _cluster(ready(), SIGNS[sign], {"status": {"conditions": [waiting]}})
    assert _bodies(objects, "auto", "status") == []


def test_the_own_status_is_the_same_in_every_mode() -> None:
    """The mode is about the Cluster alone."""
    fresh = changed(ready(), "CAPTControlPlane", "tokyo", {"status": None})
    reports = [
        run(_cluster(fresh, SIGNS["all of them"]), policy=_policy(mode)).find(
            "CAPTControlPlane", "tokyo"
        )["status"]
        for mode in MODES
    ]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["ready"] is True


def test_a_control_plane_that_is_made_again_resets_no_one_way_field() -> None:
    """The second form of the fight: a new object is not Ready, and the Cluster has been."""
    objects = _cluster(
        created(), SIGNS["an initialization status"], {"status": {"controlPlaneReady": True}}
    )
    for mode in MODES:
        assert _bodies(objects, mode, "status") == []


@pytest.mark.parametrize("sign", SIGNS)
def test_at_rest_nothing_is_written_where_core_acts(sign: str) -> None:
    """Whatever values core has set in its status."""
    for status in (
        {"controlPlaneReady": False},
        {"controlPlaneReady": None, "conditions": None},
        {"phase": "Provisioned", "infrastructureReady": True, "observedGeneration": 3},
    ):
        objects = _cluster(ready(), {"status": status}, SIGNS[sign])
        assert writes_of(look(objects, policy=_policy("auto")).actions) == []
        assert find(objects, "Cluster", "tokyo")["status"] is not None
