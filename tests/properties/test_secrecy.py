"""Nothing of a Secret's content leaks (P17): canaries in every Secret, a search of all output."""

import base64
import io
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_core import Patch, ReconcileState, RecordEvent, observe
from captep_core.capt.wire import structure
from captep_core.errors import WireError
from captep_memory import load
from captep_runtime import JSONFormatter, Logger
from tests.capt.worlds import Object
from tests.properties.driving import KEY, NOW, Drive, Scene, Server, drive
from tests.properties.moves import reachable_worlds
from tests.properties.profile import examples, reaches
from tests.properties.strategies import arbitrary_worlds, live_worlds

_ANY = st.one_of(live_worlds(), reachable_worlds(), arbitrary_worlds())
_CANARIES = ("Qm7zKx0wVt3", "hJ4pLr9sYd2", "Ne6cGb1uXo8", "Wa5fTi7vRk0")
_WINDOW = 8


def _texts(canary: str) -> tuple[str, ...]:
    """Secret texts in every shape that the loop looks into."""
    pem = f"-----BEGIN CERTIFICATE-----\n{canary}A\n-----END CERTIFICATE-----\n"
    return (
        canary,
        f"https://{canary} is no host",
        f"https://host.example.com:{canary}",
        f"apiVersion: v1\nusers: [{{token: {canary}}}]\n",
        pem,
        base64.b64encode(pem.encode()).decode(),
        base64.b64encode(canary.encode()).decode(),
    )


def _hidden(scene: Scene, picks: list[int]) -> Scene:
    """The scene with a canary in every value of every Secret, in annotations and under new keys."""
    objects = list[Object]()
    for number, obj in enumerate(scene.world.objects()):
        canary = _CANARIES[number % len(_CANARIES)]
        pick = picks[number % len(picks)]
        objects.append(_with_canary(obj, canary, pick) if obj["kind"] == "Secret" else obj)
    blind = {
        ref: _misread(seen) if ref.kind == "Secret" and isinstance(seen, dict) else seen
        for ref, seen in scene.blind.items()
    }
    return Scene(load(objects, now=NOW), blind)


def _with_canary(obj: Object, canary: str, pick: int) -> Object:
    keys = [*(obj.get("data") or {}), "cluster_certificate_authority_data", "password"]
    value = base64.b64encode(_texts(canary)[pick].encode()).decode()
    # A valid endpoint is published on purpose, so it stays without a canary.
    kept = {
        key: data
        for key, data in (obj.get("data") or {}).items()
        if key == "cluster_endpoint" and pick not in (1, 2)
    }
    noted = {"kubectl.kubernetes.io/last-applied-configuration": canary}
    return {
        **obj,
        "metadata": {**obj["metadata"], "annotations": noted},
        "data": {**dict.fromkeys(keys, value), **kept},
    }


def _misread(seen: Mapping[str, Any]) -> Object:
    return {
        **seen,
        "data": {"value": f"{_CANARIES[0]} is no base64", _CANARIES[1][:3]: [_CANARIES[2]]},
    }


def _said(scene: Scene, run: Drive) -> Iterator[str]:
    """All output of the loop but the bodies that carry a Secret's content on purpose."""
    yield repr(observe(KEY, Server(scene).read, ReconcileState())[1:])
    for done in run.passes:
        yield repr(done)
        yield from (
            str(each) for each in (done.decision, done.decision.verdict, *done.state.refusals)
        )
        for action, answer in done.sent:
            yield f"{action} {action.reason} {answer}"
            if isinstance(action, RecordEvent) or (
                isinstance(action, Patch) and action.subresource == "status"
            ):
                yield str(action.body)
    yield _logged(run)


def _logged(run: Drive) -> str:
    stream = io.StringIO()
    logger = logging.Logger("properties", logging.DEBUG)  # noqa: LOG001 - outside the hierarchy
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    logger.addHandler(handler)
    before = ""
    for done in run.passes:
        Logger(logger, "captep").passed(KEY, "an-id", before, done)
        before = done.decision.verdict.reason
    return stream.getvalue()


def _windows() -> frozenset[str]:
    """Every eight characters of a canary, as they are and in base64 at each of three offsets."""
    spelled = [
        spelling
        for canary in _CANARIES
        for spelling in (canary, *(_encoded(canary, offset) for offset in range(3)))
    ]
    return frozenset(
        text[at : at + _WINDOW] for text in spelled for at in range(len(text) - _WINDOW + 1)
    )


def _encoded(canary: str, offset: int) -> str:
    whole = base64.b64encode(b"\0" * offset + canary.encode()).decode().rstrip("=")
    return whole[(0, 2, 3)[offset] : len(canary) * 8 // 6]


_WINDOWS = _windows()
_PICKS = st.lists(st.integers(0, len(_texts("")) - 1), min_size=1, max_size=4)


@examples(250)
@given(_ANY, _PICKS)
def test_p17_nothing_of_a_secret_leaks(scene: Scene, picks: list[int]) -> None:
    """No eight characters of it in a repr, verdict, reason, Event, status, refusal or log line."""
    hidden = _hidden(scene, picks)
    for faults in (None, lambda action: 422 if action.target.kind == "Secret" else None):
        output = "\n".join(_said(hidden, drive(hidden, faults=faults)))
        found = {window for window in _WINDOWS if window in output}
        assert not found


@pytest.mark.parametrize("where", ["the body of a Secret", "a Secret that is read"])
def test_p17_the_search_finds_the_canaries_where_they_belong(where: str) -> None:
    """The search above can fail."""

    def carries(case: tuple[Scene, list[int]]) -> bool:
        hidden = _hidden(*case)
        if where == "a Secret that is read":
            return any(window in str(list(hidden.world.objects())) for window in _WINDOWS)
        bodies = [
            str(step.action.body)
            for step in drive(hidden).effective
            if step.action.target.kind == "Secret"
        ]
        return any(window in body for body in bodies for window in _WINDOWS)

    reaches(st.tuples(_ANY, _PICKS), carries)


@pytest.mark.parametrize(
    "reason", ["SecretError", "EndpointUpdateFailed", "SecretReconciliationFailed"]
)
def test_p17_verdicts_about_secrets_are_searched(reason: str) -> None:
    """The verdicts that concern Secrets occur."""

    def is_reported(case: tuple[Scene, list[int]]) -> bool:
        hidden = _hidden(*case)
        run = drive(hidden, faults=lambda action: 422 if action.target.kind == "Secret" else None)
        return any(done.decision.verdict.reason == reason for done in run.passes)

    reaches(st.tuples(_ANY, _PICKS), is_reported)


def test_p17_an_error_about_a_malformed_secret_does_not_quote_it() -> None:
    """The problems name paths and never quote the value."""
    from captep_core.capt._model import Secret  # noqa: PLC0415 - the one class that is not public

    with pytest.raises(WireError) as raised:
        structure(_misread({"metadata": {"name": "x"}}), Secret)
    assert not {window for window in _WINDOWS if window in f"{raised.value!r} {raised.value}"}
    assert "$.data.value: expected base64 text" in str(raised.value)
