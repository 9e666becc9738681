"""Runs the command in this process, and the worlds at the start of its tests."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from attrs import frozen

from captep_cli import main

HERE = Path(__file__).parent
NEW = str(HERE / "new.yaml")
NOW = "2026-01-01T01:00:00Z"
SCHEMA = json.loads((HERE / "schema.json").read_text())
KUBECONFIG = """\
apiVersion: v1
kind: Config
users: [{name: osaka, user: {token: canary-in-the-kubeconfig}}]
"""
APPLY = "osaka-eks-controlplane-apply"


class _TimesAreText(yaml.SafeLoader):
    """PyYAML without its timestamps."""


_TimesAreText.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


@frozen
class Ended:
    """The exit status of a command and its output."""

    status: int
    out: str
    err: str

    def json(self, shape: str) -> dict[str, Any]:
        """Return the JSON output after validation against the schema."""
        assert (self.status, self.err) in ((0, ""), (3, ""))
        printed: dict[str, Any] = json.loads(self.out)
        jsonschema.validate(printed, {"$ref": f"#/$defs/{shape}", "$defs": SCHEMA["$defs"]})
        return printed


class Command:
    """The command, with files in a directory of the test."""

    def __init__(self, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
        self._capsys, self._directory, self._files = capsys, directory, 0

    def __call__(self, *args: str) -> Ended:
        """Run `captep` with `args`."""
        try:
            status = main(args)
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 1
        out, err = self._capsys.readouterr()
        return Ended(status, out, err)

    def file(self, content: str | bytes | list[dict[str, Any]]) -> str:
        """Write a file, objects as JSON documents, and return its name."""
        self._files += 1
        path = self._directory / f"world-{self._files}"
        if isinstance(content, list):
            content = "\n---\n".join(json.dumps(obj) for obj in content)
        path.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        )
        return str(path)

    def simulate(self, world: list[dict[str, Any]] | str, *args: str) -> dict[str, Any]:
        """Run `simulate` at a fixed time with Secrets shown."""
        name = world if isinstance(world, str) else self.file(world)
        return self(
            "simulate", "-f", name, "--now", NOW, "-o", "json", "--show-secrets", *args
        ).json("simulate")

    def ready(self) -> list[dict[str, Any]]:
        """Return the objects of a settled world after all actions of the neighbours."""
        world = self.simulate(
            self.simulate(overlaid(self.simulate(NEW)["objects"], items("provided.yaml")))[
                "objects"
            ]
        )["objects"]
        to = find(world, "WorkspaceTemplateApply", "osaka-kubeconfig-apply")["spec"][
            "writeConnectionSecretToRef"
        ]
        outputs = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": to,
            "stringData": {"kubeconfig": KUBECONFIG},
        }
        objects: list[dict[str, Any]] = self.simulate([*world, outputs])["objects"]
        return objects


def new() -> list[dict[str, Any]]:
    """Return the objects of new.yaml."""
    return list(yaml.safe_load_all((HERE / "new.yaml").read_text()))


def items(name: str) -> list[dict[str, Any]]:
    """Return the items of a List, with times as text."""
    found: list[dict[str, Any]] = yaml.load((HERE / name).read_text(), _TimesAreText)["items"]
    return found


def find(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return the object of a kind and name, which must exist."""
    return next(obj for obj in objects if (obj["kind"], obj["metadata"]["name"]) == (kind, name))


def overlaid(objects: list[dict[str, Any]], news: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `objects` with the top-level fields of `news` over those of the same kind and name."""
    out = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
    for obj in news:
        key = (obj["kind"], obj["metadata"]["name"])
        out[key] = {
            **obj,
            **out.get(key, {}),
            **{name: value for name, value in obj.items() if name not in ("metadata", "spec")},
        }
    return list(out.values())
