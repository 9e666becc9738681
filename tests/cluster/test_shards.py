"""Two shards as processes on a real kube-apiserver: a crash, a hand-over, and a third number."""

from pathlib import Path

import pytest

from captep_core import ObjectRef
from captep_kubernetes import LEASES, shards_of
from captep_operator import Shard
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around
from tests.cluster.manifests import bind
from tests.cluster.process import Captep
from tests.cluster.test_faults import begin, writes_of
from tests.cluster.test_run import SECRETS, secret_of

pytestmark = pytest.mark.cluster
NAMES = ("tokyo", "oregon", "otaru", "nikko")


def in_shard(index: int, namespace: str) -> set[str]:
    """Return the names whose control planes belong to a shard of two."""
    owns = Shard(index, 2).owns
    return {name for name in NAMES if owns(ObjectRef("", "", namespace, name))}


def named_by(server: ApiServer, user: str, since: int) -> set[str]:
    """Return the control planes that the accepted writes of a user are about."""
    writes = writes_of(server, user, since)
    return {name for name in NAMES if any(f"/{name}" in write for write in writes)}


def test_two_shards_share_the_control_planes(
    apiserver: ApiServer, around: Around, namespace: str, tmp_path: Path
) -> None:
    """Each writes for its own alone; a standby takes over a crashed one; 3/3 does not start."""
    users = ("controller", "captep", "standby")
    for user in users:
        bind(apiserver, "base", user, lease_namespace=namespace)
    where = ("--namespace", namespace, "--leader-election-namespace", namespace)
    since = len(apiserver.audit())

    def start(user: str, shard: str) -> Captep:
        return Captep(apiserver.kubeconfig(user), tmp_path, *where, "--shard", shard)

    subjects = [around.subject(namespace, name) for name in NAMES]
    with start("controller", "1/2") as first, start("captep", "2/2") as second:
        first.wait_until_it_works()
        second.wait_until_it_works()
        with start("standby", "1/2") as standby, start("standby", "3/3") as stranger:
            for subject in subjects:
                begin(around, subject)
            eventually(
                lambda: all(secret_of(apiserver, each, "ca") for each in subjects),
                what="both shards work",
            )
            assert stranger.process.wait(20) == 1
            assert stranger.says(f"the Lease {namespace}/captep is of a fleet with 2 shards")
            eventually(
                lambda: standby.says("waiting for the lease"), what="the standby waits", within=20
            )
            first.kill()
            for subject in subjects:
                apiserver.call("DELETE", SECRETS.path(namespace, f"{subject.name}-ca"))
            eventually(standby.works, what="the standby leads", within=25)
            eventually(
                lambda: all(secret_of(apiserver, each, "ca") for each in subjects),
                what="everything is mended",
                within=20,
            )
            assert named_by(apiserver, "controller", since) == in_shard(1, namespace)
            assert named_by(apiserver, "captep", since) == in_shard(2, namespace)
            assert named_by(apiserver, "standby", since) == in_shard(1, namespace)
            assert (standby.end()[0], second.end()[0]) == (0, 0)
    for name, count in (("captep", 2), ("captep-shard-1", 2), ("captep-shard-2", 2)):
        _, lease = apiserver.call("GET", LEASES.path(namespace, name))
        assert (shards_of(lease), lease["spec"].get("holderIdentity", "")) == (count, "")
