"""The flags of `demo`, `serve` and `audit`, and help that teaches by example."""

import argparse
import re
from typing import Final

from captep_operator.command import Parser, Subparsers, count_from

__all__ = ["audit", "demo", "serve"]

_DEMO: Final = """\
Run a fleet through virtual hours with three loops and compare their costs: the loop before
CAPTEP-0016, its intervals alone, and captep."""
_SERVE: Final = """\
Serve an in-memory API server with the semantics of kube-apiserver on 127.0.0.1, until SIGTERM.
There is no authentication: anybody on this machine can use it."""
_SERVE_EXAMPLES: Final = """\
examples:
  captep serve --kubeconfig /tmp/config &                  then use kubectl with this kubeconfig
  captep serve --world captep --kubeconfig /tmp/config &   with the peers of a control plane, and
  captep run --kubeconfig /tmp/config                      the loop next to them"""
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


def demo(commands: Subparsers, name: str, line: str) -> Parser:
    """Add `demo`."""
    parser: Parser = commands.add_parser(
        name,
        help=line,
        description=_DEMO,
        epilog="example:\n  captep demo --control-planes 20 --hours 2",
    )
    parser.add_argument(
        "--control-planes",
        type=count_from(1),
        default=1,
        metavar="N",
        help="number of control planes (default 1)",
    )
    parser.add_argument(
        "--hours", type=_hours, default=1.0, metavar="H", help="virtual hours (default 1)"
    )
    parser.add_argument(
        "--seed",
        type=count_from(0),
        default=0,
        metavar="S",
        help="seed of the simulated durations and Secrets (default 0)",
    )
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the writes over time")
    parser.add_argument(
        "--report", metavar="FILE", help="write the measured graduation criteria as Markdown"
    )
    return parser


def serve(commands: Subparsers, name: str, line: str) -> Parser:
    """Add `serve`."""
    parser: Parser = commands.add_parser(
        name,
        help=line,
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
        "--port", type=count_from(0), default=0, metavar="P", help="0 is a free one (default)"
    )
    parser.add_argument("--kubeconfig", metavar="OUT", help="write a kubeconfig for the server")
    parser.add_argument("--store", metavar="DIR", help="keep the objects across restarts")
    parser.add_argument(
        "--world", choices=["captep"], help="add the simulated peers of a control plane"
    )
    parser.add_argument(
        "--speed",
        type=count_from(1),
        default=20,
        metavar="N",
        help="how many times faster than real ones the peers are (default 20)",
    )
    return parser


def audit(commands: Subparsers, name: str, line: str) -> Parser:
    """Add `audit`."""
    parser: Parser = commands.add_parser(
        name,
        help=line,
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


def _hours(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"expected a number of hours above 0, not {text!r}")
    return float(text)
