import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from lightline.data.dataset import Row, write_dataset
from lightline_predict import images
from lightline_predict.images import pixel_digest
from stages.split.near_copies import NONE, NearCopies
from stages.split.report import Report
from stages.split.strategies import Columns
from tests.support import ROOT

TABLE = Columns(
    ids=np.array(["a", "b", "c", "d", "e", "f"], object),
    labels=np.array([0, 0, 1, 1, 2, 0], np.int32),
    digests=np.array(["1", "2", "2", "3", "4", "4"], object),
    splits=np.array([None] * 6, object),
    groups=np.array(["x", None, "x", None, None, None], object),
    classes=["cat", "dog", "eel"],
)
SPLITS = np.array([0, 1, 1, 2, 2, 3], np.int8)  # f is a copy of e that was left out
NEAR = NearCopies(np.array([3, 1]), np.array([0, 0]), np.array([0.01234, 0.1]))


def test_counts_copies_and_conflicts(tmp_path: Path):
    report = Report.of(TABLE, SPLITS, NEAR)
    report.write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "train_images": 1,
        "val_images": 2,
        "test_images": 2,
        "excluded_images": 1,
        "duplicates": 2,
        "label_conflicts": 2,
        "leakage": 0,
        "near_copies": 2,
        "divided_groups": 1,
    }
    assert (tmp_path / "classes.csv").read_text().splitlines() == [
        *("class,train,val,test,excluded", "cat,1,1,0,1", "dog,0,1,1,0", "eel,0,0,1,0")
    ]
    assert (tmp_path / "duplicates.csv").read_text().splitlines() == [
        "copies_of,id,class,split,label_conflict",
        "1,b,cat,val,True",
        "1,c,dog,val,True",
        "2,e,eel,test,True",
        "2,f,cat,excluded,True",
    ]
    assert (tmp_path / "near_copies.csv").read_text().splitlines() == [
        "difference,id,class,split,like_id,like_class,like_split",
        "0.012,d,dog,test,a,cat,train",
        "0.100,b,cat,val,a,cat,train",
    ]


def test_each_oddity_is_a_warning():
    warnings = "\n".join(Report.of(TABLE, SPLITS, NEAR).warnings())
    assert "1 images that the source also has in a split that judges them" in warnings
    assert "2 pictures occur under different labels" in warnings
    assert "2 images look nearly like one in a weaker split, which flatters the metrics (" in warnings
    assert "near_copies.csv): d and a; b and a." in warnings
    assert "1 groups of the source stand in more than one split" in warnings
    assert "train has no image of 2 classes: dog, eel." in warnings
    assert "test has no image of 1 classes: cat." in warnings


def test_an_ordinary_split_warns_of_nothing():
    assert Report.of(of_one_class(13), np.array([0] * 11 + [1, 2], np.int8), NONE).warnings() == []


def test_classes_of_ten_training_images_or_fewer_are_told_in_one_line():
    (warning,) = Report.of(of_one_class(12), np.array([0] * 10 + [1, 2], np.int8), NONE).warnings()
    assert warning == (
        "1 of 1 classes have 10 training images or fewer: cat (10). So few teach and prove little; add images, and "
        "try recipe=fine_tune."
    )


def of_one_class(rows: int) -> Columns:
    names, nothing = np.arange(rows).astype(str).astype(object), np.array([None] * rows, object)
    return Columns(names, np.zeros(rows, np.int32), names, nothing, nothing, ["cat"])


def test_a_leak_would_be_counted():
    assert Report.of(TABLE, np.array([0, 0, 2, 1, 2, 3], np.int8), NONE).summary()["leakage"] == 1


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "stages.split"),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_copies_across_the_sources_splits_stop_the_stage_and_are_all_listed(tmp_path: Path):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["split"] = yaml.safe_load((ROOT / "conf/split/predefined.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    rows = []
    for number in range(24):
        pixels = np.full((2, 2, 3), number % 12, np.uint8)
        name, split = "ab"[number % 2], ("train", "test")[number // 12]
        rows.append(Row(f"{split}/{number}", images.encode(pixels), name, 2, 2, pixel_digest(pixels), split))
    write_dataset(rows, None, tmp_path / "data" / "dataset")
    process = run_stage(tmp_path)
    assert process.returncode == 1
    assert "the source has 12 images in one split that are pixel for pixel those of another" in process.stderr
    assert "\n  test/12 = train/0\n" in process.stderr
    assert "Traceback" not in process.stderr
    assert len((tmp_path / "reports/split/duplicates.csv").read_text().splitlines()) == 25
    assert not (tmp_path / "data" / "splits.parquet").exists()


def write_images(folder: Path, per_class: dict[str, int]) -> None:
    rows = []
    for name, number in per_class.items():
        for copy in range(number):
            pixels = np.full((2, 2, 3), len(rows) % 250, np.uint8)
            rows.append(Row(f"{name}/{copy}", images.encode(pixels), name, 2, 2, pixel_digest(pixels)))
    write_dataset(rows, None, folder / "data" / "dataset")


def test_the_stage_writes_the_same_bytes_every_time(tmp_path: Path):
    outputs = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(ROOT / "params.yaml", folder)
        write_images(folder, {"cat": 20, "dog": 40})
        process = run_stage(folder)
        assert process.returncode == 0, process.stderr
        assert process.stdout == "42 train, 9 val, 9 test\n"
        others = {"dataset", ".lightline"}
        written = [path for path in folder.rglob("*") if path.is_file() and not others & {*path.parts}]
        outputs.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in written})
    assert outputs[0] == outputs[1]
    assert set(outputs[0]) == {
        *("params.yaml", "data/splits.parquet"),
        *(f"reports/split/{name}" for name in ("summary.json", "classes.csv", "duplicates.csv", "near_copies.csv")),
    }


def test_the_stage_says_what_is_wrong_without_a_traceback_and_writes_nothing(tmp_path: Path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    write_images(tmp_path, {"cat": 2, "dog": 40})
    process = run_stage(tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith("error: 1 of 2 classes are too small")
    assert "cat: 2 images in 2 independent sets" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "data" / "splits.parquet").exists()
    assert not (tmp_path / "reports").exists()
