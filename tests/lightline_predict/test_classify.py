"""`lightline-predict classify`: images and folders from the command line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightline_predict import images
from lightline_predict.classifier import Classifier
from lightline_predict.classify import main
from tests.support import ROOT
from tests.support.closed_folder import close_folder
from tests.support.deep_images import png_of_16_bits
from tests.support.model_files import described
from tests.support.samples import CLASSES, random_pixels


@pytest.fixture
def model_file(exported) -> Path:
    return exported("cnn", crop_pct=0.9)[1]


def run_main(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:  # whose text Python prints to stderr, to exit with 1
        print(end.code, file=sys.stderr)
        return 1


def test_the_command_says_where_an_image_has_more_bits_than_the_training_images(model_file, tmp_path, capsys):
    path = described(model_file, tmp_path / "m.onnx", preprocessing={"bit_depth": 12})
    for name, largest in (("good.png", 4095), ("bright.png", 9000)):
        (tmp_path / name).write_bytes(png_of_16_bits(np.full((9, 9, 1), largest, np.uint16)))
    assert run_main(path, tmp_path / "good.png", tmp_path / "bright.png") == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    assert printed.err == (
        f"{tmp_path / 'bright.png'}: its values take 14 bits, those of the training images 12 (data.bit_depth); "
        "what is above became white\n"
    )


def test_the_command_prints_a_line_an_image(model_file, tmp_path, capsys):
    paths = [tmp_path / "a.png", tmp_path / "größe b.jpg", tmp_path / "c.gif"]
    for number, path in enumerate(paths):
        Image.fromarray(random_pixels(20 + number, 30, 3, seed=number)).save(path)
    assert run_main(model_file, *paths) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = [line.split("\t") for line in printed.out.splitlines()]
    assert [line[0] for line in lines] == [str(path) for path in paths]
    model = Classifier(model_file)
    for path, (_, name, probability) in zip(paths, lines, strict=True):
        expected = model.classify(path.read_bytes())
        assert name == expected[0]
        assert float(probability) == pytest.approx(expected[1], abs=1e-4)


def test_the_command_goes_on_after_an_image_it_cannot_read_and_exits_with_1(model_file, tmp_path, capsys):
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "cut.png").write_bytes(images.encode(random_pixels(40, 40, 3))[:300])
    (tmp_path / "good.png").write_bytes(images.encode(random_pixels(9, 9, 3)))
    names = ("text.png", "missing.png", "cut.png", "good.png")
    assert run_main(model_file, *(tmp_path / name for name in names)) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert printed.out.startswith(f"{tmp_path / 'good.png'}\t")
    errors = printed.err.splitlines()
    assert len(errors) == 3
    reasons = (
        "not an image in a known format (JPEG, PNG",
        "No such file",
        "cannot be decoded",
    )
    for line, name, said in zip(errors, names, reasons, strict=False):
        assert line.startswith(f"{tmp_path / name}: ")
        assert said in line


def test_the_command_answers_for_all_files_in_a_folder(model_file, tmp_path, capsys):
    photos = tmp_path / "photos"
    (photos / "inner").mkdir(parents=True)
    for name in ("b.png", "inner/c.png", "a.png", ".hidden.png"):
        (photos / name).write_bytes(images.encode(random_pixels(9, 9, 3)))
    assert run_main(model_file, photos) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(photos / name) for name in ("a.png", "b.png", "inner/c.png")]
    (tmp_path / "empty").mkdir()
    assert run_main(model_file, tmp_path / "empty") == 1
    assert "there is no file in" in capsys.readouterr().err


def test_a_link_that_leads_back_is_followed_once(model_file, tmp_path, capsys):
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    (tmp_path / "photos" / "inner" / "back").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "a.png").write_bytes(images.encode(random_pixels(9, 9, 3)))
    assert run_main(model_file, tmp_path / "photos") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_folder_that_cannot_be_read_is_said(model_file, tmp_path, monkeypatch, capsys):
    def refuse(self: Path) -> None:  # root may read all folders
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert run_main(model_file, tmp_path) == 1
    assert capsys.readouterr().err == f"error: The folder {tmp_path} cannot be read: Permission denied.\n"


def test_a_pipe_is_no_image_and_nothing_waits_for_it(model_file, tmp_path, capsys):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(images.encode(random_pixels(9, 9, 3)))
    assert run_main(model_file, tmp_path) == 1
    printed = capsys.readouterr()
    assert printed.err == f"{tmp_path / 'a.png'}: a pipe or device, not a file\n"
    assert printed.out.startswith(f"{tmp_path / 'b.png'}\t")


def test_the_command_refuses_a_file_that_is_no_model(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"text")
    assert run_main(tmp_path / "model.onnx", tmp_path / "a.png") == 1
    assert run_main(tmp_path / "missing.onnx", tmp_path / "a.png") == 1
    assert run_main(tmp_path, tmp_path / "a.png") == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {tmp_path / 'model.onnx'} is no model that onnxruntime can read")
    written = "Lightline's pipeline writes models/model.onnx."
    assert second == f"error: {tmp_path / 'missing.onnx'} does not exist. {written}"
    assert third == f"error: {tmp_path} is a folder. {written}"


def test_the_command_needs_no_torch(model_file, tmp_path):
    (tmp_path / "a.png").write_bytes(images.encode(random_pixels(9, 9, 3)))
    code = (
        "import runpy, sys\n"
        "sys.modules |= dict.fromkeys(['torch', 'torchvision', 'lightning', 'torchmetrics', 'onnx', 'sklearn'])\n"
        "runpy.run_module('lightline', run_name='__main__')"
    )  # a module that is None cannot be imported
    process = subprocess.run(
        [sys.executable, "-c", code, "predict", str(model_file), str(tmp_path / "a.png")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.split("\t")[1] in CLASSES


def test_a_name_that_is_no_text_is_printed(model_file, tmp_path, capsys):
    photo = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    photo.write_bytes(images.encode(random_pixels(9, 9, 3)))
    assert run_main(model_file, tmp_path) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/caf\\udce9.png\t")


def test_a_folder_above_that_may_not_be_entered_is_told(model_file, tmp_path, capsys, monkeypatch):
    close_folder(monkeypatch, "closed")
    assert run_main(model_file, tmp_path / "closed" / "a.png") == 1
    assert "a.png: cannot be read: " in capsys.readouterr().err
    assert run_main(tmp_path / "closed" / "model.onnx", tmp_path) == 1
    assert "model.onnx cannot be read: Permission denied" in capsys.readouterr().err


def test_who_has_closed_the_output_gets_the_status(model_file, tmp_path):
    (tmp_path / "a.png").write_bytes(images.encode(random_pixels(9, 9, 3)))
    command = f"{sys.executable} -m lightline_predict classify {model_file} {tmp_path} >&-"
    done = subprocess.run(command, shell=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_who_has_read_enough_ends_it_without_a_traceback(model_file, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(images.encode(random_pixels(9, 9, 3)))
    command = (sys.executable, "-u", "-m", "lightline_predict", "classify", model_file, tmp_path)
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
