"""The whole way round on the digits: answers, their log, an alarm, a retraining, its verdict, and what answers then."""

import io
import json
import sys
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lightline.data.dataset import Dataset
from tests.support.prediction_server import Serving, serving
from tests.support.prefect_server import Server
from tests.support.project import Project
from tests.support.workspace import until

_QUIET = {"WANDB_MODE": "disabled"}
_LIGHTLINE = (sys.executable, "-m", "lightline")
_MONITOR = (*_LIGHTLINE, "monitor", "logs")
_FEW, _MANY, _ANSWERS = 80, 1_000, 240


def _photos(finished: Project, folder: Path, numbers: range) -> None:
    """Write digits as a person keeps photos: a folder for each class."""
    dataset = Dataset(finished.path / "data/dataset")
    for row in numbers:
        path = folder / dataset.classes[dataset.labels[row]] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dataset.pixels(row)).save(path)


def _answers(server: Serving, photos: list[Path], light: float) -> list[dict]:
    found = []
    with server.client() as client:
        for photo in photos:
            sent = io.BytesIO()
            Image.fromarray((np.asarray(Image.open(photo)) * light).astype(np.uint8)).save(sent, "PNG")
            answer = client.post("/predict", content=sent.getvalue())
            assert answer.status_code == 200, answer.text
            found.append(answer.json())
    return found


def _as_if_of_two_days(log: Path) -> None:
    """Move what was logged just now to yesterday and the day before, which are over."""
    (file,) = log.glob("*/*.parquet")
    table = pq.read_table(file)
    for days, part in ((2, table.slice(0, len(table) // 2)), (1, table.slice(len(table) // 2))):
        times = pc.subtract(part["time"], timedelta(days=days)).cast(part.schema.field("time").type)
        place = log / str(times[0].as_py().date()) / "00-1.parquet"
        place.parent.mkdir(exist_ok=True)
        pq.write_table(part.set_column(0, part.schema.field("time"), times), place)
    file.unlink()


@pytest.fixture
def served(project: Project, finished_project: Project, tmp_path: Path) -> Project:
    """A project with a weak champion, trained on few photos in a folder."""
    photos = tmp_path / "photos"
    _photos(finished_project, photos, range(_FEW))
    config = project.path / "conf/config.yaml"
    config.write_text(config.read_text().replace("- data: digits", "- data: folder"))
    project.set_conf("data/folder", path=str(photos))
    project.set_conf("trainer/default", max_epochs=6)
    project.set_conf("promote/default", max_ece="null", max_latency_ratio="null")
    project.run("dvc", "repro", **_QUIET)
    project.commit("few photos")
    project.run(*_LIGHTLINE, "promote", "HEAD", "--first", **_QUIET)
    return project


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("deployed")
def test_an_alarm_ends_with_another_champion_that_answers(
    served: Project, finished_project: Project, server: Server, start_worker, tmp_path: Path
):
    photos = tmp_path / "photos"
    start_worker(**_QUIET)
    shown = sorted(photos.rglob("*.png")) * (_ANSWERS // _FEW)
    with serving(
        "--from", served.path, "--stage", "champion", "--log", served.path / "logs", "--every", 1
    ) as answering:
        before = _answers(answering, shown, 0.3)[0]["model"]
        assert answering.end() == 0
    _as_if_of_two_days(served.path / "logs")
    assert served.run(*_MONITOR, check=False).returncode == 3
    _photos(finished_project, photos, range(_FEW, _MANY))

    with serving("--from", served.path, "--stage", "champion", "--every", 1) as answering:
        models, ended = [], threading.Event()

        def ask() -> None:
            while not ended.is_set():
                models.extend(answer["model"] for answer in _answers(answering, shown[:1], 1.0))
                ended.wait(0.3)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            settings = ("-p", 'images="logs"', "-p", 'overrides=["monitor.retrain=true"]', "--watch")
            served.run("prefect", "deployment", "run", "monitor/daily", *settings, PREFECT_API_URL=server.url)
            until(lambda: models[-1] != before, "another model answers")
        finally:
            ended.set()
            asking.join()

    (trained,) = json.loads((served.path / ".lightline/retrainings.json").read_text())
    assert server.artifacts(trained["flow_run"])["promotion"].startswith("# PROMOTE")
    assert "classifier#champion#2" in served.run("git", "tag").stdout
    assert set(models) == {before, models[-1]}
    assert "champion    v0.0.2" in served.run(*_LIGHTLINE, "promote", "status").stdout
    assert models == sorted(models, key=models.index), "once the new one answers, the old one does not"
