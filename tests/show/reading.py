"""Reads the data of a page back."""

import json
import re
from typing import Any

__all__ = ["run_of"]


def run_of(page: str) -> dict[str, Any]:
    """Return the run that a page shows."""
    found = re.search(r'<script type="application/json" id="run">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    run: dict[str, Any] = json.loads(found[1])
    return run
