"""A file is whole or not there."""

import os
from pathlib import Path

import pytest

from captep_show import write_file


def test_a_file_is_written_as_others_are(tmp_path: Path) -> None:
    """Content, permissions, and nothing else in the folder; a second one replaces it."""
    file = tmp_path / "a.html"
    write_file(file, "one")
    write_file(file, "zwei ü")
    plain = tmp_path / "plain"
    plain.touch()
    assert file.read_text("utf-8") == "zwei ü"
    assert file.stat().st_mode == plain.stat().st_mode
    assert sorted(os.listdir(tmp_path)) == ["a.html", "plain"]


def test_a_failure_leaves_the_earlier_file(tmp_path: Path) -> None:
    """Text that cannot be written, and a folder that does not exist."""
    file = tmp_path / "a.html"
    write_file(file, "one")
    with pytest.raises(UnicodeEncodeError):
        write_file(file, "\ud800")
    assert file.read_text("utf-8") == "one"
    assert os.listdir(tmp_path) == ["a.html"]
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "missing" / "a.html", "one")


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    """It is not replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, "one")
    assert os.read(reader, 10) == b"one"
    assert pipe.is_fifo()
    os.close(reader)
