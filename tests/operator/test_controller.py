"""The guards of a controller: the lease before each write, the order of news of an object."""

from typing import Any

import pytest

from captep_core import JSON, Create, ObjectRef
from captep_core._resources import Resource, Watched
from captep_core.errors import GatewayError
from captep_kubernetes import CacheChange, DryRun, RawResponse
from captep_operator import Controller
from captep_runtime import NO_METRICS
from tests.testing.toy import CHILD, KEY, keep, obj

THINGS = Resource(KEY.api_version, KEY.kind, "things")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")


class Counted:
    """A transport that accepts every request and keeps the methods."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    def request(self, method: str, path: str, **_: Any) -> RawResponse:  # noqa: ANN401 - options of Transport
        """Accept a request."""
        self.methods.append(method)
        return RawResponse(201, {}, dict(obj(CHILD, "green")))

    def stream(self, path: str, **_: Any) -> RawResponse:  # noqa: ANN401 - options of Transport
        """Nothing is watched."""
        raise NotImplementedError


def controller(transport: Counted, *, leads: bool = True) -> Controller:
    """Return a controller that does not run."""
    return Controller(
        transport,
        name="things",
        decide=keep,
        primary=THINGS,
        watched=[Watched(THINGS), Watched(CONFIG_MAPS)],
        component="things",
        namespaces=(),
        dry_run=DryRun.NONE,
        metrics=NO_METRICS,
        may_write=lambda: leads,
    )


def thing(version: int) -> dict[str, JSON]:
    """Return a Thing as the server sends it."""
    metadata: dict[str, JSON] = {
        "name": KEY.name,
        "namespace": KEY.namespace,
        "uid": "u",
        "resourceVersion": str(version),
    }
    return {"apiVersion": KEY.api_version, "kind": KEY.kind, "metadata": metadata}


def test_a_controller_without_the_lease_sends_no_write() -> None:
    """The check is before each write, so that a lease lost during a pass ends the pass."""
    write = Create(CHILD, obj(CHILD, "green"), "it does not exist")
    transport = Counted()
    assert controller(transport)._loop._gateway.send(write).status == 201
    with pytest.raises(GatewayError, match="the lease is lost: this process sends no more writes"):
        controller(transport, leads=False)._loop._gateway.send(write)
    assert transport.methods == ["POST"]


def test_an_addition_that_arrives_after_the_deletion_adds_nothing() -> None:
    """Two threads may announce them in either order; the cache decides."""
    made = controller(Counted())
    (informer, _) = made.informers
    informer.observe_write(thing(1))
    assert made._loop.keys() == (KEY,)
    informer.observe_delete(KEY, "u")
    assert made._loop.keys() == ()
    late = CacheChange(KEY, None, informer._store.known(thing(1)))
    made._changed(late)
    assert made._loop.keys() == ()


def test_a_deletion_that_arrives_after_the_next_addition_removes_nothing() -> None:
    """The object was made again meanwhile."""
    made = controller(Counted())
    (informer, _) = made.informers
    informer.observe_write(thing(1))
    late = CacheChange(KEY, informer._store.known(thing(1)), None)
    informer.observe_write(thing(2))
    made._changed(late)
    assert made._loop.keys() == (KEY,)


def test_an_object_of_another_kind_is_no_key() -> None:
    """It wakes the keys that read it, if there are any."""
    made = controller(Counted())
    (_, informer) = made.informers
    config = {**thing(3), "apiVersion": "v1", "kind": "ConfigMap"}
    informer.observe_write(config)
    assert made._loop.keys() == ()
    assert informer.refs() == (ObjectRef("v1", "ConfigMap", KEY.namespace, KEY.name),)
