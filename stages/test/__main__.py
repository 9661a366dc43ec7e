"""Judge the best checkpoint on the test rows, which no earlier stage reads; write what came out to reports/test/."""

from lightline.runtime.stage import run_stage  # isort: skip  (first: it sets up threads before torch loads)

from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.models.checkpoint import BEST, load_checkpoint
from lightline.models.device import choose_device, use_share
from lightline.models.inference import predict_embeddings
from lightline.models.logits import read_logits
from lightline.runtime.tracking import track
from lightline.runtime.training_folder import forget
from stages.test.evaluate import evaluate
from stages.test.reference import write_reference
from stages.test.report import REPORTS, write_embeddings, write_report
from stages.test.slices import columns_of, sentence


def main(params: Params) -> None:
    use_share(params.hardware)
    dataset, splits, checkpoint = Dataset(), read_splits(), load_checkpoint(BEST)
    forget(checkpoint.fingerprint, params.checkpoint.store)  # DVC has what the train stage wrote
    splits.check_dataset(dataset)
    checkpoint.check_dataset(dataset)
    rows, settings = splits.rows("test"), params.evaluate
    device = choose_device(params.hardware)
    preprocessing = checkpoint.preprocessing
    network = checkpoint.network()
    logits, embeddings = predict_embeddings(network, dataset, rows, preprocessing, settings.batch_size, device)
    columns = columns_of(settings.slices, dataset, rows)
    evaluation = evaluate(logits, dataset.test_labels[rows], read_logits(), settings, dataset.classes, columns)
    write_report(evaluation, dataset, rows, settings.num_mistakes)
    write_embeddings(embeddings)
    write_reference(logits, evaluation.metrics["temperature"], embeddings, dataset, rows)
    for warning in evaluation.warnings:
        print(f"warning: {warning}")
    metrics = evaluation.metrics
    print(
        f"test accuracy {metrics['accuracy']:.4f} ({settings.confidence:.0%} interval "
        f"{metrics['accuracy_lower']:.4f} to {metrics['accuracy_upper']:.4f}) on {len(rows)} images"
    )
    if evaluation.slices:
        print(f"{sentence(evaluation.slices, settings.min_slice, settings.confidence)}, see {REPORTS / 'slices.csv'}")
    with track(params, checkpoint.fingerprint, "test") as run:
        run.summarize({f"test/{name}": value for name, value in metrics.items()})
        labels, predicted = evaluation.labels.tolist(), evaluation.predicted.tolist()
        pictures = (REPORTS / f"{name}.png" for name in ("mistakes", "confusion"))
        run.log_evaluation(labels, predicted, dataset.classes, *pictures)


if __name__ == "__main__":
    run_stage(main)
