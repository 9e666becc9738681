"""One custom kind, one world and one driver for the tests of the in-memory server."""

from datetime import UTC, datetime
from typing import Any, TypeAlias

from attrs import define, evolve

from captep_memory import Key, Object, Request, Response, StoreChange, Verb, World, load, serve

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# A value that a test passes on unread.
Free: TypeAlias = Any
THING = "example.dev/v1"

_SPEC: Object = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "mode": {"type": "string", "enum": ["A", "B"], "default": "A"},
        "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
        "when": {"type": "string", "format": "date-time"},
        "optional": {"type": "string", "nullable": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "ports": {
            "type": "array",
            "maxItems": 2,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "number": {"type": "integer"}},
            },
        },
        "flag": {"type": "boolean"},
        "either": {"x-kubernetes-int-or-string": True},
        "ruled": {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'x'"}]},
        "address": {"type": "string", "format": "ipv4"},
    },
}
_STATUS: Object = {
    "type": "object",
    "properties": {"phase": {"type": "string", "enum": ["X", "Y"]}, "count": {"type": "integer"}},
}


def _version(name: str, *, storage: bool) -> Object:
    schema = {"type": "object", "properties": {"spec": _SPEC, "status": _STATUS}}
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }


def _loose(name: str) -> Object:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": free, "status": free}}
    return {
        "name": name,
        "served": True,
        "storage": False,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }


CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.dev"},
    "spec": {
        "group": "example.dev",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [
            _version("v1", storage=True),
            _loose("v2"),
            {"name": "v0", "served": False, "storage": False},
        ],
    },
}


def thing(name: str = "a", spec: Free = None, **members: Free) -> Object:
    """Return a Thing; `metadata` is merged over its name."""
    metadata = {"name": name, **members.pop("metadata", {})}
    return {
        "apiVersion": THING,
        "kind": "Thing",
        "metadata": metadata,
        "spec": {"size": 1} if spec is None else spec,
        **members,
    }


def secret(name: str = "s", **members: Free) -> Object:
    """Return a Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, **members.pop("metadata", {})},
        **members,
    }


@define
class Api:
    """A client of one namespace that keeps the world."""

    world: World

    def do(
        self,
        verb: Verb,
        name: str | None = "a",
        kind: str = "Thing",
        api_version: str = THING,
        **options: Free,
    ) -> Response:
        """Send a request and keep the world after it."""
        namespace = options.pop("namespace", "fleet")
        self.world, response = serve(
            self.world, Request(verb, api_version, kind, namespace, name, **options)
        )
        return response

    def secret(self, verb: Verb, name: str | None = "s", **options: Free) -> Response:
        """Send a request about a Secret."""
        return self.do(verb, name, "Secret", "v1", **options)

    def send(self, request: Request, **changes: Free) -> Response:
        """Send a prepared request."""
        self.world, response = serve(self.world, evolve(request, **changes))
        return response

    def stored(
        self, name: str = "a", kind: str = "Thing", group: str = "example.dev"
    ) -> Object | None:
        """Return a stored object."""
        return self.world.get(Key(group, kind, "fleet", name))

    def last_change(self) -> StoreChange:
        """Return the newest entry of the history."""
        return self.world.changes()[-1]


def api(*objects: Object) -> Api:
    """Return a client of a server that knows Things and holds `objects`."""
    return Api(load([CRD, *objects], now=NOW))


def created(*, finalizers: tuple[str, ...] = (), status: Object | None = None) -> Api:
    """Return a client of a server with Thing fleet/a, made by requests."""
    client = api()
    metadata = {"finalizers": list(finalizers)} if finalizers else {}
    assert client.do("create", body=thing(metadata=metadata)).status == 201
    if status is not None:
        assert client.do("patch", subresource="status", body={"status": status}).status == 200
    return client


def causes(response: Response) -> list[tuple[str, str]]:
    """Return (field, reason) of each cause."""
    return [(cause["field"], cause["reason"]) for cause in response.body["details"]["causes"]]


def refusal(response: Response) -> tuple[int, str]:
    """Return status and reason of a failure."""
    return response.status, response.reason
