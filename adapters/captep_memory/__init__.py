"""An in-memory API server with the semantics of kube-apiserver 1.37.

`serve` is a pure total function from a world and a request to the next world and a response. Its
rules have ids (V2, U5, ...): a comment names the rule that a line implements, a test of that name
shows it. `captep_memory.faults` breaks requests, `captep_memory.http` serves a world to any client
over HTTP.

`captep_memory.workloads` has the moves of controllers and kubelets.

A request without a model gets 501: CEL rules, conversion webhooks without a function, answers in
protobuf, and writes of built-in kinds that docs/kinds.md does not list; rare fields of those kinds
have no model either. An object shows managedFields once an apply needs them, or from its creation
in a world with `Quirks(managed_fields="always")`.
"""

from captep_memory._admission import Admission, denied, webhook_down
from captep_memory._garbage import KnownOwner, OwnerRef, collect, collect_all, departed, garbage
from captep_memory._gateway import MemoryGateway, NotModelledError, ObjectMatch
from captep_memory._json import JSON, Object, apply_json_patch, apply_merge_patch, identical
from captep_memory._kinds import Catalog, Conversion, Scope, ServedKind, plural_of, scope_of
from captep_memory._load import load
from captep_memory._request import Key, Request, Response, Verb, group_of, key_of
from captep_memory._serve import serve, watch_events
from captep_memory._world import Quirks, StoreChange, World

__all__ = [
    "JSON",
    "Admission",
    "Catalog",
    "Conversion",
    "Key",
    "KnownOwner",
    "MemoryGateway",
    "NotModelledError",
    "Object",
    "ObjectMatch",
    "OwnerRef",
    "Quirks",
    "Request",
    "Response",
    "Scope",
    "ServedKind",
    "StoreChange",
    "Verb",
    "World",
    "apply_json_patch",
    "apply_merge_patch",
    "collect",
    "collect_all",
    "denied",
    "departed",
    "garbage",
    "group_of",
    "identical",
    "key_of",
    "load",
    "plural_of",
    "scope_of",
    "serve",
    "watch_events",
    "webhook_down",
]
