"""The examples of README and `examples/` run, and print the lines that are written down here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIRST_PATCH = (
    "add the finalizer, refer to Cluster tokyo as the owner, name the WorkspaceTemplateApply"
)
EXAMPLES = {
    "first_loop.py": [
        f"200 {FIRST_PATCH}",
        "201 check for the role that spot instances need",
        "201 apply the template of the control plane",
        "200 report: conditions, initialized, phase, ready, secretsReady, workspaceTemplateStatus",
        "201 record the Event Creating",
        "at rest: Control plane is being created; look again after 0:00:05",
    ],
    "greeting.py": [
        "Greeting default/first",
        "",
        "pass 1: 1 effective write, looks again after 5 s",
        "    Writing: create ConfigMap default/first-greeting",
        "    + 201 create ConfigMap default/first-greeting: it does not exist",
        "pass 2: 1 effective write, looks again after 5 s",
        "    Writing: patch Greeting default/first/status",
        "    ~ 200 patch Greeting default/first/status: report",
        "pass 3: settled, looks again after 300 s",
        "    Ready",
        "",
        "settled after 2 passes, with 2 effective writes",
        "",
        "3 objects are in the server:",
        "  CustomResourceDefinition  greetings.example.com",
        "  Greeting                  default/first",
        "  ConfigMap                 default/first-greeting",
    ],
    "kopf_host.py": [],
    "metacontroller_webhook.py": ["usage: python examples/metacontroller_webhook.py PORT"],
    "prove_a_hook.py": [
        "exhausted 21 views from 1 worlds",
        "exhausted 1 worlds, 4 runs, 8 writes",
        "exhausted 70 runs from 1 worlds, 12 faults at each write",
        "exhausted 526 states, 933 edges, 221 worlds driven to rest; faults<=1 events<=1 lag<=0",
    ],
    "prove_your_own.py": [
        "exhausted 38 views from 2 worlds",
        "exhausted 2 worlds, 8 runs, 6 writes",
        "exhausted 70 runs from 2 worlds, 12 faults at each write",
        "exhausted 780 states, 2,252 edges, 95 worlds driven to rest; faults<=1 events<=2 lag<=1",
    ],
    "your_own.py": ["201 the copy differs from its source", "at rest: Copied"],
}


ARGUMENTS = {"greeting.py": ("simulate", "-f", str(ROOT / "examples" / "greeting.yaml"))}


def printed(*arguments: str) -> list[str]:
    """Run Python in the root of the repository and return the lines that it prints."""
    path = f"{ROOT}:{ROOT / 'adapters'}"
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": path},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_an_example_prints_its_lines(name: str) -> None:
    """Each Python example runs and prints exactly these lines."""
    if name == "kopf_host.py":
        pytest.importorskip("kopf")
    words = ARGUMENTS.get(name, ())
    assert printed(str(ROOT / "examples" / name), *words) == EXAMPLES[name]


def test_the_example_of_the_readme_is_the_first_example() -> None:
    """The code in README runs as printed, has at most sixteen lines, and prints the same."""
    code = re.findall(r"```python\n(from .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code) == 1
    assert sum(bool(line.strip()) for line in code[0].splitlines()) <= 16
    assert printed("-c", code[0]) == EXAMPLES["first_loop.py"]
