"""Which networks of torchvision and timm go through the project, from their name to the int8 file?

One of each family, with random weights, at its own size: docs/models.md has what was found, network by network.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import Row
from benchmarks.report import checked_out, machine
from benchmarks.settings import ROOT

PAGE, ANSWERS = Path("docs/models.md"), Path("docs/models.json")
_LONGEST = 900  # seconds for one network
_QUICK = ("squeezenet1_1",)

# One of each family, a small one. Names are torchvision's, and timm's as timm/NAME.
NETWORKS = {
    "alexnet": "AlexNet",
    "vgg11_bn": "VGG",
    "resnet18": "residual",
    "resnext50_32x4d": "ResNeXt",
    "densenet121": "DenseNet",
    "googlenet": "Inception 1",
    "inception_v3": "Inception 3",
    "squeezenet1_1": "SqueezeNet",
    "mobilenet_v2": "MobileNet 2",
    "mobilenet_v3_small": "MobileNet 3",
    "mnasnet0_5": "MnasNet",
    "shufflenet_v2_x0_5": "ShuffleNet",
    "efficientnet_b0": "EfficientNet",
    "efficientnet_v2_s": "EfficientNet 2",
    "regnet_y_400mf": "RegNet",
    "convnext_tiny": "ConvNeXt",
    "vit_b_32": "ViT",
    "swin_t": "Swin",
    "swin_v2_t": "Swin 2",
    "maxvit_t": "MaxViT",
    "timm/tf_efficientnet_lite0": "EfficientNet-Lite",
    "timm/mobilenetv4_conv_small": "MobileNet 4",
    "timm/ghostnet_100": "GhostNet",
    "timm/repvgg_a0": "RepVGG",
    "timm/dla34": "deep layer aggregation",
    "timm/res2net50_26w_4s": "Res2Net",
    "timm/cspdarknet53": "cross-stage partial",
    "timm/nf_resnet50": "without normalisation",
    "timm/inception_next_tiny": "InceptionNeXt",
    "timm/deit_tiny_distilled_patch16_224": "DeiT, two heads",
    "timm/eva02_tiny_patch14_336": "EVA, rotary positions",
    "timm/mixer_s32_224": "MLP-Mixer",
    "timm/poolformer_s12": "MetaFormer",
    "timm/pvt_v2_b0": "pyramid ViT",
    "timm/xcit_nano_12_p16_224": "cross-covariance",
    "timm/levit_128s": "LeViT, hybrid",
    "timm/mobilevit_xxs": "MobileViT, hybrid",
    "timm/coatnet_nano_rw_224": "CoAtNet, hybrid",
    "timm/fastvit_t8": "FastViT, hybrid",
    "timm/efficientformer_l1": "EfficientFormer, hybrid",
}

_HEADER = (
    "network", "family", "pixels", "parameters", "loss, after a step", "export", "gate", "OpenVINO", "int8",
    "int8 in OpenVINO",
)  # fmt: skip
_INTRODUCTION = f"""# Which networks go through

Written by `python -m benchmarks models`, never by hand. {len(NETWORKS)} networks of torchvision and timm (`-S
model=resnet18 -S model.name=NAME`), one of each family, each at the size its library has it at: built for ten
classes, trained for two batches, exported to one file for images of any size, let through the gate of `export` and
quantised as `quantize` does it. Weights are random, and the images are 24 cuts out of two photos, of which half
decide int8's ranges.

- loss: at the start, which should be ln 10 = 2.303, and after a step on the same four images.
- export: seconds, which depend on the machine and its other work, and the file's size.
- gate: the largest difference between torch's and onnxruntime's logits, as a share of the spread of an image's logits;
  `export.rtol` allows 1e-3. The head is scaled so that each logit has a deviation of one over the images: that
  magnifies rounding, here as in OpenVINO, by as much as a random network's features are alike for all photos.
- OpenVINO: its largest difference to onnxruntime at four sizes of image, as a share of that spread, in float32.
- int8: the share of images that it names the same class for as float32, and the file's size; in OpenVINO, the share it
  names the same class for as onnxruntime does. What tells photos apart is a small part of a random network's features,
  and rounding reaches it; the stage's own gate compares the accuracy of a trained one.
"""


def run(quick: bool) -> list[Row]:
    """Return a row for each step, with the number of networks that come through; unless quick, write the page too."""
    found = {}
    for name in _QUICK if quick else NETWORKS:
        found[name] = _answer(name)
        print(_line(_cells(name, found[name])), flush=True)
        if not quick:
            _keep(name, found[name])
    return summary(found)


def own_size(name: str) -> int:
    """Look up the size of image, in pixels, that the library has the network at."""
    if not name.startswith("timm/"):
        from torchvision.models import get_model_weights

        return get_model_weights(name)["DEFAULT"].transforms().crop_size[0]
    import timm

    configuration = timm.get_pretrained_cfg(name.removeprefix("timm/"))
    assert configuration is not None
    return configuration.input_size[-1]


def _answer(name: str) -> dict[str, Any]:
    """Take a network through in a process of its own: what crashes or never ends, ends alone."""
    size = own_size(name)
    with tempfile.TemporaryDirectory() as folder:
        answer, started = Path(folder, "answer.json"), time.monotonic()
        command = (sys.executable, "-m", "benchmarks.network", name, str(size), str(answer))
        try:
            code = subprocess.run(command, cwd=ROOT, timeout=_LONGEST, capture_output=True, check=False).returncode
            ended = f"the process ended with status {code}"
        except subprocess.TimeoutExpired:
            ended = f"not done within {_LONGEST} s"
        found = json.loads(answer.read_text()) if answer.exists() else {"step": "build"}
    if "step" in found:
        found["failed"] = f"{found.pop('step')}: {ended}"
    return {"size": size, "seconds": time.monotonic() - started} | found


def summary(found: dict[str, dict[str, Any]]) -> list[Row]:
    """Count the networks that each step let through; found: by name."""
    steps = {
        "built, first loss ln(classes), two batches": "last_loss", "exported": "bytes", "through the gate": "gate",
        "answered by OpenVINO within 1e-4 of the spread": "openvino", "quantised": "int8",
        "int8 answered by OpenVINO": "openvino_int8",
    }  # fmt: skip
    counts = [
        (what, sum(key in answer and (key != "openvino" or answer[key] <= 1e-4) for answer in found.values()))
        for what, key in steps.items()
    ]
    asked = "all, or a sentence that says why not"
    return [Row(f"networks {what}", f"{count} of {len(found)}", target=asked) for what, count in counts]


def page(kept: dict[str, dict[str, Any]]) -> str:
    """Write the page from what is noted of each network, by name."""
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    lines += [_line(_cells(name, kept[name])) for name in NETWORKS if name in kept]
    told = [f"- {name}: {text}" for name in NETWORKS if (text := _told(kept.get(name, {})))]
    left = [name for name in NETWORKS if name not in kept]
    where = {f"{answer['date']} at {answer['commit']}, on {answer['machine']}": None for answer in kept.values()}
    parts = [
        _INTRODUCTION, "\n".join(lines), "What did not come through:\n\n" + "\n".join(told) if told else "",
        f"Not run yet: {', '.join(left)}." if left else "", "\n".join(where),
    ]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _keep(name: str, answer: dict[str, Any]) -> None:
    """Note what was found, with where and when, and write the page from all that is noted."""
    kept = json.loads(ANSWERS.read_text(encoding="utf-8")) if ANSWERS.exists() else {}
    found = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": checked_out(), "machine": machine()}
    kept[name] = found | answer
    ANSWERS.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page(kept), encoding="utf-8")


def _told(answer: dict[str, Any]) -> str:
    return "; ".join(answer[key] for key in ("failed", "int8_failed") if key in answer)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(name: str, answer: dict[str, Any]) -> list[str]:
    def cell(text: str, *keys: str) -> str:
        return text.format(*(answer[key] for key in keys)) if all(key in answer for key in keys) else "**no**"

    megabytes = {key: answer[key] / 1e6 for key in ("parameters", "bytes", "int8_bytes") if key in answer}
    answer = {**answer, **megabytes}
    return [
        name, NETWORKS[name], cell("{}", "size"), cell("{:.1f} M", "parameters"),
        cell("{:.3f}, {:.2f}", "first_loss", "last_loss"), cell("{:.0f} s, {:.1f} MB", "export_seconds", "bytes"),
        cell("{:.0e}", "gate"), cell("{:.0e}", "openvino"), cell("{:.2f}, {:.1f} MB", "int8", "int8_bytes"),
        cell("{:.2f}", "openvino_int8"),
    ]  # fmt: skip
