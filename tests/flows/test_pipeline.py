"""The flow against a real server: what runs, what is recorded, what is told when something fails."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from tests.support.project import MAX_EPOCHS


def test_runs_what_changed_and_finds_the_rest_in_the_cache(small_project, flow, server):
    done = flow(small_project, "-S", "trainer.max_epochs=7")
    first = server.flow_runs()[0]
    assert server.task_states(first["id"]) == {"download": "Ran", "train": "Ran"}
    assert "Task run 'download' - Finished in state Ran" in done.stderr

    done = flow(small_project, "-S", "trainer.max_epochs=7")
    second = server.flow_runs()[0]
    assert server.task_states(second["id"]) == {"download": "Cached", "train": "Cached"}
    assert "nothing had changed" in done.stdout
    assert small_project.experiments() == {first["name"]}, "the same again is no new experiment"

    flow(small_project)
    assert server.task_states(server.flow_runs()[0]["id"]) == {"download": "Cached", "train": "Ran"}

    (small_project.path / "raw.txt").write_text("changed")
    small_project.commit()
    flow(small_project, "download")
    assert server.task_states(server.flow_runs()[0]["id"]) == {"download": "Ran"}


_ASKED_FOR = """
  quantize:
    foreach: ${export.quantize}
    do:
      cmd: cp reports/train/metrics.json reports/train/metrics.int8.json
      deps: [reports/train/metrics.json]
      metrics: [reports/train/metrics.int8.json]
"""


def test_a_stage_that_exists_only_where_it_is_asked_for(small_project, flow, server):
    with (small_project.path / "dvc.yaml").open("a") as file:
        file.write(_ASKED_FOR)
    small_project.commit("quantize")
    flow(small_project)
    assert server.task_states(server.flow_runs()[0]["id"]) == {"download": "Ran", "train": "Ran"}
    flow(small_project, "-S", "export=int8", "-n", "small")
    run = server.flow_runs()[0]
    assert server.task_states(run["id"]) == {"download": "Cached", "train": "Cached", "quantize@int8": "Ran"}
    shown = json.loads(server.artifacts(run["id"])["metrics"])
    assert [row["metric"] for row in shown if row["stage"] == "train"] == ["epochs", "epochs"]
    small_project.run("dvc", "exp", "apply", "small")
    assert (small_project.path / "reports/train/metrics.int8.json").exists()


def test_the_results_are_recorded_logged_and_shown(small_project, flow, server):
    flow(small_project, "--experiment", "seven", "-S", "trainer.max_epochs=7")
    run = server.flow_runs()[0]
    logs = server.logs(run["id"])
    assert "train of seven" in logs
    assert f"trainer.max_epochs = 7 instead of {MAX_EPOCHS}" in logs
    artifacts = server.artifacts(run["id"])
    assert {"stage": "train", "metric": "epochs", "value": 7} in json.loads(artifacts["metrics"])
    assert f"| `trainer.max_epochs` | {MAX_EPOCHS} | 7 |" in artifacts["summary"]
    assert "dvc exp apply seven" in artifacts["summary"]
    assert run["labels"]["experiment"] == run["name"] == "seven"

    assert "seven" in small_project.run("dvc", "exp", "show", "--json", "--no-fetch").stdout
    small_project.run("dvc", "exp", "apply", "seven")
    assert json.loads((small_project.path / "reports/train/metrics.json").read_text()) == {"epochs": 7}


def test_the_workspace_stays_as_it_was(small_project, flow, server):
    (small_project.path / "work.py").write_text("raise SystemExit('never run')")
    (small_project.path / "untracked.txt").write_text("mine")
    before = _files(small_project)
    flow(small_project)
    assert _files(small_project) == before
    assert not any((small_project.path / ".dvc/tmp/flows").iterdir())
    assert any("Not committed" in line and "work.py" in line for line in server.logs(server.flow_runs()[0]["id"]))


def test_the_log_says_what_is_read_what_is_not_and_what_is_left_behind(small_project, flow, server):
    params = small_project.path / "params.yaml"
    params.write_text(params.read_text().replace("seed: 42", "seed: 43"))
    commit = small_project.commit("by hand")
    (small_project.path / "photos").mkdir()
    (small_project.path / "photos/größe 1.png").write_text("1")
    (small_project.path / "notes.txt").write_text("mine")
    flow(small_project, "--apply", "-S", "data=folder", "-S", "data.path=photos")
    logs = "\n".join(server.logs(server.flow_runs()[0]["id"]))
    assert "Not committed, and so no part of this run:\n  ?? notes.txt\n" in logs
    assert (
        "Not committed, and read from where it lies, as it is now (data.path, model.weights):\n  ?? photos/\n" in logs
    )
    assert "Values in params.yaml of this commit that conf/ does not have" in logs
    assert f"seed = 43 (now 42). `make keep EXP={commit[:12]}`" in logs
    # What git does not track hinders nothing and stays.
    assert "path: photos\n" in params.read_text()
    assert (small_project.path / "models/model.onnx").exists()
    assert (small_project.path / "photos/größe 1.png").read_text() == "1"
    status = small_project.run("git", "status", "--porcelain").stdout
    assert status == " M dvc.lock\n M params.yaml\n?? notes.txt\n?? photos/\n"


def test_what_was_not_asked_for_need_not_be_in_the_cache(small_project, flow):
    small_project.run("dvc", "repro")
    small_project.commit("all")
    shutil.rmtree(small_project.path / ".dvc/cache")
    printed = flow(small_project, "--apply", "-S", "data.max_pixels=77", "download").stdout
    assert "The workspace is as it was" not in printed
    assert "max_pixels: 77\n" in (small_project.path / "params.yaml").read_text()


def test_two_runs_at_once_both_finish(small_project, flow):
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda n: flow(small_project, "-S", f"trainer.max_epochs={n}", "-n", f"run-{n}"), (1, 2))
        assert [run.returncode for run in runs] == [0, 0]
    assert small_project.experiments() == {"run-1", "run-2"}


def test_a_run_without_metrics_shows_no_table_of_them(small_project, flow, server):
    shown = flow(small_project, "source").stdout
    assert "experiment " in shown
    assert "metric" not in shown
    artifacts = server.artifacts(server.flow_runs()[0]["id"])
    assert "metrics" not in artifacts
    assert "## Metrics\n\nNone.\n" in artifacts["summary"]


def test_mistakes_are_told_before_any_work(small_project, flow, server):
    done = flow(small_project, "-S", "trainer.max_epoch=3", "-S", "optimizer.lr=fast", check=False)
    message = done.stderr.rpartition("\nerror: ")[2]
    assert done.returncode == 1
    assert "trainer.max_epoch = 3 is not a parameter; did you mean trainer.max_epochs?" in message
    assert " | " not in message, "Prefect logs nothing after it"
    assert "'trainer.max_epoch=3', 'optimizer.lr=fast' cannot be used; conf/ is as it should be:" in message
    assert "Traceback" not in done.stderr
    assert server.flow_runs()[0]["state_name"] == "Failed"
    assert "Running stage" not in done.stderr
    assert small_project.experiments() == set()
    assert not any((small_project.path / ".dvc/tmp/flows").iterdir())


def test_a_repository_elsewhere(small_project, flow, tmp_path):
    bare = tmp_path / "elsewhere.git"
    small_project.run("git", "branch", "other")
    small_project.run("git", "clone", "--quiet", "--bare", ".", str(bare))
    address = f"file://{bare}"
    flow(small_project, "--repo", address, "--rev", "other", "-n", "far", XDG_CACHE_HOME=str(tmp_path / "cache"))
    refs = subprocess.run(("git", "for-each-ref", "refs/exps"), cwd=bare, capture_output=True, text=True, check=True)
    assert "/far" in refs.stdout
    assert small_project.experiments() == set()
    assert list(tmp_path.glob("cache/lightline/elsewhere-*/.dvc/cache/files"))


def _files(project):
    listed = project.run("git", "ls-files", "-z", "--cached", "--others").stdout.split("\0")
    kept = [name for name in listed if name and not name.startswith((".dvc/", ".lightline/"))]
    return {name: (project.path / name).read_bytes() for name in kept}
