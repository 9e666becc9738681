"""The messages that end or begin parts of a run."""

import queue
from enum import Enum

__all__ = ["Message", "Messages", "forget_earlier_runs"]


class Message(Enum):
    """A message to the thread of `run`."""

    STOPPED = "stopped"
    LEADS = "leads"
    LOST = "lost"


Messages = queue.SimpleQueue[Message]
"""Its `put` is reentrant, so that a signal handler may call it."""


def forget_earlier_runs(messages: Messages) -> None:
    """Drop what an earlier run left about its lease; a `stop` counts for the run to come."""
    left = [messages.get() for _ in range(messages.qsize())]
    if Message.STOPPED in left:
        messages.put(Message.STOPPED)
