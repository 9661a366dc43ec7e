"""Weights that a network starts from: read as data, fitted to a network, and what identifies them."""

import hashlib
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightline.config.model import LibraryModel
from lightline.errors import ParameterError, some
from lightline.models.transforms import Preprocessing
from lightline.runtime.ranks import is_first_process
from lightline.runtime.weights_file import is_safetensors, read_beginning, unusable_weights

StateDict = Mapping[str, torch.Tensor]

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")  # timm's order
_PREFIXES = ("_orig_mod.", "module.", "network.", "model.")  # of torch.compile, DDP, LightningModules
_SIDE_BRANCHES = ("aux1.", "aux2.", "AuxLogits.")  # of torchvision's Inception networks, for training alone
_SHOWN = 4  # names in a message


def weights_configuration(settings: LibraryModel) -> Preprocessing:
    """Look up how the named weights see images; for a file, how the library's own of that network do."""
    found = library_entry(settings)
    if settings.name.startswith("timm/"):
        size, crop_pct, filtered = found.input_size[-1], found.crop_pct, found.interpolation
    else:
        found = found.transforms()
        (size,), (resized,) = found.crop_size, found.resize_size
        crop_pct, filtered = size / resized, found.interpolation.value
    interpolation = "bicubic" if filtered == "bicubic" else "bilinear"
    return Preprocessing(size, crop_pct, tuple(found.mean), tuple(found.std), interpolation)


def weights_cache(settings: LibraryModel) -> str:
    """Say where a library looks for the named weights before it fetches them."""
    found = library_entry(settings)
    if not getattr(found, "hf_hub_id", None):
        return f"{torch.hub.get_dir()}/checkpoints/{Path(found.url).name}"
    from huggingface_hub.constants import HF_HUB_CACHE

    return f"{HF_HUB_CACHE}/models--{found.hf_hub_id.replace('/', '--')}, as Hugging Face's hub leaves them"


def library_entry(settings: LibraryModel) -> Any:
    """Find what torchvision or timm has on the named weights, or else on those it takes by itself.

    Raises:
        ParameterError: there is no timm, or it has no such network.
    """
    if not settings.name.startswith("timm/"):
        from torchvision.models import get_model_weights

        known = get_model_weights(settings.name).__members__
        return known.get(settings.weights or "DEFAULT", known["DEFAULT"])
    try:
        import timm
    except ImportError:
        raise ParameterError(
            f"model.name = {settings.name!r} needs the package timm, an extra: `pip install timm` in this environment."
        ) from None
    found = timm.get_pretrained_cfg(settings.name.removeprefix("timm/"))
    if found is None:
        raise ParameterError(
            f"model.name = {settings.name!r}: timm has no such model; `timm.list_models()` lists its own."
        )
    return found


def read_weights(path: Path) -> StateDict:
    """Read a safetensors file, or torch's file of a state_dict or of a checkpoint that has one, onto the CPU.

    Raises:
        DataError: it is none, is damaged, or holds more than data.
    """
    beginning = read_beginning(path)
    try:
        if is_safetensors(beginning):
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a pickle's protocol; what is wrong is said below
                content = torch.load(path, map_location="cpu", weights_only=True)
        while inner := [content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)]:
            content = inner[0]
        if tensors := {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}:
            return tensors
        reason = f"has no layers: {some([*map(str, content)], _SHOWN)}"
    except Exception as error:
        reason = f"is damaged, or none: it begins with {beginning!r}"
        if "Unsupported global" in str(error):
            reason = "holds objects of Python, which would have to be run"
    raise unusable_weights(path, reason)


def named_as(network: nn.Module, weights: StateDict) -> StateDict:
    """Give weights the names that the network has for them, without wrappers and what these have beside it.

    timm knows its authors' own names, and brings position embeddings to the size of the image.
    """
    known = network.state_dict()
    for prefix in 2 * _PREFIXES:
        inside = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if inside and not any(name.startswith(prefix) for name in known):
            weights = inside
    module = sys.modules[type(network).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None) if module.__name__.startswith("timm.") else None
    return convert(dict(weights), network) if convert else weights


def take_weights(network: nn.Module, weights: StateDict, head: tuple[str, ...], shown: str) -> None:
    """Load weights, named as the network's, but for the head, whose names begin so; tell what of it is left out.

    Raises:
        ParameterError: layers are missing, unknown, or of another shape.
    """
    own = {name: value.shape for name, value in network.state_dict().items() if not name.startswith(head)}
    taken = {name: value for name, value in weights.items() if not name.startswith((*head, *_SIDE_BRANCHES))}
    # Older files lack batch normalisation's counter, which nothing here reads.
    missing = [name for name in own if name not in taken and not name.endswith("num_batches_tracked")]
    misshapen = [
        f"{name} {[*taken[name].shape]} instead of {[*shape]}"
        for name, shape in own.items()
        if name in taken and taken[name].shape != shape
    ]
    wrong = {"missing": missing, "unknown": [name for name in taken if name not in own], "of another shape": misshapen}
    if told := [f"{len(names)} {kind} ({some(names, _SHOWN)})" for kind, names in wrong.items() if names]:
        raise ParameterError(
            f"model.weights = {shown!r} does not fit the network: layers {', '.join(told)}. Choose the model.name that "
            "it is of, or another file; where shapes differ, model.input_size may have been another."
        )
    network.load_state_dict(taken, strict=False)
    left_out = [f"{name} {[*value.shape]}" for name, value in weights.items() if name.startswith(head)]
    if left_out and is_first_process():
        print(f"model.weights: the head is new; left out of {shown}: {some(left_out, _SHOWN)}", flush=True)


def weights_digest(network: nn.Module, head: tuple[str, ...]) -> str:
    """Compute the SHA-256 of a network without its head: names, types, shapes and bytes of its tensors."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if not name.startswith(head):
            digest.update(f"{name} {value.dtype} {[*value.shape]}\n".encode())
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
