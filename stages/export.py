"""Export the best checkpoint as one ONNX file, let it out only if it answers as the network did, and write its card."""

from lightline.stage import run_stage  # isort: skip  (first: it sets up threads before torch loads)

import json
from pathlib import Path

import torch

from lightline.checkpoint import BEST, Checkpoint, load_checkpoint
from lightline.dataset import Dataset
from lightline.errors import DataError
from lightline.files import whole_file, write_json
from lightline.images import Reading
from lightline.latency import Latency, measure_latency
from lightline.model_card import model_card
from lightline.onnx_export import PixelClassifier, export_onnx
from lightline.onnx_model import OnnxModel
from lightline.params import Params
from lightline.parity import Differences, check_metrics, check_parity
from lightline.splits import read_splits
from lightline.threads import use_share
from lightline.tracking import track

MODEL = Path("models/model.onnx")
CARD = Path("models/MODEL_CARD.md")
REPORT, LATENCY = Path("reports/export/metrics.json"), Path("reports/export/latency.csv")
TEST_METRICS = Path("reports/test/metrics.json")


def main(params: Params) -> None:
    use_share(params.hardware)
    checkpoint = load_checkpoint(BEST)
    dataset, splits = Dataset(), read_splits()
    if dataset.digest != checkpoint.dataset:
        raise DataError(
            "models/checkpoints/best.ckpt was trained on another dataset; `dvc repro` brings them together."
        )
    metrics = json.loads(TEST_METRICS.read_text(encoding="utf-8"))
    differences = Differences(params.export.rtol, params.export.atol)
    rows, reading = splits.rows("test"), Reading(params.data.max_pixels, dataset.bit_depth)
    with whole_file(MODEL) as temporary:
        export_onnx(checkpoint, metrics, params.export.opset, temporary, reading)
        reference = PixelClassifier(checkpoint.network(), checkpoint.transform_settings()).eval()
        logits = check_parity(OnnxModel(temporary, torch.get_num_threads()), reference, dataset, rows, differences)
        accuracy = check_metrics(logits, dataset.labels[rows], metrics)
    counts = {name: len(splits.rows(name)) for name in ("train", "val", "test")}
    latency = measure_latency(reference, {"fp32": MODEL}, dataset, rows) if params.export.latency else Latency([])
    latency.write(LATENCY)
    with whole_file(CARD) as temporary:
        card = model_card(checkpoint, counts, metrics, params.export, latency.markdown(), bit_depth=dataset.bit_depth)
        temporary.write_text(card, encoding="utf-8")
    write_json(REPORT, _report(differences, accuracy))
    _mirror(params, checkpoint)
    print(f"{MODEL}: {differences.compared} answers as in torch, largest logit difference {differences.largest:.1e}")


def _report(differences: Differences, accuracy: float) -> dict[str, object]:
    return {
        "onnx_accuracy": round(accuracy, 6),
        "onnx_ties": differences.ties,
        "onnx_logit_difference": differences.largest,
        "onnx_bytes": MODEL.stat().st_size,
    }


def _mirror(params: Params, checkpoint: Checkpoint) -> None:
    with track(params, checkpoint.fingerprint, "export") as run:
        run.log_artifact("model", "model", [MODEL, CARD], {"fingerprint": checkpoint.fingerprint})


if __name__ == "__main__":
    run_stage(main)
