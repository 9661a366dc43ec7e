"""Networks by the names in params.yaml. To add one: its class in lightline/config/model.py, a branch in
`build_network`, a file in conf/model/.
"""

from collections import OrderedDict
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from lightline.config.extensions import registered
from lightline.config.model import CNN, ExtensionModel, LibraryModel, Model
from lightline.errors import LightlineError, ParameterError
from lightline.extensions import build_extension
from lightline.models.airbench import Airbench
from lightline.models.stem import are_of_a_small_stem, fit_stem
from lightline.models.weights import StateDict, library_entry, named_as, take_weights, weights_cache, weights_digest

_HEAD_STD = 0.01  # of a new head's logits, for features of unit size


@runtime_checkable
class SeesData(Protocol):
    """A network that fits something of itself to the training images before its first step."""

    def prepare(self, images: torch.Tensor) -> None:
        """Fit to the training images: normalised, float [images, 3, size, size]."""
        ...


def build_network(settings: Model, num_classes: int) -> nn.Module:
    """Build a network from normalised float [batch, 3, input_size, input_size] to logits [batch, num_classes].

    Its weights are random, whatever settings.weights: for a state_dict to come, or `start_network`.

    Raises:
        ParameterError: the network cannot be built with these settings.
    """
    if isinstance(settings, CNN):
        return cnn(settings.input_size, num_classes)
    if isinstance(settings, ExtensionModel):
        return _extension(settings, num_classes)
    if not isinstance(settings, LibraryModel):
        return Airbench(settings.widths, settings.depths, num_classes)
    return _library_model(settings, num_classes, None, None)[0]


def start_network(settings: Model, num_classes: int, weights: StateDict | None) -> tuple[nn.Module, str | None]:
    """Build a network with these weights, or else with those that settings.weights names, which are fetched.

    The digest of the weights comes with it; None where all are random.

    Raises:
        ParameterError: the network cannot be built with these settings, its weights do not fit or cannot be fetched.
    """
    if isinstance(settings, LibraryModel):
        return _library_model(settings, num_classes, settings.weights if weights is None else None, weights)
    network = build_network(settings, num_classes)
    return network, _taken(network, None, weights, settings)


def _extension(settings: ExtensionModel, num_classes: int) -> nn.Module:
    size = settings.input_size
    network = build_extension(
        "model", settings.name, settings.settings, num_classes=num_classes, input_size=size
    ).eval()
    with torch.no_grad():
        logits = network(torch.zeros(2, 3, size, size))
    shape = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != [2, num_classes]:
        raise ParameterError(
            f"model.name = {settings.name!r}, {registered('model')[settings.name]}, makes {shape} of images "
            f"[2, 3, {size}, {size}]; it must make logits, [2, {num_classes}]."
        )
    return network.train()


def _taken(network: nn.Module, name: str | None, weights: StateDict | None, settings: Model) -> str | None:
    """Load weights, and give the digest of these or of those that a library has loaded by their name."""
    head = tuple(f"{layer}." for layer in head_names(network))
    if weights is not None:
        take_weights(network, named_as(network, weights), head, str(settings.weights))
    return None if name is None and weights is None else weights_digest(network, head)


def _library_model(
    settings: LibraryModel, num_classes: int, name: str | None, weights: StateDict | None
) -> tuple[nn.Module, str | None]:
    assert settings.input_size is not None
    build = _timm if settings.name.startswith("timm/") else _torchvision
    try:
        network = build(settings, settings.input_size, name, num_classes)
        if weights is not None and are_of_a_small_stem(weights := named_as(network, weights), network):
            fit_stem(network, settings.stem, settings.input_size)
        digest = _taken(network, name, weights, settings)
        if build is _torchvision:
            _fit_head(network, num_classes)
        fit_stem(network, settings.stem, settings.input_size)
        _start_small(network)
        _try_out(network, settings.input_size)
    except OSError as error:
        raise ParameterError(
            f"model.weights = {name!r} of {settings.name} cannot be fetched ({error}), and would have to lie in "
            f"{weights_cache(settings)}. Try again with a network, or set model.weights to the path of a file of them, "
            "or to null."
        ) from error
    except LightlineError:
        raise
    # torchvision and timm refuse what does not fit with exceptions of any class, AssertionError among them.
    except Exception as error:
        raise ParameterError(
            f"model.name = {settings.name!r} cannot be built with model.weights = {settings.weights!r}, model.stem = "
            f"{settings.stem!r} and model.input_size = {settings.input_size}: {error}"
        ) from error
    return network, digest


def try_size(network: nn.Module, input_size: int, key: str) -> None:
    """Try whether a network takes images of a size.

    Raises:
        ParameterError: it does not; key: of the parameter that shows it such.
    """
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(2, 3, input_size, input_size))  # an extension's may look at values
    except Exception as error:  # of any class, as above
        raise ParameterError(
            f"{key}: {type(network).__name__} does not take images of {input_size} pixels ({error})."
        ) from error
    finally:
        network.train()


def _try_out(network: nn.Module, input_size: int) -> None:
    """Run a forward pass of shapes alone: many networks take any settings and refuse the first batch."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    state = {name: tensor.to("meta") for name, tensor in tensors.items()}
    images = torch.empty(2, 3, input_size, input_size, device="meta")
    network.eval()
    try:
        torch.func.functional_call(network, state, images)
    except NotImplementedError:  # an operation that needs values cannot be tried without
        pass
    finally:
        network.train()


def cnn(input_size: int, num_classes: int) -> nn.Sequential:
    """Build the tutorial's CNN: two pairs of unpadded 3×3 convolutions, each max-pooled, and three dense layers."""
    side = ((input_size - 4) // 2 - 4) // 2  # pixels, after two convolutions and a pooling, twice
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 32, 3),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 32, 3),
            relu2=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 64, 3),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(64, 64, 3),
            relu4=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dense1=nn.Linear(64 * side * side, 512),
            relu5=nn.ReLU(),
            dense2=nn.Linear(512, 128),
            relu6=nn.ReLU(),
            classes=nn.Linear(128, num_classes),
        )
    )


def _torchvision(settings: LibraryModel, input_size: int, weights: str | None, num_classes: int) -> nn.Module:
    """Build torchvision's network as it is, with its own head."""
    from torchvision import models

    known = list(models.get_model_weights(settings.name).__members__)
    if weights is not None and weights not in known:
        raise ParameterError(f"model.weights = {weights!r} is not allowed; allowed: null, {', '.join(known)}")
    arguments: dict[str, object] = {}
    if settings.name.startswith("vit_") and weights is None:
        arguments["image_size"] = input_size
    if settings.name == "maxvit_t":
        arguments["input_size"] = (input_size, input_size)
    if settings.name in ("googlenet", "inception_v3") and weights is None:
        arguments |= {"aux_logits": False, "init_weights": True}
    network = models.get_model(settings.name, weights=weights, **arguments)
    if settings.name in ("googlenet", "inception_v3"):
        # The side branches that only help training, which torchvision's weights bring along.
        vars(network)["aux_logits"] = False
        for branch in ("aux1", "aux2", "AuxLogits"):
            setattr(network, branch, None)
        vars(network)["transform_input"] = settings.weights is not None
    return network


def _timm(settings: LibraryModel, input_size: int, weights: str | None, num_classes: int) -> nn.Module:
    configuration = library_entry(settings)
    import timm

    name = settings.name.removeprefix("timm/")
    if weights not in (None, "DEFAULT"):
        raise ParameterError(
            f"model.weights = {weights!r} is not allowed; allowed: null, DEFAULT. A tag of timm's belongs to the "
            "name, as in model.name = timm/resnet18.a1_in1k."
        )
    arguments: dict[str, Any] = {"pretrained": weights is not None, "num_classes": num_classes}
    if configuration.fixed_input_size:
        arguments["img_size"] = input_size
    return timm.create_model(name, **arguments)


def head_names(network: nn.Module) -> list[str]:
    """Name the last layers: a Linear or (in SqueezeNet) a convolution; timm's distilled networks have two."""
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    told = getattr(network, "pretrained_cfg", None) or {}  # timm's word for where they stand
    classifiers = told.get("classifier") or ()
    classifiers = [classifiers] if isinstance(classifiers, str) else list(classifiers)
    inside = [[layer for layer in layers if f"{layer}.".startswith(f"{name}.")] for name in classifiers]
    return [found[-1] for found in inside if found] or layers[-1:]


def _fit_head(network: nn.Module, num_classes: int) -> None:
    """Replace the last layer, a Linear or (in SqueezeNet) a convolution, by one with num_classes outputs."""
    (name,) = head_names(network)
    layer = network.get_submodule(name)
    if isinstance(layer, nn.Linear):
        head: nn.Module = nn.Linear(layer.in_features, num_classes, bias=layer.bias is not None)
    else:
        assert isinstance(layer, nn.Conv2d)
        head = nn.Conv2d(layer.in_channels, num_classes, 1)
    network.set_submodule(name, head)


@torch.no_grad()
def _start_small(network: nn.Module) -> None:
    """Make the new head say next to nothing, so that the first loss is ln(num_classes), whatever the features' size.

    timm gives the heads of EfficientNets weights of up to 0.7, which a few frozen epochs never undo. Zeros (as in A.
    Kolesnikov et al., "Big transfer", 2020) would never learn in SqueezeNet, whose head ends in a ReLU.
    """
    for name in head_names(network):
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        nn.init.normal_(layer.weight, std=_HEAD_STD / layer.weight[0].numel() ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
