"""Kinds of the API: where each is served, and which part of it a controller watches."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias

from attrs import frozen

__all__ = ["Fields", "Representation", "Resource", "Watched"]

Fields: TypeAlias = Mapping[str, "Fields | None"]
"""Names of fields; None keeps a field whole, a mapping keeps the fields of it that it names."""

# RFC 3986, unreserved, and the colon, which the names of RBAC objects hold.
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:")


@frozen
class Resource:
    """One kind as the API server serves it.

    `api_version` is `v1` or `group/version`, `plural` is the kind's name in a URL.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def __str__(self) -> str:
        group, _, _ = self.api_version.rpartition("/")
        return f"{self.plural}.{group}" if group else self.plural

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the URL path of one object; without `name` of all objects, or of a namespace's.

        Raises:
            ValueError: a namespace for a cluster-scoped kind, or a namespaced object without one.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self.kind} is cluster-scoped: no namespace expected")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.kind} is namespaced: a namespace is expected")
        root = "apis" if "/" in self.api_version else "api"
        scope = ("namespaces", namespace) if namespace else ()
        parts = (*scope, self.plural, name, subresource)
        quoted = [_quoted(part) for part in parts if part]
        return "/".join((f"/{root}/{self.api_version}", *quoted))


class Representation(Enum):
    """Which representation of a kind's objects a watch asks for.

    METADATA and ON_DEMAND leave the payload on the server. METADATA shows the metadata alone.
    ON_DEMAND shows the whole object and fetches it when a decision reads it, so that the content of
    Secrets comes into memory only then.
    """

    WHOLE = "whole"
    METADATA = "metadata"
    ON_DEMAND = "on demand"


@frozen
class Watched:
    """A kind that a controller reads, and how a cache keeps its objects.

    `fields` are the fields that decisions read, with metadata, apiVersion and kind always among
    them; None keeps every field. A kind that is fetched on demand keeps no field at all: uid and
    resourceVersion say that an object changed.

    `selectors` are the query parameters that choose objects, `labelSelector` and `fieldSelector`.
    An object that they hide is absent to decisions, until a create of its name shows that it
    exists.

    `conditions` are the types of status.conditions that decisions read, None for all. A list goes
    back to the server whole, so the cache keeps all of them, but others wake no reconcile.

    `versions` are the API versions (`group/version`) that decisions speak, newest first, where
    there are several. Decisions name objects in the version of `resource`; the apiVersion of an
    object that they read is the version in which the server sent it.
    """

    resource: Resource
    representation: Representation = Representation.WHOLE
    fields: Fields | None = None
    versions: tuple[str, ...] = ()
    conditions: tuple[str, ...] | None = None
    selectors: tuple[tuple[str, str], ...] = ()


def _quoted(part: str) -> str:
    """Percent-encode one segment of a path; `urllib` is not allowed in the core."""
    octets = part.encode("utf-8", "surrogatepass")
    if _PLAIN.issuperset(octets):
        # As nearly all names are; the loop below takes five times as long.
        return part
    return "".join(chr(octet) if octet in _PLAIN else f"%{octet:02X}" for octet in octets)
