"""A stage that fails or refuses: what is told, what is kept, what is tried again."""

import json

_FAIL = """
for n in range(40): print('line', n)
open(os.environ['LIGHTLINE_ORIGIN'] + '/tries.log', 'a').write('x')
sys.exit(3)
"""


def test_a_failed_stage_is_named_with_its_last_lines_and_not_tried_again(small_project, flow, server, set_work):
    set_work(small_project, _FAIL)
    done = flow(small_project, check=False)
    failure = done.stderr.rpartition("\nerror: ")[2]
    assert done.returncode == 1
    assert "Stage 'train' failed: failed to run: python work.py train, exited with 3" in failure
    assert "line 39\n" in failure
    assert "line 10\n" not in failure
    assert done.stderr.count("Stage 'train' failed") == 1
    assert "Traceback" not in done.stderr
    assert (small_project.path / "tries.log").read_text() == "x"
    run = server.flow_runs()[0]
    assert run["state_name"] == "Failed"
    assert "Stage 'train' failed" in run["state"]["message"]
    assert server.task_states(run["id"]) == {"download": "Ran", "train": "Failed"}
    assert small_project.experiments() == set()


_REFUSABLE = """
  test:
    cmd: cp reports/train/metrics.json reports/test.json
    deps: [reports/train/metrics.json]
    metrics: [reports/test.json]
  export:
    cmd: {refusing}cp reports/test.json model.onnx
    deps: [reports/test.json]
    outs: [model.onnx]
  quantize:
    cmd: cp model.onnx model.int8.onnx
    deps: [model.onnx]
    outs: [model.int8.onnx]
"""


def test_a_refused_export_leaves_an_experiment_up_to_test(small_project, flow, server):
    pipeline = small_project.path / "dvc.yaml"
    before = pipeline.read_text()
    pipeline.write_text(before + _REFUSABLE.format(refusing=""))
    small_project.run("dvc", "repro")
    small_project.commit("a model, which is another one's soon")
    pipeline.write_text(before + _REFUSABLE.format(refusing="echo too coarse && false && "))
    small_project.commit("an export that refuses")

    done = flow(small_project, "-S", "trainer.max_epochs=7", "-n", "seven", check=False)
    assert done.returncode == 1
    run = server.flow_runs()[0]
    assert run["state_name"] == "Failed"
    assert server.task_states(run["id"]) == {"download": "Cached", "train": "Ran", "test": "Ran", "export": "Failed"}
    assert small_project.experiments() == {"seven-before-export"}
    for told in (done.stderr, run["state"]["message"]):
        assert "too coarse" in told
        assert "recorded as experiment seven-before-export." in told
        assert "`dvc exp apply seven-before-export`" in told

    flow(small_project, "-S", "trainer.max_epochs=7", check=False)
    assert small_project.experiments() == {"seven-before-export"}, "the same again is no new experiment"

    shown = json.loads(small_project.run("dvc", "exp", "show", "--json").stdout)
    (experiment,) = shown[1]["experiments"]
    assert experiment["revs"][0]["data"]["metrics"]["reports/test.json"]["data"] == {"epochs": 7}
    small_project.run("dvc", "exp", "apply", "seven-before-export", check=False)
    assert json.loads((small_project.path / "reports/test.json").read_text()) == {"epochs": 7}
    assert not (small_project.path / "model.onnx").exists(), "nor another run's"
    pipeline.write_text(before + _REFUSABLE.format(refusing=""))
    again = small_project.run("dvc", "repro").stdout
    ran = [name for name in ("download", "train", "test", "export", "quantize") if f"Running stage '{name}'" in again]
    assert ran == ["export", "quantize"]
    assert json.loads((small_project.path / "model.int8.onnx").read_text()) == {"epochs": 7}


_PASS_THE_SECOND_TIME = """
tries = pathlib.Path(os.environ['LIGHTLINE_ORIGIN'], 'tries.log')
if not tries.exists(): tries.touch(); sys.exit(75)
"""


def test_what_may_pass_by_itself_is_tried_again(small_project, flow, server, set_work):
    pipeline = small_project.path / "flows/pipeline.py"
    sooner = pipeline.read_text().replace("RETRY_DELAYS = [10.0, 60.0]", "RETRY_DELAYS = [0.1, 0.1]")
    assert sooner != pipeline.read_text()
    pipeline.write_text(sooner)
    set_work(small_project, _PASS_THE_SECOND_TIME)
    flow(small_project)
    assert server.task_states(server.flow_runs()[0]["id"]) == {"download": "Ran", "train": "Ran"}

    set_work(small_project, "sys.exit(75)")
    done = flow(small_project, check=False)
    assert "Stage 'train' failed" in done.stderr
    assert server.task_states(server.flow_runs()[0]["id"])["train"] == "Unavailable"
