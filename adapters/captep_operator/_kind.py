"""A kind that an operator reconciles or reads."""

from typing import Literal

from attrs import field, frozen
from attrs.validators import in_, matches_re

from captep_core._resources import Fields, Representation, Resource, Watched

__all__ = ["Kind"]

_REPRESENTATIONS = {"whole": Representation.WHOLE, "on demand": Representation.METADATA}


@frozen
class Kind:
    """One kind of the API, as an operator author names it.

    `api_version`: `v1` or `group/version`. `payload`: `whole` keeps the objects in memory, `on
    demand` keeps their metadata and fetches an object when a decision reads it, as befits Secrets.
    `project`: the fields to keep in memory, None for all. `plural`, `namespaced`: the name of the
    kind in URLs and its scope; without a plural the server is asked for both.

    Raises:
        ValueError: a field has another form.
    """

    api_version: str = field(validator=matches_re(r"([a-z0-9.-]+/)?v[0-9][a-z0-9]*"))
    kind: str = field(validator=matches_re(r"[A-Z][A-Za-z0-9]*"))
    plural: str = field(default="", kw_only=True)
    namespaced: bool = field(default=True, kw_only=True)
    payload: Literal["whole", "on demand"] = field(
        default="whole", validator=in_(_REPRESENTATIONS), kw_only=True
    )
    project: Fields | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        return f"{self.kind} ({self.api_version})"

    def watched(self, resource: Resource) -> Watched:
        """Return what to watch of the kind, which the server serves as `resource`."""
        return Watched(resource, _REPRESENTATIONS[self.payload], self.project)
