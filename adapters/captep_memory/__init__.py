"""An in-memory API server with the semantics of the real one, and the world around a control plane.

`serve` is a pure total function from a world and a request to the next world and a response. Its rules have ids (V2, U5, ...): a
comment names the rule that a line implements, and a test of that name says what it is. `captep_memory.faults` breaks requests,
`captep_memory.http` serves a world to any client over HTTP. The reference is kube-apiserver 1.37.

Not modelled, and answered with 501: server-side apply, strategic merge patches, CEL rules, conversion webhooks, strict field
validation, writes of built-in kinds other than Secret, ConfigMap, Event and Lease.
managedFields are not tracked: they stay as they were loaded.
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
