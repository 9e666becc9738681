"""The loop before CAPTEP-0016 and the proposal's intervals alone, re-enacted for comparison."""

from captep_demo._older._client import Client
from captep_demo._older._loop import BEFORE, INTERVALS_ALONE, OlderLoop
from captep_demo._older._reconcile import Intervals, Outcome, reconcile

__all__ = ["BEFORE", "INTERVALS_ALONE", "Client", "Intervals", "OlderLoop", "Outcome", "reconcile"]
