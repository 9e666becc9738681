"""Create, read, scale, patch and delete with lightkube; prints what it saw as JSON."""

import json
import sys

from lightkube import ApiError, Client
from lightkube.config.kubeconfig import KubeConfig
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType


def main(kubeconfig: str, namespace: str) -> None:
    """Run the script in a namespace."""
    client = Client(config=KubeConfig.from_file(kubeconfig).get(), namespace=namespace)
    seen: list[object] = []
    config = ConfigMap(metadata=ObjectMeta(name="light"), data={"a": "b"})
    seen.append(client.create(config).data)
    patched = client.patch(ConfigMap, "light", {"data": {"c": "d"}}, patch_type=PatchType.MERGE)
    seen.append(patched.data)
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "light"}),
        spec=PodSpec(containers=[Container(name="c", image="nginx:1.27")]),
    )
    selector = LabelSelector(matchLabels={"app": "light"})
    deployment = Deployment(
        metadata=ObjectMeta(name="light"),
        spec=DeploymentSpec(selector=selector, template=template),
    )
    created = client.create(deployment).spec
    seen.append(created.strategy.type if created.strategy else None)
    scale = client.get(Deployment.Scale, "light")
    scale.spec = ScaleSpec(replicas=3)
    client.replace(scale, "light")
    seen.append(client.get(Deployment, "light").spec.replicas)
    seen.append(len(list(client.list(ConfigMap, labels={"no": "one"}))))
    try:
        client.create(config)
    except ApiError as error:
        seen.append([error.status.code, error.status.reason])
    client.delete(Deployment, "light")
    client.delete(ConfigMap, "light")
    try:
        client.get(ConfigMap, "light")
    except ApiError as error:
        seen.append([error.status.code, error.status.reason])
    sys.stdout.write(f"{json.dumps(seen)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
