"""The page about operators of other authors runs as printed."""

import os
import re
import subprocess
import sys

from tests.docs.sources import ROOT, file_text


def test_the_python_blocks_of_the_page_run_as_printed() -> None:
    """Together they plan and simulate the operator of the example, without a cluster."""
    page = file_text(ROOT / "docs" / "your-operator.md")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    folders = (ROOT, ROOT / "adapters", ROOT / "examples")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": os.pathsep.join(map(str, folders))},
    )
    name, *rest = done.stdout.split()
    assert name.startswith("orders-")
    assert (done.stderr, rest) == ("", ["True", "64", "Copying", "1"])


def test_the_program_of_the_page_is_that_of_the_example() -> None:
    """What the page shows cannot differ from what the tests of the example run."""
    page = file_text(ROOT / "docs" / "your-operator.md")
    (shown,) = re.findall(r"```\n(operator = .*?)```", page, re.DOTALL)
    assert shown in file_text(ROOT / "examples" / "database" / "database.py")
