"""An in-memory API server with the semantics of the real one, and the world around a control plane.

`serve` is a pure total function from a world and a request to the next world and a response. The comments and tests name the rows
of its specification (V2, U5, ...): `docs` of each test tell what the row says.
"""

from captep_memory._admission import Admission, denied, webhook_down
from captep_memory._garbage import KnownOwner, OwnerRef, collect, collect_all, departed, garbage
from captep_memory._gateway import MemoryGateway, ObjectMatch
from captep_memory._json import JSON, Object, identical, json_patch, merge_patch
from captep_memory._kinds import Catalog, Resource, Scope, plural_of, scope_of
from captep_memory._load import load
from captep_memory._request import Key, Request, Response, Verb, group_of, key_of
from captep_memory._serve import serve, watch_events
from captep_memory._world import Change, Quirks, World, timestamp

__all__ = [
    "JSON",
    "Admission",
    "Catalog",
    "Change",
    "Key",
    "KnownOwner",
    "MemoryGateway",
    "Object",
    "ObjectMatch",
    "OwnerRef",
    "Quirks",
    "Request",
    "Resource",
    "Response",
    "Scope",
    "Verb",
    "World",
    "collect",
    "collect_all",
    "denied",
    "departed",
    "garbage",
    "group_of",
    "identical",
    "json_patch",
    "key_of",
    "load",
    "merge_patch",
    "plural_of",
    "scope_of",
    "serve",
    "timestamp",
    "watch_events",
    "webhook_down",
]
