"""Plain words: what can be held mechanically about the text of this repository."""

import ast
import re
from pathlib import Path

import pytest

from tests.docs.sources import (
    ROOT,
    Piece,
    cases_of,
    documents,
    file_text,
    files,
    identifiers,
    listed,
    places,
    prose,
    python_files,
)

_WORDS = ("told", "tell", "tells", "telling", "anew", "beside", "lest", "whoever")
_BANNED = re.compile(
    rf"\b(?:{'|'.join(_WORDS)}"
    r"|(?:is|are|was|were)\s+(?-i:none)\b(?!\s+of)"
    r"|let(?:s|ting)?\s+off|held\s+back)\b",
    re.IGNORECASE,
)
_LEADS_NOWHERE = re.compile(
    r"\bMust\s+[0-9]|\b[Ss]ections?\s+[0-9]|capt-reference|correctness\.md|design\s+rule"
    r"|\b8\.x\b|\btable\s+5a|\bissue\s+[0-9#]",
)
_RELATIVE_SUBJECT = re.compile(r"(?:Who|Whoever|What\s+(?:is|was|are))\b")

# Texts that are not ours: what the API server, a library or the Go controller says, word for word.
LITERALS: tuple[str, ...] = ()


def ours(pieces: tuple[Piece, ...]) -> list[Piece]:
    """Return the pieces without the texts of others."""
    cut: list[Piece] = []
    for piece in pieces:
        text = piece.text
        for literal in LITERALS:
            text = text.replace(literal, "")
        cut.append(Piece(piece.file, piece.line, text))
    return cut


def test_no_word_of_the_dialect_is_left() -> None:
    """Texts say reported, recorded, logged, again, next to, skipped."""
    found = [f"{place}: {found}" for place, found in places(_BANNED, ours(prose()))]
    assert not found, listed(found)


def test_no_name_is_a_word_of_the_dialect() -> None:
    """Names of functions, classes, arguments and variables follow the same rule."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in python_files()
        for line, name in identifiers(path)
        if set(name.lower().split("_")) & set(_WORDS)
    ]
    assert not found, listed(found)


def test_no_citation_leads_out_of_the_repository() -> None:
    """Whatever a text cites can be opened here: facts stand in docs/."""
    found = [f"{place}: {found}" for place, found in places(_LEADS_NOWHERE, ours(prose()))]
    assert not found, listed(found)


def docstrings(path: Path) -> list[Piece]:
    """Return the docstrings of a Python file."""
    tree = ast.parse(file_text(path))
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        Piece(path, getattr(node, "lineno", 1), text)
        for node in ast.walk(tree)
        if isinstance(node, holders) and (text := ast.get_docstring(node))
    ]


def test_no_docstring_has_a_relative_clause_as_its_subject() -> None:
    """The thing is the subject: not "Who removes ...", not "What is ..."."""
    found = [
        f"{piece.at(0)}: {piece.text.splitlines()[0]}"
        for path in python_files()
        for piece in docstrings(path)
        if _RELATIVE_SUBJECT.match(piece.text)
    ]
    assert not found, listed(found)


def test_every_test_has_a_docstring() -> None:
    """The docstring states the fact that the test shows."""
    bare = [
        f"{path.relative_to(ROOT)}:{test.lineno}: {test.name}"
        for path in python_files()
        for test in cases_of(path)
        if not ast.get_docstring(test)
    ]
    assert not bare, listed(bare)


def test_the_name_of_a_test_is_a_statement() -> None:
    """A name says what holds: no `what_is`, `who`, `whoever`, and more than two words."""
    found = [
        f"{path.relative_to(ROOT)}:{test.lineno}: {test.name}"
        for path in python_files()
        for test in cases_of(path)
        if re.match(r"test_(who|whoever|what_is|what_was|which|its)_", test.name)
        or test.name.count("_") < 3
    ]
    assert not found, listed(found)


def test_readme_is_one_page() -> None:
    """At most 120 lines, for somebody who decides whether to use it."""
    assert len(file_text(ROOT / "README.md").splitlines()) <= 120


GENERIC = ("runtime", "memory", "kubernetes", "testing", "pytest", "operator", "audit")


@pytest.mark.parametrize("adapter", GENERIC)
def test_a_generic_adapter_knows_no_word_of_the_domain(adapter: str) -> None:
    """It serves any operator; an import contract cannot see a kind in a string."""
    folder = ROOT / "adapters" / f"captep_{adapter}"
    domain = re.compile(r"CAPT(?!EP)\w*|\w*Workspace\w*|\w*ControlPlane\w*|control_plane\w*")
    found = [
        f"{place}: {word}"
        for path in sorted(folder.rglob("*.py"))
        for place, word in places(domain, [Piece(path, 1, file_text(path))])
    ]
    assert not found, listed(found)


def test_the_kit_knows_no_word_of_the_domain() -> None:
    """Modules outside captep_core/capt serve any operator; only the facade names the domain."""
    domain = re.compile(r"CAPT(?!EP)\w*|\w*Workspace\w*|\w*ControlPlane\w*")
    found = [
        f"{place}: {word}"
        for path in sorted((ROOT / "captep_core").glob("*.py"))
        if path.name != "__init__.py"
        for place, word in places(domain, [Piece(path, 1, file_text(path))])
    ]
    assert not found, listed(found)


# Hosts that a file may name in a URL: standards and cited projects. Others are reserved names.
_HOSTS = {
    "cluster-api.sigs.k8s.io",
    "github.com",
    "json-schema.org",
    "keepachangelog.com",
    "kubernetes.io",
    "semver.org",
    "www.apache.org",
    "www.w3.org",
}
_EXAMPLE = re.compile(
    r"(?:localhost|[\w.-]*\.?(?:example(?:\.(?:com|org|net|invalid|dev))?|invalid|test|local|svc)"
    r"|[\w.-]+\.eks\.amazonaws\.com|(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[^.]+)\Z"
)


def _is_allowed(host: str) -> bool:
    return host in _HOSTS or _EXAMPLE.fullmatch(host) is not None


def test_no_file_names_a_host_of_this_machine_or_a_registry() -> None:
    """A URL leads to a standard, a cited project or an example."""
    hosts = re.compile(r"(?<=://)(?:[\w.:-]+@)?[A-Za-z0-9][\w.-]*[A-Za-z]\b")
    found = [
        f"{place}: {host}"
        for path in files()
        if path.suffix not in (".sum", ".json", ".jsonl", ".svg") and path.name != "go.mod"
        for place, host in places(hosts, [Piece(path, 1, _readable(path))])
        if not _is_allowed(host.rpartition("@")[2].lower())
    ]
    assert not found, listed(found)


def test_no_file_names_a_path_of_this_machine() -> None:
    """Neither where this checkout lies nor anybody's home directory."""
    machine = re.compile(rf"{re.escape(str(ROOT))}\b|{re.escape(str(Path.home()))}/|/work/\w")
    found = [
        f"{place}: {path_}"
        for path in files()
        if not path.is_relative_to(Path(__file__).parent)
        for place, path_ in places(machine, [Piece(path, 1, _readable(path))])
    ]
    assert not found, listed(found)


def _readable(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


def test_no_file_has_the_markers_of_a_conflict() -> None:
    """A merge is finished before it is committed."""
    marker = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
    pieces = [Piece(path, 1, _readable(path)) for path in files()]
    found = [place for place, _ in places(marker, pieces)]
    assert not found, listed(found)


def test_documents_end_with_one_line_end_and_have_no_trailing_space() -> None:
    """Markdown gives trailing spaces a meaning that nobody sees."""
    found = [
        str(path.relative_to(ROOT))
        for path in documents()
        if not file_text(path).endswith("\n")
        or file_text(path).endswith("\n\n")
        or re.search(r"[ \t]$", file_text(path), re.MULTILINE)
    ]
    assert not found, listed(found)
