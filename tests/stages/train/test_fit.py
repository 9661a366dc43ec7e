"""Training with every setting, its history and checkpoints."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lightline.errors import ParameterError
from lightline.models.checkpoint import BEST, LAST, load_checkpoint
from lightline.models.inference import predict_logits
from lightline.models.logits import read_logits
from stages.train.fit import REPORTS, prepare
from stages.train.module import Classifier, class_weights
from stages.train.optimizers import build_optimizer, build_schedule
from stages.train.randomness import seed_generators, step_seed
from stages.train.trainer import build_trainer
from tests.support.samples import model_settings
from tests.support.tiny import CLASSES, MUON, ROOT, SGD, tiny_params, tiny_task, train

pytestmark = pytest.mark.usefixtures("own_folder")


def history() -> list[dict[str, float]]:
    with (REPORTS / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_the_tiny_set_is_learnt():
    _, metrics = train(tiny_params(trainer__max_epochs=6, optimizer__lr=0.002))
    rows = history()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert metrics["val_accuracy"] == max(row["val_accuracy"] for row in rows) > 0.9
    written = json.loads((REPORTS / "metrics.json").read_text())
    assert load_checkpoint(BEST).fingerprint.startswith(written.pop("fingerprint"))
    assert written == metrics
    assert load_checkpoint(LAST).epoch == 6
    assert load_checkpoint(BEST).epoch == metrics["best_epoch"]
    assert load_checkpoint(BEST).classes == list(CLASSES)


def test_the_best_checkpoint_gives_the_accuracy_it_claims():
    task, metrics = train(tiny_params(trainer__max_epochs=4))
    best = load_checkpoint(BEST)
    rows = task.splits.rows("val")
    logits = predict_logits(best.network(), task.dataset, rows, best.preprocessing, 8)
    assert (logits.argmax(1) == task.dataset.labels[rows]).mean() == pytest.approx(metrics["val_accuracy"])
    written, labels = read_logits()
    np.testing.assert_allclose(written, logits, rtol=1e-4, atol=1e-5)
    assert (labels == task.dataset.labels[rows]).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": SGD},
        {"optimizer": {"name": "muon", "lr": 0.001, "momentum": 0.95, "nesterov": True, "ns_steps": 5,
                       "weight_decay": 0.01, "adamw_lr": 0.001}},
        {"schedule": {"name": "constant", "warmup_epochs": 0.0}},
        {"schedule": {"name": "cosine", "warmup_epochs": 0.5, "eta_min": 0.0}},
        {"loss": {"reduction": "sum", "label_smoothing": 0.0, "class_weights": "none"}},
        {"loss": {"reduction": "mean", "label_smoothing": 0.1, "class_weights": "balanced"}},
        {"augment__mixup_alpha": 0.4, "augment__cutmix_alpha": 1.0},
        {"augment__random_erasing": 0.5, "augment__horizontal_flip": 0.5, "augment__rand_augment__num_ops": 2},
        {"trainer__ema_decay": 0.9},
        {"trainer__gradient_clip_val": 1.0, "trainer__accumulate_grad_batches": 2},
        {"trainer__precision": "bf16-mixed"},
        {"trainer__precision": "32-true"},
        {"trainer__drop_last": True},
        {"augment__alternating_flip": True, "augment__horizontal_flip": 0.5},
        {"model__test_time_augmentation": "mirror"},
        {"schedule": {"name": "linear", "warmup_epochs": 0.5}},
        {"model__name": "airbench", "model__widths": [8, 8, 16], "model__depths": [2, 2, 3], "loss__reduction": "sum",
         "model__test_time_augmentation": "mirror_and_shift",
         "optimizer": {"name": "muon_sgd", "lr": 0.24, "momentum": 0.6, "ns_steps": 3, "sgd_momentum": 0.85,
                       "bias_lr": 0.053, "head_lr": 0.67, "stem_epochs": 1.0, "decay": 0.004}},
        {"trainer__monitor": "val_loss"},
        {"trainer__limit_train_batches": 1},
        {"model": model_settings("resnet18").model_dump()},
        {"model": model_settings("timm/test_vit", input_size=160).model_dump()},
    ],
    ids=lambda changes: ",".join(changes),
)  # fmt: skip
def test_every_setting_trains(changes):
    _, metrics = train(tiny_params(**changes))
    assert metrics["epochs"] == 2
    assert all(math.isfinite(value) for row in history() for value in row.values())


@pytest.mark.parametrize(
    ("accumulated", "optimizer_changes", "precision"),
    [
        (1, {}, "32-true"),
        (2, {}, "32-true"),
        (1, {"optimizer": MUON}, "32-true"),
        (1, {"optimizer": MUON}, "bf16-mixed"),
    ],
)
def test_its_steps_are_those_of_a_loop_written_by_hand(
    accumulated: int, optimizer_changes: dict[str, Any], precision: str
):
    changes = {"trainer__accumulate_grad_batches": accumulated, "trainer__precision": precision}
    params, bf16 = tiny_params(**changes, **optimizer_changes), precision == "bf16-mixed"
    train(params)
    data, module = prepare(tiny_task(params))
    loader, epochs = data.train_dataloader(), params.trainer.max_epochs
    num_steps = epochs * math.ceil(len(loader) / accumulated)
    optimizer = build_optimizer(params.optimizer, module.network, torch.bfloat16 if bf16 else torch.float32)
    schedule = build_schedule(params.schedule, optimizer, num_steps, num_steps / epochs)
    assert schedule is not None
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for number, batch in enumerate(loader, start=1):
            data.trainer = SimpleNamespace(training=True, current_epoch=epoch)  # type: ignore[assignment]
            images, targets, _ = data.on_after_batch_transfer(batch, 0)
            seed_generators(step_seed(params.seed, epoch * len(loader) + number - 1), torch.device("cpu"))
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = module.loss(module.network(images), targets)
            (loss / accumulated).backward()
            if number % accumulated == 0 or number == len(loader):
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    trained = load_checkpoint(LAST).state_dict
    for name, value in module.network.state_dict().items():
        torch.testing.assert_close(value, trained[name], msg=name)


def test_averaged_weights_are_those_that_are_kept_and_judged():
    changes = {"trainer__max_epochs": 3, "optimizer__lr": 0.003}
    train(tiny_params(**changes))
    plain = load_checkpoint(LAST).state_dict
    train(tiny_params(**changes, trainer__ema_decay=0.95))
    averaged = load_checkpoint(LAST).state_dict
    assert not torch.equal(plain["conv1.weight"], averaged["conv1.weight"])
    # The first weights weigh more in an average than at the end of training, so it is nearer to them.
    assert history()[-1]["val_loss"] != pytest.approx(history()[-1]["train_loss"])


def test_early_stopping_stops():
    # A learning rate that changes nothing: no epoch is better than the first.
    changes = {"optimizer__lr": 1e-12, "trainer__max_epochs": 9, "trainer__early_stopping_patience": 2}
    _, metrics = train(tiny_params(**changes))
    assert metrics["epochs"] == 3
    assert metrics["best_epoch"] == 1


def test_equal_training_writes_equal_bytes():
    contents = []
    for _ in range(2):
        train(tiny_params())
        contents.append(
            {path: path.read_bytes() for folder in (Path("models"), REPORTS) for path in folder.rglob("*.*")}
        )
    assert contents[0] == contents[1]
    assert len(contents[0]) == 7


def test_another_seed_trains_another_network():
    weights = []
    for seed in (1, 2):
        train(tiny_params(seed=seed))
        weights.append(load_checkpoint(BEST).state_dict["conv1.weight"])
    assert not torch.equal(*weights)


def test_balanced_class_weights():
    loss = tiny_params(loss__class_weights="balanced").loss
    weights = class_weights(loss, np.array([0, 0, 0, 1]), 2)
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([4 / 6, 2.0]))
    assert class_weights(tiny_params().loss, np.array([0, 1]), 2) is None


@pytest.mark.parametrize("loss", [{}, {"label_smoothing": 0.1}, {"reduction": "sum"}], ids=str)
def test_the_loss_of_a_split_does_not_depend_on_its_batches(loss: dict[str, Any]):
    """Where classes weigh differently, a mean of batches' means would; right is torch's mean of the whole split."""
    weights = torch.tensor([0.2, 1.0, 5.0])
    found = []
    for batch_size in (1, 4, 64):
        changes = {f"loss__{name}": value for name, value in loss.items()}
        params = tiny_params(**changes, trainer__batch_size=batch_size, trainer__precision="32-true")
        data, module = prepare(tiny_task(params))
        module = Classifier(module.network, params, weights)
        trainer = build_trainer(params)
        trainer.validate(module, data, verbose=False)
        found.append(trainer.callback_metrics["val_loss"].item())
    images = data.normalize(data.val.images_at(torch.arange(len(data.val))))
    with torch.no_grad():
        logits = module.eval()(images)
    mean = cross_entropy(logits, data.val.labels, weights, label_smoothing=params.loss.label_smoothing).item()
    assert found == pytest.approx([mean] * 3, rel=1e-5)


def test_two_processes_train_together():
    """DistributedDataParallel on the CPU: what a node with two GPUs does, without them."""
    Path("run.py").write_text(
        "from tests.support.tiny import tiny_params, train\n"
        "train(tiny_params(hardware__devices=2, hardware__strategy='ddp', trainer__max_epochs=8))\n"
    )
    result = _python("run.py")
    assert result.returncode == 0, result.stderr
    assert [row["epoch"] for row in history()] == list(range(1, 9))
    assert history()[-1]["val_accuracy"] > 0.5


def test_hardware_that_is_not_there_is_named():
    with pytest.raises(ParameterError, match=r"hardware.*'accelerator': 'gpu'"):
        train(tiny_params(hardware__accelerator="gpu"))


def _python(script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
