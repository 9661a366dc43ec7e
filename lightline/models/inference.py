"""Logits of a network for images of the dataset, straight from their pixels: for test, export and the end of train."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from lightline.data.dataset import Dataset, pixel_stacks
from lightline.models.body import Body
from lightline.models.transforms import Preprocessing, evaluation_transform


@contextmanager
def _convolutions_in_float32() -> Iterator[None]:
    """Meanwhile, have a GPU not round them to TF32, as it does by default: onnxruntime would not reproduce that."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def predict_logits(
    network: nn.Module,
    dataset: Dataset,
    rows: np.ndarray,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Compute logits, float32 [len(rows), classes], in float32 arithmetic whatever precision the training had."""
    found = predict(network, dataset, rows, preprocessing, batch_size, device)
    return found[0] if found else np.zeros((0, len(dataset.classes)), np.float32)


def predict_embeddings(
    network: nn.Module,
    dataset: Dataset,
    rows: np.ndarray,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Compute logits as `predict_logits`, and embeddings, float32 [len(rows), features]; see `body.Body`."""
    found = predict(Body(network), dataset, rows, preprocessing, batch_size, device)
    return (found[0], found[1]) if found else (np.zeros((0, len(dataset.classes)), np.float32), np.zeros((0, 0)))


@torch.inference_mode()
@_convolutions_in_float32()
def predict(
    network: nn.Module,
    dataset: Dataset,
    rows: np.ndarray,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device | str,
) -> list[np.ndarray]:
    """Compute what a network makes of images, a tensor [batch, …] or a tuple of them, as an array each; none without
    rows. It computes in float32, unless it says otherwise itself.
    """
    network = network.to(device).float().eval()
    transform = evaluation_transform(preprocessing).to(device)
    given: list[tuple[torch.Tensor, ...]] = []
    for start in range(0, len(rows), batch_size):
        stacks = pixel_stacks(dataset, rows[start : start + batch_size])
        inputs = torch.cat([transform(torch.from_numpy(stack).to(device)) for stack in stacks])
        output = network(inputs.contiguous(memory_format=torch.channels_last))
        given.append(tuple(part.cpu() for part in (output if isinstance(output, tuple) else (output,))))
    return [torch.cat(parts).numpy() for parts in zip(*given, strict=True)]
