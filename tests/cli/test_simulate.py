"""`captep plan` and `captep simulate`, sentence by sentence of their contract."""

import base64
import json
import re
from typing import Any

import pytest

from tests.cli.command import APPLY, KUBECONFIG, NEW, NOW, Command, find, items, new, overlaid

MASK = re.compile(r"<\d+ bytes, sha256:[0-9a-f]{8}>")


def plan(captep: Command, world: list[dict[str, Any]], *args: str) -> dict[str, Any]:
    """Return what `plan` decides for objects."""
    return captep("plan", "-f", captep.file(world), "--now", NOW, "-o", "json", *args).json("plan")


def test_plan_prints_one_decision_and_writes_nothing(captep: Command) -> None:
    """The actions are those that the first pass of a simulation sends."""
    decided = plan(captep, new())
    first = captep.simulate(NEW)["passes"][0]
    assert decided == {name: first[name] for name in ("verdict", "requeue_after", "actions")}
    assert decided["actions"]


def test_a_settled_run_has_a_pass_that_shows_it_and_those_asked_for(captep: Command) -> None:
    """settled_after + 1 + N passes; from the fixpoint on none acts; the world waits for its workspace every 5 s."""
    run = captep.simulate(NEW, "--passes", "3")
    assert (run["settled"], len(run["passes"])) == (True, run["settled_after"] + 1 + 3)
    assert all(
        (done["effective_writes"], done["actions"], done["responses"]) == (0, [], [])
        for done in run["passes"][run["settled_after"] :]
    )
    assert all(done["effective_writes"] > 0 for done in run["passes"][: run["settled_after"]])
    assert {done["requeue_after"] for done in run["passes"]} == {5}


def test_every_action_has_a_response(captep: Command) -> None:
    """One HTTP status for each action that was sent."""
    for done in captep.simulate(NEW)["passes"]:
        assert len(done["actions"]) == len(done["responses"])
        assert set(done["responses"]) <= {200, 201}


def test_nobody_else_acts(captep: Command) -> None:
    """The WorkspaceTemplateApply stays without status, however many passes are run."""
    assert "status" not in find(
        captep.simulate(NEW, "--passes", "5")["objects"], "WorkspaceTemplateApply", APPLY
    )


def test_the_output_is_input(captep: Command) -> None:
    """Settled after 0 passes, and it comes back equal; sorted, and without Events."""
    for objects in (captep.simulate(NEW)["objects"], captep.ready()):
        keys = [
            (
                obj["apiVersion"],
                obj["kind"],
                obj["metadata"].get("namespace") or "",
                obj["metadata"]["name"],
            )
            for obj in objects
        ]
        assert keys == sorted(keys)
        assert not any(obj["kind"] == "Event" for obj in objects)
        again = captep.simulate(objects)
        assert (again["settled_after"], again["objects"]) == (0, objects)


def test_a_ready_world_is_looked_at_every_half_minute(captep: Command) -> None:
    """The endpoint is published on both objects, and the interval is 30 s."""
    run = captep.simulate(captep.ready(), "--passes", "2")
    for kind in ("CAPTControlPlane", "Cluster"):
        endpoint = {"host": "9F8E7D.gr7.ap-northeast-3.eks.amazonaws.com", "port": 443}
        assert find(run["objects"], kind, "osaka")["spec"]["controlPlaneEndpoint"] == endpoint
    assert [done["requeue_after"] for done in run["passes"]] == [30, 30, 30]


@pytest.mark.parametrize("reverse", [False, True])
def test_order_does_not_show(captep: Command, *, reverse: bool) -> None:
    """Files, documents and keys in any order give the same, supplied uids and resourceVersions included."""

    def turned(obj: Any) -> Any:  # noqa: ANN401 - JSON
        return (
            {key: turned(obj[key]) for key in sorted(obj, reverse=reverse)}
            if isinstance(obj, dict)
            else obj
        )

    files = [captep.file([turned(obj)]) for obj in new()][:: -1 if reverse else 1]
    args = [arg for name in files for arg in ("-f", name)]
    assert captep("simulate", *args, "--now", NOW, "-o", "json", "--show-secrets").json(
        "simulate"
    ) == captep.simulate(NEW)


def test_a_refused_write_is_reported_and_retried(captep: Command) -> None:
    """It changes nothing, stops the pass, is in the conditions and is tried again every 10 s."""
    run = captep.simulate(
        NEW, "--refuse", f"create:WorkspaceTemplateApply/clusters/{APPLY}=403", "--passes", "2"
    )
    assert not any(obj["metadata"]["name"] == APPLY for obj in run["objects"])
    assert run["passes"][0]["responses"][-1] == 403
    assert [
        (done["responses"], done["requeue_after"]) for done in run["passes"][run["settled_after"] :]
    ] == [([403], 10)] * 3
    conditions = find(run["objects"], "CAPTControlPlane", "osaka")["status"]["conditions"]
    assert any(
        c["reason"] == "WorkspaceTemplateApplyFailed" and "403" in c["message"] for c in conditions
    )


@pytest.mark.parametrize(
    "match", ["CAPTControlPlane", "CAPTControlPlane.controlplane.cluster.x-k8s.io"]
)
def test_refusals_are_by_verb_and_include_the_status(captep: Command, match: str) -> None:
    """All patches of the control plane are refused, by kind alone or with its group; nothing else is."""
    run = captep.simulate(NEW, "--refuse", f"patch:{match}/clusters/osaka=500")
    control_plane = find(run["objects"], "CAPTControlPlane", "osaka")
    assert "status" not in control_plane
    assert "finalizers" not in control_plane["metadata"]
    other = captep.simulate(
        NEW, "--refuse", "patch:CAPTControlPlane.example.org/clusters/osaka=500"
    )
    assert other == captep.simulate(NEW)


def test_a_refused_event_is_not_reported(captep: Command) -> None:
    """The Event's answer shows, the run is otherwise the same."""
    run = captep.simulate(NEW, "--refuse", "event:CAPTControlPlane/clusters/osaka=403")
    assert any(403 in done["responses"] for done in run["passes"])
    assert {done["requeue_after"] for done in run["passes"]} == {5}
    assert run["objects"] == captep.simulate(NEW)["objects"]


def test_a_conflict_is_retried_but_never_reported(captep: Command) -> None:
    """409 for ever: the passes know of it (10 s), the conditions do not."""
    run = captep.simulate(
        NEW, "--refuse", f"create:WorkspaceTemplateApply/clusters/{APPLY}=409", "--passes", "2"
    )
    assert run["passes"][-1]["requeue_after"] == 10
    assert "409" not in json.dumps(find(run["objects"], "CAPTControlPlane", "osaka")["status"])


def test_an_unreadable_object_is_not_an_absent_one(captep: Command) -> None:
    """Nothing that depends on it is created; 10 s."""
    run = captep.simulate(
        NEW, "--unreadable", "WorkspaceTemplate/clusters/eks=Forbidden", "--passes", "2"
    )
    assert run["passes"][-1]["requeue_after"] == 10
    assert not any(obj["metadata"]["name"] == APPLY for obj in run["objects"])
    assert "WorkspaceTemplateNotFound" not in json.dumps(run)


def test_a_cluster_scoped_object_is_named_with_an_empty_namespace(captep: Command) -> None:
    """`Workspace//name` is the Workspace of that name."""
    world = captep.file(captep.ready())
    decided = captep(
        "plan",
        "-f",
        world,
        "--unreadable",
        "Workspace//osaka-eks-controlplane=Timeout",
        "-o",
        "json",
    ).json("plan")
    assert "Timeout" in decided["verdict"]


def test_an_unreadable_control_plane_is_left_alone(captep: Command) -> None:
    """The verdict says so; no action; 10 s."""
    decided = plan(captep, new(), "--unreadable", "CAPTControlPlane/clusters/osaka=InternalError")
    assert "InternalError" in decided["verdict"]
    assert (decided["actions"], decided["requeue_after"]) == ([], 10)


def test_a_malformed_neighbour_is_unreadable_and_kept(captep: Command) -> None:
    """A Secret that no server could decode is no error: it is there, comes back as it is, and nobody overwrites it."""
    broken = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "osaka-eks-connection", "namespace": "clusters"},
        "data": {"a": "%%"},
    }
    world = [obj for obj in captep.ready() if obj["metadata"]["name"] != "osaka-eks-connection"]
    run = captep.simulate([*world, broken])
    assert find(run["objects"], "Secret", "osaka-eks-connection") == broken
    assert run["passes"][-1]["requeue_after"] == 10


def test_a_malformed_definition_is_kept_as_any_object(captep: Command) -> None:
    """A CustomResourceDefinition without a sensible spec is no schema, and no error."""
    broken = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "x"},
        "spec": 5,
    }
    assert (
        find(captep.simulate([*new(), broken])["objects"], "CustomResourceDefinition", "x")
        == broken
    )


def test_objects_of_unknown_kinds_are_kept(captep: Command) -> None:
    """What nobody knows is there at the end."""
    unknown = {
        "apiVersion": "example.org/v1",
        "kind": "Whatever",
        "metadata": {"name": "it", "namespace": "clusters"},
        "spec": {"a": [1, None]},
    }
    assert find(captep.simulate([*new(), unknown])["objects"], "Whatever", "it")["spec"] == {
        "a": [1, None]
    }


def test_no_namespace_is_default(captep: Command) -> None:
    """Control plane, Cluster and template without namespaces belong together in `default`."""
    world = [{**obj, "metadata": {"name": obj["metadata"]["name"]}} for obj in new()]
    world = json.loads(json.dumps(world).replace('"clusters"', '"default"'))
    objects = captep.simulate(world, "--control-plane", "default/osaka")["objects"]
    assert {obj["metadata"]["namespace"] for obj in objects} == {"default"}
    assert find(objects, "WorkspaceTemplateApply", APPLY)


def test_a_control_plane_that_is_gone_is_settled(captep: Command) -> None:
    """Deleted and with nothing left to hold it, it is not there: no pass acts, and there is nothing to come back for."""
    world = new()
    world[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    run = captep.simulate(world, "--passes", "1")
    assert run["settled_after"] == 0
    assert [(done["actions"], done["requeue_after"]) for done in run["passes"]] == [([], None)] * 2


def test_what_loses_its_owner_during_the_run_is_collected(captep: Command) -> None:
    """The control plane is let go; the WorkspaceTemplateApplies that it owns go with it, one whose owner was never there stays."""
    world = captep.simulate(NEW)["objects"]
    find(world, "CAPTControlPlane", "osaka")["metadata"]["deletionTimestamp"] = (
        "2026-01-01T00:30:00Z"
    )
    owner = {"apiVersion": "example.org/v1", "kind": "Elsewhere", "name": "e", "uid": "e-1"}
    stays = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "stays", "namespace": "clusters", "ownerReferences": [owner]},
    }
    run = captep.simulate([*world, stays], "--passes", "1")
    assert sorted(obj["kind"] for obj in run["objects"]) == [
        "Cluster",
        "ConfigMap",
        "WorkspaceTemplate",
    ]
    assert (run["settled"], run["passes"][-1]["requeue_after"]) == (True, None)


def test_a_definition_is_a_schema(captep: Command) -> None:
    """A CustomResourceDefinition among the objects prunes what the loop writes: it shows, and the loop comes to rest."""
    open_object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    spec = {"type": "object", "properties": {"templateRef": open_object}}
    version = {"name": "v1beta1", "served": True, "storage": True, "subresources": {"status": {}}}
    schema = {
        "openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": open_object}}
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "workspacetemplateapplies.infrastructure.cluster.x-k8s.io"},
        "spec": {
            "group": "infrastructure.cluster.x-k8s.io",
            "names": {"kind": "WorkspaceTemplateApply", "plural": "workspacetemplateapplies"},
            "scope": "Namespaced",
            "versions": [{**version, "schema": schema}],
        },
    }
    run = captep.simulate([*new(), definition], "--passes", "3")
    assert run["settled"]
    assert set(find(run["objects"], "WorkspaceTemplateApply", APPLY)["spec"]) == {"templateRef"}
    assert sum(done["effective_writes"] for done in run["passes"][run["settled_after"] :]) == 0
    assert "does not last" in run["passes"][-1]["verdict"]


def test_secrets_are_masked(captep: Command) -> None:
    """Neither raw nor in base64, in objects, bodies and text; each value shows its length and the start of its SHA-256."""
    last_applied = {"kubectl.kubernetes.io/last-applied-configuration": KUBECONFIG}
    world = [obj for obj in captep.ready() if obj["metadata"]["name"] != "osaka-kubeconfig"]
    for obj in world:
        if obj["kind"] == "Secret":
            obj["metadata"]["annotations"] = last_applied
    name = captep.file(world)
    hidden = ("canary-in-the-kubeconfig", base64.b64encode(KUBECONFIG.encode()).decode())
    for verb in ("plan", "simulate"):
        for output in ("json", "text"):
            ended = captep(verb, "-f", name, "--now", NOW, "-o", output)
            assert ended.status == 0
            assert not any(value in ended.out + ended.err for value in hidden)
            assert output == "text" or MASK.search(ended.out)
    shown = captep("simulate", "-f", name, "--now", NOW, "-o", "json").json("simulate")["objects"]
    secret = find(shown, "Secret", "osaka-kubeconfig")
    assert all(MASK.fullmatch(value) for value in secret["data"].values())
    assert (
        secret["data"]["value"]
        == f"<{len(KUBECONFIG.encode())} bytes, sha256:" + secret["data"]["value"][-9:]
    )


def test_secrets_are_shown_on_request(captep: Command) -> None:
    """With --show-secrets the values are there."""
    secret = find(captep.ready(), "Secret", "osaka-kubeconfig")
    assert base64.b64decode(secret["data"]["value"]).decode() == KUBECONFIG


def test_the_text_says_what_and_why(captep: Command) -> None:
    """A plan for people names the verdict, each write, its reason and what changes."""
    out = captep("plan", "-f", NEW, "--now", NOW).out
    for part in (
        "CAPTControlPlane clusters/osaka",
        "Creating",
        f"+ create WorkspaceTemplateApply clusters/{APPLY}",
        "why: ",
        '"1.32"',
    ):
        assert part in out
    run = captep("simulate", "-f", NEW, "--now", NOW).out
    assert "settled after 2 passes" in run
    assert "pass 3: settled, looks again after 5 s" in run


def test_the_text_of_a_patch_shows_before_and_after(captep: Command) -> None:
    """The old value is taken away, the new one added."""
    world = captep.simulate(NEW)["objects"]
    find(world, "WorkspaceTemplateApply", APPLY)["spec"]["variables"]["kubernetes_version"] = "1.1"
    out = captep("plan", "-f", captep.file(world)).out
    assert (
        '    - spec.variables.kubernetes_version: "1.1"\n    + spec.variables.kubernetes_version: "1.32"\n'
        in out
    )


def test_the_text_cannot_drive_the_terminal(captep: Command) -> None:
    """Escape sequences in a file come out as text."""
    world = new()
    world[0]["metadata"]["annotations"] = {"cluster.x-k8s.io/paused": ""}
    world[0]["metadata"]["name"] = world[1]["metadata"]["name"] = "osa\x1b[31mka"
    out = captep("plan", "-f", captep.file(world)).out
    assert "\x1b" not in out
    assert "\\x1b[31m" in out


def test_provided_items_are_what_the_neighbours_do() -> None:
    """The fixture is not empty, and laying it over keeps what the loop wrote."""
    laid = overlaid(
        [{"kind": "WorkspaceTemplateApply", "metadata": {"name": APPLY}, "spec": {"kept": True}}],
        items("provided.yaml"),
    )
    assert find(laid, "WorkspaceTemplateApply", APPLY)["spec"] == {"kept": True}
    assert len(laid) == 5
