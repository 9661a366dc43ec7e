"""The gate between what `test` computed on the GPU and the model file, and what TF32 would do to it."""

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.work import Plan, run_stages
from benchmarks.harness import Row
from lightline.config.load import load_params
from lightline.data.dataset import Dataset, pixel_stacks
from lightline.data.splits import read_splits
from lightline.models.checkpoint import BEST, load_checkpoint
from lightline.models.device import choose_device
from lightline.models.inference import predict_logits
from lightline_predict.classifier import Classifier
from stages.export.parity import TEST, Differences, ParityError, typical_spread

_RECIPES = ("fast_cifar", "resnet18_cifar")
# What matrix products, and convolutions, may round to TF32. torch's own: no, yes; `lightline.models.inference` says no
# of convolutions.
_ROUNDED = {
    "as the project sets it": (False, False),
    "float32_matmul_precision=high": (True, False),
    "float32_matmul_precision=high, and convolutions in TF32 against the project's setting": (True, True),
}


def run(plan: Plan) -> Iterator[Row]:
    for name in _RECIPES:
        choices = (f"recipe={name}", f"trainer.max_epochs={1 if plan.is_trial else 3}", "export.latency=false")
        folder = plan.folder(f"gate-{name}", *choices)
        run_stages(folder, "train", "test", "export")
        found = json.loads((folder / "reports/export/metrics.json").read_text())
        yield Row(
            f"{name}: train and test on the GPU, then export: the most that the gate found of what it allows between "
            "model file and test's logits, model file and torch on the CPU",
            f"{found['onnx_test_tolerance_used']:.2%}, {found['onnx_tolerance_used']:.2%}", target="passes", met=True,
        )  # fmt: skip
        with chdir(folder):
            yield from _rounded(name)


def _rounded(name: str) -> Iterator[Row]:
    """Compare the file's logits with those of the GPU, as `test` computes them, in several arithmetics."""
    params, dataset, checkpoint = load_params(Path("params.yaml")), Dataset(), load_checkpoint(BEST)
    rows, device = read_splits().rows("test"), choose_device(params.hardware)
    model = Classifier(Path("models/model.onnx"), torch.get_num_threads())
    answers = np.concatenate([model.outputs(pixels)["logits"] for pixels in pixel_stacks(dataset, rows, 1000)])
    ids, settings = dataset.column("id")[rows], params.export
    for how, (matrices, convolutions) in _ROUNDED.items():
        torch.set_float32_matmul_precision("high" if matrices else "highest")
        network = checkpoint.network()
        if convolutions:  # `predict_logits` switches them off
            network.register_forward_pre_hook(lambda *_: setattr(torch.backends.cudnn, "allow_tf32", True))
        logits = predict_logits(network, dataset, rows, checkpoint.preprocessing, 1000, device)
        allowed = Differences(TEST, "export.test_rtol", settings.test_rtol, settings.atol, typical_spread(logits),
                              checkpoint.classes)  # fmt: skip
        largest, passes = float(np.abs(logits - answers).max()), True
        try:
            allowed.add(logits, answers, ids, "the test split")
        except ParityError:
            passes = False
        told = f"{allowed.used:.2%} of what is allowed, {len(allowed.ties)} ties" if passes else "refused"
        what = f"{name}, {how}: largest difference of logits between GPU and model file"
        yield Row(what, f"{largest:.1e}, {told}", target="passes", met=passes)
