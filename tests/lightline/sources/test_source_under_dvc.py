"""Under DVC: changed data is noticed, unchanged data costs no run, and an isolated copy finds a relative source."""

import json
from pathlib import Path

import pytest

FOLDER = ("-S", "data=folder", "-S", "split=predefined")
NAMES = [f"{split}/{name}/{number}.png" for split in ("train", "test") for name in "ab" for number in range(2)]


def summary(folder: Path) -> dict:
    return json.loads((folder / "data/dataset/dataset.json").read_text())


def test_a_change_is_noticed_and_no_change_costs_no_run(project, write, png):
    write(project.path / "data/raw", NAMES)
    project.run("dvc", "exp", "run", *FOLDER, "download")
    first = summary(project.path)
    assert first["num_images"] == 8
    assert "'download' didn't change, skipping" in project.run("dvc", "repro", "download").stdout
    write(project.path / "data/raw", {"train/a/9.png": png(9)})
    assert "Running stage 'download'" in project.run("dvc", "repro", "download").stdout
    assert summary(project.path)["num_images"] == 9
    (project.path / "data/raw/train/a/9.png").unlink()
    assert "Running stage 'download'" not in project.run("dvc", "repro", "download").stdout  # from DVC's cache
    assert summary(project.path) == first


@pytest.mark.parametrize("is_tracked", [False, True])
def test_an_experiment_in_a_temporary_copy_finds_a_relative_folder(project, write, is_tracked):
    path = "photos" if is_tracked else "data/raw"
    write(project.path / path, NAMES)
    if is_tracked:
        project.commit("photos")
    project.run("dvc", "exp", "run", "--temp", "--name", "isolated", *FOLDER, "-S", f"data.path={path}", "download")
    assert not (project.path / "data/dataset").exists()
    (ref,) = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/isolated").stdout.split()
    (project.path / "dvc.lock").write_text(project.run("git", "show", f"{ref}:dvc.lock").stdout)
    project.run("dvc", "checkout", "data/dataset")
    assert summary(project.path)["num_images"] == 8


def test_a_bad_image_stops_the_run_with_its_name_and_no_traceback(project, write):
    write(project.path / "data/raw", NAMES)
    write(project.path / "data/raw", {"train/a/bad.png": b"no image"})
    process = project.run("dvc", "exp", "run", *FOLDER, "download", check=False)
    assert process.returncode != 0
    output = process.stdout + process.stderr
    assert "train/a/bad.png: not an image in a known format" in output
    assert "Traceback" not in output
    assert "train/a/bad.png" in (project.path / "reports/download/rejected.csv").read_text()


def test_photos_in_the_default_folder_that_dvc_tracks_are_in_its_sight(project, write, png):
    """Of a folder that git ignores whole, DVC overlooks them, and the end of `dvc exp run` would delete them."""
    write(project.path / "data/raw", NAMES)
    project.run("dvc", "add", "--quiet", "data/raw")
    project.commit("photos")
    write(project.path / "data/raw", {"train/a/9.png": png(9)})
    assert "data/raw.dvc" in json.loads(project.run("dvc", "status", "--json").stdout)
