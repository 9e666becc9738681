"""A client that decides nothing: the CPU of a write that no controller can go below.

    PYTHONPATH=.:adapters python -m tests.benchmarks.bare_client KUBECONFIG PATH WRITES THREADS

urllib3 with TLS and kept connections, `json` for body and answer, nothing else. It merge-patches
the object at PATH with one changed number each time, and prints one JSON object with the CPU and
the duration of the writes alone: `writes`, `cpu_seconds`, `seconds`.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import urllib3
import yaml

_STATUS = {
    "phase": "Creating",
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "Creating",
            "message": "as long as the message of a condition is, in most cases at least",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


def main(kubeconfig: Path, path: str, writes: int, threads: int) -> None:
    """Send the writes and print what they cost."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    url = f"{cluster['server']}{path}"
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/merge-patch+json",
        "Accept": "application/json",
    }
    pool = urllib3.PoolManager(maxsize=threads, ca_certs=cluster["certificate-authority"])

    def write(number: int) -> None:
        status = {**_STATUS, "failureMessage": f"message {number}"}
        body = json.dumps({"status": status}).encode()
        answer = pool.request("PATCH", url, body=body, headers=headers, timeout=30)
        assert answer.status == 200, (answer.status, answer.data)
        json.loads(answer.data)

    with ThreadPoolExecutor(threads) as workers:
        # The handshakes of the connections come first.
        list(workers.map(write, range(4 * threads)))
        cpu, began = time.process_time(), time.monotonic()
        list(workers.map(write, range(writes)))
        spent, took = time.process_time() - cpu, time.monotonic() - began
    print(json.dumps({"writes": writes, "cpu_seconds": spent, "seconds": took}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
