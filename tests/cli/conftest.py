"""The command as a fixture."""

from pathlib import Path

import pytest

from tests.cli.command import Command


@pytest.fixture
def captep(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Return the command, run in this process."""
    return Command(capsys, tmp_path)
