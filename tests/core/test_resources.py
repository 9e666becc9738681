"""Kinds and their place in the API."""

import pytest

from captep_core._resources import Resource

SECRETS = Resource("v1", "Secret", "secrets")
TOYS = Resource("example.com/v1", "Toy", "toys")
NODES = Resource("v1", "Node", "nodes", namespaced=False)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (SECRETS.path(), "/api/v1/secrets"),
        (SECRETS.path("ns"), "/api/v1/namespaces/ns/secrets"),
        (SECRETS.path("ns", "one"), "/api/v1/namespaces/ns/secrets/one"),
        (TOYS.path("ns", "one", "status"), "/apis/example.com/v1/namespaces/ns/toys/one/status"),
        (NODES.path(), "/api/v1/nodes"),
        (NODES.path(None, "one"), "/api/v1/nodes/one"),
        (
            SECRETS.path("ns", "a/../b?c#d%é"),
            "/api/v1/namespaces/ns/secrets/a%2F..%2Fb%3Fc%23d%25%C3%A9",
        ),
        (SECRETS.path("ns", "system:one"), "/api/v1/namespaces/ns/secrets/system:one"),
        (SECRETS.path("ns", "\ud800"), "/api/v1/namespaces/ns/secrets/%ED%A0%80"),
    ],
)
def test_a_path_names_one_object_or_all_of_them(path: str, expected: str) -> None:
    """The core group is under /api, every other group under /apis; each part is percent-encoded."""
    assert path == expected


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "problem"),
    [
        (NODES, "ns", None, "Node is cluster-scoped: no namespace expected"),
        (NODES, "ns", "one", "Node is cluster-scoped: no namespace expected"),
        (SECRETS, None, "one", "Secret is namespaced: a namespace is expected"),
        (SECRETS, "", "one", "Secret is namespaced: a namespace is expected"),
    ],
)
def test_a_path_in_the_wrong_scope_is_refused(
    resource: Resource, namespace: str | None, name: str | None, problem: str
) -> None:
    """An object may name a namespace that its kind does not have; no request goes out for it."""
    with pytest.raises(ValueError) as raised:
        resource.path(namespace, name)
    assert str(raised.value) == problem


def test_a_kind_is_called_as_kubectl_calls_it() -> None:
    """Plural and group; the core group has no name."""
    assert (str(TOYS), str(SECRETS)) == ("toys.example.com", "secrets")
