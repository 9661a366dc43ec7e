"""Same commit, same lock, same machine and threads: the same weights, metrics and model file, wherever it runs."""

import json
import subprocess
from pathlib import Path

import matplotlib

from tests.support.project import Project

# They hold times, which the run below leaves out, or a digest of one that does.
_TIMED = {"reports/export/latency.csv", "models/MODEL_CARD.md", "models/model.intoto.json", "reports/report.html"}


def outputs(project: Project) -> dict[str, bytes]:
    files = [path for part in ("data", "models", "reports") for path in (project.path / part).rglob("*")]
    found = {path.relative_to(project.path).as_posix(): path.read_bytes() for path in files if path.is_file()}
    return {name: content for name, content in found.items() if name not in _TIMED}


def test_two_fresh_runs_write_the_same_bytes(finished_project, flow, server, tmp_path: Path):
    """`dvc repro` in one folder, and what `make run` does in a clone of it that has a cache and a home of its own."""
    clone = Project(tmp_path / "elsewhere")
    subprocess.run(("git", "clone", "--quiet", finished_project.path, clone.path), check=True)
    (tmp_path / "home").mkdir()
    # The list of fonts takes long to make, and is none of the home's that results could depend on.
    home = {"HOME": str(tmp_path / "home"), "MPLCONFIGDIR": matplotlib.get_cachedir()}
    flow(clone, "--apply", "-S", "export.latency=false", **home)
    states = server.task_states(server.flow_runs()[0]["id"])
    assert states == dict.fromkeys(["download", "split", "train", "test", "export", "report"], "Ran")
    first, second = outputs(finished_project), outputs(clone)
    assert [name for name in first | second if first.get(name) != second.get(name)] == []
    for name in ("models/model.onnx", "models/checkpoints/best.ckpt", "reports/test/metrics.json"):
        assert name in first
    assert json.loads(first["reports/train/metrics.json"])["epochs"] == 2
