"""The flags of `run`, `plan` and `simulate`, and help that teaches by example."""

import argparse
from pathlib import Path
from typing import Final

from attrs import frozen

from captep_operator._shard import Shard
from captep_operator.command._parser import Parser, Subparsers
from captep_operator.command._program import Program
from captep_operator.command._values import (
    address,
    count_from,
    lease_name,
    namespace,
    object_name,
    place,
    place_or_name,
    refusal,
    shard,
    time,
    unreadable,
)

__all__ = ["Flags", "check_run"]

_PLAN: Final = """\
Show one decision for one object, from files or from a cluster. Writes nothing."""
_SIMULATE: Final = """\
Run the loop of one object in the world of the files until it settles. The loop is alone there: no
other controller and no user acts."""
_RUN: Final = """\
Run the controller until SIGTERM or SIGINT. Both finish the passes under way, release the lease
and exit with status 0."""
_RUN_EXAMPLES: Final = """\
examples:
  {prog} run --dry-run client                  log what it would write to the cluster
  {prog} run --leader-elect --log-format json  as in a Deployment
  {prog} run --shard 1/2                       half of the objects; --shard 2/2 has the others"""
_PLAN_EXAMPLES: Final = """\
examples:
  {prog} plan -f world.yaml
  kubectl get {kinds} -A -o yaml |
    {prog} plan -f - {chosen}
  {prog} plan -f world.yaml --unreadable {other}/fleet/tokyo=Forbidden -o json
  {prog} plan --live --context production fleet/tokyo"""
_SIMULATE_EXAMPLES: Final = """\
examples:
  {prog} simulate -f world.yaml
  {prog} simulate -f world.yaml --passes 3 -o json
  {prog} simulate -f world.yaml --html run.html
  {prog} simulate -f world.yaml \\
    --refuse patch:{kind}/fleet/tokyo=403
  {prog} simulate -f world.yaml -o json --show-secrets |
    jq '{{kind: "List", items: .objects}}' | {prog} plan -f -

exit status 3: the loop did not settle within 20 passes"""
_LOADED_EXAMPLES: Final = """

An operator that has no command line of its own, in a module of the current folder:
  {prog} {command} -f world.yaml --decide database:operator
  {prog} {command} -f world.yaml --decide database:decide --object Database/team/main"""


@frozen
class Flags:
    """The parsers of a program."""

    program: Program

    def plan(self, commands: Subparsers, name: str, line: str) -> Parser:
        """Add `plan`."""
        parser = self._command(
            commands,
            name,
            help=line,
            description=_PLAN,
            epilog=self._examples(_PLAN_EXAMPLES, name),
        )
        self._add_world(parser, required=False)
        parser.add_argument(
            "--live", action="store_true", help="read a cluster instead of files; writes nothing"
        )
        _add_cluster(parser)
        kind = self.program.operator.primary.kind
        is_namespaced = self.program.operator.primary.is_surely_namespaced
        parser.add_argument(
            "name",
            nargs="?",
            type=place if is_namespaced else place_or_name,
            metavar="NS/NAME",
            help=f"with --live: the {kind}",
        )
        return parser

    def simulate(self, commands: Subparsers, name: str, line: str) -> Parser:
        """Add `simulate`."""
        parser = self._command(
            commands,
            name,
            help=line,
            description=_SIMULATE,
            epilog=self._examples(_SIMULATE_EXAMPLES, name),
        )
        self._add_world(parser, required=True)
        parser.add_argument(
            "--refuse",
            action="append",
            default=[],
            type=refusal,
            metavar="VERB:KIND/NS/NAME=STATUS",
            help="answer these writes with an HTTP status from 400 to 599 during the whole run",
        )
        parser.add_argument(
            "--passes",
            type=count_from(0),
            default=0,
            metavar="N",
            help="passes after the loop has settled (default 0)",
        )
        parser.add_argument(
            "--html",
            type=Path,
            metavar="FILE",
            help="write a page for a browser: each pass with its requests and what they changed",
        )
        return parser

    def run(self, commands: Subparsers, name: str, line: str) -> Parser:
        """Add `run`."""
        parser = self._command(
            commands,
            name,
            help=line,
            description=_RUN,
            epilog=_RUN_EXAMPLES.format(prog=self.program.prog),
        )
        _add_cluster(parser)
        _add_work(parser, self.program.operator.primary.kind)
        _add_lease(parser, self.program.operator.name)
        _add_addresses(parser)
        parser.add_argument(
            "--log-format",
            choices=("text", "json"),
            default="text",
            help="format of the log on standard error (default text)",
        )
        return parser

    def check_plan(self, parser: Parser, options: argparse.Namespace) -> None:
        """Refuse to mix the two sources of a plan: files, or a cluster."""
        of_files = {
            "-f": options.files,
            self.program.alias or "--object": options.object,
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
            kind = self.program.operator.primary.kind
            parser.error(f"--live needs NS/NAME, the {kind} to look at")
        if not options.live and not options.files:
            parser.error("expected -f FILE or --live")

    def _command(self, commands: Subparsers, name: str, **texts: str) -> Parser:
        parents = [] if self.program.flags is None else [self.program.flags]
        parser: Parser = commands.add_parser(name, parents=parents, **texts)
        return parser

    def _add_world(self, parser: Parser, *, required: bool) -> None:
        parser.add_argument(
            "-f",
            dest="files",
            action="append",
            required=required,
            metavar="FILE",
            help="YAML or JSON; - is standard input",
        )
        kind = self.program.operator.primary.kind
        which = parser.add_mutually_exclusive_group()
        if self.program.alias:
            which.add_argument(
                self.program.alias,
                dest="object",
                type=place,
                metavar="NS/NAME",
                help=f"the {kind}, when the files hold several",
            )
        which.add_argument(
            "--object",
            type=object_name,
            metavar="KIND[.GROUP]/NS/NAME",
            help="the object to decide about, when the files hold several of its kind",
        )
        if self.program.loads:
            parser.add_argument(
                "--decide",
                metavar="MODULE:NAME",
                help="an Operator of your own, or its decide function, which needs --object",
            )
        parser.add_argument(
            "--now",
            type=time,
            metavar="RFC3339",
            help="the time, such as 2026-01-01T00:00:00Z (default: now)",
        )
        parser.add_argument(
            "--unreadable",
            action="append",
            default=[],
            type=unreadable,
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

    def _examples(self, template: str, command: str) -> str:
        operator = self.program.operator
        kind = operator.primary.kind
        alias = self.program.alias
        text = template + (_LOADED_EXAMPLES if self.program.loads else "")
        return text.format(
            prog=self.program.prog,
            command=command,
            kind=kind,
            other=operator.kinds[-1].kind,
            kinds=",".join(
                each.resource_name() for each in operator.kinds if each.payload != "on demand"
            ),
            chosen=f"{alias} fleet/tokyo" if alias else f"--object {kind}/fleet/tokyo",
        )


def check_run(parser: Parser, options: argparse.Namespace) -> None:
    """Check the certificate of --metrics-secure, and that the flags fit to each other."""
    try:
        lease_name(options.shard.lease_name(options.leader_election_id))
    except argparse.ArgumentTypeError as error:
        parser.error(f"--leader-election-id and --shard: {error}")
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


def _add_cluster(parser: Parser) -> None:
    parser.add_argument("--kubeconfig", metavar="F", help="kubeconfig file (default: as kubectl)")
    parser.add_argument(
        "--context", metavar="C", help="context of the kubeconfig (default: its current one)"
    )


def _add_work(parser: Parser, kind: str) -> None:
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        type=namespace,
        metavar="NS",
        help="only this namespace (repeatable; default all)",
    )
    parser.add_argument(
        "--workers",
        type=count_from(1),
        default=4,
        metavar="N",
        help=f"{kind} objects reconciled at the same time (default 4)",
    )
    parser.add_argument(
        "--dry-run",
        choices=("none", "client", "server"),
        default="none",
        help="decide and log, but write nothing (default none: write)",
    )


def _add_lease(parser: Parser, name: str) -> None:
    parser.add_argument(
        "--leader-elect",
        action="store_true",
        help="write only while holding a Lease; a dry run needs no Lease",
    )
    parser.add_argument(
        "--leader-election-id",
        default=name,
        type=lease_name,
        metavar="NAME",
        help=f"name of the Lease (default {name})",
    )
    parser.add_argument(
        "--leader-election-namespace",
        type=namespace,
        metavar="NS",
        help="namespace of the Lease (default: the pod's)",
    )
    parser.add_argument(
        "--shard",
        default=Shard(1, 1),
        type=shard,
        metavar="I/N",
        help="reconcile the I-th of N shares of the objects, by a hash of their names, while"
        " holding the Lease NAME-shard-I; the Lease NAME keeps N, and a process with another N"
        " does not start; a dry run needs no Lease (default 1/1: all objects)",
    )


def _add_addresses(parser: Parser) -> None:
    parser.add_argument(
        "--metrics-bind-address",
        type=address,
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
        type=address,
        default=":8081",
        metavar="A",
        help="HOST:PORT; 0 for none (default :8081)",
    )
