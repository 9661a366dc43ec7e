"""The model card: what the model is, what it was trained on, how good it is, what it is not for, how to use it.

After M. Mitchell et al., "Model cards for model reporting" (2019).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightline import __version__
from lightline.config.params import Export
from lightline.data.splits import Splits
from lightline.files import whole_file
from lightline.models.checkpoint import Checkpoint
from lightline_predict.images import DEEPEST

_MAX_CLASSES = 50  # listed one by one

# As lightline_predict.images reads an image, with Pillow alone.
_LOADING = """
```python
import json
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model = onnxruntime.InferenceSession("models/FILE")
classes = json.loads(model.get_modelmeta().custom_metadata_map["classes"])
image = Image.open("image.jpg")
assert image.mode not in ("I", "F") or (image.mode, image.format) == ("I", "PPM"), "pixels without an agreed range"
image = ImageOps.exif_transpose(image)  # upright
if image.mode.startswith("I"):  # 16 bits a channel, BITS of them in use
    image = Image.fromarray(np.minimum(np.asarray(image.convert("I")) >> SHIFT, 255).astype(np.uint8))
image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
outputs = ["probabilities", "confidence", "accepted"]
probabilities, confidence, accepted = model.run(outputs, {"image": np.asarray(image)[None]})
print(classes[probabilities[0].argmax()], confidence[0], "" if accepted[0] else "not accepted")
```
""".strip()
# Where not all of 16 bits are in use, since Pillow keeps the upper 8 of a colour, whatever the others hold.
_REFUSE_DEEP_COLOURS = """
assert ";16" not in str(image.tile) or image.mode[0] == "I", "16-bit colours: python -m lightline predict reads them"
""".lstrip()


@dataclass(frozen=True)
class Sections:
    """The text of sections that others write; quantization: for the card of the int8 file."""

    latency: str
    decision: str
    quantization: str | None = None


def write_card(
    path: Path,
    checkpoint: Checkpoint,
    splits: Splits,
    metrics: dict[str, Any],
    settings: Export,
    sections: Sections,
    *,
    bit_depth: int,
) -> None:
    """Write the card, whole or not at all; see `model_card`."""
    counts = {name: len(splits.rows(name)) for name in ("train", "val", "test")}
    card = model_card(checkpoint, counts, metrics, settings, sections, bit_depth=bit_depth)
    with whole_file(path) as temporary:
        temporary.write_text(card, encoding="utf-8")


def model_card(
    checkpoint: Checkpoint,
    splits: dict[str, int],
    metrics: dict[str, Any],
    settings: Export,
    sections: Sections,
    *,
    bit_depth: int = DEEPEST,
) -> str:
    """Write the card in Markdown.

    splits: number of images in train, val and test. metrics: of the test split. bit_depth: of 16 bits a channel, those
    in use.
    """
    name, file = checkpoint.params["model"]["name"], "model.onnx"
    if sections.quantization is not None:
        name, file = f"{name} in int8", "model.int8.onnx"
    parameters = sum(value.numel() for value in checkpoint.state_dict.values())
    parts = [
        f"# {name}: a classifier of {len(checkpoint.classes)} classes",
        f"Fingerprint `{checkpoint.fingerprint}`, dataset `{checkpoint.dataset}`, Lightline {__version__}.",
        f"## Intended use\n\n{settings.intended_use}",
        f"## Limits\n\n{settings.limits}",
        f"## How to load it\n\n{_loading(file, bit_depth)}",
        f"## Input and output\n\n{_interface(checkpoint, bit_depth)}",
        f"## When it is sure\n\n{sections.decision}",
        *([] if sections.quantization is None else [f"## Quantisation\n\n{sections.quantization}"]),
        f"## Metrics on the test split\n\n{_metrics(metrics)}",
        f"## Latency\n\n{sections.latency}",
        f"## Data\n\n{_data(checkpoint, splits)}",
        f"## Training\n\n{parameters:,} numbers in the network; epoch {checkpoint.epoch} was the best on val.",
        f"```json\n{json.dumps(checkpoint.params, indent=2, ensure_ascii=False)}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _loading(file: str, bit_depth: int) -> str:
    lines = _LOADING.replace("FILE", file).replace("BITS", str(bit_depth)).replace("SHIFT", str(bit_depth - 8))
    upright = "image = ImageOps.exif_transpose"
    return lines if bit_depth == DEEPEST else lines.replace(upright, _REFUSE_DEEP_COLOURS + upright)


def _interface(checkpoint: Checkpoint, bit_depth: int) -> str:
    settings = checkpoint.preprocessing
    return (
        "`image`: uint8 `[batch, height, width, 3]`, RGB, of any size. `logits` and `probabilities`: float32 "
        f"`[batch, {len(checkpoint.classes)}]`; `confidence`: float32 `[batch]`, the largest probability; `accepted`: "
        f"bool `[batch]`; `set`: bool `[batch, {len(checkpoint.classes)}]`, the classes that it may well be. "
        f"Inside the file {_crop(settings.crop_pct)} is resized to "
        f"{settings.input_size}×{settings.input_size} pixels and normalised with mean "
        f"{_numbers(settings.mean)} and standard deviation {_numbers(settings.std)}. `probabilities` are the softmax "
        "of `logits` / temperature (below)."
        "\n\nAs in training, an image file becomes these pixels upright (EXIF, XMP), transparent pixels over white, an "
        "animation as its first frame; colour profiles and gamma are ignored. Of 16 bits a channel "
        f"{bit_depth} are in use (`data.bit_depth`): {2**bit_depth - 1}{' and above' * (bit_depth < DEEPEST)} is white."
    )


def _crop(crop_pct: float) -> str:
    whole = "the largest centred square of an image"
    return whole if crop_pct == 1 else f"the middle of {whole}, {crop_pct:.1%} of its side,"


def _metrics(metrics: dict[str, Any]) -> str:
    lines = ["| metric | value |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in metrics.items()]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _data(checkpoint: Checkpoint, splits: dict[str, int]) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in splits.items())
    shown = ", ".join(checkpoint.classes[:_MAX_CLASSES])
    more = f" and {len(checkpoint.classes) - _MAX_CLASSES} more" if len(checkpoint.classes) > _MAX_CLASSES else ""
    return f"{counts} images. Classes, in output order: {shown}{more}."


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"
