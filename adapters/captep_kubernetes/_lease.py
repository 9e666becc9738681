"""Leader election over a Lease: the thread around `Elector`.

The official client's `LeaderElection` does not serve: a transport error leaves its `run` while the
worker goes on (two leaders were seen at work), nothing can stop it, and it never releases the
lease. The decisions are in `_election`; tests run several electors against each other in virtual
time.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from captep_core._actions import JSON
from captep_core._request import RawResponse, reason_of
from captep_core._workqueue import jittered
from captep_kubernetes._election import Elector, LeaseTimes, marks, shards_of
from captep_kubernetes._resources import LEASES
from captep_kubernetes._transport import MERGE_PATCH, Transport, UnansweredError

__all__ = ["LeaderElector"]

_log = logging.getLogger("captep.kubernetes")
# Half of the default renew_deadline: a second request still fits.
_REQUEST_SECONDS = 5.0
# client-go's JitterFactor: candidates that started together do not claim together.
_JITTER: Final = 0.2


class LeaderElector:
    """Competes for one Lease until it is stopped.

    `is_leading` is the authority: it is right at every moment, even while a request hangs. Ask it
    before each write. The callbacks follow as soon as the thread is free. They run on the elector's
    thread and must return at once: while they run, nothing renews the lease.

    Args:
        transport: the way to the server.
        namespace: where the Lease is.
        name: of the Lease.
        identity: unique among all candidates, for instance the Pod's name and a random suffix.
        times: see `LeaseTimes`.
        shards: the number of shards of the fleet; a Lease of another number is never claimed.
        on_started_leading: called each time that this candidate begins to lead.
        on_stopped_leading: called each time that it no longer leads; after that it competes again.
        on_other_leader: called with the identity of another holder, once for each new one.
        clock: seconds that only grow.
        now: the time that people read in the Lease.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes | None = None,
        shards: int = 1,
        on_started_leading: Callable[[], None] = lambda: None,
        on_stopped_leading: Callable[[], None] = lambda: None,
        on_other_leader: Callable[[str], None] = lambda _holder: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transport = transport
        self._namespace = namespace
        self._name = name
        self._elector = Elector(identity, times or LeaseTimes(), shards=shards)
        self._callbacks = {True: on_started_leading, False: on_stopped_leading}
        self._on_other_leader = on_other_leader
        self._announced_holder = ""
        self._clock = clock
        self._now = now
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._announced_leading = False
        self._must_read = True
        self._problem: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs that renews the lease."""
        return self._thread is not None and self._thread.is_alive()

    def problems(self) -> tuple[str, ...]:
        """Name what only a restart mends: the thread ended although nothing stopped it."""
        has_ended = (
            self._thread is not None and not self._thread.is_alive() and not self._stopping.is_set()
        )
        return (
            (f"the thread that renews the lease {self._namespace}/{self._name} has ended",)
            if has_ended
            else ()
        )

    def is_leading(self) -> bool:
        """Whether this candidate leads at this moment."""
        return self._elector.is_leading(now=self._clock())

    def start(self) -> None:
        """Start to compete; once."""
        self._thread = threading.Thread(
            target=self._run, name=f"lease {self._namespace}/{self._name}", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float = 12.0) -> None:
        """Stop leading, give the lease back and stop competing, within `timeout` seconds.

        The work must be over before: another candidate leads as soon as the lease is free.
        """
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._report(self._try())
            self._announce()
            self._stopping.wait(self._pause())
            self._announce()
        self._give_back()

    def _try(self) -> str | None:
        """Read and claim, a leader without reading; returns what went wrong."""
        try:
            if self._must_read and (problem := self._read()) is not None:
                return problem
            self._must_read = True
            if self._elector.lease is not None and self._elector.is_of_others:
                found = shards_of(self._elector.lease)
                return f"it belongs to a fleet of {found}, expected {self._elector.shards}"
            sent_at = self._clock()
            claim = self._elector.claim(now=sent_at, wall=self._now())
            return None if claim is None else self._claim(claim, sent_at)
        except UnansweredError as error:
            return str(error)

    def _read(self) -> str | None:
        answer = self._send("GET", self._path())
        if answer.status not in (200, 404):
            return _refusal(answer)
        self._elector = self._elector.observe(
            answer.body if answer.status == 200 else None, now=self._clock()
        )
        return None

    def _claim(self, claim: dict[str, JSON], sent_at: float) -> str | None:
        if self._elector.lease is None:
            named = {**claim, "metadata": {**marks(self._elector.shards), "name": self._name}}
            answer = self._send("POST", LEASES.path(self._namespace), named)
        else:
            answer = self._send("PATCH", self._path(), claim)
        if answer.status in (200, 201) and answer.body is not None:
            self._elector = self._elector.claimed(answer.body, sent_at=sent_at, now=self._clock())
            self._must_read = False
            return None
        # Another candidate was faster. That is no problem: the next read shows its claim.
        return None if answer.status in (404, 409) else _refusal(answer)

    def _give_back(self) -> None:
        led, self._elector = self._elector, self._elector.stepped_down()
        self._announce()
        release = led.release(wall=self._now())
        if release is None or self._must_read:
            return
        try:
            self._send("PATCH", self._path(), release)
        except UnansweredError as error:
            _log.info(
                "lease %s/%s: not given back, it will expire: %s",
                self._namespace,
                self._name,
                error,
            )

    def _send(self, method: str, path: str, body: Mapping[str, JSON] | None = None) -> RawResponse:
        # Connecting and reading have this timeout each; both together end before leading does.
        left = self._elector.leading_until - self._clock()
        timeout = min(_REQUEST_SECONDS, max(left / 2, 0.1)) if left > 0 else _REQUEST_SECONDS
        return self._transport.request(
            method,
            path,
            body=body,
            content_type=MERGE_PATCH if method == "PATCH" else None,
            timeout=timeout,
        )

    def _pause(self) -> float:
        period = jittered(
            self._elector.times.retry_period, self._elector.identity, fraction=_JITTER
        )
        now = self._clock()
        # A leader stops in time. Another candidate looks again when the lease expires.
        is_leading = self._elector.is_leading(now=now)
        left = (self._elector.leading_until if is_leading else self._elector.expires_at) - now
        return min(period, left) if left > 0 else period

    def _announce(self) -> None:
        leading = self.is_leading()
        if leading != self._announced_leading:
            self._announced_leading = leading
            _log.info(
                "lease %s/%s: %s %s",
                self._namespace,
                self._name,
                self._elector.identity,
                "leads" if leading else "no longer leads",
            )
            self._callbacks[leading]()
        holder = self._elector.holder
        if holder != self._announced_holder:
            self._announced_holder = holder
            if holder not in ("", self._elector.identity):
                self._on_other_leader(holder)

    def _report(self, problem: str | None) -> None:
        before, self._problem = self._problem, problem
        if problem is not None and before is None:
            _log.warning("lease %s/%s: %s", self._namespace, self._name, problem)
        elif problem is None and before is not None:
            _log.info("lease %s/%s: reachable again", self._namespace, self._name)

    def _path(self) -> str:
        return LEASES.path(self._namespace, self._name)


def _refusal(answer: RawResponse) -> str:
    hint = (
        ": the ServiceAccount needs get, create and patch on leases" if answer.status == 403 else ""
    )
    return f"{reason_of(answer)}: HTTP {answer.status}{hint}"
