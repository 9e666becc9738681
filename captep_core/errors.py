"""Errors, by who must act.

```
CaptepError
├── WireError       an object in the cluster, or in a file, does not have the shape of its kind:
│                   its author must act
├── DecisionError   a decision cannot be executed: the author of the operator must act
└── GatewayError    the way to the server is wrong: the person who runs the controller must act
```

An answer of a server is a value (`captep_core.ports.Answer`) and not an error: the loop decides
what follows from it.
"""

__all__ = ["CaptepError", "DecisionError", "GatewayError", "WireError"]


class CaptepError(Exception):
    """Base of all errors that captep raises on purpose."""


class WireError(CaptepError):
    """An object does not have the shape of its kind.

    The message names every problem with its path and never a value, which may be a Secret's.
    """

    def __init__(self, where: str, problems: tuple[str, ...]) -> None:
        super().__init__(where, problems)
        self.where = where
        self.problems = problems

    def __str__(self) -> str:
        return f"{self.where}: {'; '.join(self.problems)}"


class DecisionError(CaptepError):
    """A reconcile function returned something that cannot be executed; the message is one line."""


class GatewayError(CaptepError):
    """The server cannot be reached or used; the message is one line that says what to do."""
