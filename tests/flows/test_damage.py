"""A damaged object in the cache is noticed by the flow, and got again."""

from pathlib import Path

import pytest

from tests.support.flow_workspace import reproduce_all, use
from tests.support.workspace import cached_object, damage

_COUNT = "open(os.environ['COUNT'], 'a').write('x')"


def _times(project, monkeypatch, set_work) -> Path:
    """A file to which the train stage adds a letter each time it runs."""
    file = project.path.parent / "count"
    monkeypatch.setenv("COUNT", str(file))
    set_work(project, _COUNT)
    return file


def _model(project) -> tuple[str, list[str]]:
    """The model that a run of the flow has at its end, and what was printed meanwhile."""
    found = []

    async def steps(workspace, lines):
        await reproduce_all(workspace, lines)
        found.append((workspace.folder / "models/model.onnx").read_text())

    lines = use(project, steps)
    return found[0], lines


def _damage_model(project, known_from: str) -> Path:
    """Damage the model's object after a run of which one of the two tells; gives the object."""
    damaged = cached_object(project.path, "models/model.onnx")
    if known_from == "run cache":
        project.run("git", "checkout", "--quiet", "dvc.lock")
    project.commit()
    damage(damaged)
    return damaged


@pytest.mark.parametrize("known_from", ["dvc.lock", "run cache"])
def test_without_a_remote_the_stage_runs_again(small_project, set_work, monkeypatch, known_from):
    count = _times(small_project, monkeypatch, set_work)
    small_project.run("dvc", "repro")
    damaged = _damage_model(small_project, known_from)
    model, lines = _model(small_project)
    assert model == "model"
    assert count.read_text() == "xx"
    assert f"{damaged} was damaged, and has been removed from the cache." in lines
    assert damaged.read_text() == "model"
    again, lines = _model(small_project)
    assert again == "model"
    assert not any("damaged" in line for line in lines)
    assert count.read_text() == "xx"


@pytest.mark.parametrize("known_from", ["dvc.lock", "run cache"])
def test_from_the_remote_where_there_is_one(small_project, set_work, monkeypatch, known_from):
    small_project.run("dvc", "remote", "add", "--default", "store", "../store")
    count = _times(small_project, monkeypatch, set_work)
    small_project.run("dvc", "repro")
    small_project.run("dvc", "push")
    damaged = _damage_model(small_project, known_from)
    model, lines = _model(small_project)
    assert model == damaged.read_text() == "model"
    assert count.read_text() == "x"
    assert f"{damaged} was damaged, and has been fetched again from the remote." in lines


def test_a_remote_that_cannot_be_used_is_no_obstacle(small_project, set_work, monkeypatch):
    small_project.run("dvc", "remote", "add", "--default", "store", "https://127.0.0.1:9/me")
    count = _times(small_project, monkeypatch, set_work)
    small_project.run("dvc", "repro")
    small_project.commit()
    damage(cached_object(small_project.path, "models/model.onnx"))
    assert _model(small_project)[0] == "model"
    assert count.read_text() == "xx"
