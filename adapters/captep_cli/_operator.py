"""The operator of the command: the CAPTControlPlane, its decisions and the flag of its own.

`--help` needs the names of the kinds alone, so the decisions are loaded when one is asked for.
"""

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from captep_core._actions import JSON, ObjectRef
from captep_core._decision import Decision
from captep_core._observation import ReconcileState
from captep_core.capt._resources import CONTROL_PLANES, WATCHED
from captep_core.ports import Decide, Read
from captep_operator import Kind, Operator
from captep_operator.command import Program

if TYPE_CHECKING:
    from captep_kubernetes import Transport

__all__ = ["NO_CONTRACT", "PROGRAM"]


def _problems(manifest: Mapping[str, JSON]) -> Sequence[str]:
    from captep_core.capt import wire  # noqa: PLC0415 - not for --help

    return wire.problems(manifest)


def _decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    from captep_core import decide  # noqa: PLC0415 - not for --help

    return decide(key, read, state, now=now)


def _deciding(options: argparse.Namespace) -> Decide:
    from captep_core import Policy, decide  # noqa: PLC0415 - not for --help
    from captep_core.capt.wire import Parsed  # noqa: PLC0415

    policy = Policy(publish_to_cluster=options.publish_to_cluster)
    return partial(decide, policy=policy, parsed=Parsed())


def _flags() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument(
        "--publish-to-cluster",
        choices=("auto", "always", "never"),
        default="auto",
        help="write to the Cluster: its status only where Cluster API's core does not act on it"
        " (auto, the default), always, or never",
    )
    return flags


_CONTRACT_LABEL: Final = "cluster.x-k8s.io/v1beta1"
NO_CONTRACT: Final = (
    f"the definition of {CONTROL_PLANES} has no label {_CONTRACT_LABEL}, so Cluster API finds no"
    " contract and sets no owner reference:"
    f" kubectl label customresourcedefinition {CONTROL_PLANES} {_CONTRACT_LABEL}=v1beta1"
)


def _warnings(transport: "Transport") -> Sequence[str]:
    from captep_operator import lacks_label  # noqa: PLC0415 - not for --help

    is_unlabelled = lacks_label(transport, str(CONTROL_PLANES), _CONTRACT_LABEL)
    return (NO_CONTRACT,) if is_unlabelled else ()


def _is_namespaced(group: str, _kind: str) -> bool:
    """All kinds of Cluster API are namespaced; the scope of other unknown kinds is unknown."""
    return f".{group}".endswith(".cluster.x-k8s.io")


_PRIMARY, *_READS = (Kind.of(watched) for watched in WATCHED)

PROGRAM = Program(
    Operator(
        "captep",
        _decide,
        primary=_PRIMARY,
        reads=_READS,
        # controller-runtime names a controller by its kind, and dashboards select by this label.
        controller=CONTROL_PLANES.kind.lower(),
        problems=_problems,
        warnings=_warnings,
    ),
    "captep",
    flags=_flags(),
    deciding=_deciding,
    alias="--control-plane",
    loads=True,
    is_namespaced=_is_namespaced,
)
"""`run`, `plan` and `simulate` of the command."""
