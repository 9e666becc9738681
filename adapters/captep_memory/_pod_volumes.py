"""The volumes of a pod: validation, as far as it is worded here; the rest is 501."""

import re
from collections.abc import Iterator
from typing import Any

from captep_memory._checks import check_dns_label, require_model
from captep_memory._json import Object, without
from captep_memory._quantities import amount
from captep_memory._status import Cause, duplicate, required

__all__ = ["FIELD", "check_volumes"]

_HOST_PATHS = (
    *("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate"),
    *("File", "FileOrCreate", "Socket"),
)
FIELD = re.compile(r"metadata\.(labels|annotations)\['[a-z0-9./-]+'\]")
"""A field of a pod that a volume or a variable may show."""


def check_volumes(path: str, volumes: Any) -> Iterator[Cause]:  # noqa: ANN401  # a JSON list
    """Yield the errors of the volumes of a pod."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        at, name = f"{path}.volumes[{index}]", volume["name"]
        if not name:
            yield required(f"{at}.name")
        else:
            yield from check_dns_label(f"{at}.name", name)
        if name in seen and name:
            yield duplicate(f"{at}.name", name)
        seen.add(name)
        yield from _check_source(at, without(volume, "name"))


def _check_source(path: str, sources: Object) -> Iterator[Cause]:
    require_model(len(sources) == 1, "a volume of several types")
    (kind, source) = next(iter(sources.items()))
    named = _NAMED_BY.get(kind)
    if named is not None and not source.get(named):
        yield required(f"{path}.{kind}.{named}")
    match kind:
        case "secret" | "configMap":
            _require_items(source)
        case "hostPath":
            require_model(".." not in source["path"].split("/"), "a host path with ..")
            require_model(source.get("type", "") in _HOST_PATHS, "this type of a host path")
        case "downwardAPI":
            _require_downward(source)
        case "projected":
            require_model(source.get("sources"), "a projected volume without sources")
            for each in source["sources"]:
                _require_projection(each)
        case "emptyDir":
            medium = source.get("medium", "") in ("", "Memory")
            sound = medium and amount(source.get("sizeLimit", "0")) >= 0
            require_model(sound, "this emptyDir")
        case _:
            return


# The field of a volume that names what it shows.
_NAMED_BY = {
    "secret": "secretName",
    "configMap": "name",
    "persistentVolumeClaim": "claimName",
    "hostPath": "path",
}


def _require_downward(source: Object) -> None:
    for item in source.get("items", ()):
        sound = "fieldRef" in item and "resourceFieldRef" not in item and item["path"]
        require_model(sound and not item["path"].startswith(("/", "..")), "this downwardAPI")
        place = item["fieldRef"]["fieldPath"]
        known = place in ("metadata.name", "metadata.namespace", "metadata.uid")
        whole = place in ("metadata.labels", "metadata.annotations")
        require_model(known or whole or FIELD.fullmatch(place), f"the fieldPath {place}")


def _require_projection(source: Object) -> None:
    require_model(len(source) == 1, "a projection without exactly one source")
    ((kind, given),) = source.items()
    match kind:
        case "serviceAccountToken":
            sound = given["path"] and given["expirationSeconds"] >= 600
            require_model(sound and not given.get("audience"), "this projected token")
        case "configMap" | "secret":
            require_model(given.get("name"), "a projection without a name")
            _require_items({**given, "defaultMode": 0})
        case "downwardAPI":
            _require_downward(given)
        case _:
            require_model(condition=False, what=f"the projection {kind}")


def _require_items(source: Object) -> None:
    modes = [source["defaultMode"], *(each.get("mode", 0) for each in source.get("items", ()))]
    require_model(all(0 <= mode <= 0o777 for mode in modes), "a mode beyond 0777")
    for item in source.get("items", ()):
        sound = item["key"] and item["path"] and not item["path"].startswith(("/", ".."))
        require_model(sound and ".." not in item["path"].split("/"), "this item of a volume")
