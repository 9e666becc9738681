"""One suite for every gateway: in memory, over the client and HTTP, and on a real kube-apiserver.

A difference between the three is a bug in the fake or in an adapter.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import frozen

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    ReconcileState,
    RecordEvent,
    Unreadable,
    decide,
    write_of,
)
from captep_core.ports import Answer, Gateway, as_read
from captep_runtime import run_pass

__all__ = ["GatewayContract", "Site", "eventually"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTROL_PLANE = ("controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane")
CLUSTER = ("cluster.x-k8s.io/v1beta1", "Cluster")
TEMPLATE = ("infrastructure.cluster.x-k8s.io/v1beta1", "WorkspaceTemplate")
APPLY = ("infrastructure.cluster.x-k8s.io/v1beta1", "WorkspaceTemplateApply")


@frozen
class Site:
    """A gateway, another one to the same server for the writes of others, and a namespace."""

    gateway: Gateway
    other: Gateway
    namespace: str

    def ref(self, kind: tuple[str, str], name: str = "one") -> ObjectRef:
        """Name an object in the namespace."""
        return ObjectRef(*kind, self.namespace, name)

    def send(self, action: Action) -> tuple[int, bool]:
        """Send by the gateway under test; returns the status, and whether something changed."""
        return _outcome(self.gateway.send(action))

    def found(self, ref: ObjectRef, by: Gateway | None = None) -> dict[str, Any]:
        """Read an object that is there."""
        found = (by or self.gateway).read(ref)
        assert isinstance(found, dict), found
        return found

    def names(self, kind: tuple[str, str], **labels: str) -> tuple[str, ...]:
        """Return the names that a list shows, without what a cluster itself puts there."""
        listed = as_read(self.gateway.read).list(*kind, self.namespace, labels=labels)
        assert not isinstance(listed, Unreadable), listed
        found: list[Any] = [obj["metadata"] for obj in listed]
        return tuple(each["name"] for each in found)

    def bound(self, ref: ObjectRef, by: Gateway | None = None) -> Preconditions:
        """Bind a write to what is read now."""
        metadata = self.found(ref, by)["metadata"]
        return Preconditions(metadata["uid"], metadata["resourceVersion"])


def _outcome(answer: Answer) -> tuple[int, bool]:
    return answer.status, answer.changed


def eventually(probe: Callable[[], object], what: str, within: float = 10.0) -> None:
    """Poll until `probe` returns something true."""
    deadline = time.monotonic() + within
    while not probe():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.02)


def created(ref: ObjectRef, **rest: JSON) -> Create:
    """Create an object; `metadata` adds to its name and namespace."""
    metadata = rest.pop("metadata", {})
    assert isinstance(metadata, dict)
    named: JSON = {"name": ref.name, "namespace": ref.namespace, **metadata}
    return Create(
        ref, {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": named, **rest}, "why"
    )


def control_plane(ref: ObjectRef, **metadata: JSON) -> Create:
    """Create a valid control plane."""
    return created(
        ref,
        spec={"version": "1.33", "workspaceTemplateRef": {"name": "eks"}},
        metadata=dict(metadata),
    )


def secret(ref: ObjectRef, value: str = "b25l") -> Create:
    """Create a Secret."""
    return created(ref, type="cluster.x-k8s.io/secret", data={"value": value})


class GatewayContract:
    """To be inherited by a test class with a fixture `site`."""

    def test_an_object_that_was_never_created_is_absent(self, site: Site) -> None:
        """Absent, and not unreadable."""
        assert site.gateway.read(site.ref(CONTROL_PLANE)) is ABSENT
        assert site.gateway.read(site.ref(("v1", "Secret"))) is ABSENT

    @pytest.mark.parametrize("make", [control_plane, secret])
    def test_own_writes_are_seen_at_once(
        self, site: Site, make: Callable[[ObjectRef], Create]
    ) -> None:
        """A read shows the written fields and the server's; a second create is a conflict."""
        ref = site.ref(CONTROL_PLANE if make is control_plane else ("v1", "Secret"))
        assert site.send(make(ref)) == (201, True)
        found = site.found(ref)
        assert (found["apiVersion"], found["kind"], found["metadata"]["name"]) == (
            ref.api_version,
            ref.kind,
            ref.name,
        )
        assert found["metadata"]["uid"]
        assert found["metadata"]["resourceVersion"]
        assert {key: found[key] for key in ("spec", "data") if key in found} == {
            key: make(ref).body[key] for key in ("spec", "data") if key in found
        }
        assert site.send(make(ref)) == (409, False)

    def test_a_patch_changes_once(self, site: Site) -> None:
        """The same patch again is accepted and changes nothing: version and uid stay (V2)."""
        ref = site.ref(CONTROL_PLANE)
        site.send(control_plane(ref))
        patch = Patch(
            ref,
            {"spec": {"workspaceTemplateApplyName": "apply"}},
            Preconditions(site.bound(ref).uid),
            "why",
        )
        assert site.send(patch) == (200, True)
        after = site.found(ref)
        assert after["spec"]["workspaceTemplateApplyName"] == "apply"
        assert site.send(patch) == (200, False)
        assert site.found(ref) == after

    def test_a_status_patch_changes_the_status_alone(self, site: Site) -> None:
        """A patch of the status changes it alone, one of the object everything else (U9)."""
        ref = site.ref(CONTROL_PLANE)
        site.send(control_plane(ref))
        status = Patch(
            ref,
            {"status": {"phase": "Creating"}, "spec": {"version": "9"}},
            site.bound(ref),
            "why",
            "status",
        )
        assert site.send(status) == (200, True)
        assert (site.found(ref)["spec"]["version"], site.found(ref)["status"]["phase"]) == (
            "1.33",
            "Creating",
        )
        assert site.send(
            Patch(ref, {"status": {"phase": "Failed"}}, Preconditions(site.bound(ref).uid), "why")
        ) == (200, False)
        assert site.found(ref)["status"]["phase"] == "Creating"

    def test_a_stale_precondition_is_a_conflict(self, site: Site) -> None:
        """An old version, and the uid of another incarnation, of the object and of its status."""
        ref = site.ref(CONTROL_PLANE)
        site.send(control_plane(ref))
        old = site.bound(ref)
        site.send(Patch(ref, {"spec": {"version": "2"}}, Preconditions(), "why"))
        other = Preconditions("00000000-0000-0000-0000-000000000000")
        for bound, subresource in ((old, None), (old, "status"), (other, None)):
            assert site.send(Patch(ref, {"spec": {"version": "3"}}, bound, "why", subresource)) == (
                409,
                False,
            ), (bound, subresource)
        assert site.send(Delete(ref, other, "why")) == (409, False)
        assert site.found(ref)["spec"]["version"] == "2"

    def test_an_invalid_write_is_refused(self, site: Site) -> None:
        """422, with nothing changed."""
        ref = site.ref(CONTROL_PLANE)
        site.send(control_plane(ref))
        before = site.found(ref)
        assert site.send(
            Patch(ref, {"status": {"phase": "Unheard-of"}}, Preconditions(), "why", "status")
        ) == (422, False)
        assert site.send(
            created(site.ref(("v1", "Secret")), metadata={"labels": {"a": "x" * 64}})
        ) == (422, False)
        assert site.found(ref) == before
        assert site.gateway.read(site.ref(("v1", "Secret"))) is ABSENT

    def test_a_deleted_object_is_absent_at_once(self, site: Site) -> None:
        """200, then 404; a new one of the same name has another uid."""
        for ref, make in (
            (site.ref(CONTROL_PLANE), control_plane),
            (site.ref(("v1", "Secret")), secret),
        ):
            site.send(make(ref))
            before = site.bound(ref)
            assert site.send(Delete(ref, Preconditions(before.uid), "why")) == (200, True)
            assert site.gateway.read(ref) is ABSENT
            assert site.send(Delete(ref, Preconditions(before.uid), "why")) == (404, False)
            site.send(make(ref))
            assert site.bound(ref).uid != before.uid

    def test_a_finalizer_holds_what_is_deleted(self, site: Site) -> None:
        """D3, U7, U8: a finalizer keeps the object, takes no other finalizer, and ends it when it
        goes.
        """
        ref = site.ref(CONTROL_PLANE)
        site.send(control_plane(ref, finalizers=["example.com/held"]))
        assert site.send(Delete(ref, Preconditions(site.bound(ref).uid), "why")) == (200, True)
        assert site.found(ref)["metadata"]["deletionTimestamp"]
        assert site.send(Delete(ref, Preconditions(site.bound(ref).uid), "why")) == (200, False)
        more: JSON = ["example.com/held", "example.com/more"]
        assert site.send(
            Patch(ref, {"metadata": {"finalizers": more}}, site.bound(ref), "why")
        ) == (422, False)
        assert site.send(
            Patch(ref, {"metadata": {"finalizers": None}}, site.bound(ref), "why")
        ) == (200, True)
        assert site.gateway.read(ref) is ABSENT

    @pytest.mark.parametrize(
        ("make", "change"),
        [(control_plane, {"spec": {"version": "2"}}), (secret, {"data": {"value": "dHdv"}})],
    )
    def test_the_writes_of_others_are_seen(
        self, site: Site, make: Callable[[ObjectRef], Create], change: dict[str, JSON]
    ) -> None:
        """Created, changed and deleted by somebody else."""
        ref = site.ref(CONTROL_PLANE if make is control_plane else ("v1", "Secret"), "theirs")
        (field,) = change
        site.other.send(make(ref))
        eventually(lambda: isinstance(site.gateway.read(ref), dict), "it is seen")
        site.other.send(Patch(ref, change, Preconditions(), "why"))
        eventually(
            lambda: site.found(ref)[field] == site.found(ref, site.other)[field],
            "its change is seen",
        )
        site.other.send(Delete(ref, Preconditions(), "why"))
        eventually(lambda: site.gateway.read(ref) is ABSENT, "it is seen to go")

    @pytest.mark.parametrize("make", [control_plane, secret])
    def test_a_list_shows_the_objects_of_a_namespace(
        self, site: Site, make: Callable[[ObjectRef], Create]
    ) -> None:
        """In the order of names, whole, with own writes at once; labels select exact values."""
        kind = CONTROL_PLANE if make is control_plane else ("v1", "Secret")
        one, two = site.ref(kind, "list-one"), site.ref(kind, "list-two")
        assert site.names(kind) == ()
        site.send(make(two))
        site.send(make(one))
        assert site.names(kind) == ("list-one", "list-two")
        listed = as_read(site.gateway.read).list(*kind, site.namespace)
        assert listed == (site.found(one), site.found(two))
        site.send(Patch(two, {"metadata": {"labels": {"app": "db"}}}, site.bound(two), "why"))
        assert site.names(kind, app="db") == ("list-two",)
        assert site.names(kind, app="web") == ()
        site.send(Delete(two, Preconditions(site.bound(two).uid), "why"))
        assert site.names(kind) == ("list-one",)

    @pytest.mark.parametrize("make", [control_plane, secret])
    def test_a_list_shows_the_writes_of_others(
        self, site: Site, make: Callable[[ObjectRef], Create]
    ) -> None:
        """An object joins a list by its creation or by a label, and leaves it by its deletion."""
        kind = CONTROL_PLANE if make is control_plane else ("v1", "Secret")
        ref = site.ref(kind, "theirs")
        site.other.send(make(ref))
        eventually(lambda: site.names(kind) == ("theirs",), "it joins")
        labels: JSON = {"labels": {"app": "db"}}
        site.other.send(Patch(ref, {"metadata": labels}, Preconditions(), "why"))
        eventually(lambda: site.names(kind, app="db") == ("theirs",), "it joins by its label")
        site.other.send(Delete(ref, Preconditions(), "why"))
        eventually(lambda: site.names(kind) == (), "it leaves")

    def test_a_list_of_an_unserved_kind_is_unreadable(self, site: Site) -> None:
        """Empty would say that no such object exists."""
        kind = ("controlplane.cluster.x-k8s.io/v9", "CAPTControlPlane")
        assert isinstance(as_read(site.gateway.read).list(*kind, site.namespace), Unreadable)

    def test_an_event_is_recorded_and_changes_no_object(self, site: Site) -> None:
        """Twice the same: both accepted."""
        ref = site.ref(CONTROL_PLANE)
        site.send(control_plane(ref))
        before = site.found(ref)
        event = RecordEvent(ref, "Normal", "Ready", "Control plane is ready", site.bound(ref).uid)
        assert [site.gateway.send(event).status for _ in range(2)] == [201, 200]
        assert site.found(ref) == before

    def test_the_loop_does_the_same_everywhere(self, site: Site) -> None:
        """A new control plane comes to rest by the same writes, then silence, then one pass deletes
        it.
        """
        key = site.ref(CONTROL_PLANE)
        to: JSON = {
            "apiVersion": key.api_version,
            "kind": key.kind,
            "name": key.name,
            "namespace": key.namespace,
        }
        site.send(
            created(
                site.ref(TEMPLATE, "eks"),
                spec={"template": {"spec": {"forProvider": {"source": "Inline", "module": ""}}}},
            )
        )
        site.send(created(site.ref(CLUSTER), spec={"controlPlaneRef": to}))
        site.send(control_plane(key))
        assert _life(site, key) == [
            [
                ("patch CAPTControlPlane one", 200),
                ("create WorkspaceTemplateApply one-spot-role-check", 201),
                ("create WorkspaceTemplateApply one-eks-controlplane-apply", 201),
            ],
            [("patch CAPTControlPlane one/status", 200), ("event CAPTControlPlane one", 201)],
            [],
        ]
        site.other.send(Delete(key, Preconditions(), "why"))
        eventually(
            lambda: site.found(key)["metadata"].get("deletionTimestamp"), "the deletion is seen"
        )
        assert _life(site, key) == [
            [
                ("delete WorkspaceTemplateApply one-eks-controlplane-apply", 200),
                ("event CAPTControlPlane one", 201),
                ("patch CAPTControlPlane one", 200),
            ],
            [],
        ]
        assert site.gateway.read(key) is ABSENT


def _life(site: Site, key: ObjectRef) -> list[list[tuple[str, int]]]:
    """Run passes until one sends nothing; returns what each sent, with its answers."""
    passes: list[list[tuple[str, int]]] = []
    known = ReconcileState()
    while len(passes) < 10 and (not passes or passes[-1]):
        done = run_pass(decide, site.gateway, key, known, now=NOW)
        known = done.state
        passes.append(
            [
                (str(write_of(action)).replace(f"{site.namespace}/", ""), answer.status)
                for action, answer in done.sent
            ]
        )
    return passes
