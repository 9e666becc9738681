"""Fields of Go types without a model: their validation is not worded here, so they get 501.

A type that is not in the table has a model of every field.
"""

from collections.abc import Mapping

__all__ = ["is_modelled"]

_UNMODELLED: Mapping[str, frozenset[str]] = {
    "PodSpec": frozenset(
        {
            "ephemeralContainers",
            "hostUsers",
            "hostnameOverride",
            "os",
            "overhead",
            "resourceClaims",
            "resources",
            "schedulingGates",
            "schedulingGroup",
            "setHostnameAsFQDN",
            "workloadRef",
        }
    ),
    "Container": frozenset(
        {"resizePolicy", "restartPolicy", "restartPolicyRules", "volumeDevices"}
    ),
    "PodSecurityContext": frozenset(
        {
            "appArmorProfile",
            "seLinuxChangePolicy",
            "supplementalGroupsPolicy",
            "windowsOptions",
        }
    ),
    "SecurityContext": frozenset({"appArmorProfile", "procMount", "windowsOptions"}),
    "ResourceRequirements": frozenset({"claims"}),
    "VolumeMount": frozenset({"recursiveReadOnly"}),
    "Lifecycle": frozenset({"stopSignal"}),
    "EnvVarSource": frozenset({"fileKeyRef"}),
    "JobSpec": frozenset({"managedBy", "podFailurePolicy", "scheduling", "successPolicy"}),
    "AggregationRule": frozenset({"clusterRoleSelectors"}),
    "PersistentVolumeClaimSpec": frozenset({"dataSource", "dataSourceRef"}),
    "StorageClass": frozenset({"allowedTopologies"}),
    "ResourceQuotaSpec": frozenset({"scopeSelector", "scopes"}),
    "ValidatingWebhook": frozenset({"matchConditions"}),
    "MutatingWebhook": frozenset({"matchConditions"}),
    "EndpointAddress": frozenset({"targetRef"}),
    "Endpoint": frozenset({"deprecatedTopology", "hints"}),
    "Event": frozenset({"series"}),
}
# The volumes that a pod of an operator has; every other source has no model.
_VOLUMES = frozenset(
    {
        *("configMap", "downwardAPI", "emptyDir", "hostPath", "name"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)


def is_modelled(type_name: str, field: str) -> bool:
    """Return whether a field of a Go type, by the last part of its name, has a model."""
    if type_name == "Volume":
        return field in _VOLUMES
    return field not in _UNMODELLED.get(type_name, ())
