"""Train a network on the train rows, choose its best epoch on the val rows, write checkpoints and history."""

from lightline.runtime.stage import run_stage  # isort: skip  (first: it sets up threads before torch loads)

from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.files import write_json
from lightline.models.checkpoint import BEST
from lightline.models.device import use_share
from lightline.models.logits import read_logits
from lightline.runtime.cores import counted_training
from lightline.runtime.ranks import is_first_process
from lightline.runtime.state_store import FINISHED, state_store
from lightline.runtime.tracking import track
from lightline.runtime.training_folder import training_folder
from stages.train.fingerprint import fingerprint, ingredients
from stages.train.fit import REPORTS, Task, fit, write_outputs
from stages.train.image_size import size_warning
from stages.train.nodes import find_group
from stages.train.samples import log_extremes
from stages.train.start import start
from stages.train.trainer import build_trainer, send_states


def main(params: Params) -> None:
    dataset = Dataset()
    splits = read_splits()
    group = find_group(params)
    trainer = build_trainer(params)
    begun = start(params, len(dataset.classes))
    params, size = begun.params, begun.params.model.input_size
    assert size is not None
    identity = ingredients(params, dataset, splits, trainer.world_size, begun.weights)
    task = Task(begun, dataset, splits, fingerprint(identity))
    rows = splits.rows("train")
    heights, widths = dataset.column("height")[rows], dataset.column("width")[rows]
    if is_first_process() and (warning := size_warning(heights, widths, size)):
        print(f"warning: {warning}", flush=True)
    is_first = is_first_process()
    place = params.checkpoint.store if is_first else None
    stored = state_store(place, task.fingerprint, identity)
    with training_folder(task.fingerprint, identity) as folder, counted_training(), stored as store:
        use_share(params.hardware, is_counted=True)
        if store is not None:
            store.fetch(folder)
            send_states(trainer, store)
        state = group.agree(identity, folder)
        if not is_first and state is not None and state.name == FINISHED:
            return
        tracked = track(params, task.fingerprint, "train", resume=state is not None, enabled=is_first)
        with tracked as run, group.watched():
            fitted = fit(task, trainer, folder, state, run)
            if not is_first:
                return
            metrics = write_outputs(task, fitted)
            write_json(REPORTS / "fingerprint.json", {"fingerprint": task.fingerprint, **identity})
            log_extremes(run, fitted.data, *read_logits(), dataset.classes)
            run.summarize(metrics)
            if params.tracking.log_checkpoints:
                run.log_artifact("checkpoint", "model", [BEST], {"fingerprint": task.fingerprint, **metrics})
    print(f"best epoch {metrics['best_epoch']} of {metrics['epochs']}: val accuracy {metrics['val_accuracy']:.4f}")


if __name__ == "__main__":
    run_stage(main)
