"""The import closure, on a project made up for it and on this one."""

import subprocess
import sys
from pathlib import Path

import pytest

from lightline.closure import closure_digests, import_closure
from tests.support import ROOT

PROJECT = {
    "stages/__init__.py": "",
    "stages/work.py": (
        "import json\nimport numpy\nfrom lightline import direct\nfrom lightline.deep.inner import thing\n"
    ),
    "stages/other.py": "import lightline.unused\n",
    "lightline/__init__.py": "from lightline.always import version\n",
    "lightline/always.py": "version = 1\n",
    "lightline/direct.py": "def late():\n    import lightline.late\n",
    "lightline/late.py": "if True:\n    from lightline.cycle import *\n",
    "lightline/cycle.py": "import lightline.late\n",
    "lightline/deep/__init__.py": "from .near import x\n",
    "lightline/deep/near.py": "from . import beside\nfrom ..upper import y\n",
    "lightline/deep/beside.py": "",
    "lightline/deep/inner.py": "thing = 1\n",
    "lightline/deep/unread.py": "",
    "lightline/upper.py": "y = 1\n",
    "lightline/unused.py": "",
    "lightline/json.py": "",
    "numpy/__init__.py": "",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_it_holds_all_that_may_be_imported_and_no_more(project):
    found = [path.as_posix() for path in import_closure("stages.work", project)]
    assert found == sorted(
        [
            "stages/__init__.py",
            "stages/work.py",
            "lightline/__init__.py",
            "lightline/always.py",  # of the package's __init__
            "lightline/direct.py",  # from package import module
            "lightline/late.py",  # inside a function
            "lightline/cycle.py",  # inside an if, and back again
            "lightline/deep/__init__.py",
            "lightline/deep/near.py",  # relative, one dot
            "lightline/deep/beside.py",  # relative, no module
            "lightline/upper.py",  # relative, two dots
            "lightline/deep/inner.py",  # a name out of a module
        ]
    )


def test_digests_change_with_the_file_alone(project):
    before = closure_digests("stages.other", project)
    assert set(before) == {"stages/__init__.py", "stages/other.py"} | {
        f"lightline/{name}.py" for name in ("__init__", "always", "unused")
    }
    (project / "lightline/unused.py").write_text("x = 1\n")
    (project / "lightline/late.py").write_text("")
    after = closure_digests("stages.other", project)
    assert {name for name in before if before[name] != after[name]} == {"lightline/unused.py"}


def test_it_covers_what_a_stage_really_imports():
    code = (
        "import pathlib, sys, stages.download\n"
        "root = pathlib.Path.cwd()\n"
        "files = [getattr(module, '__file__', None) for module in sys.modules.values()]\n"
        "files = [pathlib.Path(file) for file in files if file]\n"
        "print(*[file.relative_to(root).as_posix() for file in files"
        " if file.is_relative_to(root) and '.venv' not in file.parts], sep='\\n')"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(process.stdout.split())
    assert "lightline/data/images.py" in imported
    assert imported <= {path.as_posix() for path in import_closure("stages.download", ROOT)}


def test_the_command_prints_deps_for_dvc_yaml():
    process = subprocess.run(
        [sys.executable, "-m", "lightline.closure", "stages.split"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = process.stdout.splitlines()
    assert "      - stages/split/__main__.py" in lines
    assert all(line.startswith("      - ") and line.endswith(".py") for line in lines)
