"""Kinds as an author names them, and as the server's discovery completes them."""

from typing import Any

import pytest

from captep_core import JSON
from captep_core._resources import Representation, Resource, Watched
from captep_core.errors import GatewayError
from captep_kubernetes import RawResponse, UnansweredError
from captep_operator import Kind, discovered
from captep_operator._discovery import served_kind

APPS: JSON = [
    {"name": "deployments", "kind": "Deployment", "namespaced": True},
    {"name": "deployments/scale", "kind": "Deployment", "namespaced": True},
    {"name": "statefulsets", "kind": "StatefulSet", "namespaced": True},
]
CORE: JSON = [
    {"name": "secrets", "kind": "Secret", "namespaced": True},
    {"name": "nodes", "kind": "Node", "namespaced": False},
    "not an object",
    {"name": None, "kind": "Odd"},
]


class Discovery:
    """A transport that answers discovery and keeps the paths."""

    host = "https://server:6443"

    def __init__(self, answers: dict[str, RawResponse | UnansweredError]) -> None:
        self.answers = answers
        self.paths: list[str] = []

    def request(self, method: str, path: str, **_: Any) -> RawResponse:  # noqa: ANN401
        """Answer a path."""
        self.paths.append(path)
        answer = self.answers.get(path, RawResponse(404, {}, {"kind": "Status"}))
        if isinstance(answer, UnansweredError):
            raise answer
        return answer

    def stream(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        """Open nothing."""
        raise AssertionError


def serving() -> Discovery:
    """A server with two groups."""
    return Discovery(
        {
            "/api/v1": RawResponse(200, {}, {"resources": CORE}),
            "/apis/apps/v1": RawResponse(200, {}, {"resources": APPS}),
        }
    )


def test_discovery_gives_plural_and_scope() -> None:
    """One request for each group and version; the order of the kinds stays."""
    server = serving()
    kinds = (
        Kind("apps/v1", "StatefulSet", project={"spec": None}),
        Kind("v1", "Node"),
        Kind("v1", "Secret", payload="on demand"),
        Kind("apps/v1", "Deployment"),
    )
    assert discovered(server, kinds) == (
        Watched(Resource("apps/v1", "StatefulSet", "statefulsets"), fields={"spec": None}),
        Watched(Resource("v1", "Node", "nodes", namespaced=False)),
        Watched(Resource("v1", "Secret", "secrets"), Representation.ON_DEMAND),
        Watched(Resource("apps/v1", "Deployment", "deployments")),
    )
    assert sorted(server.paths) == ["/api/v1", "/apis/apps/v1"]


def test_a_kind_with_a_plural_costs_no_request() -> None:
    """Its scope is the author's word."""
    server = serving()
    kind = Kind("example.dev/v1", "Thing", plural="things", namespaced=False)
    assert discovered(server, [kind]) == (
        Watched(Resource("example.dev/v1", "Thing", "things", namespaced=False)),
    )
    assert server.paths == []


def test_kinds_that_the_server_does_not_serve_are_watched_under_the_usual_plural() -> None:
    """An unknown group and an unknown kind of a known group: they may be installed later."""
    kinds = [Kind("example.dev/v1", "Thing"), Kind("apps/v1", "Gadget"), Kind("v1", "Secret")]
    assert discovered(serving(), kinds) == (
        Watched(Resource("example.dev/v1", "Thing", "things")),
        Watched(Resource("apps/v1", "Gadget", "gadgets")),
        Watched(Resource("v1", "Secret", "secrets")),
    )


@pytest.mark.parametrize(
    ("described", "found"),
    [
        (Resource("v1", "Node", "nodees"), Resource("v1", "Node", "nodes", namespaced=False)),
        (Resource("v1", "Node", "nodes"), Resource("v1", "Node", "nodes", namespaced=False)),
        (Resource("v1", "Gadget", "gadgets"), None),
        (Resource("example.dev/v1", "Thing", "things"), None),
    ],
)
def test_a_watch_that_finds_nothing_asks_where_its_kind_is(
    described: Resource, found: Resource | None
) -> None:
    """Plural and scope come from the server; a kind that it does not have stays as described."""
    assert served_kind(serving(), Watched(described)) == (found or described)


def test_a_server_that_does_not_answer_moves_no_kind() -> None:
    """The watch goes on as before and asks again."""
    server = Discovery({"/api/v1": UnansweredError("cut", may_have_landed=False)})
    nodes = Resource("v1", "Node", "nodees")
    assert served_kind(server, Watched(nodes)) == nodes


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (RawResponse(403, {}, {}), "discovery of v1 is refused: HTTP 403"),
        (
            UnansweredError("no route", may_have_landed=False),
            "the API server does not answer: no route",
        ),
    ],
)
def test_a_discovery_that_fails_is_one_line(
    answer: RawResponse | UnansweredError, problem: str
) -> None:
    """It is no proof that the kind is missing."""
    with pytest.raises(GatewayError) as raised:
        discovered(Discovery({"/api/v1": answer}), [Kind("v1", "Secret")])
    assert str(raised.value) == problem


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"app": "db", "a": "b"}, "a=b,app=db"),
        ({}, ""),
        ("app in (db, cache)", "app in (db, cache)"),
        ({"app": ""}, "app="),
    ],
)
def test_selectors_are_a_mapping_or_a_text(given: Any, text: str) -> None:  # noqa: ANN401
    """They become the query of the watch; an empty one is left out."""
    resource = Resource("v1", "ConfigMap", "configmaps")
    kind = Kind("v1", "ConfigMap", labels=given, fields="metadata.name=a")
    expected = [("labelSelector", text)] if text else []
    assert kind.watched(resource).selectors == (*expected, ("fieldSelector", "metadata.name=a"))


@pytest.mark.parametrize("given", [{"tier": 1}, {"tier": None}, {1: "a"}])
def test_a_selector_of_other_values_raises(given: Any) -> None:  # noqa: ANN401
    """A number would select nothing, silently."""
    with pytest.raises(ValueError, match="a selector maps text to text"):
        Kind("v1", "ConfigMap", labels=given)


def test_a_kind_describes_what_is_watched_and_comes_back_from_it() -> None:
    """Every field of the description survives."""
    watched = Watched(
        Resource("example.dev/v1", "Thing", "things", namespaced=False),
        Representation.METADATA,
        {"spec": None},
        ("example.dev/v2", "example.dev/v1"),
        ("Ready",),
        (("labelSelector", "app=db"), ("fieldSelector", "metadata.name=a")),
    )
    assert Kind.of(watched).watched(watched.resource) == watched


@pytest.mark.parametrize(
    ("api_version", "kind", "payload"),
    [
        ("example.dev", "Thing", "whole"),
        ("", "Thing", "whole"),
        ("v1/", "Thing", "whole"),
        ("v1", "thing", "whole"),
        ("v1", "", "whole"),
        ("v1", "Thing", "all"),
    ],
)
def test_a_kind_of_another_form_raises(api_version: str, kind: str, payload: Any) -> None:  # noqa: ANN401
    """A typing error shows at the start, and not as a kind that never syncs."""
    with pytest.raises(ValueError):
        Kind(api_version, kind, payload=payload)
