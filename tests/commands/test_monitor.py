"""`python -m lightline monitor`: logs and folders, windows, what is left out and what is refused."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

from commands.monitor import main
from commands.monitoring.drift import compare
from commands.monitoring.images import answer_folder, read_reference
from commands.monitoring.windows import of_log
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.errors import DataError
from lightline.models.checkpoint import BEST, load_checkpoint
from lightline_predict.classifier import Classifier
from stages.export.exporter import export_onnx
from tests.support import ROOT
from tests.support.drift import DAY, FINGERPRINT, some_images, write_log, write_model
from tests.support.project import Project
from tests.support.samples import random_pixels


@pytest.fixture
def folder(own_folder: Path, exported) -> Path:
    """A model file, its reference, the parameters; in the working directory."""
    (own_folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (own_folder / "conf").symlink_to(ROOT / "conf")
    write_model(exported("cnn")[1], own_folder, some_images(500, 0, embedding=8))
    return own_folder


def _report() -> dict:
    return json.loads(Path("reports/monitor/report.json").read_text())


def test_a_log_without_drift_gives_no_alarm(folder, capsys):
    for number in range(3):
        write_log(folder / "logs", some_images(150, 1 + number, embedding=8), DAY + timedelta(days=number))
    assert main(["logs"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("no drift in 3 windows")
    assert "an estimate by calibrated confidence" in told
    assert [one["name"] for one in _report()["windows"]] == [f"2026-03-0{day}T00:00:00Z" for day in (2, 3, 4)]
    with Path("reports/monitor/windows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 8  # confidence, four measures, classes, two of embeddings
    assert "embeddings were not compared" not in told


@pytest.mark.parametrize(
    ("darker", "status", "told", "is_over"),
    [
        ([0, 2, 2], 3, "drift, last in 2026-03-04T00:00:00Z: brightness (Kolmogorov-Smirnov: distance", False),
        ([2, 2, 0], 3, "drift, last in 2026-03-03T00:00:00Z, and is over: brightness", True),
        ([2, 0, 2], 0, "no drift in 3 windows; 2 of them differ alone, which chance can do", False),
    ],
)
def test_an_alarm_takes_two_windows_in_a_row(folder, capsys, darker, status, told, is_over):
    for number, one in enumerate(darker):
        write_log(folder / "logs", some_images(150, 1 + number, darker=one), DAY + timedelta(days=number))
    assert main(["logs"]) == status
    assert capsys.readouterr().out.startswith(told)
    assert _report()["is_over"] == is_over
    assert "export.embedding=true" in " ".join(_report()["notes"])


def test_what_is_left_out_is_told(folder, capsys):
    write_log(folder / "logs", some_images(150, 1), DAY)
    write_log(folder / "logs", some_images(70, 2), DAY, model="e" * 64, name="09-2")
    write_log(folder / "logs", some_images(60, 3), DAY + timedelta(days=1))
    write_log(folder / "logs", some_images(40, 4), datetime.now(UTC).replace(hour=0, minute=0, second=0))
    (folder / "logs/2026-03-02/10-1.parquet").write_bytes(b"PAR1")
    assert main(["logs", "-S", "monitor.windows=10000"]) == 0
    told = capsys.readouterr().out
    for note in (
        "70 rows are of other models, and were left out",
        "40 rows are of the window that is not over yet",
        "1 files are damaged, and were left out: logs/2026-03-02/10-1.parquet",
    ):
        assert f"note: {note}" in told
    assert [(one["images"], one["enough"]) for one in _report()["windows"]] == [(150, True), (60, False)]
    assert main(["logs", "-S", "monitor.min_images=200", "-S", "monitor.windows=10000"]) == 4
    assert capsys.readouterr().out.startswith("too few to say: no window has 200 images, the largest 150")


def test_a_log_that_has_just_begun_has_no_window_yet(folder, capsys):
    write_log(folder / "logs", some_images(150, 1), datetime.now(UTC).replace(minute=0, second=0, microsecond=0))
    assert main(["logs"]) == 4
    told = capsys.readouterr().out
    assert told.startswith("too few to say: there is no whole window yet; `--count` says how many")
    assert "note: 150 rows are of the window that is not over yet, and were left out" in told
    assert main(["logs", "--count", "150"]) == 0


def test_windows_by_count_follow_the_times_across_files(tmp_path):
    second, first = some_images(50, 2), some_images(70, 1)
    write_log(tmp_path, second, DAY + timedelta(days=1))
    write_log(tmp_path, first, DAY)
    found = of_log(tmp_path, FINGERPRINT, 24, 40, 10)
    assert [window.images for window in found.windows] == [40, 40, 40]
    assert found.windows[0].name == "2026-03-02T09:00:00Z"
    middle = found.windows[1].read()
    assert middle.brightness == pytest.approx(np.concatenate([first.brightness[40:], second.brightness[:10]]))
    assert [window.name for window in of_log(tmp_path, FINGERPRINT, 24, 40, 2).windows] == [
        window.name for window in found.windows[1:]
    ]


def _photos(folder: Path, count: int, blur: float = 0) -> Path:
    folder.mkdir()
    for number in range(count):
        noise = random_pixels(16, 16, 3, seed=int(blur > 0) * 1_000 + number) // 2 + 64
        Image.fromarray(noise).filter(ImageFilter.GaussianBlur(blur)).save(folder / f"{number:03d}.png")
    return folder


def test_a_folder_is_answered_and_shows_what_is_least_like_the_test_images(folder, exported, capsys):
    known = answer_folder(_photos(folder / "known", 300), Classifier("models/model.onnx")).images
    write_model(exported("cnn")[1], folder, known)
    assert main(["known"]) == 0
    assert "least like" not in Path("reports/monitor/report.html").read_text().lower()
    blurred = _photos(folder / "blurred", 230, 1)
    (blurred / "broken.png").write_bytes(b"no image")
    capsys.readouterr()
    assert main(["blurred"]) == 3
    told = capsys.readouterr().out
    assert "sharpness (Kolmogorov-Smirnov: distance 1.000" in told
    assert "note: 1 files cannot be read: blurred/broken.png" in told
    page = Path("reports/monitor/report.html").read_text()
    assert page.count('<div class="card"><img src="data:image/png;base64,') == 40
    assert "Least like the test images" in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere is no folder; what `lightline-predict serve --log` wrote is one, and so are images."),
        (["empty"], "empty holds no image that can be read, and no log"),
        (["logs", "--model", "none.onnx"], "none.onnx does not exist"),
        (["logs", "--reference", "none.parquet"], "none.parquet is missing; `dvc repro test`"),
        (["logs", "--reference", "params.yaml"], "params.yaml is of another model: its SHA-256 is"),
        (["logs", "-S", "monitor.alpha=2.0"], "monitor.alpha = 2.0"),
        (["logs", "--count", "99"], "--count 99: a window of fewer than 100 images (monitor.min_images) is never"),
        (["logs", "-S", "monitor.window_hour=2.0"], "window_hour"),
        (["other"], "09-1.parquet is no log of `lightline-predict serve --log`: it has no column 'time'."),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(folder, arguments, told):
    (folder / "empty").mkdir()
    write_log(folder / "logs", some_images(20, 1))
    (folder / "other/2026-03-02").mkdir(parents=True)
    pq.write_table(pa.table({"model": ["a"]}), folder / "other/2026-03-02/09-1.parquet")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert str(ended.value).startswith("error: ")
    assert told in str(ended.value)
    assert not Path("reports/monitor").exists()


def test_a_model_file_of_before_is_told_apart(folder, exported):
    with pytest.raises(DataError, match="The model file names no reference"):
        read_reference(Path("reports/test/reference.parquet"), Classifier(exported("cnn")[1]))


@pytest.fixture(scope="module")
def served(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images of a finished project as files."""
    folder = tmp_path_factory.mktemp("served")
    dataset = Dataset(finished_project.path / "data/dataset")
    for number, row in enumerate(read_splits(finished_project.path / "data/splits.parquet").rows("test")):
        (folder / f"{number:04d}.png").write_bytes(dataset.encoded(int(row)))
    return folder


def test_the_reference_is_what_the_file_answers_and_what_is_measured_of_the_same_images(
    finished_project: Project, served: Path, tmp_path: Path
):
    checkpoint = load_checkpoint(finished_project.path / BEST)
    export_onnx(checkpoint, {}, 20, tmp_path / "model.onnx", embedding=True)
    exported = Classifier(finished_project.path / "models/model.onnx")
    reference = read_reference(finished_project.path / "reports/test/reference.parquet", exported)
    answered = answer_folder(served, exported).images
    assert answered.probabilities == pytest.approx(reference.probabilities, abs=1e-5)
    for name in ("brightness", "contrast", "sharpness", "size"):
        assert getattr(answered, name) == pytest.approx(getattr(reference, name))
    embedding = answer_folder(served, Classifier(tmp_path / "model.onnx")).images.embedding
    assert reference.embedding is not None
    assert embedding is not None
    assert (embedding.dtype, reference.embedding.dtype) == (np.float32, np.float32)
    assert embedding == pytest.approx(reference.embedding, abs=1e-4 * float(np.abs(reference.embedding).max()))
    assert max(one.effect for one in compare(reference, answered)) < 0.02
