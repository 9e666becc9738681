"""The core is pure: these tests check its imports, its calls and its exports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import captep_core
from captep_core import errors, ports
from captep_core.capt import wire

CORE = Path(captep_core.__file__).parent
MODULES = sorted(CORE.rglob("*.py"))
ALLOWED = {"attr", "attrs", "cattr", "cattrs", "captep_core", "typing_extensions"}
"""typing_extensions comes with cattrs."""

IMPURE_MODULES = {
    "asyncio",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "sys",
    "threading",
    "time",
    "urllib",
    "uuid",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__", "hash", "id"}
IMPURE_METHODS = {"now", "utcnow", "today", "fromtimestamp"}


def loaded(code: str) -> set[str]:
    """Return the third-party modules that `code` loads in an interpreter of its own."""
    report = (
        f"import sys; before = set(sys.modules); {code}; "
        "print(*sorted({n.partition('.')[0] for n in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", report],
        capture_output=True,
        text=True,
        check=True,
        cwd=CORE.parent,
        timeout=60,
    )
    return set(done.stdout.split()) - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "code",
    ["import captep_core", "import captep_core.capt.wire; captep_core.capt.wire.problems({})"],
)
def test_the_core_loads_nothing_but_attrs_and_cattrs(code: str) -> None:
    """This holds on import and when the first object makes the core import cattrs."""
    assert loaded(code) - ALLOWED == set()


def test_the_core_loads_none_of_the_impure_standard_library() -> None:
    """The core loads no module for sockets, threads, processes, clocks or random numbers."""
    report = (
        "import attrs, cattrs, datetime, sys; before = set(sys.modules); "
        "import captep_core, captep_core.capt._converter; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", report],
        capture_output=True,
        text=True,
        check=True,
        cwd=CORE.parent,
        timeout=60,
    )
    assert [name for name in done.stdout.split() if name.partition(".")[0] in IMPURE_MODULES] == []


def impurities(source: str) -> list[str]:
    """Name every impure import and call in a piece of code."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [
                    name.name for name in names if name.name.partition(".")[0] in IMPURE_MODULES
                ]
            case ast.ImportFrom(module=str(origin)) if origin.partition(".")[0] in IMPURE_MODULES:
                found.append(origin)
            case ast.Call(func=ast.Name(id=called)) if called in IMPURE_CALLS:
                found.append(called)
            case ast.Call(func=ast.Attribute(attr=called)) if called in IMPURE_METHODS:
                found.append(called)
            case ast.Global() | ast.Nonlocal():
                found.append("global state")
            case _:
                pass
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_module_of_the_core_imports_or_calls_anything_impure(module: Path) -> None:
    """No module uses a clock, I/O, randomness or the identity of objects."""
    assert impurities(module.read_text()) == []


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("import os.path", ["os.path"]),
        ("from time import monotonic", ["time"]),
        ("open('f')", ["open"]),
        ("datetime.now(UTC)", ["now"]),
        ("def f():\n global x\n x = 1", ["global state"]),
        ("from datetime import datetime", []),
    ],
)
def test_the_search_finds_each_kind_of_impurity(code: str, named: list[str]) -> None:
    """The search above can fail."""
    assert impurities(code) == named


@pytest.mark.parametrize(
    "module", [captep_core, errors, ports, wire], ids=lambda module: module.__name__
)
def test_every_exported_name_exists_once(module: object) -> None:
    """`__all__` repeats no name and lists no name that the module lacks."""
    exported: list[str] = vars(module)["__all__"]
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(module, name)] == []


def test_all_lists_every_public_name() -> None:
    """It holds the names that `__init__` imports on first use and shows to type checkers."""
    tree = ast.parse((CORE / "__init__.py").read_text())
    shown = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("captep_core.")
        for alias in node.names
    }
    assert shown == captep_core._MODULES
    assert set(shown) == set(captep_core.__all__)


def _loaded_by(code: str) -> list[str]:
    report = (
        f"import sys; {code}; print(*(m for m in sys.modules if m.startswith('captep_core.capt')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", report],
        capture_output=True,
        text=True,
        check=True,
        cwd=CORE.parent,
        timeout=60,
    )
    return done.stdout.split()


def test_another_operator_never_loads_the_domain() -> None:
    """Names of the kit load no module of `captep_core.capt`; a name of the domain does."""
    modules = captep_core._MODULES
    kit = sorted(name for name in modules if not modules[name].startswith("captep_core.capt."))
    assert _loaded_by(f"from captep_core import {', '.join(kit)}") == []
    assert _loaded_by("from captep_core import reconcile") != []


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy import answers only for the public names, and `dir()` lists them."""
    with pytest.raises(AttributeError, match="module 'captep_core' has no attribute 'recncile'"):
        captep_core.recncile  # noqa: B018
    assert set(captep_core.__all__) <= set(dir(captep_core))
