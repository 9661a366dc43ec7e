"""Corrections through a whole project: who learns and who is judged by which label."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from tests.support.project import copy_project
from tests.support.samples import random_pixels


def test_corrections_change_training_and_not_what_is_judged(tmp_path: Path):
    """Twelve images a class, those that the source has for test among them."""
    project, photos = copy_project(tmp_path / "project"), tmp_path / "photos"
    for split, numbers in (("train", range(10)), ("test", range(10, 14))):
        for name, colour in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
            (photos / split / name).mkdir(parents=True)
            for number in numbers:
                pixels = np.clip(np.array(colour) + random_pixels(20, 20, 3, seed=number) // 5, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(photos / split / name / f"{number}.png")
    rows = [
        ("train/blue/0.png", "red", ""), ("train/red/1.png", "drop", ""), ("test/red/10.png", "blue", ""),
        ("test/red/11.png", "blue", "test"), ("test/blue/12.png", "drop", ""), ("test/blue/13.png", "drop", "test"),
    ]  # fmt: skip
    file = project.path / "corrections.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("id", "label", "split"), *rows])
    project.set_conf("data/folder", path=photos, corrections="corrections.csv")
    settings = ("data=folder", "split=predefined", "trainer.max_epochs=1")
    command = ("dvc", "exp", "run", *(word for setting in settings for word in ("-S", setting)))
    project.run(*command, "test", WANDB_MODE="disabled")
    index = pq.read_table(project.path / "data/dataset/index.parquet").to_pylist()
    splits = {row["id"]: row["split"] for row in pq.read_table(project.path / "data/splits.parquet").to_pylist()}
    labels = {row["id"]: (row["label"], row["test_label"]) for row in index}
    assert labels["train/blue/0.png"] == (1, 0)
    assert splits["train/red/1.png"] == "excluded"
    assert (labels["test/red/10.png"][1], labels["test/red/11.png"]) == (1, (0, 0))
    assert (splits["test/blue/12.png"], splits["test/blue/13.png"]) == ("test", "excluded")
    judged = {
        row["id"]: row["class"] for row in pq.read_table(project.path / "reports/test/predictions.parquet").to_pylist()
    }
    assert (judged["test/red/10.png"], judged["test/red/11.png"], judged["test/blue/12.png"]) == ("red", "blue", "blue")
    assert sorted(path.name for path in (photos / "test/red").iterdir()) == [
        f"{number}.png" for number in range(10, 14)
    ]
    file.write_text(file.read_text() + "train/red/2.png,drop,\n")
    assert "Running stage 'download'" in project.run(*command, "split", WANDB_MODE="disabled").stdout
    file.write_text("id,label\nnowhere.png,red\n")
    failed = project.run(*command, "split", check=False)
    assert failed.returncode
    assert "names what the source does not have: 'nowhere.png'" in failed.stdout + failed.stderr
