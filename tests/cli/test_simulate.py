"""`captep plan` and `captep simulate`: one test for each sentence of their contract."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import APPLY, KUBECONFIG, NEW, NOW, Command, find, items, new, overlaid
from tests.show.reading import run_of

MASK = re.compile(r"<\d+ bytes, sha256:[0-9a-f]{8}>")


def plan(captep: Command, world: list[dict[str, Any]], *args: str) -> dict[str, Any]:
    """Return the decision of `plan` for objects."""
    return captep("plan", "-f", captep.file(world), "--now", NOW, "-o", "json", *args).json("plan")


def test_plan_prints_the_decision_of_the_first_pass(captep: Command) -> None:
    """Verdict, interval and actions equal those of a simulation's first pass."""
    decided = plan(captep, new())
    first = captep.simulate(NEW)["passes"][0]
    assert decided == {name: first[name] for name in ("verdict", "requeue_after", "actions")}
    assert decided["actions"]


def test_the_reason_of_an_event_says_that_it_is_recorded_and_nothing_of_the_verdict(
    captep: Command,
) -> None:
    """A changed version of a Ready control plane is an Event; the verdict stays Ready."""
    world = captep.ready()
    find(world, "CAPTControlPlane", "osaka")["spec"]["version"] = "1.33"
    decided = plan(captep, world)
    assert decided["verdict"].partition(":")[0] == "Ready"
    reasons = {each["verb"]: each["reason"] for each in decided["actions"]}
    assert reasons["event"] == "record the Event VersionNotPassedOn"
    out = captep("plan", "-f", captep.file(world), "--now", NOW).out
    assert "    why: record the Event VersionNotPassedOn\n" in out


def test_a_settled_run_ends_with_one_pass_that_shows_it_and_the_further_passes(
    captep: Command,
) -> None:
    """There are settled_after + 1 + N passes, and after the fixpoint none of them acts."""
    run = captep.simulate(NEW, "--passes", "3")
    assert (run["settled"], len(run["passes"])) == (True, run["settled_after"] + 1 + 3)
    assert all(
        (done["effective_writes"], done["actions"], done["responses"]) == (0, [], [])
        for done in run["passes"][run["settled_after"] :]
    )
    assert all(done["effective_writes"] > 0 for done in run["passes"][: run["settled_after"]])
    assert {done["requeue_after"] for done in run["passes"]} == {5}


def test_every_action_has_a_response(captep: Command) -> None:
    """Each action has one HTTP status."""
    for done in captep.simulate(NEW)["passes"]:
        assert len(done["actions"]) == len(done["responses"])
        assert set(done["responses"]) <= {200, 201}


def test_the_loop_is_alone_in_its_world(captep: Command) -> None:
    """No other controller fills the WorkspaceTemplateApply's status, however many passes run."""
    assert "status" not in find(
        captep.simulate(NEW, "--passes", "5")["objects"], "WorkspaceTemplateApply", APPLY
    )


def test_the_output_of_a_run_is_input_for_the_next_run(captep: Command) -> None:
    """The next run settles after 0 passes with equal objects, sorted and without Events."""
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


def test_a_ready_control_plane_is_reconciled_every_30_s(captep: Command) -> None:
    """Its endpoint is published on control plane and Cluster."""
    run = captep.simulate(captep.ready(), "--passes", "2")
    for kind in ("CAPTControlPlane", "Cluster"):
        endpoint = {"host": "9F8E7D.gr7.ap-northeast-3.eks.amazonaws.com", "port": 443}
        assert find(run["objects"], kind, "osaka")["spec"]["controlPlaneEndpoint"] == endpoint
    assert [done["requeue_after"] for done in run["passes"]] == [30, 30, 30]


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_of_files_documents_and_keys_changes_nothing(
    captep: Command, *, reverse: bool
) -> None:
    """The supplied uids and resourceVersions are equal too."""

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
    """It stops the pass, changes nothing, shows in the conditions and is retried every 10 s."""
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
def test_a_refusal_matches_verb_and_kind_and_covers_the_status_subresource(
    captep: Command, match: str
) -> None:
    """The kind may stand alone or with its group; another group does not match."""
    run = captep.simulate(NEW, "--refuse", f"patch:{match}/clusters/osaka=500")
    control_plane = find(run["objects"], "CAPTControlPlane", "osaka")
    assert "status" not in control_plane
    assert "finalizers" not in control_plane["metadata"]
    other = captep.simulate(
        NEW, "--refuse", "patch:CAPTControlPlane.example.org/clusters/osaka=500"
    )
    assert other == captep.simulate(NEW)


def test_a_refused_event_changes_nothing_but_its_answer(captep: Command) -> None:
    """The run has the same intervals and the same objects."""
    run = captep.simulate(NEW, "--refuse", "event:CAPTControlPlane/clusters/osaka=403")
    assert any(403 in done["responses"] for done in run["passes"])
    assert {done["requeue_after"] for done in run["passes"]} == {5}
    assert run["objects"] == captep.simulate(NEW)["objects"]


def test_a_conflict_is_retried_but_never_reported(captep: Command) -> None:
    """A lasting 409 shows in the interval (10 s), not in the conditions."""
    run = captep.simulate(
        NEW, "--refuse", f"create:WorkspaceTemplateApply/clusters/{APPLY}=409", "--passes", "2"
    )
    assert run["passes"][-1]["requeue_after"] == 10
    assert "409" not in json.dumps(find(run["objects"], "CAPTControlPlane", "osaka")["status"])


def test_an_unreadable_object_is_not_an_absent_one(captep: Command) -> None:
    """The loop creates nothing that depends on it, and retries after 10 s."""
    run = captep.simulate(
        NEW, "--unreadable", "WorkspaceTemplate/clusters/eks=Forbidden", "--passes", "2"
    )
    assert run["passes"][-1]["requeue_after"] == 10
    assert not any(obj["metadata"]["name"] == APPLY for obj in run["objects"])
    assert "WorkspaceTemplateNotFound" not in json.dumps(run)


def test_a_reference_to_a_cluster_scoped_object_has_an_empty_namespace(captep: Command) -> None:
    """`Workspace//name` means the Workspace of that name."""
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


def test_an_unreadable_control_plane_gets_no_action(captep: Command) -> None:
    """The verdict gives the reason, and the next pass is due after 10 s."""
    decided = plan(captep, new(), "--unreadable", "CAPTControlPlane/clusters/osaka=InternalError")
    assert "InternalError" in decided["verdict"]
    assert (decided["actions"], decided["requeue_after"]) == ([], 10)


def test_a_malformed_neighbour_is_unreadable_and_stays(captep: Command) -> None:
    """A Secret with invalid base64 is no error: the loop never overwrites it, the output has it."""
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


def test_a_malformed_definition_stays_like_any_object(captep: Command) -> None:
    """A CustomResourceDefinition with a malformed spec is neither a schema nor an error."""
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


def test_objects_of_unknown_kinds_stay(captep: Command) -> None:
    """An object of an unknown kind is in the output, unchanged."""
    unknown = {
        "apiVersion": "example.org/v1",
        "kind": "Whatever",
        "metadata": {"name": "it", "namespace": "clusters"},
        "spec": {"a": [1, None]},
    }
    assert find(captep.simulate([*new(), unknown])["objects"], "Whatever", "it")["spec"] == {
        "a": [1, None]
    }


def test_an_object_without_namespace_is_in_default(captep: Command) -> None:
    """Control plane, Cluster and template without namespaces find each other in `default`."""
    world = [{**obj, "metadata": {"name": obj["metadata"]["name"]}} for obj in new()]
    world = json.loads(json.dumps(world).replace('"clusters"', '"default"'))
    objects = captep.simulate(world, "--control-plane", "default/osaka")["objects"]
    assert {obj["metadata"]["namespace"] for obj in objects} == {"default"}
    assert find(objects, "WorkspaceTemplateApply", APPLY)


def test_a_deleted_control_plane_without_finalizers_is_settled(captep: Command) -> None:
    """The object is gone: no pass acts, and no pass is due."""
    world = new()
    world[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    run = captep.simulate(world, "--passes", "1")
    assert run["settled_after"] == 0
    assert [(done["actions"], done["requeue_after"]) for done in run["passes"]] == [([], None)] * 2


def test_an_object_whose_owner_disappears_during_the_run_is_collected(captep: Command) -> None:
    """The control plane's applies go with it; an object whose owner was never there stays."""
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


def test_a_definition_among_the_objects_prunes_writes(captep: Command) -> None:
    """The verdict reports the pruned fields, and the loop still settles."""
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
    assert "the server does not keep spec.variables" in run["passes"][-1]["verdict"]


def test_the_output_masks_every_value_of_a_secret(captep: Command) -> None:
    """Objects, bodies and text show each value's length and the start of its SHA-256 instead."""
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


def test_a_page_shows_every_pass_and_no_value_of_a_secret(captep: Command, tmp_path: Path) -> None:
    """--html writes passes, requests and differences, next to the usual output."""
    world = [obj for obj in captep.ready() if obj["metadata"]["name"] != "osaka-kubeconfig"]
    name = captep.file(world)
    file = tmp_path / "run.html"
    plain = captep("simulate", "-f", name, "--now", NOW, "-o", "json")
    ended = captep("simulate", "-f", name, "--now", NOW, "-o", "json", "--html", str(file))
    assert (ended.status, ended.out) == (0, plain.out)
    text = file.read_text("utf-8")
    run, passes = run_of(text), plain.json("simulate")["passes"]
    assert [step["verdict"] for step in run["steps"]] == [each["verdict"] for each in passes]
    assert [len(step["sent"]) for step in run["steps"]] == [len(each["actions"]) for each in passes]
    made = [each["object"] for each in run["steps"][0]["changes"] if each["what"] == "appears"]
    assert made == ["Secret clusters/osaka-kubeconfig"]
    assert "canary-in-the-kubeconfig" not in text
    assert base64.b64encode(KUBECONFIG.encode()).decode() not in text


def test_a_page_that_cannot_be_written_is_one_line(captep: Command, tmp_path: Path) -> None:
    """The line names the file and the reason."""
    file = tmp_path / "missing" / "run.html"
    ended = captep("simulate", "-f", NEW, "--html", str(file))
    assert ended.status == 1
    assert ended.err == f"captep: {file}: cannot write the page: No such file or directory\n"


def test_show_secrets_prints_the_values(captep: Command) -> None:
    """With --show-secrets the output has the values."""
    secret = find(captep.ready(), "Secret", "osaka-kubeconfig")
    assert base64.b64decode(secret["data"]["value"]).decode() == KUBECONFIG


def test_the_text_names_verdict_writes_reasons_and_changes(captep: Command) -> None:
    """The text of a plan has them all; that of a simulation has each pass."""
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


def test_the_text_of_a_patch_shows_the_old_and_the_new_value(captep: Command) -> None:
    """A minus precedes the old value, a plus the new one."""
    world = captep.simulate(NEW)["objects"]
    find(world, "WorkspaceTemplateApply", APPLY)["spec"]["variables"]["kubernetes_version"] = "1.1"
    out = captep("plan", "-f", captep.file(world)).out
    field = "spec.variables.kubernetes_version"
    assert f'    - {field}: "1.1"\n    + {field}: "1.32"\n' in out


def test_the_text_escapes_terminal_sequences(captep: Command) -> None:
    """An escape sequence in a file is printed as visible text."""
    world = new()
    world[0]["metadata"]["annotations"] = {"cluster.x-k8s.io/paused": ""}
    world[0]["metadata"]["name"] = world[1]["metadata"]["name"] = "osa\x1b[31mka"
    out = captep("plan", "-f", captep.file(world)).out
    assert "\x1b" not in out
    assert "\\x1b[31m" in out


def test_the_overlay_of_the_neighbours_keeps_the_writes_of_the_loop() -> None:
    """The fixture has five objects, and the overlay keeps an existing spec."""
    laid = overlaid(
        [{"kind": "WorkspaceTemplateApply", "metadata": {"name": APPLY}, "spec": {"kept": True}}],
        items("provided.yaml"),
    )
    assert find(laid, "WorkspaceTemplateApply", APPLY)["spec"] == {"kept": True}
    assert len(laid) == 5


@pytest.mark.parametrize(
    ("mode", "with_core", "writes"),
    [
        ("auto", False, ["spec.controlPlaneEndpoint", "status"]),
        ("auto", True, ["spec.controlPlaneEndpoint"]),
        ("always", True, ["spec.controlPlaneEndpoint", "status"]),
        ("never", False, []),
    ],
)
def test_publish_to_cluster_says_what_the_loop_writes_to_the_cluster(
    captep: Command, mode: str, with_core: bool, writes: list[str]
) -> None:
    """By default the status belongs to Cluster API's core where the Cluster shows that it acts."""
    world = captep.ready()
    cluster = find(world, "Cluster", "osaka")
    cluster["spec"].pop("controlPlaneEndpoint", None)
    cluster.pop("status", None)
    if with_core:
        cluster["metadata"]["finalizers"] = ["cluster.cluster.x-k8s.io"]
    run = captep.simulate(world, "--publish-to-cluster", mode)
    actions = [action for done in run["passes"] for action in done["actions"]]
    written = {
        "status" if "status" in action["body"] else "spec.controlPlaneEndpoint"
        for action in actions
        if action["target"]["kind"] == "Cluster" and action["verb"] == "patch"
    }
    assert sorted(written) == writes
    decided = plan(captep, world, "--publish-to-cluster", mode)
    assert decided["actions"] == run["passes"][0]["actions"]
