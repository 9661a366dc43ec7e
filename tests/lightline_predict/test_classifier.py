"""The model file in use, from Python and from the command line."""

import pickle
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
from lightline_predict.errors import ModelFileError
from lightline_predict.images import UnusableImageError
from tests.support.deep_images import png_of_16_bits
from tests.support.model_files import described
from tests.support.samples import CLASSES, random_pixels


@pytest.fixture
def model_file(exported) -> Path:
    return exported("cnn", crop_pct=0.9)[1]


def pixels_in(path: Path) -> np.ndarray:
    return images.decode(path.read_bytes())


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


def test_an_image_is_read_as_those_of_the_training_were(model_file, tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (20, 30, 3), dtype=np.uint16)
    path = described(model_file, tmp_path / "m.onnx", preprocessing={"max_pixels": 700, "bit_depth": 12})
    model = Classifier(path)
    _, expected = model.predict((values >> 4).astype(np.uint8)[None])
    name, probability, _ = model.classify(png_of_16_bits(values))
    assert (name, probability) == (CLASSES[expected[0].argmax()], expected.max())
    with pytest.raises(UnusableImageError, match=r"40×20 pixels are more than data.max_pixels = 700"):
        model.classify(images.encode(random_pixels(20, 40, 3)))


def test_a_model_file_from_before_it_said_how_images_are_read(model_file, tmp_path):
    path = described(model_file, tmp_path / "m.onnx", preprocessing={"input_size": 16})
    assert Classifier(path).reading == images.Reading(max_pixels=10**8, bit_depth=16)


def test_bytes_that_are_no_image(model_file):
    with pytest.raises(UnusableImageError, match="not an image in a known format"):
        Classifier(model_file).classify(b"text")


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match=r"model\.onnx does not exist\. Lightline's pipeline writes models/model"):
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
