"""Parts that every Kubernetes object has, as JSON: one implementation each.

Times are written and read here, and nowhere else in the tree.
"""

from datetime import UTC, datetime

__all__ = ["instant", "rfc3339"]


def instant(text: str) -> datetime | None:
    """Parse a time as Kubernetes (RFC 3339) or Go's `time.String()` writes it; None when it is neither."""
    words = text.split()
    if len(words) >= 3:
        text = "".join((words[0], "T", words[1], words[2]))
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


def rfc3339(moment: datetime) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
