"""A pure reconcile function and its kinds, as one object that runs, plans and simulates.

Rules of this module:

1. `run` belongs in a thread of the caller's process: it installs no signal handler, writes no file
   and reads no command line. `stop` ends it from any other thread.
2. `plan` and `simulate` need no server, and load no client.
3. `main` is the command line around the three.
"""

import argparse
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from captep_core._actions import JSON, ObjectRef
from captep_core._decision import Decision
from captep_core._observation import ReconcileState
from captep_core.ports import Decide
from captep_operator._identity import Identity
from captep_operator._kind import Kind
from captep_operator._messages import Message, Messages
from captep_operator._shard import Shard
from captep_operator._signature import require_signature

if TYPE_CHECKING:
    from captep_kubernetes import DryRun, Transport
    from captep_operator._leadership import Lease
    from captep_operator._serving import Serving
    from captep_operator._simulation import Simulation
    from captep_runtime import Metrics

__all__ = ["Operator"]


def _as_tuple(kinds: Iterable[Kind]) -> tuple[Kind, ...]:
    return tuple(kinds)


def _no_problems(_: Mapping[str, JSON]) -> Sequence[str]:
    return ()


def _no_warnings(_: "Transport") -> Iterable[str]:
    return ()


@frozen(eq=False)
class Operator:
    """Reconciles every object of the kind `primary` with `decide`.

    `name`: signs everything that the operator does; see `Identity`. `reads`: the further kinds that
    decisions read or write; `primary` need not be among them. `controller`: the label of its
    metrics, by default its name. `version`: of the operator, for the user agent. `problems`: names
    what is wrong with a manifest of the primary kind, so that a plan of it is an error. `warnings`:
    looks at the cluster once, when `run` starts, and returns the lines to log about it.

    Raises:
        ValueError: a kind is named twice, or a name has another form.
        TypeError: `decide` is no function, or takes something else than `Decide`.
    """

    name: str
    decide: Decide
    primary: Kind = field(kw_only=True)
    reads: tuple[Kind, ...] = field(default=(), converter=_as_tuple, kw_only=True)
    controller: str = field(default="", kw_only=True)
    version: str = field(default="", kw_only=True)
    problems: Callable[[Mapping[str, JSON]], Sequence[str]] = field(
        default=_no_problems, kw_only=True
    )
    warnings: "Callable[[Transport], Iterable[str]]" = field(default=_no_warnings, kw_only=True)
    _messages: Messages = field(factory=Messages, init=False, repr=False)
    _runs: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Check the names, and the function."""
        decide: object = self.decide
        require_signature(decide)
        named = [(kind.api_version, kind.kind) for kind in self.kinds]
        twice = sorted({str(kind) for kind in self.kinds if named.count(_id(kind)) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named twice among primary and reads")
        _ = self.identity

    @property
    def identity(self) -> Identity:
        """The names of the operator."""
        return Identity(self.name, self.controller or self.name, self.version)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """All kinds, the primary one first."""
        return (self.primary, *self.reads)

    def main(
        self,
        argv: Sequence[str] | None = None,
        *,
        flags: argparse.ArgumentParser | None = None,
        deciding: Callable[[argparse.Namespace], Decide] | None = None,
    ) -> None:
        """Be the command line `run | plan | simulate`; return when the command succeeded.

        Args:
            argv: the arguments, None for those of the process.
            flags: a parser with `add_help=False`, whose flags all three commands take.
            deciding: from the options, those of `flags` included, to the `decide` to use.

        Raises:
            SystemExit: with the exit status: 1 for an error, 2 for wrong usage, 3 for a simulation
                that does not settle, 130 for Ctrl-C.
        """
        from captep_operator.command import main  # noqa: PLC0415 - only a command parses flags

        status = main(self, argv, flags=flags, deciding=deciding)
        if status:
            raise SystemExit(status)

    def run(
        self,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        transport: "Transport | None" = None,
        namespaces: Iterable[str] = (),
        workers: int = 4,
        lease: "Lease | None" = None,
        shard: Shard | str = "1/1",
        dry_run: "DryRun | Literal['none', 'client', 'server']" = "none",
        metrics: "Metrics | None" = None,
        serving: "Serving | None" = None,
    ) -> None:
        """Reconcile until `stop` is called.

        Args:
            kubeconfig, context: the cluster, as kubectl reads them.
            transport: sends the requests; replaces the two.
            namespaces: the namespaces to watch, none for the whole cluster.
            workers: keys that are reconciled at the same time.
            lease: only its holder writes; None for a single process.
            shard: I/N, the share of the objects that this process reconciles; see `Shard`. Shards
                need a `lease`: each has one of its own, whose name begins with that of `lease`.
            dry_run: whether to send writes, and whether the server keeps them.
            metrics: receives the measurements; None for those that `serving` exposes.
            serving: where to serve probes and metrics; None for nowhere.

        Raises:
            GatewayError: the start failed, or the lease is lost; one line says what to do.
            ValueError: an argument has another form, or the operator is running already.
        """
        from captep_kubernetes import DryRun  # noqa: PLC0415 - rule 2
        from captep_operator._process import Process, Settings  # noqa: PLC0415
        from captep_operator._serving import Serving  # noqa: PLC0415

        share = Shard.parse(shard) if isinstance(shard, str) else shard
        if share.count > 1 and lease is None and DryRun(dry_run) is DryRun.NONE:
            raise ValueError(f"shard {share} without a lease: nothing keeps two processes apart")
        settings = Settings(
            kubeconfig=kubeconfig,
            context=context,
            transport=transport,
            namespaces=tuple(sorted(set(namespaces))),
            workers=workers,
            lease=lease,
            shard=share,
            dry_run=DryRun(dry_run),
            metrics=metrics,
            serving=serving or Serving(),
            warnings=self.warnings,
        )
        if not self._runs.acquire(blocking=False):
            raise ValueError(
                f"the operator {self.name} is running already, and runs once at a time"
            )
        try:
            Process(self.identity, self.decide, self.kinds, settings, self._messages).run()
        finally:
            self._runs.release()

    def stop(self) -> None:
        """End `run`, from any thread; it returns when the passes under way have ended."""
        self._messages.put(Message.STOPPED)

    def plan(
        self, objects: Iterable[Mapping[str, Any]], namespace: str | None, name: str, now: datetime
    ) -> Decision:
        """Decide once for the object `namespace/name` in a world of `objects`.

        Raises:
            DecisionError: `decide` raises, returns no Decision, or uses a kind nobody declared.
        """
        from captep_operator._simulation import world_of  # noqa: PLC0415 - --help loads no server

        read = world_of(objects, now, self.kinds, self.name).read
        return self._decides()(self._key(namespace, name), read, ReconcileState(), now=now)

    def simulate(
        self,
        objects: Iterable[Mapping[str, Any]],
        namespace: str | None,
        name: str,
        now: datetime,
        *,
        further: int = 0,
    ) -> "Simulation":
        """Run the loop of the object `namespace/name`, alone in a world of `objects`.

        `further`: passes after the loop has settled.

        Raises:
            DecisionError: as from `plan`.
        """
        from captep_operator._simulation import simulated, world_of  # noqa: PLC0415

        gateway = world_of(objects, now, self.kinds, self.name)
        key = self._key(namespace, name)
        return simulated(self._decides(), gateway, key, now, further=further)

    def _decides(self) -> Decide:
        from captep_operator._declared import as_declared  # noqa: PLC0415
        from captep_operator._guarded import guarded  # noqa: PLC0415

        return guarded(as_declared(self.decide, self.kinds))

    def _key(self, namespace: str | None, name: str) -> ObjectRef:
        return ObjectRef(self.primary.api_version, self.primary.kind, namespace, name)


def _id(kind: Kind) -> tuple[str, str]:
    return kind.api_version, kind.kind
