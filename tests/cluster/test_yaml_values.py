"""The recorded values of YAML, held against a real kube-apiserver."""

import http.client
import json
from typing import Any

import pytest

from tests.cluster.apiserver import ApiServer, eventually
from tests.operator.test_yaml_values import RECORDED, thing, typed

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.org"},
    "spec": {
        "group": "example.org",
        "names": {"kind": "Thing", "plural": "things"},
        "scope": "Cluster",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@pytest.mark.cluster
def test_the_recorded_values_are_those_of_a_real_server(apiserver: ApiServer) -> None:
    """Each field is sent as YAML, and the answer holds the recorded value."""
    apiserver.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)
    eventually(lambda: _posted(apiserver, thing("a: 1\n"))[0] == 201, what="the kind is served")
    wrong: list[object] = []
    for text, value in RECORDED["fields"]:
        status, answer = _posted(apiserver, thing(text))
        if (status, typed(answer.get("spec"))) != (201, typed(value)):
            wrong.append((text, status, answer))
    wrong += [text for text in RECORDED["refused"] if _posted(apiserver, thing(text))[0] < 400]
    assert wrong == []


def _posted(apiserver: ApiServer, text: str) -> tuple[int, dict[str, Any]]:
    connection: http.client.HTTPSConnection = apiserver.connection()
    headers = {**apiserver.credentials(), "Content-Type": "application/yaml"}
    headers["Accept"] = "application/json"
    path = "/apis/example.org/v1/things?dryRun=All"
    connection.request("POST", path, text.encode("utf-8", "surrogatepass"), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    try:
        return answer.status, json.loads(content)
    except ValueError:
        # Before the kind is served, the answer is plain text.
        return answer.status, {}
