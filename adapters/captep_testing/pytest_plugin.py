"""The pytest option `--captep-replay FILE`.

With it, `explore` of the operator that the file names replays the trace instead of searching.
"""

from pathlib import Path

import pytest

from captep_testing._replay import load_trace, request

__all__ = ["pytest_addoption", "pytest_configure", "pytest_unconfigure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--captep-replay", metavar="FILE", help="replay the trace of a captep counterexample"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the trace.

    Raises:
        pytest.UsageError: the file is missing or holds no trace.
    """
    name = config.getoption("--captep-replay")
    if name is None:
        return
    try:
        request(load_trace(Path(name)))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--captep-replay: {error}") from error


def pytest_unconfigure() -> None:
    """Search again."""
    request(None)
