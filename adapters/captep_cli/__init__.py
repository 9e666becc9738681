"""The `captep` command."""

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default that of the process; return its exit status."""
    try:
        # Imported here so that Ctrl-C during the imports ends without a traceback too.
        from captep_cli._main import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        return 130
    return run(argv)
