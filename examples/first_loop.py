"""Run the loop of one control plane on the in-memory API server until it is at rest."""

from datetime import UTC, datetime
from pathlib import Path

import yaml

from captep_core import ReconcileState, control_plane_ref, decide, purpose_of
from captep_memory import MemoryGateway, load
from captep_runtime import run_pass

now = datetime(2026, 1, 1, tzinfo=UTC)
key = control_plane_ref("fleet", "tokyo")
state = ReconcileState()
manifests = yaml.safe_load_all(Path(__file__).with_name("new.yaml").read_text())
gateway = MemoryGateway(load(manifests, now=now))
while (done := run_pass(decide, gateway, key, state, now=now)).changed:
    for action, answer in done.sent:
        print(answer.status, purpose_of(action))
    state = done.state
print(f"at rest: {done.decision.verdict.message}; look again after {done.requeue_after}")
