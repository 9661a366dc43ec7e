"""Networks by the names in params.yaml. To add one: a branch in `build_network`, its name in `lightline/params.py`, a
file in conf/model/.
"""

from collections import OrderedDict

from torch import nn

from lightline.errors import ParameterError
from lightline.params import Model

_SMALL_IMAGES = 64  # pixels up to which stem: auto means small


def build_network(settings: Model, num_classes: int, *, pretrained: bool = True) -> nn.Module:
    """A network from normalised float [batch, 3, input_size, input_size] to logits [batch, num_classes].

    pretrained: fetch settings.weights, where there are any; False builds the same network for a state_dict to come.

    Raises:
        ParameterError: the network cannot be built with these settings.
    """
    if settings.name == "cnn":
        return cnn(settings.input_size, num_classes)
    weights = settings.weights if pretrained else None
    try:
        if settings.name.startswith("timm/"):
            return _timm(settings, weights, num_classes)
        return _torchvision(settings, weights, num_classes)
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise ParameterError(
            f"model.name = {settings.name!r} cannot be built with model.weights = {settings.weights!r} and "
            f"model.input_size = {settings.input_size}: {error}"
        ) from error


def cnn(input_size: int, num_classes: int) -> nn.Sequential:
    """The tutorial's CNN: two pairs of unpadded 3×3 convolutions, each pair max-pooled, and three dense layers."""
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


def _torchvision(settings: Model, weights: str | None, num_classes: int) -> nn.Module:
    from torchvision import models

    arguments: dict[str, object] = {}
    if settings.name.startswith("vit_") and weights is None:
        arguments["image_size"] = settings.input_size
    if settings.name == "maxvit_t":
        arguments["input_size"] = (settings.input_size, settings.input_size)
    if settings.name in ("googlenet", "inception_v3") and weights is None:
        arguments |= {"aux_logits": False, "init_weights": True}
    network = models.get_model(settings.name, weights=weights, **arguments)
    if settings.name in ("googlenet", "inception_v3"):
        # The side branches that only help training, which torchvision's weights bring along.
        vars(network)["aux_logits"] = False
        for branch in ("aux1", "aux2", "AuxLogits"):
            setattr(network, branch, None)
    _fit_head(network, num_classes)
    if settings.stem == "small" or (settings.stem == "auto" and settings.input_size <= _SMALL_IMAGES):
        _fit_stem(network)
    return network


def _timm(settings: Model, weights: str | None, num_classes: int) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ParameterError(
            f"model.name = {settings.name!r} needs the package timm, an extra: `pip install timm` in this environment."
        ) from None
    name = settings.name.removeprefix("timm/")
    if not timm.is_model(name):
        raise ParameterError(
            f"model.name = {settings.name!r}: timm has no such model; `timm.list_models()` lists its own."
        )
    return timm.create_model(name, pretrained=weights is not None, num_classes=num_classes)


def _fit_head(network: nn.Module, num_classes: int) -> None:
    """Replace the last layer, a Linear or (in SqueezeNet) a convolution, by one with num_classes outputs."""
    name, layer = [item for item in network.named_modules() if isinstance(item[1], nn.Linear | nn.Conv2d)][-1]
    if isinstance(layer, nn.Linear):
        head: nn.Module = nn.Linear(layer.in_features, num_classes, bias=layer.bias is not None)
    else:
        assert isinstance(layer, nn.Conv2d)
        head = nn.Conv2d(layer.in_channels, num_classes, 1)
    network.set_submodule(name, head)


def _fit_stem(network: nn.Module) -> None:
    """For images of a few dozen pixels: no stride in the first convolution, 3×3 at most, and no first max-pooling.

    As in K. He et al., "Deep residual learning" (2016), section 4.2. Networks that cut the image into patches stay as
    they are.
    """
    convolutions = ((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    name, first = next(convolutions)
    if first.stride in (first.kernel_size, (1, 1)):
        return
    stem = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=first.bias is not None)
    if first.kernel_size == (3, 3):
        stem.load_state_dict(first.state_dict())
    network.set_submodule(name, stem)
    # The pooling of a stem stands in the network itself or in its `features`, never deeper.
    pools = (name for name, module in network.named_modules() if isinstance(module, nn.MaxPool2d))
    pool = next((name for name in pools if name.count(".") <= 1), None)
    if pool is not None:
        network.set_submodule(pool, nn.Identity())
