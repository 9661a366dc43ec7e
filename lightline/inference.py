"""Logits of a network for images of the dataset, straight from their pixels: for test, export and the end of train."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from lightline.dataset import Dataset
from lightline.params import Hardware
from lightline.transforms import Preprocessing, evaluation_transform


def choose_device(hardware: Hardware) -> torch.device:
    """The device that the parameters ask for: the first GPU where there is one and it is not ruled out."""
    wanted = hardware.accelerator
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", 0)
    if wanted in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def pixel_batches(dataset: Dataset, rows: np.ndarray, batch_size: int) -> Iterator[list[np.ndarray]]:
    """The images of the rows in order, as lists of at most batch_size stacks uint8 [n, height, width, 3] of one size.

    Neighbours of one size share a stack, so that sets of equal images are transformed as whole batches.
    """
    for start in range(0, len(rows), batch_size):
        stacks: list[list[np.ndarray]] = []
        for row in rows[start : start + batch_size]:
            pixels = dataset.pixels(int(row))
            if stacks and stacks[-1][0].shape == pixels.shape:
                stacks[-1].append(pixels)
            else:
                stacks.append([pixels])
        yield [np.stack(stack) for stack in stacks]


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
    logits = [
        network(torch.cat([transform(torch.from_numpy(stack).to(device)) for stack in stacks])).cpu()
        for stacks in pixel_batches(dataset, rows, batch_size)
    ]
    return torch.cat(logits).numpy() if logits else np.zeros((0, len(dataset.classes)), np.float32)
