"""Which bytes are a kubeconfig: judged by its top level, without a parser of YAML."""

import base64
import json

import pytest

from captep_core import Degraded, Policy
from tests.capt.driving import Run, look, run
from tests.capt.worlds import KUBECONFIG, Objects, changed, find, provided, ready

CONFIG = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": []}

ACCEPTED: dict[str, bytes] = {
    "as aws writes it": KUBECONFIG.encode(),
    "clusters": b"clusters:\n- name: tokyo\n",
    "clusters in flow style": b"clusters: []\n",
    "users": b"users:\n- name: tokyo\n",
    "kind": b"kind: Config\n",
    "kind at the end": b"apiVersion: v1\nkind: Config",
    "kind with spaces": b"kind:   Config  \n",
    "kind with a tab": b"kind:\tConfig\n",
    "kind with a comment": b"kind: Config # by terraform\n",
    "kind in double quotes": b'kind: "Config"\n',
    "kind in single quotes": b"kind: 'Config'\n",
    "keys in double quotes": b'"apiVersion": "v1"\n"kind": "Config"\n',
    "clusters in double quotes": b'"clusters":\n- "name": "tokyo"\n',
    "clusters in single quotes": b"'clusters':\n- name: tokyo\n",
    "users in double quotes": b'"users":\n- "name": "tokyo"\n',
    "users in single quotes": b"'users': []\n",
    "as yamlencode writes it": (
        b'"apiVersion": "v1"\n"clusters":\n- "cluster":\n    "server": "https://X"\n'
        b'  "name": "tokyo"\n"users": []\n'
    ),
    "behind other keys": b"apiVersion: v1\npreferences: {}\ncurrent-context: a\nclusters: []\n",
    "behind a comment": b"# made by terraform\n\nclusters: []\n",
    "behind a document marker": b"---\nclusters: []\n",
    "behind a directive": b"%YAML 1.2\n---\nclusters: []\n",
    "behind a byte order mark": b"\xef\xbb\xbfclusters: []\n",
    "behind both": b"\xef\xbb\xbf---\nclusters: []\n",
    "behind blank lines": b"\n\n  \nclusters: []\n",
    "Windows' line ends": b"apiVersion: v1\r\nclusters:\r\n- name: a\r\nusers: []\r\n",
    "Windows' line ends and kind": b"\xef\xbb\xbfapiVersion: v1\r\nkind: Config\r\n",
    "no line end": b"clusters: []",
    "an end marker": b"clusters: []\n...\n",
    "bytes that are not UTF-8 behind": b"clusters:\n- name: \xff\xfe\xe9\n",
    "bytes that are not UTF-8 before": b"# f\xfcr tokyo\nclusters: []\n",
    "NUL bytes behind": b"clusters: []\n\x00\x00",
    "JSON": json.dumps(CONFIG).encode(),
    "indented JSON": json.dumps(CONFIG, indent=2).encode(),
    "JSON behind white space": b"\n\n  " + json.dumps(CONFIG).encode() + b"\n",
    "JSON behind a byte order mark": b"\xef\xbb\xbf" + json.dumps(CONFIG).encode(),
    "JSON with clusters alone": b'{"clusters":[]}',
    "JSON with users alone": b'{"users": null}',
    "JSON with kind alone": b'{"kind":"Config"}',
    "JSON with Windows' line ends": json.dumps(CONFIG, indent=1).replace("\n", "\r\n").encode(),
}

REJECTED: dict[str, bytes] = {
    "HTML": b"<!DOCTYPE html>\n<html>\n<body>canary</body>\n</html>\n",
    "a sign-in page": b"<html><head><title>Sign in</title></head><body>clusters: users:</body>",
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Id>canary</Id></Error>',
    "an error of kubectl": b"error: You must be logged in to the server (Unauthorized) canary\n",
    "an error of the API": b"Error from server (Forbidden): canary",
    "an error of the API as JSON": b'{"kind":"Status","apiVersion":"v1","status":"Failure"}',
    "text": b"canary",
    "an empty object": b"{}",
    "an empty list": b"[]",
    "a list of kubeconfigs": json.dumps([CONFIG]).encode(),
    "an object inside of an object": json.dumps({"kubeconfig": CONFIG}).encode(),
    "an object with other keys": b'{"cluster": [], "user": [], "kinds": "Config"}',
    "another kind as JSON": b'{"kind":"Secret","data":{}}',
    "kind of another type": b'{"kind":["Config"]}',
    "kind in lower case as JSON": b'{"kind":"config"}',
    "two JSON objects": b'{"a": 1}\n{"clusters": []}\n',
    "JSON that is cut": json.dumps(CONFIG).encode()[:-5],
    "another kind": b"apiVersion: v1\nkind: Secret\n",
    "a kind that begins like it": b"kind: ConfigMap\n",
    "a kind that ends like it": b"kind: KubeConfig\n",
    "kind in lower case": b"kind: config\n",
    "two words": b"kind: Config Map\n",
    "no kind": b"kind:\n",
    "Config on the next line alone": b"kind\nConfig\n",
    "indented clusters": b"kubeconfig:\n  clusters: []\n  users: []\n  kind: Config\n",
    "clusters behind a tab": b"\tclusters: []\n",
    "clusters in a list": b"- clusters: []\n",
    "clusters in a comment": b"#clusters: []\n# users: []\n",
    "clusters in a value": b"message: clusters: []\n",
    "clusters without a colon": b"clusters\nusers\n",
    "clusters with another separator": b"clusters = []\nusers = []\nkind = Config\n",
    "a key that begins like it": b"clusters-of-tokyo: []\nusersx: []\n",
    "a key that ends like it": b"eks-clusters: []\nallusers: []\n",
    "another case": b"Clusters: []\nUSERS: []\n",
    "half quotes": b"\"clusters: []\nusers': []\n",
    "mixed quotes": b"\"clusters': []\n",
    "UTF-16": KUBECONFIG.encode("utf-16"),
    "UTF-16 without a mark": KUBECONFIG.encode("utf-16-le"),
    "base64 of a kubeconfig": base64.b64encode(KUBECONFIG.encode()),
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00canary",
    "NUL bytes": b"\x00" * 64,
    "bytes that are not UTF-8": b"\xff\xfe\xfd canary",
    "a template": b"{{ .kubeconfig }}",
    "an unresolved variable": b"${kubeconfig}",
    "HCL": b'output "kubeconfig" {\n  value = "canary"\n}\n',
    "a quoted error": json.dumps("error: canary").encode(),
    "a quoted empty object": json.dumps("{}").encode(),
    "a kubeconfig quoted twice": json.dumps(json.dumps(KUBECONFIG)).encode(),
    "a quoted kubeconfig that is cut": json.dumps(KUBECONFIG).encode()[:-1],
    "JSON too deep": b"[" * 10**5,
    "objects too deep": b'{"clusters":' * 10**5,
    "a number too long": b"9" * 5000,
}


def _token(objects: Objects, held: bytes) -> Objects:
    data = {"data": {"kubeconfig": base64.b64encode(held).decode()}}
    return changed(objects, "Secret", "tokyo-outputs-kubeconfig", data)


def _copied(done: Run) -> bytes:
    return base64.b64decode(done.find("Secret", "tokyo-kubeconfig")["data"]["value"])


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_kubeconfig_is_copied_byte_for_byte(name: str) -> None:
    """Line ends, marks and bytes that are not UTF-8 included; the verdict is Ready."""
    done = run(_token(ready(), ACCEPTED[name]))
    assert _copied(done) == ACCEPTED[name]
    assert done.last.verdict.reason == "Ready"
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["secretsReady"]) == (True, True)


@pytest.mark.parametrize("name", [each for each in ACCEPTED if "UTF-8" not in each])
def test_a_quoted_kubeconfig_is_unwrapped_before_it_is_judged(name: str) -> None:
    """Terraform's jsonencode of a string is the string inside."""
    text = ACCEPTED[name].decode()
    done = run(_token(ready(), json.dumps(text).encode()))
    assert _copied(done) == ACCEPTED[name]
    assert done.last.verdict.reason == "Ready"


@pytest.mark.parametrize("name", REJECTED)
def test_anything_else_is_a_secret_error_and_overwrites_nothing(name: str) -> None:
    """The good kubeconfig stays, secretsReady goes, and the loop looks again after 10 s."""
    objects = _token(ready(), REJECTED[name])
    decision = look(objects)
    assert isinstance(decision.verdict, Degraded)
    assert decision.verdict.reason == "SecretError"
    assert decision.requeue_after == Policy().failing
    done = run(objects)
    assert done.find("Secret", "tokyo-kubeconfig") == find(ready(), "Secret", "tokyo-kubeconfig")
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["secretsReady"]) == (True, False)
    assert "canary" not in repr([each.decision for each in done.passes])
    assert "canary" not in repr([status["conditions"], [each.body for each in done.events]])


@pytest.mark.parametrize("name", REJECTED)
def test_no_kubeconfig_secret_is_created_from_anything_else(name: str) -> None:
    """Before the first Ready the same is phase Failed, and the control plane is not Ready."""
    objects = _token(ready(), REJECTED[name])
    objects = [obj for obj in objects if obj["metadata"]["name"] != "tokyo-kubeconfig"]
    objects = changed(objects, "CAPTControlPlane", "tokyo", {"status": None})
    done = run(objects)
    assert not done.has("Secret", "tokyo-kubeconfig")
    assert done.last.verdict.reason == "SecretError"
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["phase"], bool(status.get("ready"))) == ("Failed", False)


def test_an_empty_value_is_missing_while_its_workspace_works() -> None:
    """Crossplane creates the outputs Secret before Terraform fills it: that is no error."""
    assert run(provided()).last.verdict.reason == "Creating"


def test_a_large_kubeconfig_is_judged_at_once() -> None:
    """A megabyte is the limit of a Secret; no pattern backtracks over it."""
    for held in (b" " * 10**6, b"a" * 10**6, b"\n" * 10**6, b"kind:" + b" " * 10**6 + b"x"):
        assert look(_token(ready(), b"x" + held)).verdict.reason == "SecretError"
    large = KUBECONFIG.encode() + b"# padding\n" * 10**5
    assert _copied(run(_token(ready(), large))) == large


def test_a_quoted_key_before_bytes_that_are_no_text_is_yaml() -> None:
    """Only the top level is judged; the bytes are copied as they are."""
    held = b'"a": \xff\nclusters: []\n'
    assert _copied(run(_token(ready(), held))) == held
