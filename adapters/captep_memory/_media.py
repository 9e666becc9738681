"""Content negotiation: the media types of a request and of its answer.

The endpoints of built-in kinds sit behind a filter of their own (go-restful), which knows no
`application/*` and has a message of its own; those of custom resources do not.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Literal, TypeAlias

from attrs import frozen

from captep_memory._json import Object
from captep_memory._kinds import ServedKind
from captep_memory._request import Response
from captep_memory._status import RefusedError, failure, not_modelled
from captep_memory._tables import columns_of, table

__all__ = ["Form", "Presentation", "check_content_type", "presentation_of", "presented"]

Form: TypeAlias = Literal["", "PartialObjectMetadata", "PartialObjectMetadataList", "Table"]

_JSON, _YAML = "application/json", "application/yaml"
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_ACCEPTED = f"{_JSON}, {_YAML}, {_PROTOBUF}"
_FORMS = ("PartialObjectMetadata", "PartialObjectMetadataList", "Table")
_META_VERSIONS = ("v1", "v1beta1")
_PARAMETERS = re.compile(r"""[^;]*(;\s*[^;=\s]+=("[^"]*"|[^;"\s]*)\s*)*;?\s*""")
# The internal Go packages of the built-in kinds, for messages.
_PACKAGES = {"": "core", "coordination.k8s.io": "coordination"}


@frozen
class Presentation:
    """The form of an answer. YAML bodies are JSON text, which is YAML too."""

    media_type: str = _JSON
    form: Form = ""
    version: str = "v1"
    pretty: bool = False
    include: str = ""


@frozen
class _Clause:
    """One media range of an Accept header."""

    kind: str
    subtype: str
    quality: float
    parameters: dict[str, str]


def presentation_of(accept: str, *, built_in: bool, streams: bool) -> Presentation:
    """Return the form of the answer to a request with this Accept header.

    A built-in kind also has protobuf in the real server. A client that accepts JSON too gets JSON.

    Raises:
        RefusedError: 406, no clause fits; 501, only a form without a model does.
    """
    clauses = sorted(_clauses(accept or "*/*"), key=lambda clause: -clause.quality)
    if built_in and not any(map(_passes_filter, clauses)):
        available = f"{_ACCEPTED}, {_JSON};stream=watch, {_PROTOBUF};stream=watch"
        shown = available if streams else _ACCEPTED
        raise failure(
            406, "NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {shown}", {}
        )
    unmodelled = ""
    for clause in clauses:
        name = f"{clause.kind}/{clause.subtype}"
        if name == _PROTOBUF and built_in:
            unmodelled = unmodelled or "protobuf"
        elif (form := _form(clause)) is not None and name in (_JSON, _YAML, "application/*", "*/*"):
            return _presentation(clause, name, form)
    if unmodelled:
        raise not_modelled(unmodelled)
    message = f"only the following media types are accepted: {_ACCEPTED}"
    raise failure(406, "NotAcceptable", message)


def _presentation(clause: _Clause, name: str, form: str) -> Presentation:
    pretty = clause.parameters.get("pretty", "0") not in ("0", "false")
    version = clause.parameters.get("v", "v1")
    known: Form = "" if form == "" else form  # type: ignore[assignment]  # one of _FORMS
    return Presentation(_YAML if name == _YAML else _JSON, known, version, pretty)


def _clauses(accept: str) -> Iterator[_Clause]:
    for part in accept.split(","):
        name, *rest = (item.strip() for item in part.split(";"))
        # goautoneg compares types and names of parameters as they are written.
        kind, _, subtype = name.partition("/")
        pairs = (item.partition("=") for item in rest)
        parameters = {key.strip(): value.strip() for key, _, value in pairs}
        yield _Clause(kind, subtype, _quality(parameters.get("q", "1")), parameters)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def _passes_filter(clause: _Clause) -> bool:
    name = f"{clause.kind}/{clause.subtype}"
    return name in (_JSON, _YAML, _PROTOBUF, "*/*")


def _form(clause: _Clause) -> str | None:
    """Return the requested transformation, "" for none, None for an unknown one."""
    form = clause.parameters.get("as", "")
    if not form:
        # A group or a version without `as` names no form that there is.
        is_named = any(clause.parameters.get(name) for name in ("g", "v"))
        return None if is_named else ""
    is_meta = clause.parameters.get("g") == "meta.k8s.io"
    known = form in _FORMS and clause.parameters.get("v") in _META_VERSIONS
    return form if is_meta and known else None


def check_content_type(content_type: str, *, built_in: bool) -> str:
    """Return the media type of the body of a create, an update or a delete.

    Raises:
        RefusedError: 415, an unknown type; 501, protobuf for a custom resource.
    """
    name = content_type.partition(";")[0].strip().lower()
    if not content_type.strip():
        return _JSON
    if not _PARAMETERS.fullmatch(content_type) or _has_twice(content_type):
        name = ""
    if name == _JSON:
        return _JSON
    if name == _YAML:
        return _YAML
    if name == _PROTOBUF and built_in:
        return _PROTOBUF
    if name == _PROTOBUF:
        raise not_modelled("protobuf bodies of custom resources")
    raise failure(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - "
        f"accepted media types include: {_ACCEPTED}",
    )


def _has_twice(content_type: str) -> bool:
    """Whether two parameters have one name, which Go's mime.ParseMediaType refuses."""
    names = [part.partition("=")[0].strip().lower() for part in content_type.split(";")[1:]]
    return len(set(names)) < len(names)


def presented(
    response: Response,
    presentation: Presentation,
    resource: ServedKind,
    *,
    now: datetime,
    headers: bool = True,
) -> Response:
    """Return a response in the requested form; failures and Status objects stay.

    `headers` is whether a table shows its columns: in a watch, only the first event does.
    """
    body = response.body
    if not presentation.form or not response.ok or body.get("kind") == "Status":
        return response
    try:
        if presentation.form == "Table":
            shown = _table_of(body, presentation, resource, now=now, headers=headers)
        else:
            kind = resource.kind if resource.built_in else ""
            shown = _metadata_of(body, presentation, resource.group, kind)
        return Response(response.status, shown)
    except RefusedError as refused:
        return refused.response


def _table_of(
    body: Object,
    presentation: Presentation,
    resource: ServedKind,
    *,
    now: datetime,
    headers: bool,
) -> Object:
    type_ = {"kind": resource.kind, "apiVersion": resource.api_version}
    objects = [{**type_, **each} for each in body["items"]] if "items" in body else [body]
    return table(
        objects,
        columns_of(resource),
        body["metadata"],
        now=now,
        version=presentation.version,
        include=presentation.include,
        headers=headers,
    )


def _metadata_of(body: Object, presentation: Presentation, group: str, kind: str) -> Object:
    is_list = "items" in body
    go_type = f"{_PACKAGES.get(group, 'core')}.{kind}" if kind else "unstructured.Unstructured"
    if presentation.form == "PartialObjectMetadata":
        if is_list:
            raise failure(
                406,
                "NotAcceptable",
                "you requested PartialObjectMetadata, but the requested object is a list "
                f"(*{go_type}List)",
            )
        return partial_metadata(body, presentation)
    if not is_list and not kind:
        raise failure(500, "", "content is not a list")
    if not is_list:
        raise failure(
            406,
            "NotAcceptable",
            "you requested PartialObjectMetadataList, but the requested object is not a list "
            f"(*{go_type})",
        )
    listed = {name: value for name, value in body["metadata"].items() if value != ""}
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{presentation.version}",
        "metadata": listed,
        "items": [partial_metadata(item, presentation) for item in body["items"]],
    }


def partial_metadata(obj: Object, presentation: Presentation) -> Object:
    """Return the metadata of an object as an object of its own."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{presentation.version}",
        "metadata": obj["metadata"],
    }
