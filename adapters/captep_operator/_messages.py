"""The messages that end or begin parts of a run."""

import queue
from enum import Enum

__all__ = ["Message", "Messages"]


class Message(Enum):
    """A message to the thread of `run`."""

    STOPPED = "stopped"
    LEADS = "leads"
    LOST = "lost"


Messages = queue.SimpleQueue[Message]
"""Its `put` is reentrant, so that a signal handler may call it."""
