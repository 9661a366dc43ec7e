"""Images that go from train to test because others were added are told of."""

from pathlib import Path

import pyarrow.parquet as pq

from lightline_predict import images
from tests.support.project import Project
from tests.support.samples import random_pixels


def _add(photos: Path, numbers: range) -> None:
    for name in ("blue", "red"):
        (photos / name).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            pixels = random_pixels(8, 8, 3, seed=2 * number + (name == "red"))
            (photos / name / f"{number}.png").write_bytes(images.encode(pixels))


def _sides(project: Project) -> dict[str, str]:
    return {row["id"]: row["split"] for row in pq.read_table(project.path / "data/splits.parquet").to_pylist()}


def test_images_that_go_from_train_to_test_are_told_of(project: Project, tmp_path: Path):
    photos = tmp_path / "photos"
    _add(photos, range(30))
    config = project.path / "conf/config.yaml"
    config.write_text(config.read_text().replace("- data: digits", "- data: folder"))
    project.set_conf("data/folder", path=photos)
    assert "for testing now" not in project.run("dvc", "repro", "split").stdout
    project.commit("thirty of each")
    before = _sides(project)
    _add(photos, range(30, 90))
    printed = project.run("dvc", "repro", "split").stdout
    moved = [name for name, side in _sides(project).items() if side == "test" and before.get(name) == "train"]
    assert moved
    assert f"warning: {len(moved)} of 60 images were for training in the last commit and are for testing now" in printed
    # The same again, with other parameters: another split was asked for.
    project.set_conf("config", seed=7)
    assert "for testing now" not in project.run("dvc", "repro", "split").stdout
