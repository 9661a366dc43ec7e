"""Logits of a network for images of the dataset, straight from their pixels: for test, export and the end of train."""

import numpy as np
import torch
from torch import nn

from lightline.data.dataset import Dataset, pixel_stacks
from lightline.models.transforms import Preprocessing, evaluation_transform


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    dataset: Dataset,
    rows: np.ndarray,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Compute logits, float32 [len(rows), classes], in float32 arithmetic whatever precision the training had."""
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
