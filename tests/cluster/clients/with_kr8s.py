"""Create, read, scale, label and delete with kr8s; prints what it saw as JSON."""

import json
import sys

import kr8s
from kr8s.objects import ConfigMap, Deployment


def main(kubeconfig: str, namespace: str) -> None:
    """Run the script in a namespace."""
    api = kr8s.api(kubeconfig=kubeconfig, namespace=namespace)
    seen: list[object] = []
    metadata = {"name": "octopus", "namespace": namespace}
    config = ConfigMap({"metadata": metadata, "data": {"a": "b"}}, api=api)
    config.create()
    config.label({"x": "1"})
    config.patch({"data": {"c": "d"}})
    config.refresh()
    seen += [dict(config.data), dict(config.labels), config.exists()]
    template = {
        "metadata": {"labels": {"app": "octopus"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}]},
    }
    spec = {"selector": {"matchLabels": {"app": "octopus"}}, "template": template}
    deployment = Deployment({"metadata": metadata, "spec": spec}, api=api)
    deployment.create()
    deployment.patch({"spec": {"replicas": 4}})
    deployment.refresh()
    seen.append(deployment.spec.replicas)
    seen.append(len(list(api.get("deployments", namespace=namespace))))
    deployment.delete()
    config.delete()
    seen.append(len(list(api.get("deployments", namespace=namespace))))
    sys.stdout.write(f"{json.dumps(seen)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
