"""The names under which an operator appears in a cluster, in metrics and in logs."""

import re
from typing import Final

from attrs import Attribute, field, frozen

__all__ = ["Identity"]

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_LIBRARY: Final = "captep"


def _is_name(_: object, attribute: "Attribute[str]", value: str) -> None:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{attribute.name} of an operator: expected at most 63 lower case letters, digits,"
            f" - and ., not {value!r}"
        )


@frozen
class Identity:
    """One name for everything that an operator signs.

    `name`: the field manager of its writes, the component of its Events, the name of its Lease, the
    beginning of its user agent. `controller`: the label `controller` of its metrics and the field
    of its log lines. `version`: of the operator, for the user agent; may be empty.

    Raises:
        ValueError: a name that a Lease cannot have.
    """

    name: str = field(validator=_is_name)
    controller: str = field(validator=_is_name)
    version: str = ""

    def user_agent(self) -> str:
        """Return the user agent: `NAME/VERSION captep/VERSION`, as RFC 9110 has it."""
        library = f"{_LIBRARY}/{_library_version()}"
        if self.name == _LIBRARY:
            return library
        return f"{self.name}/{self.version} {library}" if self.version else f"{self.name} {library}"


def _library_version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - slow to import

    try:
        return version(_LIBRARY)
    except PackageNotFoundError:
        # Run from a checkout that is not installed.
        return "unknown"
