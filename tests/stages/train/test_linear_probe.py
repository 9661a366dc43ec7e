"""A last layer fitted alone, held to scikit-learn's logistic regression, and training from there."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from sklearn.linear_model import LogisticRegression
from torch import nn

from lightline.errors import ParameterError
from lightline.models.checkpoint import BEST, LAST, load_checkpoint
from lightline.models.logits import read_logits
from stages.train import linear_probe
from stages.train.fit import prepare
from stages.train.image_sets import InMemoryImageDataset
from stages.train.linear_probe import Examples, Features, fit_head, probe
from stages.train.module import Classifier
from tests.support.samples import model_settings
from tests.support.tiny import tiny_params, tiny_task, train

UNSUITABLE = re.escape("needs a network whose answer is that of one last nn.Linear")
RESNET = {"model": model_settings("resnet18").model_dump()}


def history() -> list[dict[str, str]]:
    with Path("reports/train/history.csv").open() as file:
        return list(csv.DictReader(file))


def clouds(num: int = 300, seed: int = 0) -> Examples:
    """Three classes that overlap, in 10 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num) % 3
    centres = torch.randn(3, 10, generator=torch.Generator().manual_seed(9))
    return Examples(centres[labels] + 1.5 * torch.randn(num, 10, generator=generator), labels)


@pytest.mark.parametrize("decay", [0.1, 10.0])
def test_the_weights_are_scikit_learn_s(decay):
    train_set = clouds()
    features = train_set.features.double()
    (weights,) = linear_probe._minimised(Examples(features, train_set.labels), 3, nn.CrossEntropyLoss(), [decay])
    expected = LogisticRegression(C=1 / decay, max_iter=1000, tol=1e-8).fit(features.numpy(), train_set.labels.numpy())
    ours = features @ weights[:, :-1].T + weights[:, -1]
    theirs = torch.from_numpy(expected.decision_function(features.numpy()))
    # Adding the same to every class changes nothing.
    assert torch.allclose(ours - ours.mean(1, keepdim=True), theirs - theirs.mean(1, keepdim=True), atol=1e-2)


def test_noise_is_held_down_and_a_clear_answer_is_not():
    noise = clouds()
    shuffled = Examples(noise.features, noise.labels[torch.randperm(300, generator=torch.Generator().manual_seed(1))])
    clear = Examples(noise.features + 10 * nn.functional.one_hot(noise.labels, 10), noise.labels)
    heads = {}
    for name, examples in (("noise", shuffled), ("clear", clear)):
        heads[name] = nn.Linear(10, 3)
        fit_head(heads[name], [examples], nn.CrossEntropyLoss(), seed=1)
    with torch.no_grad():
        spread = {name: head(clear.features).std() for name, head in heads.items()}
        assert spread["noise"] < 0.2 * spread["clear"]
        assert (heads["clear"](clear.features).argmax(1) == clear.labels).float().mean() > 0.99


def test_equal_calls_make_equal_weights():
    first, second = nn.Linear(10, 3), nn.Linear(10, 3)
    for head in (first, second):
        fit_head(head, [clouds()], nn.CrossEntropyLoss(), seed=5)
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize(("shift", "scale"), [(100.0, 1.0), (0.0, 1e-4), (-3.0, 1e4)])
def test_where_the_features_lie_and_in_what_unit_does_not_matter(shift, scale):
    seen = clouds()
    moved = Examples(seen.features * scale + shift, seen.labels)
    answers = []
    for examples in (seen, moved):
        head = nn.Linear(10, 3).double()
        fit_head(head, [examples], nn.CrossEntropyLoss(), seed=5)
        answers.append(head(examples.features.double()))
    assert torch.allclose(*answers, atol=0.02)


def test_a_layer_without_bias_is_fitted_too():
    seen, head = clouds(), nn.Linear(10, 3, bias=False)
    fit_head(head, [seen], nn.CrossEntropyLoss(), seed=5)
    assert (head(seen.features).argmax(1) == seen.labels).float().mean() > 0.5


def test_a_mirror_image_counts_as_its_image_does():
    seen = clouds()
    mirrored = Examples(seen.features.flip(1), seen.labels)
    head = nn.Linear(10, 3)
    fit_head(head, [seen, mirrored], nn.CrossEntropyLoss(), seed=5)
    # The two views together are as they were before mirroring: so is the answer.
    assert torch.allclose(head.weight, head.weight.flip(1), atol=1e-4)


@pytest.mark.parametrize("name", ["squeezenet1_1"])
def test_a_network_without_one_last_linear_layer_is_refused(name):
    network = torchvision.models.get_model(name, num_classes=3)
    with pytest.raises(ParameterError, match=f"{UNSUITABLE}; SqueezeNet's"):
        Features(network)


def test_what_follows_the_last_layer_is_noticed():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(1))
    with pytest.raises(ParameterError, match=UNSUITABLE):
        Features(network)(torch.zeros(1, 3, 2, 2))


def test_alone_it_writes_what_a_training_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(tiny_params(trainer__linear_probe=True, trainer__max_epochs=0, **RESNET))
    best, last = load_checkpoint(BEST), load_checkpoint(LAST)
    assert best.epoch == 0
    assert all(torch.equal(value, last.state_dict[name]) for name, value in best.state_dict.items())
    (row,) = history()
    metrics = json.loads(Path("reports/train/metrics.json").read_text())
    logits, labels = read_logits()
    assert metrics["best_epoch"] == metrics["epochs"] == 0
    assert metrics["val_accuracy"] == pytest.approx((logits.argmax(1) == labels).mean()) == float(row["val_accuracy"])
    expected = nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels).long())
    assert metrics["val_loss"] == pytest.approx(float(expected), rel=1e-4)


def test_training_goes_on_from_there_and_the_best_may_be_the_beginning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(tiny_params(trainer__linear_probe=True, trainer__max_epochs=2, optimizer__lr=100.0, **RESNET))
    rows = history()
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    best = load_checkpoint(BEST)
    assert best.epoch == 0
    assert best.metrics["val_accuracy"] == float(rows[0]["val_accuracy"])
    assert not np.allclose(best.state_dict["fc.weight"], load_checkpoint(LAST).state_dict["fc.weight"])


@pytest.mark.parametrize("linear_probe", [True, False])
def test_what_weights_know_of_images_stays_where_training_begins_with_the_last_layer(
    tmp_path, monkeypatch, linear_probe
):
    monkeypatch.chdir(tmp_path)
    network = torchvision.models.resnet18(num_classes=3)
    torch.save(network.state_dict(), "weights.pth")
    model = model_settings("resnet18").model_dump() | {"weights": str(tmp_path / "weights.pth")}
    optimizer = {"optimizer__layer_decay": 0.5, "optimizer__layer_decay_no_opt_scale": 0.2}
    train(tiny_params(model=model, trainer__linear_probe=linear_probe, trainer__max_epochs=1, **optimizer))
    last, first = load_checkpoint(LAST).state_dict, network.state_dict()
    kept = {name for name in last if torch.equal(last[name], first[name])}
    assert {"bn1.weight", "layer1.0.conv1.weight", "layer3.1.conv2.weight"} <= kept  # whose rate is too small
    assert not {"layer4.0.conv1.weight", "layer4.1.bn2.weight", "fc.weight"} & kept
    statistics = {name for name in last if name.endswith(("running_mean", "running_var"))}
    assert statistics & kept == (statistics if linear_probe else set())


def test_a_network_keeps_the_modes_that_its_author_gave_it():
    network = nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Flatten(), nn.Linear(12, 3))
    Classifier(network, tiny_params())
    assert [layer.training for layer in network] == [False, True, True]


def test_a_compiled_network_is_taken_as_it_is():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3))
    images = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    (expected,) = Features(network)(images)
    network.compile(backend="eager")
    network(images)
    assert torch.equal(Features(network)(images)[0], expected)


@pytest.mark.parametrize("max_steps", [6, 8])
def test_no_epoch_begins_after_max_steps(tmp_path, monkeypatch, max_steps):
    monkeypatch.chdir(tmp_path)
    train(tiny_params(trainer__max_epochs=5, trainer__max_steps=max_steps))  # of 4 an epoch, the last not full
    assert [row["epoch"] for row in history()] == ["1", "2"]


@pytest.mark.parametrize("max_epochs", [0, 1])
def test_classes_may_weigh_differently(tmp_path, monkeypatch, max_epochs):
    monkeypatch.chdir(tmp_path)
    changes = {"loss__class_weights": "balanced", "loss__label_smoothing": 0.1, **RESNET}
    train(tiny_params(trainer__linear_probe=True, trainer__max_epochs=max_epochs, **changes))
    assert history()[0]["epoch"] == "0"


def test_images_are_not_decoded_for_a_last_layer_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decoded = []
    monkeypatch.setattr(InMemoryImageDataset, "_decode_all", lambda self, images: decoded.append(len(self)))
    model = RESNET["model"] | {"normalize": "imagenet"}
    task = tiny_task(tiny_params(trainer__linear_probe=True, trainer__max_epochs=0, model=model))
    data, module = prepare(task)
    probe(module, data, task.dataset)
    assert not decoded
