"""What is left of a run in which a stage after `test` fails: everything before it, recorded and to be gone on from."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.project import Project
from tests.support.workspace import Workspace

_PIPELINE = """
stages:
  train:
    cmd: python -m stages_here train
    params: [trainer]
    outs: [model]
  test:
    cmd: python -m stages_here test
    deps: [model]
    metrics: [test.json]
  export:
    cmd: python -m stages_here export
    deps: [model, test.json]
    params: [export.rtol]
    outs: [model.onnx]
  quantize:
    cmd: python -m stages_here quantize
    deps: [model.onnx]
    params: [seed]
    outs: [model.int8.onnx]
"""
_STAGES = """
import json, sys
from pathlib import Path
from lightline.errors import LightlineError
from lightline.runtime.partial_experiment import keeping_what_is_finished
from lightline.runtime.stage import run_stage

def train(params):
    Path("model").write_text(str(params.trainer.max_epochs))

def test(params):
    Path("test.json").write_text(json.dumps({"epochs": int(Path("model").read_text())}))

@keeping_what_is_finished
def export(params):
    if params.export.rtol < 0.0005:
        raise LightlineError("The file answers otherwise.")
    Path("model.onnx").write_text(Path("model").read_text())

@keeping_what_is_finished
def quantize(params):
    if params.seed == 7:
        raise ValueError("a bug")
    Path("model.int8.onnx").write_text(Path("model.onnx").read_text())

run_stage(globals()[sys.argv[1]])
"""
_REFUSED = ("-S", "export.rtol=0.0001")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in whose commit all stages have run."""
    workspace = Workspace.make(tmp_path_factory.mktemp("partial") / "workspace")
    (workspace.path / "dvc.yaml").write_text(_PIPELINE)
    (workspace.path / "stages_here.py").write_text(_STAGES)
    (workspace.path / ".gitignore").write_text("/.lightline\n__pycache__\n")
    status, told = workspace.run("dvc", "repro")
    assert status == 0, told
    workspace.git("add", "--all")
    workspace.git("commit", "--quiet", "--message", "start")
    return workspace.path


@pytest.fixture
def repository(finished: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of it, to work in."""
    shutil.copytree(finished, tmp_path / "workspace", symlinks=True)
    workspace = Workspace(tmp_path / "workspace")
    yield workspace
    workspace.end()


def experiments(repository: Workspace) -> set[str]:
    return Project(repository.path).experiments()


def shown(repository: Workspace) -> dict[str, dict]:
    """The metrics of all experiments, as `dvc exp show` has them."""
    status, told = repository.run("dvc", "exp", "show", "--json")
    assert status == 0
    listed = json.loads(told)[1]["experiments"]
    return {one["name"]: one["revs"][0]["data"]["metrics"]["test.json"]["data"] for one in listed}


def locked(repository: Workspace) -> list[str]:
    return list(yaml.safe_load((repository.path / "dvc.lock").read_text())["stages"])


def content(repository: Workspace, *names: str) -> list[str | None]:
    paths = [Path(repository.path, name) for name in names]
    return [path.read_text() if path.exists() else None for path in paths]


def test_a_refused_stage_leaves_an_experiment_of_all_before_it(repository: Workspace):
    asked = ("dvc", "exp", "run", "-n", "mine", "-S", "trainer.max_epochs=7")
    status, told = repository.run(*asked, *_REFUSED)
    assert status != 0
    assert "error: The file answers otherwise.\nAll before it is recorded as experiment mine-before-export." in told
    assert "Traceback" not in told
    assert experiments(repository) == {"mine-before-export"}
    assert content(repository, "model.onnx") == [None]
    assert repository.git("status", "--porcelain") == " M dvc.lock\n M params.yaml\n", "as DVC leaves it"

    # The same again is the same experiment; in a copy of the repository, with something else, it is another one.
    assert "recorded as experiment mine-before-export." in repository.run(*asked, *_REFUSED)[1]
    repository.git("checkout", "--quiet", ".")
    told = repository.run(*asked[:-1], "trainer.max_epochs=8", *_REFUSED, "--temp")[1]
    assert "recorded as experiment mine-before-export-2." in told
    # DVC's own name is still free, for a run that is accepted.
    assert repository.run(*asked)[0] == 0
    assert shown(repository) == {
        "mine": {"epochs": 7},
        "mine-before-export": {"epochs": 7},
        "mine-before-export-2": {"epochs": 8},
    }

    repository.run("dvc", "exp", "apply", "mine-before-export-2")
    assert content(repository, "model", "model.onnx", "model.int8.onnx") == ["8", None, None]
    assert locked(repository) == ["train", "test"], "nothing of another run's model"
    params = repository.path / "params.yaml"
    params.write_text(params.read_text().replace("0.0001", "0.001"))
    status, told = repository.run("dvc", "repro")
    assert [line for line in told.splitlines() if line.startswith("Running")] == [
        "Running stage 'export':",
        "Running stage 'quantize':",
    ]
    assert content(repository, "model.onnx", "model.int8.onnx") == ["8", "8"]


def test_a_bug_in_a_later_stage_leaves_one_too_and_its_traceback_says_so(repository: Workspace):
    status, told = repository.run("dvc", "exp", "run", "-n", "mine", "-S", "trainer.max_epochs=7", "-S", "seed=7")
    assert status != 0
    assert "ValueError: a bug\nAll before it is recorded as experiment mine-before-quantize." in told
    assert shown(repository) == {"mine-before-quantize": {"epochs": 7}}
    repository.git("checkout", "--quiet", ".")
    repository.run("dvc", "exp", "apply", "mine-before-quantize")
    assert content(repository, "model.onnx", "model.int8.onnx") == ["7", None]


def test_after_dvc_repro_the_workspace_has_it_all_and_the_message_says_so(repository: Workspace):
    params = repository.path / "params.yaml"
    values = yaml.safe_load(params.read_text())
    values["trainer"]["max_epochs"], values["export"]["rtol"] = 7, 0.0001
    params.write_text(yaml.safe_dump(values))
    status, told = repository.run("dvc", "repro")
    assert status != 0
    assert "All stages before it are finished, and dvc.lock has them: `dvc repro` then runs export alone." in told
    assert experiments(repository) == set()
    assert content(repository, "test.json", "model.onnx") == ['{"epochs": 7}', None]
    values["export"]["rtol"] = 0.001
    params.write_text(yaml.safe_dump(values))
    told = repository.run("dvc", "repro")[1]
    assert "Running stage 'test'" not in told
    assert content(repository, "model.onnx") == ["7"]
