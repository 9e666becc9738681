"""What the server knows about kinds.

Built-in kinds come from a table, custom kinds from CustomResourceDefinitions. Any other kind is
served as a custom resource with a status subresource and without a schema.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from attrs import evolve, field, frozen

from captep_memory._json import Object
from captep_memory._merge_types import CUSTOM, MergeType, built_in_type, custom_type
from captep_memory._metadata import Names
from captep_memory._request import group_of
from captep_memory._schema import Schema, coerce, content_schema, defaults_of, fill, normalise
from captep_memory._status import not_modelled, unknown_resource
from captep_memory._strategies import strategy_of
from captep_memory._typed import typed_kind, versions_of

__all__ = [
    "NO_CONVERSIONS",
    "NO_KINDS",
    "NO_SCOPES",
    "Catalog",
    "Conversion",
    "CustomKind",
    "Scope",
    "ServedKind",
    "catalog_of",
    "is_built_in_group",
    "plural_of",
    "scope_of",
]

Scope: TypeAlias = Literal["Namespaced", "Cluster"]

# Cluster-scoped kinds of Kubernetes itself that operators meet.
_CLUSTER_SCOPED = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("networking.k8s.io", "IngressClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "StorageClass"),
    }
)
# The short names of the built-in kinds that have a URL here, as kubectl expands them.
_SHORT_NAMES: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("", "ConfigMap"): ("cm",),
        ("", "Event"): ("ev",),
        ("", "Namespace"): ("ns",),
        ("", "Node"): ("no",),
        ("", "Pod"): ("po",),
        ("", "Service"): ("svc",),
        ("", "ServiceAccount"): ("sa",),
        ("apiextensions.k8s.io", "CustomResourceDefinition"): ("crd", "crds"),
        ("apps", "Deployment"): ("deploy",),
    }
)
NO_SCOPES: Mapping[tuple[str, str], Scope] = MappingProxyType({})
# Groups without a dot that belong to Kubernetes; every other group of its own ends in .k8s.io.
_BUILT_IN_GROUPS = frozenset({"", "apps", "autoscaling", "batch", "extensions", "policy"})


@frozen
class ServedKind:
    """A kind in one version, as it is served.

    `built_in` names the kinds whose Go type has its own rules; `unconditional` and
    `creates_on_update` are the strategy's AllowUnconditionalUpdate and AllowCreateOnUpdate.
    `writable` is False for built-in kinds without a model, `counts_generation` is whether a
    built-in kind has a generation, `names` the form of its names, `returns_deleted` whether a
    DELETE answers with the object, `typed` whether its Go type is recorded. `defaults` holds what
    a read may have to fill, for kinds with several served versions.
    """

    group: str
    version: str
    kind: str
    plural: str
    scope: Scope | None
    built_in: bool = False
    has_status: bool = True
    unconditional: bool = False
    creates_on_update: bool = False
    writable: bool = True
    counts_generation: bool = False
    names: Names = "subdomain"
    returns_deleted: bool = False
    schema: Mapping[str, Any] | None = field(default=None, eq=False, repr=False)
    selectable: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()
    singular: str = ""
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    typed: bool = False
    printer_columns: tuple[Mapping[str, Any], ...] = field(default=(), eq=False, repr=False)
    defaults: Schema | None = field(default=None, eq=False, repr=False)

    @property
    def api_version(self) -> str:
        """The apiVersion as objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def merge_type(self) -> MergeType | None:
        """How objects of the kind merge; None for a built-in kind without a record."""
        if self.built_in:
            return built_in_type(self.api_version, self.kind)
        return CUSTOM if self.schema is None else custom_type(self.schema)

    @cached_property
    def own_schema(self) -> Schema:
        """The part of the schema that decides on content: apiVersion, kind and metadata go."""
        return content_schema(self.schema or {})

    @cached_property
    def own_defaults(self) -> Schema | None:
        """The part of the schema that fills defaults, None if nothing does."""
        return None if self.schema is None else defaults_of(self.schema)


@frozen
class CustomKind:
    """What a CustomResourceDefinition says: its served versions, and whether a webhook converts."""

    versions: Mapping[str, ServedKind]
    storage: str
    converts: bool


@frozen
class Conversion:
    """A conversion webhook as a pure function.

    `storage` is the apiVersion in which the store keeps objects of the kind, `versions` are all
    served apiVersions. `convert` returns an object in another one; it must not change its argument.
    """

    storage: str
    versions: tuple[str, ...]
    convert: Callable[[Object, str], Object] = field(eq=False, repr=False)


NO_CONVERSIONS: Mapping[tuple[str, str], Conversion] = MappingProxyType({})


@frozen
class Catalog:
    """The custom kinds, the scopes of kinds without a definition, and conversion webhooks.

    The keys are (group, kind).
    """

    custom: Mapping[tuple[str, str], CustomKind] = MappingProxyType({})
    scopes: Mapping[tuple[str, str], Scope] = NO_SCOPES
    conversions: Mapping[tuple[str, str], Conversion] = NO_CONVERSIONS

    def resource(self, api_version: str, kind: str) -> ServedKind:
        """Return how a kind is served in a version; its scope is None while nothing shows it.

        Raises:
            RefusedError: 404, the definition or the group does not serve this version; 501, the
                kind has a model in another version alone.
        """
        group = group_of(api_version)
        custom = self.custom.get((group, kind))
        if custom is None:
            _check_version(group, api_version, kind)
            conversion = self.conversions.get((group, kind))
            if conversion is not None and api_version not in conversion.versions:
                raise unknown_resource()
            return _scoped_resource(api_version, kind, self.scopes.get((group, kind)))
        version = custom.versions.get(api_version.rpartition("/")[2])
        if version is None:
            raise unknown_resource()
        return version

    def served(self, group: str, kind: str) -> tuple[str, ...] | None:
        """Return the apiVersions in which a kind is served; None for any, without a definition."""
        custom = self.custom.get((group, kind))
        if custom is not None:
            return tuple(f"{group}/{version}" for version in custom.versions)
        conversion = self.conversions.get((group, kind))
        return None if conversion is None else conversion.versions

    def convert(self, obj: Object, resource: ServedKind) -> Object:
        """Return a stored object in the version of `resource`; the object itself when it fits.

        An object written in another version lacks the defaults of its storage version: every read
        fills them. Without a webhook only the apiVersion changes, and what the schema of that
        version prunes and defaults.

        Raises:
            RefusedError: 501, the definition names a webhook that the world lacks.
        """
        if resource.defaults is None and obj["apiVersion"] == resource.api_version:
            return obj
        obj = self.complete(obj)
        converted = self._renamed(obj, resource)
        if converted is obj or resource.schema is None:
            return converted
        return normalise(converted, resource.own_schema, resource.own_defaults)

    def complete(self, obj: Object) -> Object:
        """Return a stored object with the defaults of its storage version."""
        group, _, version = obj["apiVersion"].rpartition("/")
        custom = self.custom.get((group, obj["kind"]))
        stored = None if custom is None else custom.versions.get(version)
        return obj if stored is None or stored.defaults is None else fill(obj, stored.defaults)

    def convert_to(self, obj: Object, api_version: str) -> Object:
        """Return an object in a served storage version; the object itself when it is in it."""
        if obj["apiVersion"] == api_version:
            return obj
        resource = self.resource(api_version, obj["kind"])
        converted = self._renamed(obj, resource)
        return converted if resource.schema is None else coerce(converted, resource.own_schema)

    def _renamed(self, obj: Object, resource: ServedKind) -> Object:
        if obj["apiVersion"] == resource.api_version:
            return obj
        conversion = self.conversions.get((resource.group, resource.kind))
        if conversion is not None:
            return conversion.convert(obj, resource.api_version)
        custom = self.custom.get((resource.group, resource.kind))
        if custom is not None and custom.converts:
            raise not_modelled(f"the conversion webhook of {resource.plural}.{resource.group}")
        return {**obj, "apiVersion": resource.api_version}

    def storage_version(self, resource: ServedKind) -> str:
        """Return the apiVersion in which the store keeps new objects of a kind."""
        conversion = self.conversions.get((resource.group, resource.kind))
        if conversion is not None:
            return conversion.storage
        custom = self.custom.get((resource.group, resource.kind))
        if custom and custom.storage in custom.versions:
            return f"{resource.group}/{custom.storage}"
        return resource.api_version


NO_KINDS = Catalog()


@lru_cache(maxsize=1024)
def _check_version(group: str, api_version: str, kind: str) -> None:
    """Refuse a version that a group of Kubernetes lacks, or that a recorded kind lacks here."""
    versions = versions_of(group)
    if versions and api_version not in versions:
        raise unknown_resource()
    if typed_kind(api_version, kind) is None and any(typed_kind(each, kind) for each in versions):
        raise not_modelled(f"{kind} in {api_version}")


def scope_of(api_group: str, kind: str) -> Scope | None:
    """Return the scope of a kind of Kubernetes itself, None for any other kind.

    A kind of Kubernetes that is not in the table of cluster-scoped kinds is namespaced.
    """
    if (api_group, kind) in _CLUSTER_SCOPED:
        return "Cluster"
    return "Namespaced" if is_built_in_group(api_group) else None


def plural_of(kind: str) -> str:
    """Return the resource name of a kind without a definition, by the rule of English plurals."""
    name = kind.lower()
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"


def is_built_in_group(group: str) -> bool:
    """Return whether a group is one of Kubernetes itself."""
    return group in _BUILT_IN_GROUPS or group.endswith(".k8s.io")


@lru_cache(maxsize=1024)
def _default_resource(api_version: str, kind: str) -> ServedKind:
    group, version = group_of(api_version), api_version.rpartition("/")[2]
    resource = ServedKind(
        group,
        version,
        kind,
        plural_of(kind),
        scope_of(group, kind),
        short_names=_SHORT_NAMES.get((group, kind), ()),
    )
    recorded = typed_kind(api_version, kind)
    if recorded is not None and kind not in ("ConfigMap", "Event", "Lease", "Secret"):
        return _recorded_resource(resource, recorded)
    match api_version, kind:
        case ("v1", "Secret" | "ConfigMap"):
            return evolve(resource, built_in=True, has_status=False, unconditional=True)
        case ("v1", "Event"):
            return evolve(
                resource,
                built_in=True,
                has_status=False,
                unconditional=True,
                creates_on_update=True,
            )
        case ("coordination.k8s.io/v1", "Lease"):
            return evolve(resource, built_in=True, has_status=False, creates_on_update=True)
        case _:
            return evolve(
                resource, built_in=is_built_in_group(group), writable=not is_built_in_group(group)
            )


@lru_cache(maxsize=1024)
def _scoped_resource(api_version: str, kind: str, scope: Scope | None) -> ServedKind:
    """Return a kind without a definition; `scope` counts where the kind has none of its own."""
    resource = _default_resource(api_version, kind)
    return evolve(resource, scope=scope) if scope and not resource.scope else resource


def _recorded_resource(resource: ServedKind, recorded: Mapping[str, Any]) -> ServedKind:
    """Return a kind of the data file, with its strategy."""
    strategy = strategy_of(resource.kind)
    found = recorded["resource"]
    subresources = {each["name"].partition("/")[2] for each in recorded["subresources"]}
    return evolve(
        resource,
        plural=found["name"],
        scope="Namespaced" if found["namespaced"] else "Cluster",
        built_in=True,
        typed=True,
        has_status="status" in subresources,
        subresources=frozenset(subresources),
        unconditional=strategy.unconditional,
        creates_on_update=strategy.creates_on_update,
        counts_generation=strategy.generation,
        names=strategy.names,
        returns_deleted=strategy.returns_deleted,
        short_names=tuple(found.get("shortNames", ())),
        singular=found["singularName"],
        categories=tuple(found.get("categories", ())),
    )


def catalog_of(
    objects: Iterable[Mapping[str, Any]],
    scopes: Mapping[tuple[str, str], Scope] = NO_SCOPES,
    conversions: Mapping[tuple[str, str], Conversion] = NO_CONVERSIONS,
) -> Catalog:
    """Read the catalog off a store: its CustomResourceDefinitions, and the scopes of other kinds.

    `scopes` are those of kinds that the caller knows without a definition, `conversions` the
    webhooks, both by (group, kind).
    """
    custom: dict[tuple[str, str], CustomKind] = {}
    shown: dict[tuple[str, str], Scope] = {}
    for obj in objects:
        group, kind = group_of(obj["apiVersion"]), obj["kind"]
        if (group, kind) == ("apiextensions.k8s.io", "CustomResourceDefinition"):
            custom[obj["spec"]["group"], obj["spec"]["names"]["kind"]] = _custom_kind(obj["spec"])
        elif scope_of(group, kind) is None:
            shown[group, kind] = "Namespaced" if obj["metadata"].get("namespace") else "Cluster"
    known = {**shown, **scopes}
    undefined = {key: scope for key, scope in known.items() if key not in custom}
    return Catalog(custom, undefined, conversions)


def _custom_kind(spec: Mapping[str, Any]) -> CustomKind:
    served = [item for item in spec["versions"] if item.get("served", True)]
    versions = {item["name"]: _version(spec, item) for item in served}
    if len(versions) > 1:
        versions = {
            name: evolve(version, defaults=defaults_of(version.schema or {}))
            for name, version in versions.items()
        }
    storage = next((item["name"] for item in spec["versions"] if item.get("storage")), "")
    return CustomKind(
        versions, storage, converts=(spec.get("conversion") or {}).get("strategy", "None") != "None"
    )


def _version(spec: Mapping[str, Any], version: Mapping[str, Any]) -> ServedKind:
    return ServedKind(
        group=spec["group"],
        version=version["name"],
        kind=spec["names"]["kind"],
        plural=spec["names"]["plural"],
        scope="Cluster" if spec.get("scope") == "Cluster" else "Namespaced",
        has_status="status" in (version.get("subresources") or {}),
        schema=(version.get("schema") or {}).get("openAPIV3Schema"),
        short_names=tuple(spec["names"].get("shortNames") or ()),
        printer_columns=tuple(version.get("additionalPrinterColumns") or ()),
        selectable=tuple(
            item["jsonPath"].removeprefix(".") for item in version.get("selectableFields", ())
        ),
    )
