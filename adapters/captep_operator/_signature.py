"""The form of an author's function, checked before it is first called.

A loop would log a wrong one as a `TypeError` of its own at each pass, without the words that say
why: the text of an exception may quote a Secret.
"""

import inspect

__all__ = ["require_signature"]


def require_signature(decide: object) -> None:
    """Check that a function can be called as `captep_core.ports.Decide` is.

    Raises:
        TypeError: it cannot, or it is no function.
    """
    if not callable(decide):
        raise TypeError(f"decide is of type {type(decide).__name__}, expected a function")
    if inspect.iscoroutinefunction(decide):
        raise TypeError("decide is async, expected a plain function: it waits for nothing")
    try:
        signature = inspect.signature(decide)
    except ValueError:
        # Functions that are written in C may have none.
        return
    try:
        signature.bind(None, None, None, now=None)
    except TypeError:
        raise TypeError(f"decide takes {signature}, expected (key, read, state, *, now)") from None
