"""Export the best checkpoint as one ONNX file, let it out only if it answers as the network did, and write its card."""

from lightline.runtime.stage import run_stage  # isort: skip  (first: it sets up threads before torch loads)

import json
from dataclasses import astuple, fields
from pathlib import Path

import torch

from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.files import file_digest, whole_file, write_csv, write_json
from lightline.model_file.card import Sections, write_card
from lightline.model_file.decision import fit_decision, judge
from lightline.model_file.latency import Latency, measure_latency
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.model_file.provenance import write_statement
from lightline.models.checkpoint import BEST, Checkpoint, load_checkpoint
from lightline.models.device import use_share
from lightline.models.logits import read_logits
from lightline.runtime.partial_experiment import keeping_what_is_finished
from lightline.runtime.tracking import track
from lightline_predict.classifier import Classifier
from lightline_predict.images import Reading
from stages.export.exporter import export_onnx
from stages.export.parity import TEST, TORCH, Differences, Tie, check_parity, read_predictions, typical_spread

MODEL, CARD, STATEMENT = Path("models/model.onnx"), Path("models/MODEL_CARD.md"), Path("models/model.intoto.json")
REPORT, LATENCY = Path("reports/export/metrics.json"), Path("reports/export/latency.csv")
TIES = Path("reports/export/ties.csv")
TEST_METRICS, REFERENCE = Path("reports/test/metrics.json"), Path("reports/test/reference.parquet")


def main(params: Params) -> None:
    use_share(params.hardware)
    checkpoint = load_checkpoint(BEST)
    dataset, splits = Dataset(), read_splits()
    checkpoint.check_dataset(dataset)
    metrics = json.loads(TEST_METRICS.read_text(encoding="utf-8"))
    rows, settings = splits.rows("test"), params.export
    reading = Reading(params.data.max_pixels, dataset.bit_depth)
    ids = dataset.column("id")[rows]
    tested = read_predictions(ids)
    typical, classes = typical_spread(tested), checkpoint.classes
    to_torch = Differences(TORCH, "export.rtol", settings.rtol, settings.atol, typical, classes)
    to_test = Differences(TEST, "export.test_rtol", settings.test_rtol, settings.atol, typical, classes)
    decision = fit_decision(*read_logits(), settings)
    for shortfall in decision.shortfalls:
        print(f"warning: {shortfall}")
    with whole_file(MODEL) as temporary:
        export_onnx(
            checkpoint,
            metrics,
            settings.opset,
            temporary,
            reading,
            decision=decision,
            embedding=settings.embedding,
            reference=file_digest(REFERENCE),
        )
        reference = PixelClassifier(checkpoint.network(), checkpoint.preprocessing, decision).eval()
        print(f"comparing the file's answers to {len(rows)} test images with torch's", flush=True)
        logits = check_parity(Classifier(temporary, torch.get_num_threads()), reference, dataset, rows, to_torch)
        to_test.add(tested, logits, ids, "the test split")
    accuracy = float((logits.argmax(1) == dataset.test_labels[rows]).mean())
    judged = judge(decision, logits, dataset.test_labels[rows])
    latency = measure_latency(reference, {"fp32": MODEL}, dataset, rows) if settings.latency else Latency([])
    latency.write(LATENCY)
    sections = Sections(latency.markdown(), decision.markdown(judged))
    write_card(CARD, checkpoint, splits, metrics, settings, sections, bit_depth=dataset.bit_depth)
    write_statement(STATEMENT, [MODEL, CARD], [BEST], checkpoint.fingerprint, "export", settings)
    _report(to_torch, to_test, {"onnx_accuracy": round(accuracy, 6), **judged})
    _mirror(params, checkpoint)
    print(f"{MODEL}: {to_torch.compared} answers as in torch, largest logit difference {to_torch.largest:.1e}")
    print(decision.sentence(judged))


def _report(to_torch: Differences, to_test: Differences, measured: dict[str, float | None]) -> None:
    ties = to_torch.ties + to_test.ties
    write_csv(TIES, [field.name for field in fields(Tie)], [astuple(tie) for tie in ties])
    if ties:
        print(f"warning: {len(ties)} answers are ties, which rounding has decided otherwise than before, see {TIES}")
    values = {
        **measured,
        "onnx_ties": len({tie.id for tie in ties}),
        "onnx_logit_difference": to_torch.largest,
        "onnx_tolerance_used": round(to_torch.used, 6),
        "onnx_test_tolerance_used": round(to_test.used, 6),
        "onnx_bytes": MODEL.stat().st_size,
    }
    write_json(REPORT, values)


def _mirror(params: Params, checkpoint: Checkpoint) -> None:
    with track(params, checkpoint.fingerprint, "export") as run:
        run.log_artifact("model", "model", [MODEL, CARD, STATEMENT], {"fingerprint": checkpoint.fingerprint})


if __name__ == "__main__":
    run_stage(keeping_what_is_finished(main))
