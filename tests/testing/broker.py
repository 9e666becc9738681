"""A second operator for the kit, unlike the toy.

A message broker with dependents, an input and a drain. A Broker reads a Secret of its user (never
writes it) and owns a ConfigMap, a StatefulSet and a Secret. Its deletion first runs a Task that
drains the messages; only a finished Task lets the finalizer go. `Operator("")` is correct. Every
other value of `bug` switches one seeded mistake on; `BUGS` lists them.
"""

# ruff: noqa: ANN401, C901 - JSON of any kind, and one branch for each seeded mistake
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from attrs import evolve, frozen

from captep_core import (
    ABSENT,
    Absent,
    Action,
    Conflicted,
    Create,
    Decision,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    ReconcileState,
    RecordEvent,
    Unreadable,
    write_of,
)
from captep_core.ports import Read
from captep_memory import Key, World, group_of, load
from captep_testing import Kit, moves

NOW = datetime(2026, 1, 1, tzinfo=UTC)
API: Final = "mq.example.org/v1"
KEY = ObjectRef(API, "Broker", "mq", "b")
LOGIN = ObjectRef("v1", "Secret", "mq", "login")
CONFIG = ObjectRef("v1", "ConfigMap", "mq", "b-config")
CERTIFICATE = ObjectRef("v1", "Secret", "mq", "b-tls")
NODES = ObjectRef("workloads.example.org/v1", "StatefulSet", "mq", "b-nodes")
DRAIN = ObjectRef("jobs.example.org/v1", "Task", "mq", "b-drain")
FINALIZER: Final = "mq.example.org/drain"
CANARY: Final = "canary-1f7d93"
SOON, LATER = timedelta(seconds=5), timedelta(minutes=5)

BUGS: Final = (
    # A failed read
    "an unreadable drain lets the finalizer go",
    "an unreadable broker is gone",
    "an unreadable login is never read again",
    "an unreadable config is created",
    "an unreadable certificate is absent",
    "an unreadable login stops nothing",
    # Objects of others
    "patches terminating nodes",
    "patches a terminating config",
    "patches foreign nodes",
    "patches a foreign config",
    "a foreign drain counts",
    "a foreign certificate counts",
    "releasing drops foreign finalizers",
    "holding drops foreign finalizers",
    "drops foreign labels",
    "drops foreign annotations",
    "drops foreign owners",
    "drops foreign conditions",
    # Reports
    "observedGeneration stays behind",
    "refusals are never reported",
    "refusals look like progress",
    "ready before the nodes are",
    "ready without the certificate",
    "time of the pass in the status",
    "resourceVersion in the status",
    "transition time moves alone",
    "login in the status",
    "login in the verdict",
    "an Event in every pass",
    # Decisions
    "compares containers whole",
    "writes the config in every pass",
    "name from the uid",
    "set order in a list",
    "needs spec.replicas",
    "a datetime in a body",
    "changes what it reads",
    "looks again at once",
    "looks again after two days",
    # Order and locks
    "finalizer last",
    "finalizer while leaving",
    "list without resourceVersion",
    "delete without uid",
    "patch without uid",
    "releases before the drain",
    "status with the writes",
    "infers the nodes from the config",
    "edge-triggered",
    "starts over after a refusal",
    "another name after a refusal",
    "gives up after a conflict",
    "replaces nodes instead of patching",
    "no owner on the config",
)


@frozen
class Verdict:
    """The outcome of one pass."""

    reason: str
    message: str = ""


def owner(broker: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reference to a Broker as the controller."""
    name = broker["metadata"]["name"]
    uid = broker["metadata"]["uid"]
    return {"apiVersion": API, "kind": "Broker", "name": name, "uid": uid, "controller": True}


def controls(broker: Mapping[str, Any], found: Any) -> bool:
    """Whether the Broker controls an object."""
    if not isinstance(found, dict):
        return False
    owners = found["metadata"].get("ownerReferences", [])
    uid = broker["metadata"]["uid"]
    return any(ref.get("controller") and ref["uid"] == uid for ref in owners)


def leaving(found: Any) -> bool:
    """Whether an object is being deleted."""
    return isinstance(found, dict) and "deletionTimestamp" in found["metadata"]


def this(found: Mapping[str, Any], *, version: bool = False) -> Preconditions:
    """Return the preconditions of a write to an object."""
    meta = found["metadata"]
    return Preconditions(meta["uid"], meta["resourceVersion"] if version else None)


def manifest(broker: Mapping[str, Any], ref: ObjectRef, **content: Any) -> dict[str, Any]:
    """Return the manifest of a dependent."""
    metadata = {"name": ref.name, "namespace": ref.namespace, "ownerReferences": [owner(broker)]}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, **content}


def replicas(broker: Mapping[str, Any]) -> int:
    """Return the wanted number of nodes."""
    return int((broker.get("spec") or {}).get("replicas", 1))


def version(broker: Mapping[str, Any]) -> str:
    """Return the wanted version."""
    return str((broker.get("spec") or {}).get("version", "3"))


def login_hash(login: Any) -> str:
    """Return the hash of the login, by which the nodes notice another one."""
    data = login.get("data") or {} if isinstance(login, dict) else {}
    return hashlib.sha256(str(sorted(data.items())).encode()).hexdigest()[:8]


def containers(broker: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of the nodes."""
    return [{"name": "mq", "image": f"mq:{version(broker)}"}]


def serves(found: Any, broker: Mapping[str, Any]) -> bool:
    """Whether all nodes run, with the wanted version."""
    status = found.get("status") or {} if isinstance(found, dict) else {}
    return status.get("readyReplicas") == replicas(broker) and status.get("image") == version(
        broker
    )


@frozen
class Operator:
    """The reconcile function, with at most one mistake."""

    bug: str = ""

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Decide what a Broker needs next."""
        return _Pass(self.bug, read, state, now).decide(key)


@frozen
class _Pass:
    bug: str
    read: Read
    state: ReconcileState
    now: datetime

    def decide(self, key: ObjectRef) -> Decision:
        broker: Any = self.read(key)
        if isinstance(broker, Absent):
            return Decision((), None, Verdict("Gone"))
        if isinstance(broker, Unreadable):
            gone = self.bug == "an unreadable broker is gone"
            return Decision((), None if gone else SOON, Verdict("Gone" if gone else "Unreadable"))
        if self.bug == "changes what it reads":
            broker.setdefault("spec", {})["seen"] = True
        if self.bug == "needs spec.replicas":
            assert broker["spec"]["replicas"] > 0
        if self.state.refusals and self.bug == "gives up after a conflict":
            return Decision((), None, Verdict("Failed"), self.state.refusals)
        return self.leave(broker) if leaving(broker) else self.keep(broker)

    # Deletion

    def leave(self, broker: Any) -> Decision:
        held = broker["metadata"].get("finalizers", [])
        if FINALIZER not in held:
            if self.bug == "finalizer while leaving":
                return self.concluded([self.hold(broker)], "Draining")
            return Decision((), None, Verdict("Released"))
        drain: Any = self.read(DRAIN)
        if isinstance(drain, Unreadable):
            if self.bug == "an unreadable drain lets the finalizer go":
                return self.concluded([self.release(broker)], "Draining")
            return Decision((), SOON, Verdict("Unreadable"))
        if self.bug == "releases before the drain":
            return self.concluded([self.release(broker)], "Draining")
        if isinstance(drain, Absent):
            body = manifest(broker, DRAIN, spec={"queue": broker["metadata"]["name"]})
            return self.concluded([Create(DRAIN, body, "drain the messages")], "Draining")
        ours = controls(broker, drain) or self.bug == "a foreign drain counts"
        if not ours:
            return Decision((), SOON, Verdict("DrainBelongsToAnother"))
        done = (drain.get("status") or {}).get("done") is True
        if done and not leaving(drain):
            if self.bug == "delete without uid":
                return self.concluded(
                    [Delete(DRAIN, Preconditions(), "it is done"), self.release(broker)], "Draining"
                )
            return self.concluded([self.release(broker)], "Draining")
        return Decision((), SOON, Verdict("Draining"))

    def release(self, broker: Any) -> Action:
        rest = [name for name in broker["metadata"]["finalizers"] if name != FINALIZER]
        if self.bug == "releasing drops foreign finalizers":
            rest = []
        lock = this(broker, version=self.bug != "list without resourceVersion")
        return Patch(KEY, {"metadata": {"finalizers": rest or None}}, lock, "the drain is done")

    # Life

    def hold(self, broker: Any) -> Action:
        held = broker["metadata"].get("finalizers", [])
        if self.bug == "holding drops foreign finalizers":
            held = []
        lock = this(broker, version=self.bug != "list without resourceVersion")
        body: dict[str, Any] = {"metadata": {"finalizers": [*held, FINALIZER]}}
        return Patch(KEY, body, lock, "hold the broker until it is drained")

    def keep(self, broker: Any) -> Decision:
        login: Any = self.read(LOGIN)
        config: Any = self.read(CONFIG)
        certificate: Any = self.read(CERTIFICATE)
        nodes: Any = self.read(NODES)
        if isinstance(login, Unreadable) and self.bug != "an unreadable login stops nothing":
            wait = None if self.bug == "an unreadable login is never read again" else SOON
            return Decision((), wait, Verdict("LoginUnreadable"))
        missing = FINALIZER not in broker["metadata"].get("finalizers", [])
        actions = [self.hold(broker)] if missing and self.bug != "finalizer last" else []
        actions += self.config(broker, config)
        actions += self.certificate(broker, certificate)
        if not (
            self.bug == "infers the nodes from the config"
            and isinstance(config, dict)
            and isinstance(nodes, Absent)
        ):
            actions += self.nodes(broker, login, nodes)
        if missing and self.bug == "finalizer last":
            actions.append(self.hold(broker))
        return self.reported(broker, login, (config, certificate, nodes), actions)

    def config(self, broker: Any, found: Any) -> list[Action]:
        wanted: dict[str, Any] = {"replicas": str(replicas(broker)), "version": version(broker)}
        ref = CONFIG
        if self.bug == "name from the uid":
            ref = evolve(CONFIG, name=f"b-config-{broker['metadata']['uid'][:4]}")
            found = self.read(ref)
        if self.bug == "an unreadable config is created" and isinstance(found, Unreadable):
            found = ABSENT
        if isinstance(found, Absent):
            body = manifest(broker, ref, data=wanted)
            if self.bug == "no owner on the config":
                del body["metadata"]["ownerReferences"]
            if self.bug == "a datetime in a body":
                body["metadata"]["annotations"] = {"created": self.now}
            return [Create(ref, body, "the config does not exist")]
        if isinstance(found, Unreadable):
            return []
        if leaving(found) and self.bug != "patches a terminating config":
            return []
        unowned = self.bug == "no owner on the config"
        if not controls(broker, found) and not unowned and self.bug != "patches a foreign config":
            return []
        body = {"data": wanted} if found.get("data") != wanted else {}
        if self.bug == "writes the config in every pass":
            body = {"data": wanted}
        labels = found["metadata"].get("labels") or {}
        if self.bug == "drops foreign labels" and set(labels) - {"app"}:
            body["metadata"] = {"labels": dict.fromkeys(labels)}
        notes = found["metadata"].get("annotations") or {}
        if self.bug == "drops foreign annotations" and notes:
            body["metadata"] = {"annotations": None}
        lock = this(found)
        owners = found["metadata"].get("ownerReferences", [])
        if self.bug == "drops foreign owners" and owners != [owner(broker)]:
            body["metadata"] = {"ownerReferences": [owner(broker)]}
            lock = this(found, version=True)
        if self.bug == "patch without uid":
            lock = Preconditions()
        return [Patch(ref, body, lock, "the config differs")] if body else []

    def certificate(self, broker: Any, found: Any) -> list[Action]:
        if self.bug == "an unreadable certificate is absent" and isinstance(found, Unreadable):
            found = ABSENT
        if not isinstance(found, Absent):
            return []
        body = manifest(broker, CERTIFICATE, type="Opaque", data={"key": "a2V5"})
        return [Create(CERTIFICATE, body, "the certificate does not exist")]

    def nodes(self, broker: Any, login: Any, found: Any) -> list[Action]:
        template = {"login": login_hash(login), "containers": containers(broker)}
        spec: dict[str, Any] = {"replicas": replicas(broker), "template": template}
        if isinstance(found, Absent):
            ref = NODES
            if self.bug == "another name after a refusal" and self.state.refusals:
                ref = evolve(NODES, name=f"b-nodes-{len(self.state.refusals)}")
            return [Create(ref, manifest(broker, ref, spec=spec), "the nodes do not exist")]
        if isinstance(found, Unreadable):
            return []
        if leaving(found) and self.bug != "patches terminating nodes":
            return []
        if not controls(broker, found) and self.bug != "patches foreign nodes":
            return []
        if self.bug == "starts over after a refusal" and self.state.refusals:
            return [Delete(NODES, this(found), "start over")]
        body = self.differences(spec, found)
        if body and self.bug == "replaces nodes instead of patching":
            return [Delete(NODES, this(found), "the nodes differ")]
        lock = this(found, version="template" in body.get("spec", {}))
        return [Patch(NODES, body, lock, "the nodes differ")] if body else []

    def differences(self, wanted: dict[str, Any], found: Any) -> dict[str, Any]:
        current = found.get("spec") or {}
        template = current.get("template") or {}
        image = [(each.get("name"), each.get("image")) for each in template.get("containers") or []]
        same = image == [(each["name"], each["image"]) for each in wanted["template"]["containers"]]
        if self.bug == "compares containers whole":
            same = template.get("containers") == wanted["template"]["containers"]
        body: dict[str, Any] = {}
        if current.get("replicas") != wanted["replicas"]:
            body["replicas"] = wanted["replicas"]
        if not same:
            body["template"] = {"containers": wanted["template"]["containers"]}
        if template.get("login") != wanted["template"]["login"]:
            body.setdefault("template", {})["login"] = wanted["template"]["login"]
        return {"spec": body} if body else {}

    # Report

    def reported(
        self, broker: Any, login: Any, found: tuple[Any, ...], actions: list[Action]
    ) -> Decision:
        config, certificate, nodes = found
        parts = [config, certificate, nodes]
        if self.bug in ("a foreign certificate counts", "ready without the certificate"):
            parts.remove(certificate)
        if self.bug in ("no owner on the config", "name from the uid"):
            parts.remove(config)
        made = all(controls(broker, each) and not leaving(each) for each in parts)
        if self.bug == "a foreign certificate counts":
            made = made and isinstance(certificate, dict)
        ready = (
            made
            and not actions
            and (serves(nodes, broker) or self.bug == "ready before the nodes are")
        )
        if self.bug == "edge-triggered" and self.state.verdict not in ("Starting", "Ready"):
            ready = False
        reason = "Ready" if ready else "Starting"
        blocked = [each for each in parts if isinstance(each, dict) and not controls(broker, each)]
        if blocked:
            reason = "BelongsToAnother"
        report = self.report(broker, login, reason)
        if actions and self.bug != "status with the writes":
            report = []
        if self.bug == "an Event in every pass":
            report.append(RecordEvent(KEY, "Normal", reason, "a pass", broker["metadata"]["uid"]))
        return self.concluded([*actions, *report], reason, login)

    def report(self, broker: Any, login: Any, reason: str) -> list[Action]:
        old = broker.get("status") or {}
        generation = broker["metadata"]["generation"]
        held: list[dict[str, Any]] = old.get("conditions") or []
        known = next((each for each in held if each["type"] == "Ready"), {})
        others = [each for each in held if each["type"] != "Ready"]
        state = "True" if reason == "Ready" else "False"
        stamp = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        moved = known.get("status") != state
        if self.bug == "transition time moves alone":
            moved = (
                moved
                or known.get("reason") != reason
                or old.get("observedGeneration") != generation
            )
        since = stamp if moved else known.get("lastTransitionTime")
        ready = {"type": "Ready", "status": state, "reason": reason, "lastTransitionTime": since}
        if self.bug == "drops foreign conditions":
            others = []
        conditions = [ready, *others]
        status: dict[str, Any] = {"conditions": conditions, "observedGeneration": generation}
        if self.bug == "observedGeneration stays behind" and known.get("reason") == reason:
            status["observedGeneration"] = old.get("observedGeneration")
        if self.bug == "time of the pass in the status":
            status["seen"] = stamp
        if self.bug == "resourceVersion in the status":
            status["seen"] = broker["metadata"]["resourceVersion"]
        if self.bug == "login in the status" and isinstance(login, dict):
            status["login"] = login.get("data")
        if self.bug == "set order in a list":
            status["parts"] = list({"config", "certificate", "nodes"})
        if status == {name: old.get(name) for name in status}:
            return []
        return [Patch(KEY, {"status": status}, this(broker, version=True), "report", "status")]

    def concluded(self, actions: list[Action], reason: str, login: Any = None) -> Decision:
        wanted = {write_of(action) for action in actions}
        outstanding = tuple(each for each in self.state.refusals if each.write in wanted)
        if self.bug == "another name after a refusal":
            outstanding = self.state.refusals
        refused = [each for each in outstanding if not isinstance(each, Conflicted)]
        if refused and self.bug == "refusals look like progress":
            reason = "Starting"
        elif refused and self.bug != "refusals are never reported":
            reason = "WriteRefused"
        message = str(login) if self.bug == "login in the verdict" else ""
        wait = SOON if actions or reason != "Ready" else LATER
        if self.bug == "looks again at once":
            wait = timedelta(0)
        if self.bug == "looks again after two days":
            wait = timedelta(days=2)
        return Decision(tuple(actions), wait, Verdict(reason, message), outstanding)


# The domain


def at(world: World, ref: ObjectRef) -> Any:
    """Return a stored object, None when the server has none."""
    return world.get(Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name))


def neighbours(world: World) -> World:
    """Let the other controllers work: they start nodes and finish drains."""
    nodes = at(world, NODES)
    if nodes is not None:
        image = nodes["spec"]["template"]["containers"][0]["image"].removeprefix("mq:")
        status = {"readyReplicas": nodes["spec"]["replicas"], "image": image}
        if nodes.get("status") != status:
            world = _put(world, NODES, {**nodes, "status": status})
    drain = at(world, DRAIN)
    if drain is not None and not drain.get("status"):
        world = _put(world, DRAIN, {**drain, "status": {"done": True}})
    return world


def _put(world: World, ref: ObjectRef, obj: dict[str, Any]) -> World:
    return world.put(Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name), obj)[0]


def matches(world: World) -> bool:
    """Whether a living Broker serves with everything it wants, and a deleted one left nothing."""
    broker = at(world, KEY)
    parts = [at(world, ref) for ref in (CONFIG, CERTIFICATE, NODES)]
    if broker is None:
        return not any(each and each["metadata"].get("ownerReferences") for each in parts)
    if leaving(broker):
        return FINALIZER not in broker["metadata"].get("finalizers", [])
    config, certificate, nodes = parts
    if config is None or certificate is None or nodes is None:
        return False
    wanted = {"replicas": str(replicas(broker)), "version": version(broker)}
    return config["data"] == wanted and serves(nodes, broker)


def drained(before: World, after: World) -> bool:
    """P10: the finalizer goes only after a drain of this Broker is done."""
    old, new = at(before, KEY), at(after, KEY)
    if old is None or FINALIZER not in old["metadata"].get("finalizers", []):
        return True
    if new is not None and FINALIZER in new["metadata"].get("finalizers", []):
        return True
    drain = at(before, DRAIN)
    return drain is not None and (drain.get("status") or {}).get("done") is True


def nodes_stay(before: World, after: World) -> bool:
    """The nodes of a living Broker are never deleted: they hold messages."""
    broker = at(before, KEY)
    gone = at(before, NODES) is not None and (at(after, NODES) is None or leaving(at(after, NODES)))
    return not gone or broker is None or leaving(broker) or leaving(at(before, NODES))


def objects(*, generation: int = 1, finalizers: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return a Broker and the Secret of its user."""
    spec = {"replicas": 2, "version": "3"}
    metadata: dict[str, Any] = {
        "name": "b",
        "namespace": "mq",
        "uid": "6f1d2b34-0000-4000-a000-0000000000b1",
    }
    metadata["generation"] = generation
    if finalizers:
        metadata["finalizers"] = list(finalizers)
    broker = {"apiVersion": API, "kind": "Broker", "metadata": metadata, "spec": spec}
    login = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "namespace": "mq"},
        "type": "Opaque",
        "data": {"password": "Y2FuYXJ5LTFmN2Q5Mw=="},
    }
    return [broker, login]


def _made(generation: int) -> list[dict[str, Any]]:
    """Return a Broker that runs with an old version."""
    made = objects(generation=generation, finalizers=("example.org/other", FINALIZER))
    old = {**made[0], "spec": {"replicas": 1, "version": "2"}}
    template = {"login": login_hash(made[1]), "containers": containers(old)}
    parts = [
        manifest(old, CONFIG, data={"replicas": "1", "version": "2"}),
        manifest(old, CERTIFICATE, type="Opaque", data={"key": "a2V5"}),
        manifest(old, NODES, spec={"replicas": 1, "template": template}),
    ]
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "lastTransitionTime": "2025-12-01T00:00:00Z",
    }
    status = {"conditions": [ready], "observedGeneration": 1}
    return [{**made[0], "status": status}, made[1], *parts]


def broker_worlds() -> dict[str, World]:
    """Return a new Broker, one whose version changed, and one that is being deleted."""
    gone = _made(2)
    gone[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    gone[0]["metadata"]["finalizers"] = [FINALIZER]
    given = {"new": objects(), "changed": _made(2), "leaving": gone}
    return {name: load(each, now=NOW) for name, each in given.items()}


def broker(bug: str = "") -> Kit:
    """Return the kit of the broker with one mistake, by default with none."""
    return Kit(
        Operator(bug),
        (KEY,),
        broker_worlds(),
        matches,
        owned={
            "Broker": (("metadata", "finalizers", FINALIZER), ("status",)),
            "ConfigMap": (("data",), ("metadata", "ownerReferences")),
            "Secret": (("data",),),
            "StatefulSet": (("spec",),),
            "Task": (),
        },
        moves={
            "others work": neighbours,
            "user changes the version": moves.edit(KEY, {"spec": {"version": "4"}}),
            "user deletes the broker": moves.delete(KEY),
            "user changes the login": moves.edit(LOGIN, {"data": {"password": "b3RoZXI="}}),
            "somebody deletes the config": moves.delete(CONFIG),
            "somebody recreates the certificate": moves.recreate(CERTIFICATE),
        },
        neighbours=neighbours,
        always={"drained before released": drained, "nodes of a living broker stay": nodes_stay},
        sometimes={"the broker is gone": lambda world: at(world, KEY) is None},
        canaries=(CANARY,),
    )
