"""Types as an author meets them who installed the wheel, under mypy and pyright in strict mode."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONSUMER = Path(__file__).with_name("operator_consumer.py")
_SECONDS = 240


def _output(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=_SECONDS,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel's files and the dependencies, and nothing of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    _output(ROOT, "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("*.whl")
    installed = folder / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    venv.create(folder / "venv", with_pip=False)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A path file inside a folder that another path file names is not read, so the editable
    # installation of this checkout stays out of sight.
    dependencies = sysconfig.get_paths()["purelib"]
    (packages / "wheel.pth").write_text(f"{installed}\n{dependencies}\n")
    return folder / "venv" / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has the consumer, and the consumer with one wrong argument."""
    text = CONSUMER.read_text()
    (tmp_path / "right.py").write_text(text)
    (tmp_path / "wrong.py").write_text(text.replace('payload="on demand"', 'payload="all"'))
    return tmp_path


def test_the_wheel_is_what_the_checkers_see(python: Path) -> None:
    """Each package comes from it, and says that it has types."""
    code = (
        "import captep_core, captep_operator, captep_testing;"
        "print(captep_core.__file__, captep_operator.__file__, captep_testing.__file__)"
    )
    done = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, timeout=_SECONDS
    )
    assert done.returncode == 0, done.stderr
    for name in done.stdout.split():
        assert Path(name).is_relative_to(python.parents[2] / "installed")
        assert Path(name).with_name("py.typed").is_file()


def test_an_operator_of_another_author_is_strictly_typed_under_mypy(
    python: Path, project: Path
) -> None:
    """mypy --strict finds the wrong argument and nothing else."""
    strict = ["mypy", "--strict", "--config-file=", "--no-error-summary"]
    out = _output(project, *strict, "--python-executable", str(python), "right.py", "wrong.py")
    (line,) = out.splitlines()
    assert line.startswith("wrong.py:")
    assert 'Argument "payload" to "Kind" has incompatible type' in line


def test_an_operator_of_another_author_is_strictly_typed_under_pyright(
    python: Path, project: Path
) -> None:
    """pyright in strict mode finds the wrong argument and nothing else."""
    (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    report = json.loads(_output(project, "pyright", "--pythonpath", str(python), "--outputjson"))
    found = [
        (Path(each["file"]).name, each["message"].partition("\n")[0])
        for each in report["generalDiagnostics"]
    ]
    assert [name for name, _ in found] == ["wrong.py"], found
    assert "payload" in found[0][1]
