"""`captep plan --live` without a cluster: what it reads, and the line of each obstacle."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import pytest

from captep_cli._operator import NO_CONTRACT, PROGRAM
from captep_core import ABSENT, ObjectRef, Unreadable, control_plane_ref
from captep_core.errors import GatewayError
from captep_core.ports import Read
from captep_kubernetes import RawResponse, Transport, UnansweredError
from captep_operator.command._errors import InputError
from captep_operator.command._live import live_reader
from captep_operator.command._program import target_of

KEY = control_plane_ref("fleet", "tokyo")
A, B = ObjectRef("v1", "Secret", "fleet", "a"), ObjectRef("v1", "Secret", "fleet", "b")


class Scripted:
    """A transport that answers by path and records the requests in `asked`."""

    host = "https://server:6443"

    def __init__(self, answers: Mapping[str, RawResponse | UnansweredError]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, str]] = []

    def request(self, method: str, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
        """Answer."""
        self.asked.append((method, path))
        answer = self._answers.get(path, RawResponse(404, {}, {"reason": "NotFound"}))
        if isinstance(answer, UnansweredError):
            raise answer
        return answer

    def stream(self, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
        """Answer."""
        return self.request("GET", path)


def reader(transport: Transport) -> Read:
    """Return the `read` of a live plan."""
    target = target_of(PROGRAM, Namespace(publish_to_cluster="auto"))
    return live_reader(transport, target, KEY)


VERSION = {"/version": RawResponse(200, {}, {})}
PLACE = "/apis/controlplane.cluster.x-k8s.io/v1beta1/namespaces/fleet/captcontrolplanes/tokyo"


def test_a_live_read_sends_one_get_for_each_object() -> None:
    """It distinguishes present, absent and unreadable, and answers a second read from memory."""
    template = ObjectRef(
        "infrastructure.cluster.x-k8s.io/v1beta1", "WorkspaceTemplate", "fleet", "eks"
    )
    transport = Scripted(
        {
            **VERSION,
            "/api/v1/namespaces/fleet/secrets/a": RawResponse(200, {}, {"kind": "Secret"}),
            f"/apis/{template.api_version}/namespaces/fleet/workspacetemplates/eks": RawResponse(
                404, {}, None
            ),
        }
    )
    read = reader(transport)
    assert [read(A), read(B), read(A)] == [{"kind": "Secret"}, ABSENT, {"kind": "Secret"}]
    assert read(template) == Unreadable(
        "NotServed", f"{template}: HTTP 404: is its CustomResourceDefinition installed?"
    )
    assert isinstance(read(ObjectRef("v1", "Secret", None, "a")), Unreadable)
    assert [path for _, path in transport.asked].count("/api/v1/namespaces/fleet/secrets/a") == 1
    assert {method for method, _ in transport.asked} == {"GET"}


@pytest.mark.parametrize(
    ("answers", "error", "expected"),
    [
        ({}, InputError, "there is no namespace fleet"),
        (
            {"/api/v1/namespaces/fleet": RawResponse(200, {}, {})},
            InputError,
            "kubectl get captcontrolplanes -n fleet",
        ),
        (
            {PLACE: RawResponse(403, {}, {"reason": "Forbidden"})},
            GatewayError,
            "may not get captcontrolplanes",
        ),
        ({PLACE: RawResponse(500, {}, None)}, GatewayError, "cannot be read: InternalError"),
        (
            {PLACE: UnansweredError("refused", may_have_landed=False)},
            GatewayError,
            "cannot be read: Unavailable: refused",
        ),
        (
            {PLACE: RawResponse(200, {}, {"metadata": {"name": "tokyo"}, "spec": {"version": 1}})},
            InputError,
            "malformed CAPTControlPlane fleet/tokyo: ",
        ),
    ],
)
def test_a_live_plan_without_a_usable_control_plane_raises_one_line(
    answers: Any,  # noqa: ANN401
    error: type[Exception],
    expected: str,
) -> None:
    """The line says why the control plane is missing or unreadable."""
    with pytest.raises(error, match=expected):
        reader(Scripted({**VERSION, **answers}))(KEY)


def test_a_live_plan_lists_with_one_request() -> None:
    """A list that is forbidden is unreadable, never empty."""
    path = "/apis/cluster.x-k8s.io/v1beta1/namespaces/fleet/clusters"
    listed = RawResponse(200, {}, {"items": [{"metadata": {"name": "tokyo"}}]})
    read = reader(Scripted({**VERSION, path: listed}))
    api, kind = "cluster.x-k8s.io/v1beta1", "Cluster"
    assert read.list(api, kind, "fleet") == (
        {"apiVersion": api, "kind": kind, "metadata": {"name": "tokyo"}},
    )
    forbidden = RawResponse(403, {}, {"reason": "Forbidden"})
    blind = reader(Scripted({**VERSION, path: forbidden}))
    assert blind.list(api, kind, "fleet") == Unreadable("Forbidden", f"{path}: HTTP 403")


def test_the_line_about_the_contract_label_names_the_command_that_sets_it() -> None:
    """A person copies it from the log."""
    assert NO_CONTRACT.endswith(
        ": kubectl label customresourcedefinition captcontrolplanes.controlplane.cluster.x-k8s.io"
        " cluster.x-k8s.io/v1beta1=v1beta1"
    )
