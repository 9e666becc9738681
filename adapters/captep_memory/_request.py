"""Requests, responses and the keys of the store."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from captep_memory._json import JSON, Object

__all__ = ["Key", "Request", "Response", "Verb", "group_of", "key_of"]

Verb: TypeAlias = Literal["get", "list", "create", "update", "patch", "delete", "watch"]
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@frozen(cache_hash=True)
class Key:
    """Where an object is stored, in whatever version a client reads it.

    `namespace` is None for a cluster-scoped object.
    """

    api_group: str
    kind: str
    namespace: str | None
    name: str


@frozen
class Request:
    """One request to the API server. The options of a delete are in `body`, as DeleteOptions.

    A delete without a name is about a collection: all objects that a list with the same options
    shows.

    `resource_version` is the query parameter of reads; the lock of a write is in the body. A write
    without a `field_manager` has the first part of `user_agent` as its manager.
    `timeout_seconds` belongs to the HTTP facade, which streams a watch: `serve` answers at once
    with the events so far.
    """

    verb: Verb
    api_version: str
    kind: str
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    body: JSON = field(default=None, repr=False)
    content_type: str = "application/merge-patch+json"
    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = ""
    force: bool | None = None
    resource_version: str = ""
    resource_version_match: str = ""
    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    timeout_seconds: int | None = None
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    user_agent: str = ""


@frozen
class Response:
    """The answer: HTTP status, body, and the headers `Retry-After` and `Warning`."""

    status: int
    body: Object = field(repr=False)
    headers: Mapping[str, str] = _NO_HEADERS

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status < 400

    @property
    def reason(self) -> str:
        """The Kubernetes reason of a failure, such as `Conflict`; empty for a success."""
        return str(self.body.get("reason", "")) if not self.ok else ""


def group_of(api_version: str) -> str:
    """Return the API group of `group/version`; empty for the core group."""
    return api_version.rpartition("/")[0]


def key_of(obj: Mapping[str, Any]) -> Key:
    """Return the key of an object that has apiVersion, kind and metadata.name."""
    metadata = obj["metadata"]
    return Key(
        group_of(obj["apiVersion"]), obj["kind"], metadata.get("namespace"), metadata["name"]
    )
