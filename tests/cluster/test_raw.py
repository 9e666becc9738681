"""The record of answers to broken HTTP is what this kube-apiserver answers.

CAPTEP_RECORD=1 make test-cluster PYTEST_ADDOPTS="-k broken_http"
"""

import json
import os
import socket
import ssl

import pytest

from tests.cluster.apiserver import ApiServer
from tests.memory.raw import CASES, RECORD, answer_of, recorded

pytestmark = pytest.mark.cluster


def test_the_record_of_broken_http_is_that_of_this_version(apiserver: ApiServer) -> None:
    """Each case on a connection of its own; with CAPTEP_RECORD the answers replace the record."""
    trust = ssl.create_default_context(cafile=str(apiserver.ca_file))
    header = f"Authorization: {apiserver.credentials()['Authorization']}".encode()
    answers = {}
    for name, raw in CASES.items():
        plain = socket.create_connection(("127.0.0.1", apiserver.port), timeout=10)
        secure = trust.wrap_socket(plain, server_hostname="127.0.0.1")
        answers[name] = answer_of(secure, raw.replace(b"AUTH", header))
    if "CAPTEP_RECORD" in os.environ:
        RECORD.write_text(json.dumps(answers, indent=1) + "\n", "utf-8")
        return
    assert answers == recorded()
