"""Logits of a network for images of the dataset, straight from their pixels: for test, export and the end of train."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from lightline.dataset import Dataset
from lightline.params import Hardware
from lightline.transforms import Preprocessing, evaluation_transform

_STACK, _STACK_BYTES = 512, 2**26  # images, and bytes, above which a stack takes no more


def choose_device(hardware: Hardware) -> torch.device:
    """The device that the parameters ask for: the first GPU where there is one and it is not ruled out."""
    wanted = hardware.accelerator
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", 0)
    if wanted in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def pixel_stacks(dataset: Dataset, rows: np.ndarray, max_images: int = _STACK) -> Iterator[np.ndarray]:
    """The images of the rows in order, as stacks uint8 [n, height, width, 3].

    Neighbours of one size share a stack, so that sets of equal images are transformed as whole batches; of large
    photos a few at a time, so that they are never in memory all at once.
    """
    stack, used = np.empty((0, 0, 0, 3), np.uint8), 0
    for number, row in enumerate(rows):
        pixels = dataset.pixels(int(row))
        if used == len(stack) or pixels.shape != stack.shape[1:]:
            if used:
                yield stack[:used]
            most = min(max_images, max(1, _STACK_BYTES // pixels.nbytes), len(rows) - number)
            stack, used = np.empty((most, *pixels.shape), np.uint8), 0
        stack[used] = pixels
        used += 1
    if used:
        yield stack[:used]


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    dataset: Dataset,
    rows: np.ndarray,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """float32 [len(rows), classes], in float32 arithmetic whatever precision the training had."""
    # By default convolutions on a GPU round to TF32, which onnxruntime would not reproduce.
    torch.backends.cudnn.allow_tf32 = False
    network = network.to(device).float().eval()
    transform = evaluation_transform(preprocessing).to(device)
    logits = []
    for start in range(0, len(rows), batch_size):
        stacks = pixel_stacks(dataset, rows[start : start + batch_size])
        inputs = torch.cat([transform(torch.from_numpy(stack).to(device)) for stack in stacks])
        logits.append(network(inputs.contiguous(memory_format=torch.channels_last)).cpu())
    return torch.cat(logits).numpy() if logits else np.zeros((0, len(dataset.classes)), np.float32)
