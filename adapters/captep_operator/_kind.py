"""A kind that an operator reconciles or reads."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, Self

from attrs import field, frozen
from attrs.validators import in_, matches_re

from captep_core._resources import Fields, Representation, Resource, Watched

__all__ = ["Kind", "ids_of"]

_REPRESENTATIONS: Final[Mapping[str, Representation]] = {
    "whole": Representation.WHOLE,
    "metadata": Representation.METADATA,
    "on demand": Representation.ON_DEMAND,
}
_PAYLOADS: Final[Mapping[Representation, Literal["whole", "metadata", "on demand"]]] = {
    Representation.WHOLE: "whole",
    Representation.METADATA: "metadata",
    Representation.ON_DEMAND: "on demand",
}


def _selector(given: Mapping[str, str] | str) -> str:
    """Return a selector as the API server reads it: `{"app": "db"}` is `app=db`.

    Raises:
        ValueError: a value is no text, as in `{"tier": 1}`.
    """
    if isinstance(given, str):
        return given
    for name, value in given.items():
        texts: tuple[object, ...] = (name, value)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"a selector maps text to text, not {name!r} to {value!r}")
    return ",".join(f"{name}={value}" for name, value in sorted(given.items()))


@frozen
class Kind:
    """One kind of the API, as an operator author names it.

    `api_version`: `v1` or `group/version`. `plural`, `namespaced`: the name of the kind in URLs and
    its scope; without a plural the server is asked for both.

    `labels`, `fields`: the objects that the watch selects, as a mapping of equal values or as the
    text of a selector (`app in (db, cache)`). `payload`: `whole` keeps the objects in memory;
    `metadata` keeps and shows only apiVersion, kind and metadata; `on demand` keeps nothing and
    fetches an object when a decision reads it, as befits Secrets. `project`: the fields to keep in
    memory, None for all.

    `versions`: the API versions that decisions speak, newest first, where there are several.
    `conditions`: the types of status.conditions whose changes wake a key, None for all.

    Raises:
        ValueError: a field has another form.
    """

    api_version: str = field(validator=matches_re(r"([a-z0-9.-]+/)?v[0-9][a-z0-9]*"))
    kind: str = field(validator=matches_re(r"[A-Z][A-Za-z0-9]*"))
    plural: str = field(default="", kw_only=True)
    namespaced: bool = field(default=True, kw_only=True)
    labels: str = field(default="", converter=_selector, kw_only=True)
    fields: str = field(default="", converter=_selector, kw_only=True)
    payload: Literal["whole", "metadata", "on demand"] = field(
        default="whole", validator=in_(_REPRESENTATIONS), kw_only=True
    )
    project: Fields | None = field(default=None, kw_only=True)
    versions: tuple[str, ...] = field(default=(), kw_only=True)
    conditions: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        return f"{self.kind} ({self.api_version})"

    @classmethod
    def of(cls, watched: Watched) -> Self:
        """Return the kind that `watched` describes."""
        resource, selectors = watched.resource, dict(watched.selectors)
        return cls(
            resource.api_version,
            resource.kind,
            plural=resource.plural,
            namespaced=resource.namespaced,
            labels=selectors.get("labelSelector", ""),
            fields=selectors.get("fieldSelector", ""),
            payload=_PAYLOADS[watched.representation],
            project=watched.fields,
            versions=watched.versions,
            conditions=watched.conditions,
        )

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def is_surely_namespaced(self) -> bool:
        """Whether the author says that the kind is namespaced; without a plural the server does."""
        return bool(self.plural) and self.namespaced

    def resource_name(self) -> str:
        """Return the name of the kind as kubectl takes it."""
        return self.plural or self.kind.lower()

    def assumed(self) -> Resource:
        """Return where the kind is served, or would be by the usual rule of plurals."""
        guess = f"{self.kind.lower()}s"
        return Resource(self.api_version, self.kind, self.plural or guess, self.namespaced)

    def watched(self, resource: Resource) -> Watched:
        """Return what to watch of the kind, which the server serves as `resource`."""
        selectors = (("labelSelector", self.labels), ("fieldSelector", self.fields))
        return Watched(
            resource,
            _REPRESENTATIONS[self.payload],
            self.project,
            versions=self.versions,
            conditions=self.conditions,
            selectors=tuple((name, text) for name, text in selectors if text),
        )


def ids_of(kinds: Iterable[Kind]) -> frozenset[tuple[str, str]]:
    """Return apiVersion and kind of each kind, in each version that decisions speak."""
    return frozenset(
        (version, each.kind) for each in kinds for version in (each.api_version, *each.versions)
    )
