"""Access to /metrics over HTTPS: the API server authenticates and authorizes each token.

As with kubebuilder's filter WithAuthenticationAndAuthorization, a request needs a bearer token. A
TokenReview names its user, and a SubjectAccessReview says whether the user may `get` the path. This
process needs `create` on both (the ClusterRole system:auth-delegator).
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from captep_core._actions import JSON
from captep_core.errors import GatewayError
from captep_kubernetes import Transport, UnansweredError

__all__ = ["MetricsAccess"]

_log = logging.getLogger("captep.metrics")
_REQUEST_SECONDS: Final = 10.0
_ALLOWED_SECONDS: Final = 60.0
"""kubebuilder keeps a TokenReview as long: a revoked token works for at most a minute."""
_REFUSED_SECONDS: Final = 10.0
"""A new binding works soon, and a scraper without permission does not cost a review each time."""
_MOST: Final = 1000
"""Answers kept at once: some scrapers, and no room for a flood of invented tokens."""
_AUTHENTICATION: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_AUTHORIZATION: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_Refusal: TypeAlias = tuple[int, str] | None


class MetricsAccess:
    """Decides on requests by the reviews of the API server, and keeps its answers for a while."""

    def __init__(
        self, transport: Transport, *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport, self._seconds = transport, seconds
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str, str], tuple[float, _Refusal]] = {}
        self._is_failing = False

    def __call__(self, method: str, path: str, authorization: str | None) -> _Refusal:
        """Return None when the request may pass, else the status and the reason of its refusal."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return 401, "Unauthorized"
        # Not the token itself: nothing of it must stay in memory, or come out in a dump.
        key = (hashlib.sha256(token.encode()).hexdigest(), method, path)
        with self._lock:
            expires_at, refusal = self._known.get(key, (0.0, None))
        if self._seconds() < expires_at:
            return refusal
        try:
            refusal = self._review(token, method.lower(), path)
        except (GatewayError, UnansweredError) as error:
            self._report(str(error))
            return 500, "the API server cannot review the request"
        self._report("")
        self._keep(key, refusal)
        return refusal

    def _keep(self, key: tuple[str, str, str], refusal: _Refusal) -> None:
        lasts = _ALLOWED_SECONDS if refusal is None else _REFUSED_SECONDS
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = (self._seconds() + lasts, refusal)

    def _report(self, problem: str) -> None:
        """Log a problem when it starts and when it ends, not at every scrape."""
        with self._lock:
            was_failing, self._is_failing = self._is_failing, bool(problem)
        if problem and not was_failing:
            _log.warning("requests for metrics cannot be reviewed: %s", problem)
        if was_failing and not problem:
            _log.info("requests for metrics can be reviewed again")

    def _review(self, token: str, verb: str, path: str) -> _Refusal:
        token_review: dict[str, JSON] = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        }
        review = self._created(_AUTHENTICATION, token_review)
        user = review.get("user")
        if review.get("authenticated") is not True or not isinstance(user, dict):
            return 401, "Unauthorized"
        spec: dict[str, JSON] = {
            "user": user.get("username"),
            "uid": user.get("uid"),
            "groups": user.get("groups"),
            "extra": user.get("extra"),
            "nonResourceAttributes": {"path": path, "verb": verb},
        }
        access_review: dict[str, JSON] = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {name: value for name, value in spec.items() if value is not None},
        }
        if self._created(_AUTHORIZATION, access_review).get("allowed") is not True:
            return 403, f"Authorization denied for user {user.get('username')}"
        return None

    def _created(self, path: str, body: Mapping[str, JSON]) -> Mapping[str, Any]:
        """Create a review and return its status."""
        answer = self._transport.request("POST", path, body=body, timeout=_REQUEST_SECONDS)
        status = (answer.body or {}).get("status")
        if answer.status != 201 or not isinstance(status, dict):
            kind = path.rpartition("/")[2]
            raise GatewayError(
                f"HTTP {answer.status} to the create of {kind}:"
                " bind the ClusterRole system:auth-delegator"
            )
        return status
