"""The text of this repository in pieces: Markdown, docstrings, comments and strings."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

__all__ = [
    "ROOT",
    "Piece",
    "anchors",
    "cases_of",
    "documents",
    "file_text",
    "files",
    "identifiers",
    "listed",
    "places",
    "prose",
    "python_files",
]

ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("captep_core", "adapters", "tests", "examples", "docs", ".ci")
_AT_THE_TOP = ("*.md", "*.toml", "Makefile", "constraints.txt", ".gitignore")
_PROSE_SUFFIXES = {".md", ".yaml", ".yml", ".toml", ".txt", ".go", ".mod", ""}
_CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@frozen
class Piece:
    """One piece of text and the line that it begins in."""

    file: Path
    line: int
    text: str

    def at(self, position: int) -> str:
        """Name the place of the character at `position`, as `file:line`."""
        line = self.line + self.text.count("\n", 0, position)
        return f"{self.file.relative_to(ROOT)}:{line}"


@cache
def files() -> tuple[Path, ...]:
    """List every file of the repository that people write."""
    top = (path for pattern in _AT_THE_TOP for path in ROOT.glob(pattern))
    nested = (path for folder in _FOLDERS for path in (ROOT / folder).rglob("*"))
    found = (path for path in (*top, *nested) if path.is_file())
    return tuple(sorted(path for path in found if "__pycache__" not in path.parts))


def file_text(path: Path) -> str:
    """Read a file as UTF-8 text."""
    return path.read_text("utf-8")


def python_files() -> list[Path]:
    """List the Python files."""
    return [path for path in files() if path.suffix == ".py"]


def documents() -> list[Path]:
    """List the Markdown files."""
    return [path for path in files() if path.suffix == ".md"]


@cache
def prose() -> tuple[Piece, ...]:
    """Cut all files into pieces: Python into comments and strings, others are one piece.

    This folder is left out: it has to name what it forbids.
    """
    here = Path(__file__).parent
    found: list[Piece] = []
    for path in files():
        if path.is_relative_to(here):
            continue
        if path.suffix == ".py":
            found.extend((*_comments(path), *_strings(path)))
        elif path.suffix in _PROSE_SUFFIXES:
            found.append(Piece(path, 1, file_text(path)))
    return tuple(found)


def _comments(path: Path) -> Iterator[Piece]:
    """Yield each block of comments as one piece: a phrase may run over the end of a line."""
    block: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(file_text(path)).readline):
        if token.type is not tokenize.COMMENT:
            continue
        if block and token.start[0] != block[-1].start[0] + 1:
            yield _joined(path, block)
            block = []
        block.append(token)
    if block:
        yield _joined(path, block)


def _joined(path: Path, block: list[tokenize.TokenInfo]) -> Piece:
    return Piece(path, block[0].start[0], "\n".join(token.string for token in block))


def _strings(path: Path) -> Iterator[Piece]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Piece(path, node.lineno, node.value)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(file_text(path), str(path))


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of whatever a Python file gives a name to."""
    for node in ast.walk(_tree(path)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case _:
                pass


def cases_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the test functions of a file, those of classes included."""
    for node in ast.walk(_tree(path)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name.startswith("test_"):
                yield node
            case _:
                pass


def places(pattern: "re.Pattern[str]", pieces: Iterable[Piece]) -> Iterator[tuple[str, str]]:
    """Yield (place, text found) of each match of `pattern`."""
    for piece in pieces:
        for found in pattern.finditer(piece.text):
            yield piece.at(found.start()), found[0]


def listed(found: Iterable[str]) -> str:
    """Put each finding on a line of its own, for the message of an assertion."""
    return "\n" + "\n".join(found)


def anchors(document: Path) -> set[str]:
    """Return the fragments of a Markdown file: explicit ids, and slugs as GitHub makes them."""
    text = _CODE_BLOCK.sub("", file_text(document))
    slugs: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        slugs.add(slug)
    return slugs | set(re.findall(r'<a id="([^"]+)"></a>', text))
