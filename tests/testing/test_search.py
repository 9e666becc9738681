"""The search itself: the same certificate in every executor, however often the search
is interrupted.
"""

import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from distributed import Client, LocalCluster

from captep_memory import World
from captep_testing import Progress, explore, moves
from captep_testing._memo import memoised
from tests.testing.museum import MUSEUM
from tests.testing.toy import CHILD, KEY, LATCH, stored, toy, toy_worlds


class Here(Executor):
    """An executor in this process: everything goes through bytes, as to another process."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - of Executor
        """Call at once."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def test_an_executor_gives_the_same_certificate() -> None:
    """Expansions that went through bytes, late writes and stale views included, change nothing."""
    kit = evolve(toy(), worlds=toy_worlds()[1:])
    alone = explore(kit, faults=1, events=0, lag=1).require()
    assert explore(kit, faults=1, events=0, lag=1, executor=Here()) == alone


def test_an_executor_finds_the_same_counterexample() -> None:
    """The shortest trace is the first one in the order of the frontier, in every executor."""
    kit = next(piece.kit for piece in MUSEUM if piece.name.startswith("M4 "))
    alone = explore(kit, faults=1, events=0)
    assert alone.properties == {"P1"}
    assert explore(kit, faults=1, events=0, executor=Here()) == alone


def test_two_processes_give_the_same_certificate() -> None:
    """The kit, with its lambdas and closures, goes to other processes."""
    alone = explore(toy(), faults=0, events=1).require()
    with ProcessPoolExecutor(2) as pool:
        assert explore(toy(), faults=0, events=1, executor=pool) == alone


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_two_workers_of_dask_give_the_same_certificate() -> None:
    """Each worker is a process with an interpreter of its own, as on another machine."""
    alone = explore(toy(), faults=0, events=1).require()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        assert explore(toy(), faults=0, events=1, executor=client.get_executor()) == alone


def test_an_interrupted_search_continues_from_its_file(tmp_path: Path) -> None:
    """Ctrl-C loses nothing: the certificate is that of a search without a break."""
    file = tmp_path / "search"
    kit = evolve(toy(), worlds=toy_worlds()[:1])
    whole = explore(kit, faults=1, events=1)

    def interrupt(_: Progress) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        explore(kit, faults=1, events=1, checkpoint=file, progress=interrupt)
    with pytest.raises(ValueError, match="holds another search"):
        explore(kit, faults=1, events=0, checkpoint=file)
    continued = explore(kit, faults=1, events=1, checkpoint=file)
    assert continued == whole
    assert (whole.exhausted, whole.counterexamples) == (True, ())
    assert not file.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04N.", b"\x80\x04]\x94."])
def test_a_file_that_holds_no_search_is_one_line(tmp_path: Path, content: bytes) -> None:
    """Empty, a text, another value: the error names the file, which stays as it is."""
    file = tmp_path / "search"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"search holds no search: remove it to begin again"):
        explore(toy(), faults=0, events=0, checkpoint=file)
    assert file.read_bytes() == content


def test_a_search_that_its_limit_ends_continues_with_a_higher_one(tmp_path: Path) -> None:
    """The file keeps a truncated search too."""
    file = tmp_path / "search"
    assert not explore(toy(), faults=0, events=1, limit=50, checkpoint=file).exhausted
    whole = explore(toy(), faults=0, events=1)
    assert explore(toy(), faults=0, events=1, checkpoint=file) == whole


def test_progress_estimates_the_time_that_is_left() -> None:
    """200 states expanded in two seconds, 50 left: half a second at least."""
    progress = Progress(250, 50, 900, 2.0, 200)
    assert (progress.rate, progress.seconds_left) == (100.0, 0.5)
    assert (Progress(1, 1, 0).rate, Progress(1, 1, 0).seconds_left) == (0.0, 0.0)


def test_two_ways_to_the_same_objects_lead_to_the_same_world() -> None:
    """Deleting two objects in either order gives one world, with the same uids and versions."""
    _, memo = memoised(toy())
    start = memo.worlds.of(toy_worlds()[1])
    first, second = moves.recreate(CHILD), moves.recreate(LATCH)

    def after(world: World | None, *steps: Callable[[World], World | None]) -> World:
        for step in steps:
            assert world is not None
            world = step(world)
        assert world is not None
        return world

    assert after(start, first, second) is after(start, second, first)
    assert after(start, first) is not after(start, first, first)


def test_a_function_of_a_world_is_computed_once_for_what_it_reads() -> None:
    """A predicate on one object is not asked again when another one changes."""
    asked: list[str] = []

    def has_thing(world: World) -> bool:
        asked.append("")
        return stored(world, KEY) is not None

    fast, memo = memoised(evolve(toy(), matches=has_thing))
    start = memo.worlds.of(toy_worlds()[1])
    touched = moves.touch(CHILD)(start)
    deleted = moves.touch(KEY)(start)
    assert touched is not None
    assert deleted is not None
    assert [fast.matches(world) for world in (start, touched, start)] == [True] * 3
    assert len(asked) == 1
    assert fast.matches(deleted)
    assert len(asked) == 2


def test_a_world_of_a_search_has_no_history() -> None:
    """Its way is not part of it, so that asking for changes fails loudly; no change is no error."""
    _, memo = memoised(toy())
    world = memo.worlds.of(toy_worlds()[1])
    assert world.changes(since=world.resource_version) == ()
    with pytest.raises(NotImplementedError, match="has no history"):
        world.changes()
