"""The pytest plugin, as a project that installs captep uses it."""

import json
import time
import urllib.request

import pytest

from captep_memory import Object, Request
from captep_memory.testing import KubeAPI, KubeWorld, serving

CONFIG: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "default"},
}
PATH = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_a_world_of_its_own(kube_world: KubeWorld, number: int) -> None:
    """Nothing of another test is in it."""
    request = Request("create", "v1", "ConfigMap", "default", body=CONFIG)
    assert kube_world.request(request).status == 201, number
    assert kube_world.get("", "ConfigMap", "default", "a") is not None


def test_load_begins_again(kube_world: KubeWorld) -> None:
    """With the given objects alone."""
    kube_world.load(CONFIG)
    assert len(kube_world.world) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_any_client_reaches_the_server_by_its_kubeconfig(kube_api: KubeAPI, number: int) -> None:
    """The built-in namespaces exist, another one does not."""
    config = json.loads(kube_api.kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == kube_api.url, number
    kube_api.add(CONFIG)
    with urllib.request.urlopen(f"{kube_api.url}{PATH}/a", timeout=10) as answer:
        assert json.load(answer)["metadata"]["name"] == "a"
    names = [obj["metadata"]["name"] for obj in kube_api.facade.world.objects()]
    assert "kube-system" in names


def test_a_server_starts_within_100_milliseconds(tmp_path_factory: pytest.TempPathFactory) -> None:
    """CPU time of the process, so that a busy machine does not count."""
    folder = tmp_path_factory.mktemp("start")
    before = time.process_time()
    with serving(folder / "config"):
        pass
    assert time.process_time() - before < 0.1
