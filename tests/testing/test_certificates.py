"""The recorded certificates of our own core: their form, and what the command says of old ones."""

import sys
from pathlib import Path

import pytest
from attrs import evolve

from captep_core import decide
from captep_testing._code import code_hash
from tests.testing import prove
from tests.testing.captep_domain import captep_worlds
from tests.testing.prove import BOUNDS, CERTIFICATES, Certificate, Proof, certificates


def test_each_search_has_one_certificate() -> None:
    """From every moment within both bounds; sizes, hash and day have their form."""
    recorded = certificates(CERTIFICATES.read_text())
    wanted = {Proof(moment, *bounds) for bounds in BOUNDS for moment in captep_worlds()}
    assert {each.proof for each in recorded} == wanted
    assert len(recorded) == len(wanted) == 12
    for each in recorded:
        assert each.edges > each.states > 1000
        assert len(each.code) == 16
        assert int(each.code, 16)
        assert each.day.startswith("20")


def test_certificates_of_other_code_are_stale() -> None:
    """Each version of the core has a hash of its own."""
    here = code_hash(decide)
    known = Certificate("ready", 1, 2, 1, 10, 20, 1, here, "2026-01-01", "")
    other = evolve(known, moment="new", code="0" * 16)
    assert prove.stale([known, other], here) == [other]


def test_the_command_records_what_it_proved_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second call repeats no search, and names a certificate of other code."""
    file = tmp_path / "certificates.md"
    monkeypatch.setattr(prove, "CERTIFICATES", file)
    bounds = ["--bounds", "0", "1", "0"]
    call = ["prove", str(tmp_path), "ready", *bounds]
    monkeypatch.setattr(sys, "argv", call)
    assert prove.main() == 0
    assert "exhausted" in capsys.readouterr().out
    (row,) = certificates(file.read_text())
    assert (row.proof, row.code) == (Proof("ready", 0, 1, 0), code_hash(decide))
    assert prove.main() == 0
    assert capsys.readouterr().out == ""
    file.write_text(file.read_text().replace(row.code, "0" * 16))
    monkeypatch.setattr(sys, "argv", [*call, "--list"])
    assert prove.main() == 0
    assert capsys.readouterr().out == f"{row.proof}: the certificate is of other code\n"
    assert row.code not in file.read_text()
