"""A kopf operator: it copies a field of a ConfigMap into a label, and holds it with a finalizer."""

import kopf


@kopf.on.create("v1", "configmaps", labels={"owner": "kopf"})
@kopf.on.update("v1", "configmaps", labels={"owner": "kopf"})
def mark(patch: kopf.Patch, body: kopf.Body, **_: object) -> None:
    """Show the colour in a label."""
    patch.metadata.labels["colour"] = body["data"]["colour"]


@kopf.on.delete("v1", "configmaps", labels={"owner": "kopf"})
def leave(**_: object) -> None:
    """Let the object go."""
