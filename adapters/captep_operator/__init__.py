"""One process for any pure reconcile function: its kinds, its controller and its operator.

A name is loaded on its first use: the command line works in memory without the client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from captep_operator._controller import Controller
    from captep_operator._counting import CountingTransport
    from captep_operator._discovery import discovered
    from captep_operator._dry_run import DryRunDecide
    from captep_operator._kind import Kind
    from captep_operator._leadership import Lease
    from captep_operator._operator import Operator
    from captep_operator._preflight import (
        check_cluster,
        check_lease,
        fatal_problem,
        identity,
        lacks_label,
    )
    from captep_operator._serving import Serving
    from captep_operator._shard import Shard
    from captep_operator._simulation import Simulation, simulated

__all__ = [
    "Controller",
    "CountingTransport",
    "DryRunDecide",
    "Kind",
    "Lease",
    "Operator",
    "Serving",
    "Shard",
    "Simulation",
    "check_cluster",
    "check_lease",
    "discovered",
    "fatal_problem",
    "identity",
    "lacks_label",
    "simulated",
]

_MODULES: Final = {
    "Controller": "_controller",
    "CountingTransport": "_counting",
    "DryRunDecide": "_dry_run",
    "Kind": "_kind",
    "Lease": "_leadership",
    "Operator": "_operator",
    "Serving": "_serving",
    "Shard": "_shard",
    "Simulation": "_simulation",
    "check_cluster": "_preflight",
    "check_lease": "_preflight",
    "discovered": "_discovery",
    "fatal_problem": "_preflight",
    "identity": "_preflight",
    "lacks_label": "_preflight",
    "simulated": "_simulation",
}


def __getattr__(name: str) -> object:
    """Load a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
