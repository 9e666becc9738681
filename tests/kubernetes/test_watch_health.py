"""Readiness: one failing kind is reported, and only a process that sees nothing is not ready."""

import logging
from typing import Any, cast

import pytest
from attrs import define

from captep_core import Unreadable
from captep_core._resources import Resource
from captep_kubernetes import Informer, WatchHealth

TOYS = Resource("example.com/v1", "Toy", "toys")
GAMES = Resource("example.com/v1", "Game", "games")
FORBIDDEN = Unreadable("Forbidden", "HTTP 403")


@define
class Watch:
    """The health of an informer."""

    resource: Resource
    failing_since: float | None
    problem: Unreadable | None = None
    namespace: str | None = None


class Process:
    """Some watches in virtual time."""

    def __init__(self, *watches: Watch) -> None:
        self.now = 0.0
        self.health = WatchHealth(lambda: cast("Any", watches), clock=lambda: self.now)

    def problems(self, at: float) -> tuple[str, ...]:
        """Return what makes the process unready at a time."""
        self.now = at
        return self.health.problems()


def test_one_failing_kind_is_reported_and_the_process_is_ready() -> None:
    """The body of the probe and the gauge name it, for as long as it fails."""
    process = Process(Watch(TOYS, None), Watch(GAMES, 0.0, FORBIDDEN, "ns"))
    assert process.problems(1000) == ()
    assert process.health.failing() == (
        "games.example.com in the namespace ns: Forbidden: HTTP 403",
    )
    assert process.health.kinds() == {"toys.example.com": True, "games.example.com": False}


def test_a_kind_is_current_when_it_is_in_every_namespace() -> None:
    """Each namespace has a watch of its own."""
    process = Process(Watch(TOYS, None, None, "a"), Watch(TOYS, 5.0, FORBIDDEN, "b"))
    assert process.health.kinds() == {"toys.example.com": False}


def test_a_process_that_sees_nothing_for_a_minute_is_not_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Counted from the last watch that failed, and logged when it begins and when it ends."""
    caplog.set_level(logging.INFO)
    toys, games = Watch(TOYS, 10.0, FORBIDDEN), Watch(GAMES, 30.0)
    process = Process(toys, games)
    lines = ("toys.example.com: Forbidden: HTTP 403", "games.example.com: not listed yet")
    assert [process.problems(at) for at in (30, 89.9, 90, 100)] == [(), (), lines, lines]
    toys.failing_since = None
    assert [process.problems(at) for at in (101, 102)] == [(), ()]
    assert caplog.messages == [
        f"no watch had a good answer for a minute: {'; '.join(lines)}",
        "a watch has a good answer again",
    ]


def test_an_informer_has_ended_only_when_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is about to start is not dead."""
    monkeypatch.setattr(Informer, "_run", lambda _: None)
    informer = Informer(cast("Any", None), TOYS)
    assert (informer.has_ended, informer.is_alive) == (False, False)
    informer.start()
    assert informer._thread is not None
    informer._thread.join(5)
    assert (informer.has_ended, informer.is_alive) == (True, False)


def test_a_stopped_informer_has_not_ended() -> None:
    """Nothing is wrong with it."""
    informer = Informer(cast("Any", None), TOYS)
    informer.stop()
    informer.start()
    assert informer._thread is not None
    informer._thread.join(5)
    assert not informer.has_ended
