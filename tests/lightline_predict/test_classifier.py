"""The model file in use, from Python and from the command line."""

import json
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from lightline_predict import images
from lightline_predict.classifier import Classifier
from lightline_predict.classify import main
from lightline_predict.errors import ModelFileError
from lightline_predict.images import UnusableImageError
from tests.support import ROOT
from tests.support.deep_images import png_of_16_bits
from tests.support.samples import CLASSES, random_pixels


@pytest.fixture
def model_file(exported) -> Path:
    return exported("cnn", crop_pct=0.9)[1]


def pixels_in(path: Path) -> np.ndarray:
    return images.decode(path.read_bytes())


def run_main(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:  # whose text Python prints to stderr, to exit with 1
        print(end.code, file=sys.stderr)
        return 1


def test_an_image_is_classified_as_its_pixels_are(model_file):
    model = Classifier(model_file)
    pixels = random_pixels(30, 40, 3)
    logits, probabilities = model.predict(pixels[None])
    assert logits.shape == probabilities.shape == (1, 3)
    assert logits.dtype == probabilities.dtype == np.float32
    name, probability, accepted = model.classify(images.encode(pixels))
    assert accepted
    assert name == CLASSES[probabilities[0].argmax()]
    assert probability == probabilities.max()
    assert model.classes == list(CLASSES)


def test_an_image_is_turned_as_its_exif_says(model_file, tmp_path):
    pixels = random_pixels(20, 44, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    model = Classifier(model_file)
    _, upright = model.predict(np.ascontiguousarray(np.rot90(pixels, -1))[None])
    assert model.classify((tmp_path / "turned.png").read_bytes())[1] == pytest.approx(upright.max(), abs=1e-6)


def described(model_file: Path, path: Path, **changes: object) -> Path:
    """A copy of a model file that says other things of itself."""
    model = onnx.load(model_file)
    for entry in model.metadata_props:
        if entry.key in changes:
            entry.value = changes[entry.key] if isinstance(changes[entry.key], str) else json.dumps(changes[entry.key])
    onnx.save(model, path)
    return path


def test_an_image_is_read_as_those_of_the_training_were(model_file, tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (20, 30, 3), dtype=np.uint16)
    path = described(model_file, tmp_path / "m.onnx", preprocessing={"max_pixels": 700, "bit_depth": 12})
    model = Classifier(path)
    _, expected = model.predict((values >> 4).astype(np.uint8)[None])
    name, probability, _ = model.classify(png_of_16_bits(values))
    assert (name, probability) == (CLASSES[expected[0].argmax()], expected.max())
    with pytest.raises(UnusableImageError, match=r"40×20 pixels are more than data.max_pixels = 700"):
        model.classify(images.encode(random_pixels(20, 40, 3)))


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


def test_a_model_file_from_before_it_said_how_images_are_read(model_file, tmp_path):
    path = described(model_file, tmp_path / "m.onnx", preprocessing={"input_size": 16})
    assert Classifier(path).reading == images.Reading(max_pixels=10**8, bit_depth=16)


def test_bytes_that_are_no_image(model_file):
    with pytest.raises(UnusableImageError, match="not an image in a known format"):
        Classifier(model_file).classify(b"text")


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match=r"model\.onnx is missing\. Lightline's pipeline writes models/model"):
        Classifier(tmp_path / "model.onnx")


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_a_damaged_file(model_file, tmp_path, keep):
    (tmp_path / "model.onnx").write_bytes(model_file.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match=r"model\.onnx (is no model that onnxruntime can read: .|does not name)"):
        Classifier(tmp_path / "model.onnx")


@pytest.mark.parametrize("place", ["../weights.bin", "{folder}/weights.bin", "link.bin", "x/../../weights.bin"])
def test_a_file_that_reads_what_lies_outside_its_folder_is_refused(model_file, tmp_path, place):
    model = onnx.load(model_file)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (tmp_path / "weights.bin").write_bytes(weights.raw_data)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link.bin").symlink_to(tmp_path / "weights.bin")
    onnx.external_data_helper.set_external_data(weights, place.format(folder=tmp_path))
    weights.ClearField("raw_data")
    (tmp_path / "models" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"model\.onnx is no model that onnxruntime can read: .*[Ee]xternal"):
        Classifier(tmp_path / "models" / "model.onnx")


def test_a_model_of_another_program(model_file, tmp_path):
    model = onnx.load(model_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelFileError, match="does not name its classes; it was not written by Lightline's export"):
        Classifier(tmp_path / "model.onnx")


def test_a_model_of_another_program_that_names_its_classes_in_its_own_way(model_file, tmp_path):
    path = described(model_file, tmp_path / "model.onnx", classes="cat,dog")
    with pytest.raises(ModelFileError, match="does not name its classes; it was not written by Lightline's export"):
        Classifier(path)


def test_a_model_that_takes_or_gives_something_else(tmp_path):
    def save(kind: int, taken: str, given: list[str]) -> Path:
        inputs = [onnx.helper.make_tensor_value_info(taken, kind, [1])]
        outputs = [onnx.helper.make_tensor_value_info(name, kind, [1]) for name in given]
        nodes = [onnx.helper.make_node("Identity", [taken], [name]) for name in given]
        opsets = [onnx.helper.make_opsetid("", 20)]
        model = onnx.helper.make_model(
            onnx.helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opsets, ir_version=9
        )
        onnx.helper.set_model_props(model, {"classes": '["cat"]'})
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    uint8, float32 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    with pytest.raises(
        ModelFileError, match=r"takes x tensor\(float\) instead of image tensor\(uint8\); it was not written"
    ):
        Classifier(save(float32, "x", ["logits", "probabilities"]))
    with pytest.raises(ModelFileError, match="does not give probabilities; it was not written by Lightline's export"):
        Classifier(save(uint8, "image", ["logits"]))


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


@pytest.mark.parametrize("form", [str, Path.read_bytes, lambda path: Image.open(path), lambda path: pixels_in(path)])
def test_the_classifier_takes_pictures_in_any_form_and_many_of_many_sizes(model_file, tmp_path, form):
    model, paths = Classifier(model_file), []
    for number, (height, width) in enumerate([(9, 9), (12, 20), (9, 9)]):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(images.encode(random_pixels(height, width, 3, seed=number)))
    alone = [model(form(path)) for path in paths]
    together = model([form(path) for path in paths])
    assert together.classes == [answers.classes[0] for answers in alone]
    np.testing.assert_allclose(together.probabilities, np.concatenate([one.probabilities for one in alone]), atol=1e-5)
    assert together.set.shape == (3, 3)
    assert together.accepted.tolist() == [bool(one.accepted[0]) for one in alone]
    assert len(model([])) == 0


def test_the_classifier_refuses_pixels_of_another_kind(model_file):
    with pytest.raises(UnusableImageError, match=r"pixels are uint8 RGB .* these are float64 \[9, 9, 3\]"):
        Classifier(model_file)(np.zeros((9, 9, 3)))


@pytest.mark.parametrize("form", [bytearray, memoryview])
def test_the_classifier_takes_bytes_of_any_kind(model_file, form):
    content = images.encode(random_pixels(9, 9, 3))
    assert Classifier(model_file)(form(content)).classes == Classifier(model_file)(content).classes


def test_the_classifier_says_which_image_cannot_be_read(model_file, tmp_path):
    good, model = random_pixels(9, 9, 3), Classifier(model_file)
    with pytest.raises(UnusableImageError, match=r"^image 1: the file is empty"):
        model([good, b""])
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(UnusableImageError, match=rf"^{tmp_path / 'a.png'}: not an image in a known format"):
        model([good, tmp_path / "a.png"])
    with pytest.raises(UnusableImageError, match=r"these are uint8 \[9, 9\]"):
        model(good[..., 0])
    with pytest.raises(FileNotFoundError):
        model(tmp_path / "none.png")


@pytest.mark.parametrize("wrong", [3, None, [3], [["a.png"]]])
def test_the_classifier_says_what_it_takes(model_file, wrong):
    with pytest.raises(TypeError, match=r"^an image is a path, encoded bytes, .* this is builtins\.|NoneType"):
        Classifier(model_file)(wrong)


def test_the_classifier_does_not_take_the_lines_of_a_file_for_images(model_file, tmp_path):
    (tmp_path / "a.png").write_bytes(images.encode(random_pixels(9, 9, 3)))
    with (tmp_path / "a.png").open("rb") as file, pytest.raises(TypeError, match="an open file is no image; give its"):
        Classifier(model_file)(file)


def test_of_a_generator_some_images_are_held_at_a_time(model_file):
    alive: list[weakref.ref[np.ndarray]] = []

    def pictures() -> Iterator[np.ndarray]:
        for number in range(300):
            pixels = random_pixels(8 + number % 2, 8, 3, seed=number)
            alive.append(weakref.ref(pixels))
            yield pixels
            del pixels
            assert sum(each() is not None for each in alive) <= 128

    model = Classifier(model_file)
    answers = model(pictures())
    again = model.answers([random_pixels(8 + number % 2, 8, 3, seed=number) for number in range(300)])
    assert len(answers) == 300
    assert answers.classes == again.classes
    np.testing.assert_allclose(answers.probabilities, again.probabilities, atol=1e-5)


def test_threads_share_a_classifier(model_file):
    model = Classifier(model_file, num_threads=1)
    pictures = [random_pixels(8 + number % 5, 9, 3, seed=number) for number in range(60)]
    with ThreadPoolExecutor(4) as pool:
        together = [answers.classes[0] for answers in pool.map(model, pictures)]
    assert together == model(pictures).classes


def test_a_classifier_is_pickled_as_its_path(model_file, monkeypatch, tmp_path):
    monkeypatch.chdir(model_file.parent)
    pickled = pickle.dumps(Classifier(model_file.name, num_threads=1))
    monkeypatch.chdir(tmp_path)
    assert len(pickled) < 1000
    pixels = random_pixels(9, 9, 3)
    assert pickle.loads(pickled)(pixels).classes == Classifier(model_file)(pixels).classes


def test_a_negative_number_of_threads(model_file):
    with pytest.raises(ValueError, match="num_threads is -1; 0 takes all cores"):
        Classifier(model_file, num_threads=-1)


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
    assert second == f"error: {tmp_path / 'missing.onnx'} is missing. Lightline's pipeline writes models/model.onnx."
    assert third == f"error: {tmp_path} is a folder, not a model file. Lightline's pipeline writes models/model.onnx."


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
