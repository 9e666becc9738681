"""The command line: flags, their values, and help that teaches by example."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from captep_operator.command._errors import one_line, suggestion

__all__ = ["parse"]

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_VERBS: Final = ("create", "patch", "delete", "apply", "event")
# A simulation's clock advances from here; datetime ends with the year 9999.
_YEARS: Final = range(1970, 9000)


class _Parser(argparse.ArgumentParser):
    """argparse with suggestions, without abbreviations, and errors of one line."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(
            **{
                **settings,
                "allow_abbrev": False,
                "formatter_class": argparse.RawDescriptionHelpFormatter,
            }
        )

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")

    def flags(self) -> frozenset[str]:
        """Return the names of all flags."""
        return frozenset(self._option_string_actions)

    def reject(self, unknown: Sequence[str]) -> NoReturn:
        """End with status 2 for unknown arguments, and suggest the closest flag."""
        meant = (
            suggestion(unknown[0].partition("=")[0], self.flags())
            if unknown[0].startswith("-")
            else ""
        )
        self.error(f"unknown argument {' '.join(unknown)}{meant}")


class _Version(argparse.Action):
    """Prints `captep VERSION`; the version is looked up only then, which takes a while."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(**{**settings, "nargs": 0})

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """End with status 0."""
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

        try:
            known = version("captep")
        except PackageNotFoundError:
            # Run from a checkout that is not installed.
            known = "unknown"
        print(f"captep {known}")
        parser.exit(0)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Wrong usage ends the process with status 2 and one line, `--help` with status 0.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    parser = _Parser(prog="captep", description=_ABOUT, epilog=_EXAMPLES)
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    made = {name: add(commands, name) for name, add in _COMMANDS.items()}
    if words and not words[0].startswith("-") and words[0] not in made:
        parser.error(
            f"no command {words[0]!r},"
            f" expected one of {', '.join(made)}{suggestion(words[0], made)}"
        )
    _reject_unknown_flags(made, words)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        made[options.command].reject(unknown)
    if options.command == "plan":
        _check_plan(made["plan"], options)
    if options.command == "run":
        _check_run(made["run"], options)
    return options


def _reject_unknown_flags(made: dict[str, _Parser], words: list[str]) -> None:
    """Report a misspelt flag before argparse reports its value as a surplus argument."""
    if words and words[0] in made:
        known = made[words[0]].flags()
        unknown = [
            word
            for word in words[1:]
            if word.startswith("--") and word != "--" and word.partition("=")[0] not in known
        ]
        if unknown:
            made[words[0]].reject(unknown)


def _plan(commands: Any, name: str) -> _Parser:  # noqa: ANN401 - argparse does not name this type
    parser: _Parser = commands.add_parser(
        name,
        help="show what the loop would do now, and why",
        description=_PLAN,
        epilog=_PLAN_EXAMPLES,
    )
    _add_world(parser, required=False)
    _add_policy(parser)
    parser.add_argument(
        "--live", action="store_true", help="read a cluster instead of files; writes nothing"
    )
    _add_cluster(parser)
    parser.add_argument(
        "name", nargs="?", type=_place, metavar="NS/NAME", help="with --live: the control plane"
    )
    return parser


def _simulate(commands: Any, name: str) -> _Parser:  # noqa: ANN401
    parser: _Parser = commands.add_parser(
        name,
        help="run the loop in a world of files",
        description=_SIMULATE,
        epilog=_SIMULATE_EXAMPLES,
    )
    _add_world(parser, required=True)
    _add_policy(parser)
    parser.add_argument(
        "--refuse",
        action="append",
        default=[],
        type=_refusal,
        metavar="VERB:KIND/NS/NAME=STATUS",
        help="answer these writes with an HTTP status from 400 to 599 during the whole run",
    )
    parser.add_argument(
        "--passes",
        type=_count_from(0),
        default=0,
        metavar="N",
        help="passes after the loop has settled (default 0)",
    )
    return parser


def _demo(commands: Any, name: str) -> _Parser:  # noqa: ANN401
    parser: _Parser = commands.add_parser(
        name,
        help="compare the loop before and after CAPTEP-0016",
        description=_DEMO,
        epilog="example:\n  captep demo --control-planes 20 --hours 2",
    )
    parser.add_argument(
        "--control-planes",
        type=_count_from(1),
        default=1,
        metavar="N",
        help="number of control planes (default 1)",
    )
    parser.add_argument(
        "--hours", type=_hours, default=1.0, metavar="H", help="virtual hours (default 1)"
    )
    parser.add_argument(
        "--seed",
        type=_count_from(0),
        default=0,
        metavar="S",
        help="seed of the simulated durations and Secrets (default 0)",
    )
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the writes over time")
    parser.add_argument(
        "--report", metavar="FILE", help="write the measured graduation criteria as Markdown"
    )
    return parser


def _run(commands: Any, name: str) -> _Parser:  # noqa: ANN401
    parser: _Parser = commands.add_parser(
        name, help="run the controller on a cluster", description=_RUN, epilog=_RUN_EXAMPLES
    )
    _add_cluster(parser)
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        type=_namespace,
        metavar="NS",
        help="only this namespace (repeatable; default all)",
    )
    parser.add_argument(
        "--workers",
        type=_count_from(1),
        default=4,
        metavar="N",
        help="control planes reconciled at the same time (default 4)",
    )
    parser.add_argument(
        "--leader-elect",
        action="store_true",
        help="write only while holding a Lease; a dry run needs no Lease",
    )
    parser.add_argument(
        "--leader-election-id",
        default="captep",
        type=_lease,
        metavar="NAME",
        help="name of the Lease (default captep)",
    )
    parser.add_argument(
        "--leader-election-namespace",
        type=_namespace,
        metavar="NS",
        help="namespace of the Lease (default: the pod's)",
    )
    parser.add_argument(
        "--metrics-bind-address",
        type=_address,
        default=":8080",
        metavar="A",
        help="HOST:PORT; 0 for none (default :8080)",
    )
    parser.add_argument(
        "--metrics-secure",
        action="store_true",
        help="serve /metrics over HTTPS to users that the API server allows to get it",
    )
    parser.add_argument(
        "--metrics-cert-dir",
        metavar="DIR",
        help="folder with tls.crt and tls.key for --metrics-secure; replaced files are read again",
    )
    parser.add_argument(
        "--health-probe-bind-address",
        type=_address,
        default=":8081",
        metavar="A",
        help="HOST:PORT; 0 for none (default :8081)",
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="format of the log on standard error (default text)",
    )
    parser.add_argument(
        "--dry-run",
        choices=("none", "client", "server"),
        default="none",
        help="decide and log, but write nothing (default none: write)",
    )
    _add_policy(parser)
    return parser


def _add_world(parser: _Parser, *, required: bool) -> None:
    parser.add_argument(
        "-f",
        dest="files",
        action="append",
        required=required,
        metavar="FILE",
        help="YAML or JSON; - is standard input",
    )
    parser.add_argument(
        "--control-plane",
        type=_place,
        metavar="NS/NAME",
        help="the control plane, when the files hold several",
    )
    parser.add_argument(
        "--now",
        type=_time,
        metavar="RFC3339",
        help="the time, such as 2026-01-01T00:00:00Z (default: now)",
    )
    parser.add_argument(
        "--unreadable",
        action="append",
        default=[],
        type=_unreadable,
        metavar="KIND/NS/NAME=REASON",
        help="make reads of this object fail, for example with Forbidden",
    )
    parser.add_argument(
        "-o",
        dest="output",
        choices=("text", "json"),
        default="text",
        help="output for people or for programs (default text)",
    )
    parser.add_argument(
        "--show-secrets",
        action="store_true",
        help="show the values of Secrets instead of their fingerprints",
    )


def _add_policy(parser: _Parser) -> None:
    parser.add_argument(
        "--publish-to-cluster",
        choices=("auto", "always", "never"),
        default="auto",
        help="write to the Cluster: its status only where Cluster API's core does not act on it"
        " (auto, the default), always, or never",
    )


def _add_cluster(parser: _Parser) -> None:
    parser.add_argument("--kubeconfig", metavar="F", help="kubeconfig file (default: as kubectl)")
    parser.add_argument(
        "--context", metavar="C", help="context of the kubeconfig (default: its current one)"
    )


def _check_plan(parser: _Parser, options: argparse.Namespace) -> None:
    """Refuse to mix the two sources of a plan: files, or a cluster."""
    of_files = {
        "-f": options.files,
        "--control-plane": options.control_plane,
        "--now": options.now,
        "--unreadable": options.unreadable,
    }
    of_cluster = {
        "--kubeconfig": options.kubeconfig,
        "--context": options.context,
        "NS/NAME": options.name,
    }
    for name, value in (of_files if options.live else of_cluster).items():
        if value:
            parser.error(
                f"{name} does not go with {'--live' if options.live else '-f; it needs --live'}"
            )
    if options.live and options.name is None:
        parser.error("--live needs NS/NAME, the control plane to look at")
    if not options.live and not options.files:
        parser.error("expected -f FILE or --live")


def _check_run(parser: _Parser, options: argparse.Namespace) -> None:
    """Check the certificate of --metrics-secure, and that the flags for it fit."""
    if not options.metrics_secure:
        if options.metrics_cert_dir is not None:
            parser.error("--metrics-cert-dir needs --metrics-secure")
        return
    if options.metrics_cert_dir is None:
        parser.error("--metrics-secure needs --metrics-cert-dir DIR with tls.crt and tls.key")
    if options.metrics_bind_address == options.health_probe_bind_address != "0":
        parser.error(
            "--metrics-secure needs an address of its own, other than"
            f" --health-probe-bind-address {options.health_probe_bind_address}"
        )
    from captep_runtime import Certificate, CertificateError  # noqa: PLC0415 - only `run` needs it

    try:
        Certificate(Path(options.metrics_cert_dir))
    except CertificateError as error:
        parser.error(f"--metrics-cert-dir: {error}")


def _place(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"expected NS/NAME, not {text!r}")
    return namespace, name


def _namespace(text: str) -> str:
    if not re.fullmatch(_LABEL, text):
        raise argparse.ArgumentTypeError(
            f"expected the name of a namespace (lower case letters, digits and -), not {text!r}"
        )
    return text


def _lease(text: str) -> str:
    if not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text) or len(text) > 253:
        raise argparse.ArgumentTypeError(
            f"expected a name for the Lease (lower case letters, digits, - and .), not {text!r}"
        )
    return text


def _time(text: str) -> datetime:
    problem = argparse.ArgumentTypeError(
        f"expected an RFC 3339 time such as 2026-01-01T00:00:00Z, not {text!r}"
    )
    if not (text.isascii() and _TIME.fullmatch(text)):
        raise problem
    try:
        time = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise problem from None
    if time.year not in _YEARS:
        raise argparse.ArgumentTypeError(
            f"expected a time from {_YEARS.start} to {_YEARS.stop - 1}, not {text!r}"
        )
    return time


_Object = tuple[str, str | None, str, str | None]


def _object(text: str) -> _Object:
    """Read KIND/NS/NAME or KIND.GROUP/NS/NAME as kind, namespace, name and group."""
    parts = text.split("/")
    if len(parts) != 3 or not parts[0] or not parts[2] or parts[0].startswith("."):
        raise argparse.ArgumentTypeError(
            f"expected KIND/NS/NAME (an empty NS for a cluster-scoped object), not {text!r}"
        )
    kind, dot, group = parts[0].partition(".")
    if dot and not group:
        raise argparse.ArgumentTypeError(f"expected KIND.GROUP/NS/NAME, not {text!r}")
    return kind, parts[1] or None, parts[2], group or None


def _unreadable(text: str) -> tuple[_Object, str]:
    what, _, reason = text.rpartition("=")
    if not (reason.isascii() and _REASON.fullmatch(reason)):
        raise argparse.ArgumentTypeError(
            f"expected KIND/NS/NAME=REASON with a reason such as Forbidden, not {text!r}"
        )
    return _object(what), reason


def _refusal(text: str) -> tuple[str, _Object, int]:
    verb, colon, rest = text.partition(":")
    if not colon or verb not in _VERBS:
        raise argparse.ArgumentTypeError(
            f"expected VERB:KIND/NS/NAME=STATUS with {', '.join(_VERBS)}"
            f"{suggestion(verb, _VERBS)}, not {text!r}"
        )
    what, _, status = rest.rpartition("=")
    if not (re.fullmatch(r"[45][0-9]{2}", status) and what):
        raise argparse.ArgumentTypeError(
            f"expected VERB:KIND/NS/NAME=STATUS with a status from 400 to 599, not {text!r}"
        )
    return verb, _object(what), int(status)


def _count_from(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of {least} or more, not {text!r}"
            )
        return int(text)

    return count


def _hours(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"expected a number of hours above 0, not {text!r}")
    return float(text)


def _address(text: str) -> str:
    from captep_runtime import parse_bind_address  # noqa: PLC0415 - only `run` needs it

    try:
        parse_bind_address(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return text


def _serve(commands: Any, name: str) -> _Parser:  # noqa: ANN401
    parser: _Parser = commands.add_parser(
        name,
        help="serve the in-memory API server on loopback",
        description=_SERVE,
        epilog=_SERVE_EXAMPLES,
    )
    parser.add_argument(
        "-f",
        "--file",
        dest="files",
        action="append",
        default=[],
        metavar="FILE",
        help="manifests that the server holds first; - is standard input; may be repeated",
    )
    parser.add_argument(
        "--port", type=_count_from(0), default=0, metavar="P", help="0 is a free one (default)"
    )
    parser.add_argument("--kubeconfig", metavar="OUT", help="write a kubeconfig for the server")
    parser.add_argument("--store", metavar="DIR", help="keep the objects across restarts")
    parser.add_argument(
        "--world", choices=["captep"], help="add the simulated peers of a control plane"
    )
    parser.add_argument(
        "--speed",
        type=_count_from(1),
        default=20,
        metavar="N",
        help="how many times faster than real ones the peers are (default 20)",
    )
    return parser


def _audit(commands: Any, name: str) -> _Parser:  # noqa: ANN401
    parser: _Parser = commands.add_parser(
        name,
        help="judge any operator by the audit log of an API server",
        description=_AUDIT,
        epilog=_AUDIT_EXAMPLES,
    )
    parser.add_argument(
        "logs", nargs="+", metavar="LOG", help="audit log, plain or gzip; - is standard input"
    )
    parser.add_argument("--user", metavar="NAME", help="judge only this user")
    parser.add_argument(
        "--agent", metavar="SUBSTRING", help="judge only user agents that contain this text"
    )
    parser.add_argument(
        "-o",
        dest="output",
        choices=("text", "json"),
        default="text",
        help="output for people or for programs (default text)",
    )
    return parser


_COMMANDS: Final[dict[str, Callable[[Any, str], _Parser]]] = {
    "plan": _plan,
    "simulate": _simulate,
    "demo": _demo,
    "run": _run,
    "serve": _serve,
    "audit": _audit,
}
_ABOUT: Final = (
    "The reconcile loop of the CAPTControlPlane: show its decisions, simulate it, run it."
)
_EXAMPLES: Final = """\
examples:
  captep plan -f control-plane.yaml            show what the loop would do now, and why
  captep simulate -f control-plane.yaml        run the loop alone until it settles
  captep plan --live fleet/tokyo               show the same for a cluster
  captep demo                                  compare the loop before and after CAPTEP-0016

exit status: 0 done, 1 error, 2 wrong usage, 3 not settled, 130 interrupted"""
_SERVE: Final = """\
Serve an in-memory API server with the semantics of kube-apiserver on 127.0.0.1, until SIGTERM.
There is no authentication: anybody on this machine can use it."""
_SERVE_EXAMPLES: Final = """\
examples:
  captep serve --kubeconfig /tmp/config &                  then use kubectl with this kubeconfig
  captep serve --world captep --kubeconfig /tmp/config &   with the peers of a control plane, and
  captep run --kubeconfig /tmp/config                      the loop next to them"""
_PLAN: Final = """\
Show one decision for one control plane, from files or from a cluster. Writes nothing."""
_PLAN_EXAMPLES: Final = """\
examples:
  captep plan -f world.yaml
  kubectl get captcontrolplanes,clusters,workspacetemplates -A -o yaml |
    captep plan -f - --control-plane fleet/tokyo
  captep plan -f world.yaml --unreadable WorkspaceTemplate/fleet/eks=Forbidden -o json
  captep plan --live --context production fleet/tokyo"""
_SIMULATE: Final = """\
Run the loop of one control plane in the world of the files until it settles. The loop is alone
there: no Terraform, no Cluster API and no user acts."""
_SIMULATE_EXAMPLES: Final = """\
examples:
  captep simulate -f world.yaml
  captep simulate -f world.yaml --passes 3 -o json
  captep simulate -f world.yaml \\
    --refuse create:WorkspaceTemplateApply/fleet/tokyo-eks-controlplane-apply=403
  captep simulate -f world.yaml -o json --show-secrets |
    jq '{kind: "List", items: .objects}' | captep plan -f -

exit status 3: the loop did not settle within 20 passes"""
_AUDIT: Final = """\
Judge an operator, in any language, by what an API server logged of its requests: hot loops, writes
without an effect, repeated writes, deletes without preconditions, fights between two managers,
resourceVersions that do not settle, reads per change, list storms, conflicts per write."""
_AUDIT_EXAMPLES: Final = """\
examples:
  captep audit /var/log/kubernetes/audit.log --agent my-operator
  captep audit audit*.log* --user system:serviceaccount:ops:my-operator -o json

exit status: 0 nothing found, 1 something found, 2 wrong usage or a file that is no audit log

The audit level RequestResponse lets every rule judge; Metadata has no bodies and no answers, and
the report then says what it could not judge."""
_DEMO: Final = """\
Run a fleet through virtual hours with three loops and compare their costs: the loop before
CAPTEP-0016, its intervals alone, and captep."""
_RUN: Final = """\
Run the controller until SIGTERM or SIGINT. Both finish the passes under way, release the lease
and exit with status 0."""
_RUN_EXAMPLES: Final = """\
examples:
  captep run --dry-run client                  log what it would write to the cluster
  captep run --leader-elect --log-format json  as in a Deployment"""
