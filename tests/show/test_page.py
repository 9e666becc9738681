"""The page of a run, in a real browser without a screen.

Each test adds a script that acts as a person does and writes what the page then shows.
"""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from captep_show import Change, Field, Run, Sent, Step, page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")
HOSTILE = "</script><script>document.title='broken'</script><!-- \u2028 & <b>"
STEPS = (
    Step(
        "captep Creating",
        "00:00:00",
        "Creating: Control plane is being created",
        "in 5 s",
        (
            Sent("patch", "CAPTControlPlane fleet/tokyo", 200, changed=True, reason="add it"),
            Sent("create", "Secret fleet/tokyo-ca", 403, changed=False),
            Sent("create", "Secret fleet/tokyo-kubeconfig", None, changed=False),
        ),
        (
            Change(
                "CAPTControlPlane fleet/tokyo",
                "changes",
                (Field("metadata.finalizers", None, ["a"]), Field("spec.x", 1, 2)),
            ),
        ),
    ),
    Step("Terraform acts", changes=(Change("Workspace tokyo", "appears", (Field("a", None, 1),)),)),
    Step(HOSTILE, verdict=HOSTILE),
)
RUN = Run("CAPTControlPlane fleet/tokyo", "3 steps", STEPS, "P2: it writes at rest", (1, 2))


def acted(folder: Path, run: Run, script: str, *, at: str = "") -> Any:  # noqa: ANN401 - JSON
    """Open the page, run `script` in it, and return the value of its `result`."""
    assert BROWSER is not None
    ending = (
        f"<script>addEventListener('load', () => {{ let result; {script};"
        " document.body.append(make('output', {id: 'result',"
        " textContent: JSON.stringify(result)})); })</script></body>"
    )
    file = folder / "run.html"
    file.write_text(page(run).replace("</body>", ending), "utf-8")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    words += [f"--user-data-dir={folder / 'profile'}", "--window-size=1200,800", "--dump-dom"]
    done = subprocess.run(
        [BROWSER, *words, f"{file.as_uri()}{at}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<output id="result">(.*?)</output>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    return json.loads(unescape(found[1]))


SHOWN = "$('step').innerText"
KEY = (
    "const press = (key) => document.body.dispatchEvent("
    "new KeyboardEvent('keydown', {key, bubbles: true}))"
)


@browser
def test_the_first_step_shows_requests_and_values(tmp_path: Path) -> None:
    """Verdict, time, answers, reasons and both values of a field are on the page."""
    text = acted(tmp_path, RUN, f"result = {SHOWN}")
    for part in (
        "1. captep Creating",
        "00:00:00, looks again: in 5 s",
        "Creating: Control plane is being created",
        "patch CAPTControlPlane fleet/tokyo",
        "add it",
        "403",
        "no answer",
        "metadata.finalizers",
        "spec.x",
    ):
        assert part in text, part


@browser
def test_keys_walk_through_the_steps(tmp_path: Path) -> None:
    """j and k, Home and End, n for the next change; the address names the step."""
    script = (
        f"{KEY}; result = [];"
        "for (const key of ['j', 'j', 'j', 'k', 'Home', 'n', 'End', 'ArrowUp'])"
        " { press(key); result.push(location.hash); }"
    )
    assert acted(tmp_path, RUN, script) == ["#2", "#3", "#3", "#2", "#1", "#2", "#3", "#2"]


@browser
def test_an_address_opens_its_step(tmp_path: Path) -> None:
    """A link to one step can be sent to somebody."""
    assert acted(tmp_path, RUN, f"result = {SHOWN}.split('\\n')[0]", at="#2") == "2. Terraform acts"


@browser
def test_filters_keep_the_steps_of_an_object_or_a_word(tmp_path: Path) -> None:
    """Of the chosen object only its own changes are shown."""
    script = (
        "const rows = () => [...$('steps').children].map((row) => row.firstChild.textContent);"
        "result = [rows()];"
        "$('object').value = 'Workspace tokyo'; $('object').onchange(); result.push(rows());"
        "$('object').value = ''; $('object').onchange();"
        "$('text').value = 'kubeconfig CREATE'; $('text').oninput(); result.push(rows());"
        "$('text').value = ''; $('writes').checked = true; $('writes').onchange();"
        "result.push(rows(), $('count').textContent)"
    )
    assert acted(tmp_path, RUN, script) == [
        ["1", "2", "3"],
        ["2"],
        ["1"],
        ["1", "2"],
        "2 of 3 steps",
    ]


@browser
def test_a_refused_request_concerns_its_object(tmp_path: Path) -> None:
    """Of any name, and its status too, although nothing changed."""
    made = Change("ConfigMap fleet/status", "appears", (Field("a", None, 1),))
    refused = [
        Step("refused", sent=(Sent("patch", target, 409, changed=False),))
        for target in ("ConfigMap fleet/status", "ConfigMap fleet/status/status", "ConfigMap fleet")
    ]
    script = (
        "$('object').value = 'ConfigMap fleet/status'; $('object').onchange();"
        "result = [...$('steps').children].map((row) => row.firstChild.textContent)"
    )
    run = Run("names", "", (Step("made", changes=(made,)), *refused))
    assert acted(tmp_path, run, script) == ["1", "2", "3"]


@browser
def test_a_problem_and_its_cycle_are_marked(tmp_path: Path) -> None:
    """The steps that repeat have a mark of their own."""
    script = (
        "result = [$('problem').textContent, [...document.querySelectorAll('.cycle .n')]"
        ".map((each) => each.textContent)]"
    )
    assert acted(tmp_path, RUN, script) == [
        "P2: it writes at rest. Steps 2 to 3 repeat.",
        ["2", "3"],
    ]


@browser
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """No text of a run becomes markup or a script, and nothing is loaded from anywhere."""
    run = Run(HOSTILE, HOSTILE, STEPS, HOSTILE)
    script = (
        "result = [document.title, $('scope').textContent, document.querySelectorAll('b').length,"
        " performance.getEntriesByType('resource').length]"
    )
    title, scope, marks, loaded = acted(tmp_path, run, script, at="#3")
    assert (title, scope.split(), marks, loaded) == (HOSTILE, HOSTILE.split(), 0, 0)


@browser
def test_two_thousand_steps_stay_usable(tmp_path: Path) -> None:
    """Walking to the end and filtering work on a long run."""
    run = Run("long", "", STEPS[:2] * 1000)
    script = (
        f"{KEY}; press('End'); const last = location.hash;"
        "$('object').value = 'Workspace tokyo'; $('object').onchange();"
        "result = [last, $('steps').children.length]"
    )
    assert acted(tmp_path, run, script) == ["#2000", 1000]


@browser
def test_the_button_turns_light_into_dark(tmp_path: Path) -> None:
    """The ground of the page changes with it."""
    script = (
        "const ground = () => getComputedStyle(document.body).backgroundColor;"
        "const before = ground(); $('theme').onclick(); result = [before, ground()]"
    )
    before, after = acted(tmp_path, RUN, script)
    assert {before, after} == {"rgb(251, 250, 247)", "rgb(22, 24, 28)"}


@browser
def test_a_run_without_steps_is_a_page_too(tmp_path: Path) -> None:
    """Nothing fails where nothing happened."""
    assert acted(tmp_path, Run("empty", "", ()), "result = $('count').textContent") == "0 steps"


def test_the_page_needs_no_network() -> None:
    """It names no address, and its policy allows none."""
    text = page(RUN)
    assert re.findall(r"(?:https?:)?//[a-z]", text.replace(HOSTILE, "")) == []
    assert "default-src 'none'" in text
