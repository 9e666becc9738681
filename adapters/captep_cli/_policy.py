"""The decisions of the command: those of the core, with the policy that the options name."""

from functools import partial

from captep_core import Policy, decide
from captep_core.ports import Decide

__all__ = ["deciding"]


def deciding(publish_to_cluster: str) -> Decide:
    """Return the `decide` that publishes to Clusters `auto`, `always` or `never`."""
    return partial(decide, policy=Policy(publish_to_cluster=publish_to_cluster))
