"""Kubernetes JSON made into the model, strictly; JSON enters the domain here and nowhere else.

Rules of this module:

1. Nothing is coerced: a string in the place of a number is a problem and not a number.
2. All problems of an object are reported at once, each with its path. No value is quoted, because
   it may be a Secret's.
3. null and absent are the same. Fields that are not modelled are ignored; list entries that go back
   to the server keep everything that they came with.
"""

from typing import Any, TypeAlias, TypeVar

import attrs

from captep_core._actions import JSON
from captep_core._observation import Absent, Observed, Unreadable
from captep_core._remembered import version_of
from captep_core.capt._model import CAPTControlPlane
from captep_core.errors import WireError

__all__ = ["Parsed", "as_observed", "problems", "structure"]

T = TypeVar("T", bound=attrs.AttrsInstance)
"""Any of the kinds of the model: CAPTControlPlane, Cluster, Secret, Workspace, WorkspaceTemplate,
WorkspaceTemplateApply.
"""


def structure(raw: object, kind: type[T]) -> T:
    """Make the JSON of one object into its class.

    Raises:
        WireError: the JSON does not have that shape; the message names every problem with its path.
    """
    # Importing cattrs takes as long as the rest of the core, so that happens on first use.
    from captep_core.capt._converter import structured  # noqa: PLC0415

    made = structured(raw, kind)
    if isinstance(made, tuple):
        raise WireError(_identity(raw, kind), made)
    return made


def as_observed(raw: Observed[dict[str, JSON]], kind: type[T]) -> Observed[T]:
    """Make the JSON that was read into an observation; a malformed object is unreadable."""
    if isinstance(raw, (Absent, Unreadable)):
        return raw
    try:
        return structure(raw, kind)
    except WireError as exc:
        return Unreadable("Malformed", "; ".join(exc.problems))


_Place: TypeAlias = tuple[type, str, str]
_Version: TypeAlias = tuple[object, Any]
"""A version of an object and what was made of it."""


@attrs.define(eq=False)
class Parsed:
    """Parsed objects by kind, apiVersion and uid: each resourceVersion is parsed once.

    It keeps the last version of the `most` objects that were used last, and at times of twice as
    many: versions that no pass reads any more cost memory, and the garbage collector a third of
    the time of parsing. An object without uid or resourceVersion is parsed each time. Several
    threads may use it at once: at worst, two of them parse the same object.
    """

    most: int = 512
    _recent: dict[_Place, _Version] = attrs.field(factory=dict, init=False, repr=False)
    _earlier: dict[_Place, _Version] = attrs.field(factory=dict, init=False, repr=False)

    def observed(self, raw: Observed[dict[str, JSON]], kind: type[T]) -> Observed[T]:
        """Make the JSON that was read into an observation; see `as_observed`."""
        if isinstance(raw, (Absent, Unreadable)) or self.most == 0:
            return as_observed(raw, kind)
        # A kind that is served in two versions has one resourceVersion in both.
        api_version, version = raw.get("apiVersion"), version_of(raw)
        if type(api_version) is not str or type(version) is not tuple:
            return as_observed(raw, kind)
        place = (kind, api_version, version[0])
        known = self._recent.get(place)
        if known is None or known[0] != version:
            known = known or self._earlier.get(place)
            if known is None or known[0] != version:
                known = (version, as_observed(raw, kind))
            if len(self._recent) >= self.most and place not in self._recent:
                self._earlier, self._recent = self._recent, {}
            self._recent[place] = known
        made: Observed[T] = known[1]
        return made


def problems(raw: object) -> tuple[str, ...]:
    """List the problems of the JSON of a control plane, each with its path; empty when it is
    well-formed.
    """
    try:
        structure(raw, CAPTControlPlane)
    except WireError as exc:
        return exc.problems
    return ()


def _identity(raw: object, kind: type) -> str:
    metadata = raw.get("metadata") if isinstance(raw, dict) else None
    name, namespace = (
        (metadata.get(key) for key in ("name", "namespace"))
        if isinstance(metadata, dict)
        else (None, None)
    )
    return f"{kind.__name__} {namespace}/{name}" if namespace else f"{kind.__name__} {name}"
