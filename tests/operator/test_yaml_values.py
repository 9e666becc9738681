"""YAML and JSON in files have the values that kubectl and kube-apiserver give them.

yaml_values.json was recorded from kube-apiserver and kubectl 1.37.2. `fields` are pairs of YAML
below `spec:` and the value of `spec` in the server's answer, `refused` are those that it refuses.
`streams` are pairs of whole files and the documents that kubectl reads, `refused_streams` are those
that kubectl refuses.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from captep_operator.command._errors import InputError
from captep_operator.command._manifests import _documents as documents
from captep_operator.command._manifests import read_manifests
from captep_operator.command._numbers import go_float32

RECORDED: dict[str, list[Any]] = json.loads(
    Path(__file__).with_name("yaml_values.json").read_text("utf-8")
)
HEAD = "apiVersion: example.org/v1\nkind: Thing\nmetadata:\n  name: it\nspec:\n"


def thing(field: str) -> str:
    """Return a manifest with `field` as the YAML below `spec`."""
    lines = re.split(r"(?<=\n)", field)
    return HEAD + "".join(f"  {line}" if line.strip() else line for line in lines)


def typed(value: object) -> object:
    """Return a value that equals no value of another JSON type: in Python True equals 1."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return json.dumps(value)


def read(text: str) -> object:
    """Return the documents of a file, or None when it is refused."""
    try:
        return [typed(document) for document in documents(text, "file") if document is not None]
    except InputError:
        return None


def spec(text: str) -> object:
    """Return the value below `spec`, or None when the file is refused."""
    try:
        (document,) = documents(thing(text), "file")
    except InputError:
        return None
    assert isinstance(document, dict)
    return typed(document["spec"])


def test_every_field_has_the_value_of_the_api_server() -> None:
    """Scalars, keys, tags, anchors, merge keys, block and flow styles: 678 fields."""
    wrong = [
        (text, spec(text), value)
        for text, value in RECORDED["fields"]
        if spec(text) != typed(value)
    ]
    assert wrong == []


def test_every_field_that_the_api_server_refuses_is_an_error() -> None:
    """Nothing is accepted with a value that no server would give it."""
    assert [text for text in RECORDED["refused"] if spec(text) is not None] == []


def test_every_stream_has_the_documents_of_kubectl() -> None:
    """Separators, byte order marks, JSON documents in a row, comments: 61 files."""
    wrong = [
        (text, read(text), value)
        for text, value in RECORDED["streams"]
        if read(text) != [typed(each) for each in value]
    ]
    assert wrong == []
    assert [text for text in RECORDED["refused_streams"] if read(text) is not None] == []


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "1: a\n'1': b\n", "{a: 1, a: 2}\n", '{"a": 1, "a": 2}', "yes: 1\ntrue: 2\n"],
)
def test_the_same_key_twice_is_an_error_though_the_server_takes_the_last(text: str) -> None:
    """`kubectl --validate=strict` and the server's strict field validation refuse it as well."""
    with pytest.raises(InputError, match="the same key twice"):
        documents(text, "file")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffa: 1\n", [{"a": 1}]),
        ("a: 1\n---\n\ufeffb: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: 1\r\n---\r\n\ufeffb: 2\r\n", [{"a": 1}, {"b": 2}]),
        ("a: 1\n\ufeff---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ('\ufeff{"a": 1}\n\ufeff{"b": 2}', [{"a": 1}, {"b": 2}]),
        ('{"a": 1}\n---\n\ufeff{"b": 2}', [{"a": 1}, {"b": 2}]),
    ],
)
def test_a_byte_order_mark_may_precede_any_document(text: str, expected: object) -> None:
    """Files of some editors begin with one, and people concatenate them."""
    assert documents(text, "file") == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1}\n{"b": ]}', "line 2, column 7"),
        ('{"a": 1}\n{"b": 1}\n{"c": 1\n "d": 2}', "line 4, column 2"),
        ('{"a": 1}\n---\n{"b": 1, "b": 2}', "line 3, column 10: the same key twice"),
        ('{"a": 1}\n{"b": 1e999}', "line 2, column 7: expected a finite number"),
        ('{"a": 1} {"b": nope nope: 1}', "line 1, column"),
        ('{"a": 1},\n{"b": 2}', "line 1, column 9"),
        ('{\n "a": 1,\n "b" 2\n}', "line 3, column"),
        ('{"a": 1}\n---\nb: 1\nc: }\n', "line 4, column 4"),
    ],
)
def test_an_error_in_a_stream_of_json_has_its_own_line(text: str, place: str) -> None:
    """It counts from the beginning of the file, not of the document."""
    with pytest.raises(InputError, match=re.escape(place)):
        documents(text, "file")


def test_the_items_of_a_list_of_any_kind_are_objects(tmp_path: Path) -> None:
    """Items without kind and apiVersion, as the API server sends them, take those of the list."""
    secret = {"metadata": {"name": "a", "namespace": "x"}}
    lists = [
        {"apiVersion": "v1", "kind": "SecretList", "items": [secret]},
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [{**secret, "apiVersion": "v1", "kind": "B"}],
        },
        {"apiVersion": "example.org/v1", "kind": "ThingList", "metadata": {}, "items": None},
        {"apiVersion": "example.org/v1", "kind": "AllowList", "metadata": {"name": "c"}},
        {"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "example.org/v1",
                "kind": "ThingList",
                "items": [{"metadata": {"name": "d"}}],
            }
        ]},
    ]  # fmt: skip
    path = tmp_path / "lists.json"
    path.write_text(json.dumps(lists[0]) + "\n".join(map(json.dumps, lists[1:])))
    found = [manifest.object for manifest in read_manifests([str(path)])]
    assert found == [
        {"apiVersion": "v1", "kind": "Secret", **secret},
        {"apiVersion": "v1", "kind": "B", **secret},
        {"apiVersion": "example.org/v1", "kind": "AllowList", "metadata": {"name": "c"}},
        {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "d"}},
    ]


def test_the_bytes_of_a_secret_are_encoded_as_the_server_stores_them(tmp_path: Path) -> None:
    """Line breaks inside base64 disappear; what is no base64 stays as it is."""
    value = base64.b64encode(b"x" * 100).decode()
    path = tmp_path / "secret.yaml"
    path.write_text(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: x}\n"
        f"data:\n  broken: '%%'\n  folded: |\n    {value[:76]}\n    {value[76:]}\n"
    )
    (found,) = read_manifests([str(path)])
    assert found.object["data"] == {"broken": "%%", "folded": value}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1e6, "1e+06"), (123456.0, "123456"), (0.1, "0.1"), (-1.5e-7, "-1.5e-07"), (1e39, ".inf"),
     (float("nan"), ".nan"), (0.0001, "0.0001"), (0.00001, "1e-05"), (16777217.0, "1.6777216e+07")],
)  # fmt: skip
def test_a_float_key_has_the_shortest_form_of_go(value: float, expected: str) -> None:
    """sigs.k8s.io/yaml formats it as a float of 32 bits."""
    assert go_float32(value) == expected
