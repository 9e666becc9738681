"""Versions: EKS's form in the variable, the user's own in spec, and status.version as an extra."""

import pytest

from captep_core import Create, RecordEvent
from tests.capt.driving import look, run, writes_of
from tests.capt.worlds import (
    Objects,
    changed,
    created,
    find,
    new,
    provided,
    ready,
    waiting,
)

CP, APPLY, MAIN = "CAPTControlPlane", "WorkspaceTemplateApply", "tokyo-eks-controlplane-apply"
WORKSPACE = "tokyo-eks-controlplane"

VERSIONS = [
    ("1.31", "1.31"),
    ("v1.31", "1.31"),
    ("v1.31.0", "1.31"),
    ("1.31.0", "1.31"),
    ("v1.31.14", "1.31"),
    ("v1.31.0-rc.1", "1.31"),
    ("v1.31.4-eks-2d5f260", "1.31"),
    ("v1.31.0+build.5", "1.31"),
    ("v1.9.11", "1.9"),
    ("v1.100.0", "1.100"),
    ("v2.0.0", "2.0"),
    # No version that EKS could be asked for is in these: Terraform says so in its own words.
    ("latest", "latest"),
    ("1", "1"),
    ("v1", "v1"),
    ("1.X", "1.X"),
    ("one.31", "one.31"),
    ("1.31.0.0", "1.31.0.0"),
    ("1..31", "1..31"),
    ("1.31.", "1.31."),
    ("${version}", "${version}"),
    ("１.３１", "１.３１"),
]


def _wanted(objects: Objects, version: str) -> Objects:
    return changed(objects, CP, "tokyo", {"spec": {"version": version}})


@pytest.mark.parametrize(("version", "variable"), VERSIONS)
def test_the_variable_has_the_form_of_eks(version: str, variable: str) -> None:
    """Major and minor; a text that is no version passes as it is."""
    [main] = [
        each
        for each in look(_wanted(new(), version)).actions
        if isinstance(each, Create) and each.target.name == MAIN
    ]
    spec = main.body["spec"]
    assert isinstance(spec, dict)
    variables = spec["variables"]
    assert isinstance(variables, dict)
    assert variables["kubernetes_version"] == variable


@pytest.mark.parametrize("version", ["v1.33.0", "1.33.0", "v1.33", "v1.33.7-eks-1"])
def test_another_spelling_of_the_same_minor_is_no_write_and_no_event(version: str) -> None:
    """The user's spec.version stays as it is written, and the apply already has its minor."""
    objects = _wanted(ready(), version)
    decision = look(objects)
    assert (decision.actions, decision.verdict.reason) == ((), "Ready")


def test_a_patch_release_is_no_write_and_no_event() -> None:
    """EKS chooses the patch release; core sets a full version with ClusterClass."""
    first = run(_wanted(ready(), "v1.33.1")).objects
    assert look(_wanted(first, "v1.33.2")).actions == ()


def test_a_new_minor_is_one_write_and_one_event() -> None:
    """The form of EKS is compared, and the Event names the field of the user."""
    done = run(_wanted(ready(), "v1.34.2"))
    assert [each.body for each in done.writes] == [
        {"spec": {"variables": {"kubernetes_version": "1.34"}}}
    ]
    assert [each.reason for each in done.events] == ["VersionNotPassedOn"]
    assert done.find(CP, "tokyo")["spec"]["version"] == "v1.34.2"


def test_a_version_that_went_to_terraform_verbatim_is_corrected_once() -> None:
    """An apply that has `v1.33.0` gets `1.33`, and then there is rest."""
    verbatim = {"spec": {"variables": {"kubernetes_version": "v1.33.0"}}}
    objects = changed(_wanted(ready(), "v1.33.0"), APPLY, MAIN, verbatim)
    done = run(objects)
    assert [each.body for each in done.writes] == [
        {"spec": {"variables": {"kubernetes_version": "1.33"}}}
    ]
    assert look(done.objects).actions == ()


def _version(objects: Objects) -> object:
    return run(objects).find(CP, "tokyo")["status"].get("version")


def _minor(version: object) -> str:
    assert isinstance(version, str)
    return ".".join(version.removeprefix("v").split(".")[:2])


@pytest.mark.parametrize("world", [new, created, waiting, provided, ready])
def test_an_absent_status_version_is_no_reason_to_write(world: object) -> None:
    """Upstream's definition prunes the field: a write for it alone would be sent for ever."""
    assert callable(world)
    settled = run(world()).objects
    bare = changed(settled, CP, "tokyo", {"status": {"version": None}})
    assert look(bare).actions == ()


@pytest.mark.parametrize("version", ["1.33", "v1.33.0"])
def test_status_version_rides_in_a_status_write_that_is_due(version: str) -> None:
    """Core asks for it before any upgrade; without it the control plane provisions for ever."""
    fresh = changed(ready(), CP, "tokyo", {"status": None})
    done = run(_wanted(fresh, version))
    assert writes_of(done.writes).count(f"patch {CP} fleet/tokyo/status") == 1
    assert _minor(done.find(CP, "tokyo")["status"].get("version")) == "1.33"


def test_status_version_is_what_runs_and_not_what_is_wanted() -> None:
    """An apply that was applied passes no new version on: core must see that the upgrade waits."""
    fresh = changed(ready(), CP, "tokyo", {"status": {"conditions": None}})
    assert _minor(_version(_wanted(fresh, "v1.34.0"))) == "1.33"


@pytest.mark.parametrize("output", ["cluster_version", "kubernetes_version"])
def test_status_version_comes_from_the_outputs_where_they_say_one(output: str) -> None:
    """Terraform knows the version that EKS runs."""
    outputs = {"status": {"atProvider": {"outputs": {output: "1.32"}}}}
    fresh = changed(ready(), CP, "tokyo", {"status": {"conditions": None}})
    assert _minor(_version(changed(fresh, "Workspace", WORKSPACE, outputs))) == "1.32"


@pytest.mark.parametrize("odd", [None, 1.32, True, {}, [], "", "canary"])
def test_an_output_that_is_no_version_is_passed_over(odd: object) -> None:
    """Only a text that is a version is reported as one."""
    outputs = {"status": {"atProvider": {"outputs": {"cluster_version": odd}}}}
    fresh = changed(ready(), CP, "tokyo", {"status": {"conditions": None}})
    assert _minor(_version(changed(fresh, "Workspace", WORKSPACE, outputs))) == "1.33"


def test_a_control_plane_that_was_never_applied_reports_no_version() -> None:
    """Nothing runs yet."""
    assert _version(new()) is None
    assert not [each for each in look(new()).actions if isinstance(each, RecordEvent)]
    assert find(new(), CP, "tokyo")["spec"]["version"] == "1.33"
