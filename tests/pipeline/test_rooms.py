"""What runs again when code changes: by the room that the change is in."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from stages.train.fingerprint import code_digests
from tests.support.project import Project

# Changed in turn: the file, the first stage that then runs, and those behind it that may.
CHANGES = [
    ("stages/download/ingest.py", "download", {"split", "train", "test", "export", "report"}),
    ("stages/split/report.py", "split", {"train", "test", "export", "report"}),
    ("stages/train/module.py", "train", {"test", "export", "report"}),
    ("lightline/models/build.py", "train", {"test", "export", "report"}),
    ("stages/test/report.py", "test", {"export", "report"}),
    ("stages/export/exporter.py", "export", {"report"}),
    ("stages/quantize/int8.py", None, set()),
    ("stages/report/page.js", "report", set()),
    ("extensions/sources/__init__.py", "download", {"split", "train", "test", "export", "report"}),
    ("extensions/models/__init__.py", "train", {"test", "export", "report"}),
    ("extensions/callbacks/__init__.py", "train", {"test", "export", "report"}),
    ("extensions/augmentations/__init__.py", "train", {"test", "export", "report"}),
    ("extensions/metrics/__init__.py", "test", {"export", "report"}),
    ("lightline/runtime/supervision.py", None, set()),
    ("lightline/config/load.py", None, set()),
    ("lightline/redaction.py", None, set()),
    ("flows/pipeline.py", None, set()),
    ("commands/tune.py", None, set()),
]

_RUNNING = re.compile(r"Running stage '(\w+)'")
_REPRO_DRY = """
import sys
from pathlib import Path
from dvc.cli import main

assert main(["repro", "--dry"]) == 0
for file in map(Path, sys.argv[1:]):
    content = file.read_text()
    file.write_text(f"{content}\\n_A_CHANGE = 1\\n")
    print(f"== {file}", flush=True)
    assert main(["repro", "--dry"]) == 0
    file.write_text(content)
"""


@pytest.fixture
def finished(finished_project: Project, tmp_path: Path) -> Project:
    """A project in which nothing is left to do."""
    return Project(shutil.copytree(finished_project.path, tmp_path / "project", symlinks=True))


def _to_run(project: Project) -> list[str]:
    return _RUNNING.findall(project.run("dvc", "repro", "--dry").stdout)


def test_a_change_runs_the_stages_whose_room_it_is_in_and_those_behind_them(finished):
    command = (sys.executable, "-c", _REPRO_DRY, *(name for name, *_ in CHANGES))
    unchanged, *changed = finished.run(*command).stdout.split("== ")
    assert _RUNNING.findall(unchanged) == ["source"]
    for told, (name, first, others) in zip(changed, CHANGES, strict=True):
        assert told.startswith(f"{name}\n")
        ran = _RUNNING.findall(told)
        assert ran[:2] == ["source", *([first] if first else [])], name
        assert set(ran[2:]) <= others, name


def test_a_change_is_in_the_fingerprint_where_train_depends_on_it(finished):
    before = code_digests(finished.path)
    for name, first, _ in CHANGES:
        file = finished.path / name
        content = file.read_text()
        file.write_text(f"{content}\n_A_CHANGE = 1\n")
        assert (code_digests(finished.path) != before) == (first == "train"), name
        file.write_text(content)


def test_what_is_no_code_in_a_room_changes_nothing(finished):
    before = code_digests(finished.path)
    for room in ("stages/train", "lightline/models", "lightline/sources", "extensions/callbacks"):
        folder = finished.path / room
        for name in ("notes.md", ".swp", "module.py~", "#module.py#", ".#module.py", "module.pyc", "data.csv"):
            (folder / name).write_text("x = 1\n")
        for inner in ("__pycache__/module.cpython-311.pyc", ".ipynb_checkpoints/module-checkpoint.py"):
            (folder / inner).parent.mkdir(exist_ok=True)
            (folder / inner).write_bytes(b"x = 1\n")
    assert _to_run(finished) == ["source"]
    assert code_digests(finished.path) == before


def test_a_clone_has_nothing_to_do_where_the_cache_is_the_same(finished, tmp_path):
    finished.run("git", "clone", "--quiet", str(finished.path), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "cache", "dir", "--local", str(finished.path / ".dvc" / "cache"))
    clone.run("dvc", "checkout")
    assert _to_run(clone) == ["source"]
    assert code_digests(clone.path) == code_digests(finished.path)
