"""Terraform and Crossplane: the whole order of what they write, and how long it takes."""

import base64
from datetime import timedelta
from typing import Any

import pytest

from captep_core import ObjectRef
from captep_memory import Request, load
from captep_world import (
    FAILURE_ANNOTATION,
    IDLE,
    Memory,
    Objects,
    Pace,
    Terraform,
    Turn,
    WorldServer,
    outputs,
)
from tests.memory.support import NOW

PACE = Pace(apply=(60, 60), small_apply=(60, 60), look=(5, 5), poll=(600, 600), destroy=(120, 120))
MODULE = """\
output "cluster_endpoint" {
  value = 1
}
output "kubeconfig" {
  value = 2
  sensitive = true
}
output "role_exists" {
}
"""
WORKSPACE: dict[str, Any] = {
    "apiVersion": "tf.upbound.io/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "tokyo"},
    "spec": {
        "forProvider": {
            "source": "Inline",
            "module": MODULE,
            "vars": [{"key": "cluster_name", "value": "tokyo"}],
        },
        "writeConnectionSecretToRef": {"name": "tokyo-connection", "namespace": "fleet"},
    },
}
KEY = ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, "tokyo")
SECRET = ObjectRef("v1", "Secret", "fleet", "tokyo-connection")


class Stage:
    """A server with one Workspace, and a provider with a clock of the test."""

    def __init__(self) -> None:
        self.server = WorldServer(load([WORKSPACE], now=NOW))
        self.objects = Objects(self.server.call)
        self.provider = Terraform(PACE)
        self.memory: Memory = IDLE

    def at(self, seconds: float) -> Turn:
        """Take one turn so many seconds after the start; return it."""
        now = NOW + timedelta(seconds=seconds)
        self.server.at(now)
        turn = self.provider.turn(KEY, self.objects, self.memory, now=now)
        for request in turn.requests:
            assert self.server.call(request).ok
        self.memory = turn.memory
        return turn

    def shown(self) -> list[tuple[str, str, str]]:
        """Return type, status and reason of the conditions."""
        found = (self.objects.get(KEY) or {}).get("status", {}).get("conditions", [])
        return sorted((entry["type"], entry["status"], entry["reason"]) for entry in found)

    def data(self) -> dict[str, str] | None:
        """Return the content of the connection Secret, None without such a Secret."""
        secret = self.objects.get(SECRET)
        return (
            None
            if secret is None
            else {
                name: base64.b64decode(text).decode()
                for name, text in secret.get("data", {}).items()
            }
        )

    def user(self, annotations: dict[str, str | None]) -> None:
        """Annotate the Workspace."""
        body = {"metadata": {"annotations": annotations}}
        assert self.server.call(
            Request("patch", KEY.api_version, KEY.kind, None, KEY.name, body=body)
        ).ok


def written(turn: Turn) -> list[str]:
    """Name the writes of a turn in order."""
    return [
        " ".join(filter(None, (each.verb, each.kind, each.subresource))) for each in turn.requests
    ]


def test_the_first_apply_writes_in_the_real_order() -> None:
    """Empty Secret, no conditions, filled Secret, Creating without outputs, Available with them."""
    stage = Stage()
    assert written(stage.at(0)) == ["create Secret", "patch Workspace", "patch Workspace"]
    assert (stage.data(), stage.shown()) == ({}, [])
    assert stage.at(30) == Turn(due=NOW + timedelta(seconds=60), memory=stage.memory, occupied=True)
    assert (stage.data(), stage.shown()) == ({}, [])
    assert written(stage.at(60)) == ["patch Workspace", "patch Secret", "patch Workspace status"]
    assert sorted(stage.data() or {}) == ["cluster_endpoint", "kubeconfig", "role_exists"]
    assert stage.shown() == [("Ready", "False", "Creating"), ("Synced", "True", "ReconcileSuccess")]
    assert "atProvider" not in (stage.objects.get(KEY) or {})["status"]
    assert written(stage.at(65)) == ["patch Secret", "patch Workspace status"]
    assert stage.shown() == [("Ready", "True", "Available"), ("Synced", "True", "ReconcileSuccess")]
    assert sorted((stage.objects.get(KEY) or {})["status"]["atProvider"]["outputs"]) == [
        "cluster_endpoint",
        "role_exists",
    ]


def test_an_output_other_than_a_string_is_json_in_the_secret() -> None:
    """Strings are raw: nothing but the Secret's own layer of base64."""
    stage = ready()
    shown = (stage.objects.get(KEY) or {})["status"]["atProvider"]["outputs"]
    assert shown["role_exists"] is True
    assert (stage.data() or {})["role_exists"] == "true"
    assert (stage.data() or {})["cluster_endpoint"] == shown["cluster_endpoint"]


def ready() -> Stage:
    """Return a stage on which the Workspace is Ready, 65 s after the start."""
    stage = Stage()
    for seconds in (0, 60, 65):
        stage.at(seconds)
    return stage


def test_each_look_rotates_the_token_and_nothing_else() -> None:
    """The next look begins after ten minutes and changes nothing but the kubeconfig."""
    stage = ready()
    before = stage.data() or {}
    assert stage.at(664).requests == ()
    assert stage.at(665).due == NOW + timedelta(seconds=670)
    version = (stage.objects.get(KEY) or {})["metadata"]["resourceVersion"]
    stage.at(670)
    after = stage.data() or {}
    assert after.pop("kubeconfig") != before.pop("kubeconfig")
    assert after == before
    assert (stage.objects.get(KEY) or {})["metadata"]["resourceVersion"] == version


def test_a_failure_leaves_ready_unchanged_and_ends() -> None:
    """Only Synced shows it; an annotation wakes the provider at once."""
    stage = ready()
    stage.user({FAILURE_ANNOTATION: "ExpiredToken"})
    assert stage.at(100).due == NOW + timedelta(seconds=105)
    stage.at(105)
    assert stage.shown() == [("Ready", "True", "Available"), ("Synced", "False", "ReconcileError")]
    stage.user({FAILURE_ANNOTATION: None})
    stage.at(110)
    stage.at(115)
    assert stage.shown() == [("Ready", "True", "Available"), ("Synced", "True", "ReconcileSuccess")]


def test_a_failing_first_apply_is_creating_and_unsynced() -> None:
    """The Secret stays empty."""
    stage = Stage()
    stage.user({FAILURE_ANNOTATION: "AccessDenied"})
    stage.at(0)
    stage.at(60)
    assert stage.shown() == [("Ready", "False", "Creating"), ("Synced", "False", "ReconcileError")]
    assert stage.data() == {}


def test_a_deletion_shows_only_after_everything_is_destroyed() -> None:
    """Then comes Deleting; a look later the object goes, and the collector takes its Secret."""
    stage = ready()
    assert stage.server.call(Request("delete", KEY.api_version, KEY.kind, None, KEY.name)).ok
    assert stage.at(70).due == NOW + timedelta(seconds=190)
    assert stage.shown() == [("Ready", "True", "Available"), ("Synced", "True", "ReconcileSuccess")]
    stage.at(190)
    assert stage.shown() == [("Ready", "False", "Deleting"), ("Synced", "True", "ReconcileSuccess")]
    stage.at(195)
    stage.server.take_changes()
    assert (stage.objects.get(KEY), stage.data()) == (None, None)


@pytest.mark.parametrize("seed", [0, 1])
def test_outputs_are_a_function_of_seed_name_and_time(seed: int) -> None:
    """Twice the same arguments give the same, and no credential is in a repr."""
    made = [
        outputs(MODULE, {"cluster_name": "tokyo"}, name="tokyo", seed=seed, now=NOW)
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert made[0] != outputs(
        MODULE, {"cluster_name": "tokyo"}, name="tokyo", seed=seed + 1, now=NOW
    )
    assert "k8s-aws-v1" in str(made[0][1].value)
    assert "k8s-aws-v1" not in repr(made)
