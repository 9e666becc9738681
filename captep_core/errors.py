"""Errors, by who must act.

```
CaptepError
├── WireError       the cluster (or a file) holds something that is no such object: whoever wrote it must act
└── GatewayError    the way to the server is wrong: whoever runs the controller must act
```

What a server answers is not an error but a value (`captep_core.ports.Answer`): the loop decides what follows from it.
"""

from attrs import frozen

__all__ = ["CaptepError", "GatewayError", "WireError"]


class CaptepError(Exception):
    """Base of all errors that captep raises on purpose."""


@frozen(str=False)
class WireError(CaptepError):
    """An object that does not have the shape of its kind; the message names every problem with its path, never a value of a Secret."""

    where: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {'; '.join(self.problems)}"


class GatewayError(CaptepError):
    """No server, no permission to log in, kinds that are not installed: the message is one line that says what to do."""
