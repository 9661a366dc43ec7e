"""What training starts from: the network with its weights, and parameters in which nothing is left open."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import lightning
from torch import nn

from lightline.config.model import LibraryModel
from lightline.config.params import Params
from lightline.errors import DataError
from lightline.files import file_digest
from lightline.models.build import start_network
from lightline.models.weights import read_weights, weights_configuration
from lightline.runtime.places import find_file


class Start(NamedTuple):
    """A network before its first step; a training's own, since it trains it.

    params: with numbers for what model leaves to the weights, and their file by its name and digest alone.
    weights: the digest of the weights that are not random; None where all are.
    """

    params: Params
    network: nn.Module
    weights: str | None


def start(params: Params, num_classes: int) -> Start:
    """Build the network; its weights are read, or fetched once. The same seed gives the same one.

    Raises:
        DataError: the file of weights is not there, is another, or cannot be used.
        ParameterError: the network cannot be built, or the weights do not fit.
    """
    model, weights = params.model, None
    if isinstance(model, LibraryModel) and None in (model.input_size, model.crop_pct):
        found = weights_configuration(model)
        numbers = {"input_size": model.input_size or found.input_size, "crop_pct": model.crop_pct or found.crop_pct}
        model = model.model_copy(update=numbers)
    if (place := model.weights_file) is not None:
        path = _fetched(place, params) if "://" in place else find_file(place, "model.weights")
        if (digest := file_digest(path)) != (model.weights_sha256 or digest):
            raise DataError(
                f"{path} has SHA-256 {digest}, but model.weights_sha256 = {model.weights_sha256}. Either the file is "
                "not the one that was meant, or model.weights_sha256 must be changed."
            )
        weights = read_weights(path)
        # Where it lies is a matter of this machine, of which a result holds nothing.
        update = {"weights": Path(urlsplit(place).path).name, "weights_sha256": digest}
        model = model.model_copy(update=update)
    lightning.seed_everything(params.seed, verbose=False)
    return Start(params.model_copy(update={"model": model}), *start_network(model, num_classes, weights))


def _fetched(url: str, params: Params) -> Path:
    from lightline.runtime.fetch.fetch import fetch

    assert params.model.weights_sha256 is not None
    return fetch([url], "sha256", params.model.weights_sha256, params.fetch)
