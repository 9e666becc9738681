"""Exit statuses, standard output and standard error of the command."""

import subprocess
import sys
from pathlib import Path

import pytest

from captep_cli import main
from tests.cli.command import NEW, Command, new

SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"


def refused(captep: Command, *args: str) -> str:
    """Run a command that ends with an error; return the one line of its error."""
    ended = captep(*args)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("captep: ")
    return ended.err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: [1, 2\nb: }\n", "line 2, column 2: did not find expected ',' or ']'"),
        (b'{"a": 1,\n "b": ]}', "line 2, column 7"),
        (b"a: 1\n\xff\n", "not UTF-8 at line 2"),
        (b"a: \x01\n", "line 1, column 4"),
        (b"a: 1\nb: 2\na: 3\n", "line 3, column 1: the same key twice"),
        (b'{"a": 1, "a": 2}', "the same key twice"),
        (b"a: .inf\n", "line 1, column 4: expected a finite number"),
        (b'{"a": 1e999}', "expected a finite number"),
        (b'{"a": NaN}', "apiVersion"),
        (b"a: !!binary aGVs%bG8=\n", "line 1, column 4: not base64"),
        (b"a: !!int x\n", "line 1, column 4: a value that is not of the type of its tag"),
        (b"a: *x\n", "line 1, column 4: an alias without an anchor"),
        (b"a: {<<: 1}\n", "line 1, column 9: a merge key needs a mapping"),
        (b"? [a]\n: 1\n", "a key that is not text"),
        (b"a: &x [*x]\n", "recursive"),
        (b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"- 1\n", "not an object"),
        (b"apiVersion: v1\nkind: List\nitems: 5\n", "items of a List: expected a list"),
        (b"apiVersion: v1\nkind: Secret\nmetadata: {}\n", "without metadata.name"),
        (b"kind: Secret\nmetadata: {name: s}\n", "without apiVersion"),
        (b"apiVersion: v1\nmetadata: {name: s}\n", "without kind"),
        (b"", "no CAPTControlPlane in the files"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("verb", ["plan", "simulate"])
def test_broken_content_is_reported_with_its_place(
    captep: Command, verb: str, content: bytes, expected: str
) -> None:
    """One line names the file and the place."""
    name = captep.file(content)
    err = refused(captep, verb, "-f", name)
    assert expected in err
    assert not content or Path(name).name in err


def test_an_unreadable_file_is_reported_by_name(captep: Command) -> None:
    """The error names a missing file, and says that a folder is no file."""
    assert "no-such-file" in refused(captep, "plan", "-f", "no-such-file.yaml")
    assert "cannot be read" in refused(captep, "plan", "-f", str(Path(NEW).parent))


def test_an_object_given_twice_is_an_error(captep: Command) -> None:
    """It is one in two files or in one, in two versions or the same, in a List or not."""
    assert "is there twice" in refused(captep, "plan", "-f", NEW, "-f", NEW)
    other = {**new()[1], "apiVersion": "cluster.x-k8s.io/v1beta2"}
    assert "Cluster clusters/osaka is there twice" in refused(
        captep, "plan", "-f", captep.file([*new(), other])
    )
    listed = {"apiVersion": "v1", "kind": "List", "items": [new()[1]]}
    assert "is there twice" in refused(captep, "plan", "-f", captep.file([*new(), listed]))


def test_a_missing_or_ambiguous_control_plane_is_an_error_that_names_the_choices(
    captep: Command,
) -> None:
    """The error suggests the closest name, or lists the control planes to choose from."""
    assert "did you mean clusters/osaka?" in refused(
        captep, "plan", "-f", NEW, "--control-plane", "clusters/osake"
    )
    two = [*new(), {**new()[0], "metadata": {"name": "kobe", "namespace": "clusters"}}]
    err = refused(captep, "simulate", "-f", captep.file(two))
    assert "clusters/kobe, clusters/osaka" in err
    assert captep("plan", "-f", captep.file(two), "--control-plane", "clusters/osaka").status == 0


def test_a_malformed_control_plane_is_reported_with_all_its_problems(captep: Command) -> None:
    """One line names each problem with its path."""
    world = new()
    world[0]["spec"]["version"] = 1.32
    world[0]["spec"]["workspaceTemplateRef"] = {"name": 5}
    err = refused(captep, "plan", "-f", captep.file(world))
    assert "spec.version: " in err
    assert "spec.workspaceTemplateRef.name: " in err
    world = new()
    world[0]["metadata"]["deletionTimestamp"] = {}
    assert "malformed CAPTControlPlane clusters/osaka" in refused(
        captep, "plan", "-f", captep.file(world)
    )


@pytest.mark.parametrize(
    "content",
    [
        b"stringData: {token: canary\n",
        b"stringData: {token: *canary}\n",
        b"stringData: {token: !canary x}\n",
        b'stringData: {token: "\\canary"}\n',
        b"stringData:\n  token: canary: canary\n",
        b"data: canary\n",
        b"data: {a: canary!}\n",
    ],
)
def test_an_error_quotes_no_content_of_a_secret(captep: Command, content: bytes) -> None:
    """No text of a broken Secret is in the error."""
    assert "canary" not in refused(captep, "plan", "-f", captep.file(SECRET.encode() + content))


@pytest.mark.parametrize("verb", ["plan", "simulate"])
@pytest.mark.parametrize(
    "args",
    [
        (),
        ("-f", NEW, "--no-such-flag"),
        ("-f", NEW, "more"),
        ("-f",),
        ("-f", NEW, "-o", "yaml"),
        ("-f", NEW, "--show-secret"),
        *(
            ("-f", NEW, "--now", time)
            for time in (
                "yesterday",
                "2026-01-01",
                "2026-13-01T00:00:00Z",
                "2026-01-01T00:00:00",
                "9999-12-31T23:59:59Z",
            )
        ),
        *(
            ("-f", NEW, "--control-plane", name)
            for name in ("osaka", "a/b/c", "/osaka", "clusters/")
        ),
        *(
            ("-f", NEW, "--unreadable", what)
            for what in (
                "Secret/a/b",
                "Secret/a=Forbidden",
                "Secret/a/b=",
                "/a/b=Timeout",
                "Secret./a/b=X",
                "Secret/a/b=4 3",
            )
        ),
    ],
    ids=str,
)
def test_wrong_usage_ends_with_status_2(captep: Command, verb: str, args: tuple[str, ...]) -> None:
    """Standard output stays empty, and standard error says something."""
    ended = captep(verb, *args)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err


@pytest.mark.parametrize(
    "args",
    [
        *(
            ("--refuse", what)
            for what in (
                "Secret/a/b=403",
                "read:Secret/a/b=403",
                "create:Secret/a/b=200",
                "create:Secret/a/b=600",
                "create:Secret/b=403",
                "create:=403",
            )
        ),
        *(("--passes", number) for number in ("-1", "many", "1.5", "")),
    ],
    ids=str,
)
def test_a_malformed_argument_of_simulate_ends_with_status_2(
    captep: Command, args: tuple[str, ...]
) -> None:
    """It may be a reference, a status or a number."""
    ended = captep("simulate", "-f", NEW, *args)
    assert (ended.status, ended.out) == (2, "")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), "COMMAND"),
        (("plna",), "did you mean plan?"),
        (("plan", "-f", NEW, "--unreadble", "x"), "did you mean --unreadable?"),
        (("plan", "-f", NEW, "--live"), "-f does not go with --live"),
        (("plan", "-f", NEW, "--context", "c"), "--context does not go with -f"),
        (("plan", "-f", NEW, "a/b"), "NS/NAME does not go with -f"),
        (("plan", "--live"), "--live needs NS/NAME"),
        (("simulate", "-f", NEW, "--refuse", "crate:Secret/a/b=403"), "did you mean create?"),
        (("run", "--workers", "0"), "1 or more"),
        (("run", "--namespace", ""), "the name of a namespace"),
        (("run", "--namespace", "fleet", "--namespace", "Fleet"), "the name of a namespace"),
        (("run", "--leader-election-namespace", "a/b"), "the name of a namespace"),
        (("run", "--leader-election-namespace", "a" * 64), "the name of a namespace"),
        (("run", "--leader-election-id", "a..b"), "a name for the Lease"),
        (
            ("run", "--leader-election-id", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 62}"),
            "a name for the Lease",
        ),
        (("run", "--metrics-bind-address", "8080"), "HOST:PORT"),
        (("run", "--dry-run", "maybe"), "invalid choice"),
        (("run", "--publish-to-cluster", "maybe"), "invalid choice"),
        (("plan", "-f", NEW, "--publish-to-cluster", "yes"), "invalid choice"),
        (("demo", "--hours", "0"), "above 0"),
        (("demo", "--control-planes", "none"), "1 or more"),
    ],
    ids=str,
)
def test_the_error_of_wrong_usage_says_what_was_expected(
    captep: Command, args: tuple[str, ...], expected: str
) -> None:
    """It suggests the closest name where there is one."""
    ended = captep(*args)
    assert (ended.status, ended.out) == (2, "")
    assert expected in ended.err


@pytest.mark.parametrize("command", ["", "plan", "simulate", "demo", "run", "serve", "audit"])
def test_help_shows_examples(captep: Command, command: str) -> None:
    """It ends with status 0 and holds at least one line to type."""
    ended = captep(*filter(None, (command, "--help")))
    assert (ended.status, ended.err) == (0, "")
    assert f"  captep {command}" in ended.out


def test_version_prints_one_line(captep: Command) -> None:
    """It ends with status 0 and needs no command."""
    ended = captep("--version")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("captep ")
    assert ended.out.count("\n") == 1


def test_an_unsettled_simulation_prints_everything_and_ends_with_status_3(
    captep: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has 20 passes and the further ones, and no settled_after."""
    monkeypatch.setattr("captep_operator._simulation._is_changed", lambda *_: True)
    ended = captep("simulate", "-f", NEW, "-o", "json", "--passes", "2")
    printed = ended.json("simulate")
    assert (ended.status, printed["settled"], printed["settled_after"], len(printed["passes"])) == (
        3,
        False,
        None,
        22,
    )
    assert "not settled" in captep("simulate", "-f", NEW).out


def test_ctrl_c_ends_the_command_with_status_130(
    captep: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard error has one line."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("captep_operator.command._world.read_world", interrupt)
    ended = captep("plan", "-f", NEW)
    assert (ended.status, ended.out, ended.err) == (130, "", "captep: interrupted\n")


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01", "2026-01-01"),
        ("12:30", "12:30"),
        ("yes", True),
        ("off", False),
        ("0o17", 15),
        ("017", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("012345678909", 12345678909),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        ("~", None),
        ("", None),
        ("'yes'", "yes"),
        ("<<", "<<"),
        ("=", "="),
    ],
)
def test_plain_scalars_have_the_values_that_kubectl_gives_them(
    captep: Command, yaml: str, value: object
) -> None:
    """The scalars are a field of an unknown kind, which passes them on unchanged."""
    thing = (
        "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: it, namespace: clusters}\n"
        f"spec:\n  field: {yaml}\n  1: number\n"
    )
    objects = captep("simulate", "-f", NEW, "-f", captep.file(thing), "-o", "json").json(
        "simulate"
    )["objects"]
    (spec,) = (obj["spec"] for obj in objects if obj["kind"] == "Thing")
    assert spec == {"field": value, "1": "number"}


def test_any_text_is_printable(captep: Command) -> None:
    """Text of any language is printed unchanged; half a surrogate pair is U+FFFD, as in Go."""
    world = new()
    world[0]["metadata"]["annotations"] = {"a": "東京 \ud800"}
    assert '"東京 \ufffd"' in captep("simulate", "-f", captep.file(world), "-o", "json").out


def test_an_object_of_another_version_is_refused_by_name(captep: Command) -> None:
    """An API server would convert it; here the loop would misread its fields."""
    world = new()
    cluster = next(obj for obj in world if obj["kind"] == "Cluster")
    cluster["apiVersion"] = "cluster.x-k8s.io/v1alpha4"
    assert (
        "document 2: Cluster clusters/osaka has the version cluster.x-k8s.io/v1alpha4, which the"
        " loop does not read; expected cluster.x-k8s.io/v1beta1"
        " (kubectl get clusters.v1beta1.cluster.x-k8s.io -o yaml converts it)\n"
    ) in refused(captep, "plan", "-f", captep.file(world))


def process(*args: str, **kwargs: object) -> "subprocess.CompletedProcess[bytes]":
    """Run the command as a process of its own."""
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "captep_cli", *args]
    return subprocess.run(  # type: ignore[call-overload,no-any-return] # passed on
        command, env=environment, check=False, timeout=60, **{"capture_output": True, **kwargs}
    )


def test_a_dash_reads_standard_input_in_any_locale() -> None:
    """`captep plan -f -` reads UTF-8 from standard input without any environment."""
    done = process("plan", "-f", "-", input=Path(NEW).read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"CAPTControlPlane clusters/osaka\n")


@pytest.mark.parametrize(
    "arguments",
    [["simulate", "-f", NEW], ["demo", "--hours", "0.1"]],
    ids=lambda arguments: arguments[0],
)
def test_a_closed_pipe_ends_the_command_without_a_message(arguments: list[str]) -> None:
    """A reader that closes the pipe early causes neither an error nor a traceback."""
    code = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE);"
        " p.stdout.close(); sys.exit(p.wait())"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code, sys.executable, "-m", "captep_cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_unwritable_standard_output_is_an_error() -> None:
    """A full disk gives one line of error."""
    with Path("/dev/full").open("wb") as full:
        done = process("plan", "-f", NEW, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"captep: standard output: cannot be written")
    assert done.stderr.count(b"\n") == 1


def test_without_pyyaml_json_works_and_yaml_names_the_extra_to_install(
    captep: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installation without extras reads JSON."""
    monkeypatch.delitem(sys.modules, "captep_operator.command._yaml", raising=False)
    monkeypatch.delattr("captep_operator.command._yaml", raising=False)
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert captep("plan", "-f", captep.file(new())).status == 0
    assert "pip install 'captep[cli]'" in refused(captep, "plan", "-f", NEW)


def test_main_takes_an_argument_list_and_returns_the_status() -> None:
    """Python code can call the command without a process."""
    assert main(["plan", "-f", "no-such-file"]) == 1


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        (
            "kind: CAPTControlplane",
            "kind: CAPTControlPlane",
            "has the kind CAPTControlplane, did you mean CAPTControlPlane?",
        ),
        (
            "apiVersion: controlplanes.cluster.x-k8s.io/v1beta1",
            "apiVersion: controlplane.cluster.x-k8s.io/v1beta1",
            "did you mean controlplane.cluster.x-k8s.io?",
        ),
    ],
)
def test_a_misspelt_control_plane_is_named_with_a_correction(
    captep: Command, wrong: str, right: str, expected: str
) -> None:
    """The error names the object and the closest kind or group."""
    text = Path(NEW).read_text()
    assert right in text
    err = refused(captep, "plan", "-f", captep.file(text.replace(right, wrong, 1).encode()))
    assert expected in err


def test_a_misspelt_file_is_corrected(captep: Command) -> None:
    """The error suggests the closest name in the same folder."""
    assert "did you mean new.yaml?" in refused(
        captep, "plan", "-f", str(Path(NEW).with_name("nwe.yaml"))
    )


@pytest.mark.parametrize(
    "option",
    ["--unreadable=Secrt/fleet/tokyo-ca=Forbidden", "--refuse=patch:Secrt/fleet/tokyo-ca=403"],
)
def test_a_misspelt_kind_is_corrected(captep: Command, option: str) -> None:
    """A kind that resembles a known one is an error; any other unknown kind is accepted."""
    assert "did you mean Secret?" in refused(captep, "simulate", "-f", NEW, option)
    assert captep("simulate", "-f", NEW, option.replace("Secrt", "Gadget")).status == 0


@pytest.mark.parametrize(
    "arguments",
    [["run", "--dry-run", "client"], ["plan", "--live", "fleet/tokyo"]],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("missing", ["kubernetes", "yaml", "urllib3"])
def test_a_command_that_needs_a_cluster_names_the_extra_to_install(
    arguments: list[str], missing: str
) -> None:
    """The installation without extras has no client."""
    code = (
        f"import sys; sys.modules[{missing!r}] = None;"
        f" from captep_cli import main; sys.exit(main({arguments!r}))"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"captep: {missing} is not installed;"
        " to use this command: pip install 'captep[kubernetes]'\n"
    )


def test_the_help_of_the_program_loads_no_decision_and_no_flags() -> None:
    """It costs less than twice an interpreter with argparse: attrs alone would cost more."""
    report = (
        "import sys; from captep_cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("usage: captep")
    loaded = set(done.stderr.split())
    assert "captep_operator.command._parser" in loaded
    assert loaded & {"attr", "captep_core.ports", "captep_cli._flags", "pathlib"} == set()
