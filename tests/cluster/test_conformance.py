"""The in-memory server and a real kube-apiserver of the same version are asked the same (K3): whatever it answers, the fake answers.

The record of tests/memory/golden holds without a cluster what was seen here. To make it anew, after new lines (their answers may be null)
or a new version, run `CAPTEP_RECORD=1 make test-cluster PYTEST_ADDOPTS="-k record"` and read the difference.
"""

import json
import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.cluster.apiserver import ApiServer
from tests.cluster.calls import Direct
from tests.memory.record import RECORD, VERSION, lines, objects, replay

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def real(apiserver: ApiServer) -> Iterator[Direct]:
    """The real server, which has what the record begins with; skipped when it is of another version."""
    version = apiserver.call("GET", "/version")[1]["gitVersion"]
    if version != f"v{VERSION}":
        pytest.skip(f"the in-memory server is held against kube-apiserver {VERSION}, this one is {version}")
    apiserver.install(each for each in objects() if each["kind"] == "CustomResourceDefinition")
    for namespace in (each for each in objects() if each["kind"] == "Namespace"):
        assert apiserver.call("POST", "/api/v1/namespaces", namespace)[0] in (201, 409)
    with closing(Direct(apiserver)) as direct:
        yield direct


def test_the_record_is_what_this_version_answers(real: Direct) -> None:
    """Every answer; with CAPTEP_RECORD they take the place of the recorded ones instead."""
    told = list(replay(lines(), real))
    if "CAPTEP_RECORD" in os.environ:
        record = [{"objects": objects()}, *({**line, "answer": now} for line, now in told)]
        RECORD.write_text("".join(f"{json.dumps(line)}\n" for line in record), "utf-8")
        return
    for line, now in told:
        assert now == line["answer"], line["request"]
