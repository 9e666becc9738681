"""One process for any pure reconcile function: its kinds, its controller and its operator."""

from captep_operator._controller import Controller
from captep_operator._counting import CountingTransport
from captep_operator._discovery import discovered
from captep_operator._dry_run import DryRunDecide
from captep_operator._kind import Kind
from captep_operator._operator import Lease, Operator
from captep_operator._preflight import (
    check_cluster,
    check_lease,
    fatal_problem,
    identity,
    lacks_label,
)
from captep_operator._simulation import Simulation, simulated

__all__ = [
    "Controller",
    "CountingTransport",
    "DryRunDecide",
    "Kind",
    "Lease",
    "Operator",
    "Simulation",
    "check_cluster",
    "check_lease",
    "discovered",
    "fatal_problem",
    "identity",
    "lacks_label",
    "simulated",
]
