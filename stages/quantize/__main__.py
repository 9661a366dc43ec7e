"""Make an int8 file of the model file, let it out only if it is nearly as right, and write its card.

dvc.yaml has this stage only where export.quantize asks for it.
"""

from lightline.runtime.stage import run_stage  # isort: skip  (first: it sets up threads before torch loads)

import json
from pathlib import Path

import numpy as np
import torch

from lightline.config.params import Params
from lightline.data.dataset import Dataset, pixel_stacks
from lightline.data.splits import read_splits, stratified_choice
from lightline.errors import DataError
from lightline.files import temporary_files_beside, whole_file, write_json
from lightline.model_file.card import Sections, write_card
from lightline.model_file.decision import fit_decision, judge
from lightline.model_file.decision_metadata import replace_decision
from lightline.model_file.latency import Latency, measure_latency
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.model_file.provenance import write_statement
from lightline.models.checkpoint import BEST, Checkpoint, load_checkpoint
from lightline.models.device import use_share
from lightline.runtime.partial_experiment import keeping_what_is_finished
from lightline.runtime.tracking import track
from lightline_predict.classifier import Classifier
from stages.quantize.gate import Quantization, compare, logits_of
from stages.quantize.int8 import quantize

SOURCE, MODEL = Path("models/model.onnx"), Path("models/model.int8.onnx")
CARD, STATEMENT = Path("models/MODEL_CARD.int8.md"), Path("models/model.int8.intoto.json")
REPORT, LATENCY = Path("reports/export/metrics.int8.json"), Path("reports/export/latency.int8.csv")
TEST_METRICS = Path("reports/test/metrics.json")
_BATCH = 32  # images at a time that pass through the network while its ranges are taken


def main(params: Params) -> None:
    # As DVC does before a stage: what fails the gate must not leave another model's file under the name.
    for path in (MODEL, CARD, STATEMENT, REPORT, LATENCY):
        path.unlink(missing_ok=True)
    dataset, splits, checkpoint, settings = Dataset(), read_splits(), load_checkpoint(BEST), params.export
    use_share(params.hardware)
    num_threads = torch.get_num_threads()
    fp32 = Classifier(SOURCE, num_threads)
    if fp32.metadata["fingerprint"] != checkpoint.fingerprint:
        raise DataError(f"{SOURCE} was not exported from {BEST}; `dvc repro` brings them together.")
    rows, val, test = (splits.rows(name) for name in ("train", "val", "test"))
    rows = stratified_choice(dataset.labels, rows, settings.calibration_images, params.seed)
    with whole_file(MODEL) as temporary, temporary_files_beside(MODEL):
        quantize(SOURCE, pixel_stacks(dataset, rows, _BATCH), temporary)
        decision = fit_decision(
            logits_of(Classifier(temporary, num_threads), dataset, val), dataset.labels[val], settings
        )
        replace_decision(temporary, decision)
        logits = logits_of(Classifier(temporary, num_threads), dataset, test)
        found = compare(logits_of(fp32, dataset, test), logits, dataset.test_labels[test], settings.max_accuracy_drop)
    judged = judge(decision, logits, dataset.test_labels[test])
    latency = _latency(checkpoint, dataset, test) if settings.latency else Latency([])
    latency.write(LATENCY)
    if latency.rows and not latency.is_sooner("onnxruntime int8", "onnxruntime fp32"):
        print(f"warning: on this machine int8 answers no sooner than fp32, see {LATENCY}")
    quantization = Quantization(found, len(rows), MODEL.stat().st_size, SOURCE.stat().st_size)
    metrics = json.loads(TEST_METRICS.read_text(encoding="utf-8"))
    sections = Sections(latency.markdown(), decision.markdown(judged), quantization.markdown())
    write_card(CARD, checkpoint, splits, metrics, settings, sections, bit_depth=dataset.bit_depth)
    write_json(REPORT, quantization.metrics() | {f"int8_{name}": value for name, value in judged.items()})
    write_statement(STATEMENT, [MODEL, CARD], [BEST, SOURCE], checkpoint.fingerprint, "quantize", settings)
    with track(params, checkpoint.fingerprint, "quantize") as run:
        run.log_artifact("model-int8", "model", [MODEL, CARD, STATEMENT], {"fingerprint": checkpoint.fingerprint})
    print(f"{MODEL}: test accuracy {found.int8:.4f} where fp32 has {found.fp32:.4f}")


def _latency(checkpoint: Checkpoint, dataset: Dataset, rows: np.ndarray) -> Latency:
    reference = PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()
    return measure_latency(reference, {"fp32": SOURCE, "int8": MODEL}, dataset, rows)


if __name__ == "__main__":
    run_stage(keeping_what_is_finished(main))
