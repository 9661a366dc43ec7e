"""`tools/audit.py` by what pip-audit answers; a program of its name gives the answers, as its data are not here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

MENDED = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": ["CVE-1"], "description": ""}
OPEN = MENDED | {"id": "PYSEC-2", "fix_versions": []}


def audit(folder: Path, answer: str | None, status: int = 0) -> tuple[int, str]:
    """Run it with a pip-audit that prints the answer; None: with no pip-audit on the PATH."""
    if answer is not None:
        program = folder / "pip-audit"
        program.write_text(f"#!{sys.executable}\nimport sys\nprint({answer!r})\nsys.exit({status})\n")
        program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / "tools/audit.py"],
        env={**os.environ, "PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def answer(*vulnerabilities: dict) -> str:
    return json.dumps({"dependencies": [{"name": "a", "version": "1.0", "vulns": list(vulnerabilities)}], "fixes": []})


@pytest.mark.parametrize(
    ("given", "status", "expected", "said"),
    [
        (answer(), 0, 0, "1 packages audited, 0 known vulnerabilities"),
        (answer(MENDED), 1, 1, "a 1.0: PYSEC-1, mended in 1.1\n1 packages audited, 1 known vulnerabilities"),
        (answer(OPEN), 1, 0, "a 1.0: PYSEC-2, mended in no version yet"),
        (
            json.dumps({"dependencies": [{"name": "a", "skip_reason": "unknown"}]}),
            0,
            0,
            "not audited: the index that pip",
        ),
        ("no JSON", 1, 0, "not audited: pip-audit could not finish"),
        (None, 0, 0, "not audited: pip-audit is not installed"),
    ],
)
def test_a_vulnerability_that_can_be_mended_fails(tmp_path, given, status, expected, said):
    returned, printed = audit(tmp_path, given, status)
    assert returned == expected
    assert said in printed
