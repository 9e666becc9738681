"""`captep serve` as a process."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path


def test_serve_serves_files_and_peers_until_sigterm(tmp_path: Path) -> None:
    """It prints what to export, holds the given objects, and ends with status 0."""
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "given"}}
    (tmp_path / "given.json").write_text(json.dumps(manifest))
    command = [sys.executable, "-m", "captep_cli", "serve", "--world", "captep"]
    files = ["-f", str(tmp_path / "given.json"), "--kubeconfig", str(tmp_path / "config")]
    with subprocess.Popen([*command, *files], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            assert process.stdout.readline() == f"export KUBECONFIG={tmp_path / 'config'}\n"
            path = "/api/v1/namespaces/default/configmaps/given"
            with urllib.request.urlopen(url + path, timeout=10) as answer:
                assert json.load(answer)["metadata"]["name"] == "given"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert json.loads((tmp_path / "config").read_text())["clusters"][0]["cluster"]["server"] == url
