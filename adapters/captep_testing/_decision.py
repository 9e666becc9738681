"""The judgement of one decision, on the view for which it was made.

- P8: a delete and a patch carry the uid for which they were decided; a patch that replaces a list
  carries the resourceVersion too.
- P10: the finalizer goes before every write to another object.
- P15: the interval is within its limits.
- P17: no output holds a canary, and nothing but a Secret holds a password, a token or a key of a
  Secret.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from captep_core._actions import Action, Apply, Create, ObjectRef, Patch, RecordEvent, write_of
from captep_core._decision import Decision
from captep_core._observation import Absent
from captep_core.ports import Read
from captep_testing._kit import Kit
from captep_testing._report import Violation

__all__ = ["is_write", "judge_decision", "leaks", "replaces_list"]

# Fields of a Secret that are secret by their names; a user name or a host is not.
_CREDENTIAL: Final = re.compile(
    r"(?i)passw|token|secret|private|credential|\.key$|^key$|kubeconfig"
)
# Shorter values occur in texts by chance.
_SHORTEST: Final = 6


def judge_decision(kit: Kit, decision: Decision, read: Read) -> Iterator[Violation]:
    """Yield the violations of one decision (P8, P10, P15, P17)."""
    yield from _late_finalizer(kit, decision, read)
    for action in decision.actions:
        if not isinstance(action, RecordEvent | Create):
            for lack in _unlocked(action, read):
                yield Violation("P8", f"{write_of(action)} {lack}")
    wait = decision.requeue_after
    if wait is not None and not kit.shortest <= wait <= kit.longest:
        yield Violation("P15", f"requeue_after is {wait}")
    for canary in kit.canaries:
        if _holds(decision, canary):
            yield Violation(
                "P17", f"the output with the verdict {decision.verdict.reason} holds a canary"
            )


def _late_finalizer(kit: Kit, decision: Decision, read: Read) -> Iterator[Violation]:
    """Judge P10: a crash between two writes must not leave a dependent without the finalizer."""
    earlier: Action | None = None
    for action in decision.actions:
        if action.target in kit.keys and isinstance(action, Patch):
            if earlier is not None and _adds_finalizer(action, read):
                yield Violation("P10", f"{write_of(earlier)} goes before the finalizer")
        elif is_write(action):
            earlier = action


def _adds_finalizer(action: Patch, read: Read) -> bool:
    metadata = action.body.get("metadata")
    wanted = metadata.get("finalizers") if isinstance(metadata, dict) else None
    found: Any = read(action.target)
    held = found["metadata"].get("finalizers") or [] if isinstance(found, dict) else []
    return isinstance(wanted, list) and bool(set(map(str, wanted)) - set(held))


def is_write(action: Action) -> bool:
    return not isinstance(action, RecordEvent) and action.subresource != "status"


def _holds(
    decision: Decision, canary: str, is_judged: Callable[[Action], bool] | None = None
) -> bool:
    texts = [
        repr(decision),
        decision.verdict.message,
        *(
            json.dumps(action.body, default=dict)
            for action in decision.actions
            if (is_judged or _is_public)(action)
        ),
    ]
    forms = (canary, base64.b64encode(canary.encode()).decode())
    return any(form in text for form in forms for text in texts)


def leaks(kit: Kit, decision: Decision, objects: Mapping[ObjectRef, object]) -> Iterator[Violation]:
    """Judge P17 for every password, token and key in the Secrets that the function reads."""
    for ref, found in objects.items():
        if ref.kind != "Secret" or not isinstance(found, dict):
            continue
        for name, secret in _credentials(found):
            if secret not in kit.canaries and _holds(decision, secret, _is_open):
                yield Violation("P17", f"the output holds the field {name} of {ref}")


def _credentials(secret: dict[str, Any]) -> Iterator[tuple[str, str]]:
    data = secret.get("data")
    for name, value in (data if isinstance(data, dict) else {}).items():
        if _CREDENTIAL.search(name) and isinstance(value, str):
            try:
                text = base64.b64decode(value).decode()
            except ValueError:
                text = value
            if len(text) >= _SHORTEST:
                yield name, text


def _is_open(action: Action) -> bool:
    """Whether the body of an action goes anywhere but into a Secret."""
    return action.target.kind != "Secret"


def _is_public(action: Action) -> bool:
    """Whether people read the body of an action: an Event or a status."""
    return isinstance(action, RecordEvent) or action.subresource == "status"


def _unlocked(action: Action, read: Read) -> Iterator[str]:
    found = read(action.target)
    creates = isinstance(action, Apply) and isinstance(found, Absent)
    if action.preconditions.uid is None and not creates:
        yield "carries no uid"
    if not isinstance(action, Patch) or action.preconditions.resource_version is not None:
        return
    if replaces_list(action.body, found if isinstance(found, dict) else {}):
        yield "replaces a list and carries no resourceVersion"


def replaces_list(patch: Any, target: Any) -> bool:  # noqa: ANN401 - JSON, taken apart
    if not isinstance(patch, dict):
        return isinstance(patch, list) or (patch is None and isinstance(target, list))
    below = target if isinstance(target, dict) else {}
    return any(replaces_list(value, below.get(name)) for name, value in patch.items())
