"""Endpoint and certificate authority: one table of inputs each, and when they are published."""

import base64

import pytest

from captep_core import APIEndpoint, Invalid, Missing, Policy, Present, Unreadable, parse_endpoint
from captep_core.capt._credentials import parse_certificate
from captep_core.capt._observe import observe
from captep_memory import load
from tests.capt.driving import KEY, NOW, look, reader, refs, run, writes_of
from tests.capt.worlds import (
    CA,
    CA_OF_EKS,
    ENDPOINT,
    HOST,
    Objects,
    base64_of,
    by_go,
    changed,
    find,
    new,
    plus,
    provided,
    ready,
    secret,
    without,
    workspace,
)

TO = {"name": "tokyo-eks-connection", "namespace": "fleet"}
STRAY = f"{CA_OF_EKS[:8]}*{CA_OF_EKS[8:]}".encode()
NO_HOST = "the host is neither a name nor an IP address"
NO_PORT = "the port is not a number from 1 to 65535"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("https://X.eks.amazonaws.com", "X.eks.amazonaws.com", 443),
        ("https://X.eks.amazonaws.com/", "X.eks.amazonaws.com", 443),
        ("https://X:6443", "X", 6443),
        ("http://X", "X", 443),
        ("X.eks.amazonaws.com", "X.eks.amazonaws.com", 443),
        ("X.eks.amazonaws.com:443", "X.eks.amazonaws.com", 443),
        ("10.0.0.1:6443", "10.0.0.1", 6443),
        ("https://[2001:db8::1]:6443", "2001:db8::1", 6443),
        ("https://[2001:db8::1]", "2001:db8::1", 443),
        ("2001:db8::1", "2001:db8::1", 443),
        ("https://X\n", "X", 443),
        (" https://X ", "X", 443),
        (base64_of("https://X:6443"), "X", 6443),
        (base64_of("https://X:6443\n"), "X", 6443),
        ("hostname", "hostname", 443),
        ("https://例え.jp:6443", "例え.jp", 6443),
        ("https://user:pw@X:6443/p?q#f", "X", 6443),
        ("https://X:", "X", 443),
        ("https://X:00443", "X", 443),
        ("https://X:1", "X", 1),
        ("https://X:65535", "X", 65535),
        ("X.", "X", 443),
        ("https://X:8080", "X", 8080),
        (".".join(["a" * 63] * 3) + "." + "a" * 61, ".".join(["a" * 63] * 3) + "." + "a" * 61, 443),
    ],
)
def test_an_endpoint_is_a_bare_host_and_a_port(text: str, host: str, port: int) -> None:
    """One parser keeps the case, defaults to port 443 and drops any userinfo."""
    assert parse_endpoint(text) == Present(APIEndpoint(host, port))


@pytest.mark.parametrize("text", ["", " ", "\n", "https://", "https:///path", "https://user@"])
def test_an_endpoint_without_a_host_is_missing(text: str) -> None:
    """Nothing, or a scheme alone, is not available yet; that is not an error."""
    assert parse_endpoint(text) == Missing()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://X:99999", NO_PORT),
        ("https://X:65536", NO_PORT),
        ("https://X:0", NO_PORT),
        ("https://X:abc", NO_PORT),
        ("https://X:-1", NO_PORT),
        ("https://X:４４３", NO_PORT),
        ("https://X:" + "9" * 5000, NO_PORT),
        ("10.0.0.256", NO_HOST),
        ("300", "the value is JSON but no string"),
        ("https://[2001:db8::1]6443", NO_HOST),
        ("https://[X]:6443", NO_HOST),
        ("https://[::g]", NO_HOST),
        ("fe80::1%eth0", NO_HOST),
        ("1:2:3", NO_HOST),
        ("a b", NO_HOST),
        ("-a.example", NO_HOST),
        ("a..b", NO_HOST),
        ("a" * 64, NO_HOST),
        (".".join(["a" * 63] * 3) + "." + "a" * 62, NO_HOST),
        ("https://X:000", NO_PORT),
        ("\x00", NO_HOST),
        ("�", NO_HOST),
    ],
)
def test_nonsense_is_invalid_and_not_quoted(text: str, problem: str) -> None:
    """A bad host and a port outside 1 to 65535 are rejected without their text."""
    assert parse_endpoint(text) == Invalid(problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (base64_of("not url"), Invalid(NO_HOST)),
        (base64_of("https://X\x07ab"), Present(APIEndpoint(base64_of("https://X\x07ab"), 443))),
        ("aG9zdA==", Invalid(NO_HOST)),
        ("aHR0cHM6Ly9Y*", Invalid(NO_HOST)),
        ("/w==", Missing()),
    ],
    ids=["no scheme", "not printable", "a host", "not strict", "no text"],
)
def test_only_the_base64_of_a_printable_url_is_decoded(text: str, expected: object) -> None:
    """Any other value counts as it is."""
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(("host", "port"), [("", 443), ("X", 0), ("X", 65536)])
def test_an_endpoint_rejects_an_empty_host_and_a_bad_port(host: str, port: int) -> None:
    """The class itself requires a host and a port from 1 to 65535."""
    with pytest.raises(ValueError):
        APIEndpoint(host, port)


@pytest.mark.parametrize(
    "value",
    [
        CA_OF_EKS,
        CA_OF_EKS + "\n",
        " " + CA_OF_EKS,
        "\n".join(CA_OF_EKS[at : at + 64] for at in range(0, len(CA_OF_EKS), 64)),
        base64_of(CA).rstrip("="),
        CA,
    ],
    ids=["base64", "newline", "space", "wrapped", "unpadded", "pem"],
)
def test_a_certificate_is_pem_or_the_base64_of_pem(value: str) -> None:
    """PEM as it is, else decoded; white space and missing padding are forgiven."""
    assert parse_certificate(value.encode()) == Present(CA.encode())


@pytest.mark.parametrize(
    "value",
    [
        b"test-ca-data",
        b"abcd",
        b"\xff\xfe",
        base64.b64encode(b"\xff"),
        base64.b64encode(b"not pem"),
        STRAY,
    ],
)
def test_a_value_that_is_not_pem_is_no_certificate(value: bytes) -> None:
    """PEM is required."""
    assert parse_certificate(value) == Invalid(
        "it is not a PEM certificate, neither in clear nor in base64"
    )


@pytest.mark.parametrize("value", [None, b"", b" \n"])
def test_an_empty_certificate_is_missing(value: bytes | None) -> None:
    """The Go controller accepted "" as a CA, which was wrong."""
    assert parse_certificate(value) == Missing()


def _publishing(output: object, written: str | None) -> Objects:
    outputs = {} if output is None else {"cluster_endpoint": output}
    texts = {"cluster_certificate_authority_data": CA_OF_EKS} | (
        {} if written is None else {"cluster_endpoint": written}
    )
    return plus(
        provided(),
        workspace("tokyo-eks-controlplane", outputs, to=TO),
        secret("tokyo-eks-connection", texts),
    )


@pytest.mark.parametrize(
    ("output", "written", "expected"),
    [
        (ENDPOINT, "https://other", Present(APIEndpoint(HOST, 443))),
        (None, ENDPOINT, Present(APIEndpoint(HOST, 443))),
        ("", ENDPOINT, Present(APIEndpoint(HOST, 443))),
        (7, ENDPOINT, Present(APIEndpoint(HOST, 443))),
        ("https://X:0", ENDPOINT, Invalid(NO_PORT)),
        (None, None, Missing()),
        ("https://", "", Missing()),
    ],
)
def test_the_output_goes_before_the_connection_secret(
    output: object, written: str | None, expected: object
) -> None:
    """Outputs come first, then the Secret's raw text; with neither the loop waits."""
    assert observe(KEY, reader(load(_publishing(output, written), now=NOW)))[2] == expected


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Workspace", "tokyo-eks-controlplane"),
        ("WorkspaceTemplateApply", "tokyo-eks-controlplane-apply"),
        ("Secret", "tokyo-eks-connection"),
    ],
)
def test_an_unreadable_endpoint_is_not_missing(kind: str, name: str) -> None:
    """An endpoint behind an unreadable object is unknown."""
    objects = _publishing(None, ENDPOINT)
    ref = refs([find(objects, kind, name)])[0]
    assert observe(KEY, reader(load(objects, now=NOW), {ref: "Timeout"}))[2] == Unreadable(
        "Timeout"
    )


def test_there_is_no_ready_without_an_endpoint() -> None:
    """With all else in place the verdict is Creating, and nothing is published."""
    done = run(plus(_publishing(None, None)))
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "Creating",
        "Waiting for endpoint to be available",
    )
    assert done.last.requeue_after == Policy().initializing
    assert writes_of(done.writes) == [
        "create Secret fleet/tokyo-ca",
        "patch CAPTControlPlane fleet/tokyo/status",
    ]


def test_a_missing_connection_secret_is_waiting() -> None:
    """Without outputs and Secret the loop waits and does not fail."""
    objects = without(
        plus(provided(), workspace("tokyo-eks-controlplane", {}, to=TO)),
        "Secret",
        "tokyo-eks-connection",
    )
    decision = run(objects).last
    assert (decision.verdict.reason, decision.requeue_after) == ("Creating", Policy().initializing)


def test_an_invalid_endpoint_is_failed_and_nothing_follows_from_it() -> None:
    """EndpointUpdateFailed: no endpoint and no kubeconfig apply come of it."""
    done = run(_publishing("https://X:99999", "https://X:99999"))
    assert done.last.verdict.reason == "EndpointUpdateFailed"
    assert done.last.verdict.message == f"Failed to get endpoint from workspace: {NO_PORT}"
    assert done.last.requeue_after == Policy().failing
    assert writes_of(done.writes) == [
        "create Secret fleet/tokyo-ca",
        "patch CAPTControlPlane fleet/tokyo/status",
    ]


def test_an_endpoint_that_becomes_invalid_or_goes_away_stays_published() -> None:
    """Ready is withdrawn; the published endpoint is not."""
    for output, reason in (("https://X:0", "EndpointUpdateFailed"), ("", "Creating")):
        objects = plus(
            ready(),
            workspace("tokyo-eks-controlplane", {"cluster_endpoint": output}, to=TO),
            secret(TO["name"], {"cluster_endpoint": ""}),
        )
        done = run(objects)
        cp = done.find("CAPTControlPlane", "tokyo")
        assert (done.last.verdict.reason, cp["status"]["ready"], cp["status"]["initialized"]) == (
            reason,
            False,
            True,
        )
        assert cp["spec"]["controlPlaneEndpoint"] == {"host": HOST, "port": 443}
        assert done.find("Cluster", "tokyo")["spec"]["controlPlaneEndpoint"] == {
            "host": HOST,
            "port": 443,
        }


def test_a_url_left_as_host_is_healed_once_on_both_objects() -> None:
    """One write each replaces the Go controller's URL on control plane and Cluster."""
    done = run(by_go())
    published = {"spec": {"controlPlaneEndpoint": {"host": HOST, "port": 443}}}
    bodies = [
        each.body
        for each in done.writes
        if each.subresource is None and each.target.kind in ("CAPTControlPlane", "Cluster")
    ]
    assert bodies == [published] * 2


def test_an_empty_endpoint_equals_an_absent_one() -> None:
    """{host: "", port: 0} of the Go controller is no reason to write while no endpoint is known."""
    empty = {"spec": {"controlPlaneEndpoint": {"host": "", "port": 0}}}
    objects = changed(changed(new(), "Cluster", "tokyo", empty), "CAPTControlPlane", "tokyo", empty)
    done = run(objects)
    assert done.find("Cluster", "tokyo")["spec"]["controlPlaneEndpoint"] == {"host": "", "port": 0}
    assert not any("controlPlaneEndpoint" in str(each.body) for each in done.writes)


def test_the_endpoint_follows_the_provider() -> None:
    """The loop is the one writer on control plane and Cluster, and overwrites other values."""
    other = {"spec": {"controlPlaneEndpoint": {"host": "example.com", "port": 6443}}}
    done = run(
        changed(changed(ready(), "Cluster", "tokyo", other), "CAPTControlPlane", "tokyo", other)
    )
    assert [(each.target.kind, each.body) for each in done.writes] == [
        (kind, {"spec": {"controlPlaneEndpoint": {"host": HOST, "port": 443}}})
        for kind in ("CAPTControlPlane", "Cluster")
    ]


def test_the_cluster_can_be_left_to_cluster_api() -> None:
    """With publishing switched off, the Cluster gets no endpoint."""
    objects = changed(provided(), "Cluster", "tokyo", {"status": {"failureReason": "Old"}})
    done = run(objects, policy=Policy(publish_to_cluster="never"))
    assert not any(each.target.kind == "Cluster" for each in done.writes)
    assert look(ready(), policy=Policy(publish_to_cluster="never")).actions == ()
