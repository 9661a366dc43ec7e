"""How much does the model file accept of images of something else: of noise, and of letters, where it knows digits?

The pipeline on the embedded digits, as params.yaml has it. Letters: the capitals of the Latin alphabet but those that
could be digits, in six fonts of matplotlib's, drawn as the digits are, 8×8 pixels and 17 levels of grey. The file's
promise is of images like those of val: nothing is asked here, it says what it is worth beyond.
"""

import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.harness import Row
from benchmarks.project import Project
from lightline_predict.classifier import Classifier

_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif")
_LETTERS = "ABCDEFGHJKLMNPRTUVWXY"
_NOISE = 1_000  # images
_RISKS = (0.05, 0.03)  # the first is params.yaml's, at which all answers may be accepted
_LARGE = 64  # pixels in which a letter is drawn before it is brought down to 8


def run(quick: bool) -> list[Row]:
    """Return a row for each kind of images and each risk that is asked for."""
    rng = np.random.default_rng(0)
    kinds = {
        "noise of 17 levels": _grey(rng.integers(0, 17, (_NOISE, 8, 8))),
        "the digits' own pixels, shuffled": _shuffled(rng),
        "letters": _letters(),
    }
    settings = ["-S", "export.latency=false", *(["-S", "trainer.max_epochs=2"] if quick else [])]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        for risk in _RISKS:
            project.run_stages("dvc", "exp", "run", *settings, "-S", f"export.target_risk={risk}", "export")
            model = Classifier(project.path / "models/model.onnx")
            rows += [_row(model, f"{what}, target_risk {risk}", pixels) for what, pixels in kinds.items()]
    return rows


def _row(model: Classifier, what: str, pixels: np.ndarray) -> Row:
    given = model.outputs(pixels)
    told = f"{1 - given['accepted'].mean():.1%} rejected, sets of {given['set'].sum(1).mean():.2f} classes"
    return Row(f"{len(pixels):,} images of {what}", f"{told}, median confidence {np.median(given['confidence']):.3f}")


def _grey(levels: np.ndarray) -> np.ndarray:
    """Make uint8 RGB [images, 8, 8, 3] of levels 0 to 16."""
    return np.repeat((levels * 255 / 16).round().astype(np.uint8)[..., None], 3, axis=3)


def _shuffled(rng: np.random.Generator) -> np.ndarray:
    from sklearn.datasets import load_digits

    return _grey(rng.permuted(load_digits(return_X_y=True)[0][:_NOISE], axis=1).reshape(-1, 8, 8))


def _letters() -> np.ndarray:
    fonts = Path(matplotlib.get_data_path(), "fonts/ttf")
    return _grey(np.stack([_letter(letter, fonts / f"{font}.ttf") for font in _FONTS for letter in _LETTERS]))


def _letter(letter: str, font: Path) -> np.ndarray:
    """Draw white on black, as tall as the picture."""
    image = Image.new("L", (_LARGE, _LARGE))
    drawing = ImageDraw.Draw(image)
    drawing.text((_LARGE / 2, _LARGE / 2), letter, 255, ImageFont.truetype(str(font), 76), "mm")
    small = np.asarray(image.resize((8, 8), Image.Resampling.BOX), float)
    return (small * 16 / 255).round()
