"""A new last layer fitted to what the rest of the network makes of the images: logistic regression, in seconds.

The body's outputs are computed once, in the precision of the training, from the images as they will be answered, and
from their mirror images where training flips them; the last layer's weights minimise the cross-entropy over them.
Trained on from there, the body keeps what it brought along (A. Kumar et al., "Fine-tuning can distort pretrained
features and underperform out-of-distribution", ICLR 2022).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from lightline.data.dataset import Dataset
from lightline.errors import ParameterError
from lightline.models.body import Body
from lightline.models.build import head_names
from lightline.models.device import choose_device
from lightline.models.inference import predict
from stages.train.datamodule import ImageDataModule
from stages.train.image_sets import ImageDataset
from stages.train.module import Classifier
from stages.train.precision import autocast_dtype, choose_precision
from stages.train.randomness import permutation

# How strongly large weights are held down, × the features' mean square and by the number of images: cross-validation
# takes one of them.
_DECAYS = (1000.0, 100.0, 10.0, 1.0)
_FOLDS, _MOST = 4, 2000  # images that are cross-validated
_ITERATIONS = 200

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Features(Body):
    """A network up to its last nn.Linear: normalised images → what goes into that layer, float [batch, features], of
    each view.
    """

    def __init__(self, network: nn.Module, mirrored: bool = False, precision: str = "32-true"):
        """Take a network; mirrored: a second view is the mirror image. precision: by Lightning's name.

        Raises:
            ParameterError: its answer is not that of one last nn.Linear; so does a forward pass.
        """
        super().__init__(network)
        self._mirrored, self._dtype = mirrored, autocast_dtype(precision)
        if len(head_names(network)) != 1 or not isinstance(self.head, nn.Linear):
            raise _unsuitable(network)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        views = (images, images.flip(-1)) if self._mirrored else (images,)
        with torch.autocast(images.device.type, self._dtype, enabled=self._dtype is not None):
            return tuple(map(self._features, views))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        answer, seen = self.run(images)
        if len(seen) != 1 or seen[0][1] is not answer:
            raise _unsuitable(self.network)
        return seen[0][0].float()


def _unsuitable(network: nn.Module) -> ParameterError:
    return ParameterError(
        "trainer.linear_probe = True needs a network whose answer is that of one last nn.Linear; "
        f"{type(network).__name__}'s is not. Set it to False."
    )


@dataclass(frozen=True)
class Examples:
    """features: float [images, features]; labels: int64 [images]."""

    features: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(cls, views: Sequence["Examples"], chosen: torch.Tensor) -> "Examples":
        """Put together what several views of the same images have of the chosen ones."""
        features = torch.cat([view.features[chosen].double() for view in views])
        return cls(features, torch.cat([view.labels[chosen] for view in views]))


def probe(module: Classifier, data: ImageDataModule, dataset: Dataset) -> dict[str, float]:
    """Fit the last layer of the module's network; the metrics of train and val come back, named as `History`'s.

    Raises:
        ParameterError: the network's answer is not that of one last nn.Linear.
    """
    network, params = module.network, data.params
    assert isinstance(network, nn.Module)
    device = choose_device(params.hardware)
    body = Features(network, params.augment.horizontal_flip > 0, choose_precision(params.trainer, device))

    def views(body: Features, images: ImageDataset) -> list[Examples]:
        rows = images.rows.cpu().numpy()
        found = predict(body, dataset, rows, data.preprocessing, data.batch_size, device)
        return [Examples(torch.from_numpy(features), images.labels.cpu()) for features in found]

    train, (val,) = views(body, data.train), views(Features(network), data.val)  # val as it will be answered
    module.cpu().train()
    weight = None if module.loss.weight is None else module.loss.weight.double()
    loss = nn.CrossEntropyLoss(weight, label_smoothing=params.loss.label_smoothing)
    assert isinstance(body.head, nn.Linear)
    fit_head(body.head, train, loss, params.seed)
    metrics = {}
    with torch.no_grad():
        for name, seen in (("train", train[0]), ("val", val)):
            logits = body.head(seen.features).double()
            metrics[f"{name}_loss"] = float(loss(logits, seen.labels))
            metrics[f"{name}_accuracy"] = float((logits.argmax(1) == seen.labels).double().mean())
    return metrics


def fit_head(head: nn.Linear, views: Sequence[Examples], loss: Loss, seed: int) -> None:
    """Give the layer the weights that minimise the loss, a mean over images.

    Features have a mean of 0 for it and are brought half the way to an equal spread: what holds weights down does so to
    all alike, and those that hardly ever differ are not blown up.

    views: of the same images, each. seed: of the parts of cross-validation.
    """
    order = permutation(seed, 0, len(views[0].labels))
    spread, mean = torch.std_mean(torch.cat([view.features for view in views]).double(), 0, correction=0)
    mean = mean if head.bias is not None else torch.zeros_like(mean)
    spread = (spread + spread.mean()).clamp(min=1e-12)
    views = [Examples((view.features - mean) / spread, view.labels) for view in views]
    train = Examples.of(views, order)
    size = train.features.square().mean().clamp(min=1e-12).item()
    decays = [size * decay for decay in _DECAYS]
    best = _cross_validated(views, order[:_MOST], head.out_features, loss, decays)
    weights = _minimised(train, head.out_features, loss, decays[: best + 1])[-1]
    rows = weights[:, :-1] / spread
    with torch.no_grad():
        head.weight.copy_(rows)
        if head.bias is not None:
            head.bias.copy_(weights[:, -1] - rows @ mean)


def _cross_validated(
    views: Sequence[Examples], order: torch.Tensor, num_classes: int, loss: Loss, decays: list[float]
) -> int:
    """Find the position of the best decay; all views of an image are on one side."""
    found = torch.zeros(len(decays), dtype=torch.float64)
    for fold in range(min(_FOLDS, len(order) // 2)):
        held_out = torch.arange(len(order)) % _FOLDS == fold
        rest, tried = Examples.of(views, order[~held_out]), Examples.of(views[:1], order[held_out])
        solutions = _minimised(rest, num_classes, loss, decays)
        losses = [functional.cross_entropy(_logits(weights, tried.features), tried.labels) for weights in solutions]
        found += torch.stack(losses) * held_out.sum()
    return int(found.argmin())


def _logits(weights: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """weights: float [classes, features + 1], of which the last are the biases."""
    return functional.linear(features, weights[:, :-1], weights[:, -1])


def _minimised(train: Examples, num_classes: int, loss: Loss, decays: list[float]) -> list[torch.Tensor]:
    """Solve for each decay, from strong to weak, starting where the one before ended; by L-BFGS."""
    weights = torch.zeros(num_classes, train.features.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    solutions = []
    for decay in decays:
        optimizer = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

        def objective(optimizer: torch.optim.LBFGS = optimizer, decay: float = decay) -> torch.Tensor:
            optimizer.zero_grad()
            held_down = decay / len(train.labels) / 2 * weights[:, :-1].square().sum()
            value = loss(_logits(weights, train.features), train.labels) + held_down
            value.backward()
            return value

        optimizer.step(objective)  # type: ignore[arg-type]
        solutions.append(weights.detach().clone())
    return solutions
