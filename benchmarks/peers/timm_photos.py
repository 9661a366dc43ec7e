"""timm's way of fine-tuning, out of its own parts: its transforms, AdamW with rates by depth, cosine with a warm-up.

python timm_photos.py FOLDER NETWORK WEIGHTS SIZE SEED EPOCHS PRECISION ANSWER.json
FOLDER: with train/CLASS/ and test/CLASS/; WEIGHTS: a safetensors file; SIZE: in pixels; PRECISION: bf16 or fp32

The answer has accuracy on test/ after the last epoch, and seconds of all but imports.
"""

import json
import math
import sys
import time
from pathlib import Path

import timm
import torch
from timm.data import ImageDataset, create_loader, resolve_model_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler

_BATCH, _RATE, _DECAY, _LAYER_DECAY, _SMOOTHING = 32, 5e-4, 0.05, 0.75, 0.1


def _loader(folder, part, config, size, training):
    """Load as timm's train.py does; its own prefetcher is for GPUs.

    RandAugment is of a fixed magnitude: a drawn one (mstd) may ask for pixels of 0 bits, which Pillow refuses.
    """
    images = ImageDataset(str(Path(folder, part)))
    return create_loader(
        images, (3, size, size), _BATCH, is_training=training, use_prefetcher=False, num_workers=2, color_jitter=0.4,
        mean=config["mean"], std=config["std"], crop_pct=config["crop_pct"], interpolation=config["interpolation"],
        auto_augment="rand-m9-inc1" if training else None, re_prob=0.25 if training else 0.0,
    ), len(images.reader.class_to_idx)  # fmt: skip


def _train(network, loader, epochs):
    optimizer = create_optimizer_v2(network, "adamw", _RATE, _DECAY, layer_decay=_LAYER_DECAY)
    steps = epochs * len(loader)
    scheduler = CosineLRScheduler(optimizer, steps, warmup_t=math.ceil(steps / 10), t_in_epochs=False)
    loss_of, step = LabelSmoothingCrossEntropy(_SMOOTHING), 0
    network.train()
    for _ in range(epochs):
        for images, labels in loader:
            scheduler.step_update(step)
            loss = loss_of(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1


@torch.inference_mode()
def _accuracy(network, loader):
    network.eval()
    right = [(network(images).argmax(1) == labels).float() for images, labels in loader]
    return float(torch.cat(right).mean())


def main():
    """Train and test."""
    folder, name, weights, size, seed, epochs, precision, answer = sys.argv[1:]
    started = time.perf_counter()
    torch.manual_seed(int(seed))
    config = resolve_model_data_config(timm.create_model(name))
    training, num_classes = _loader(folder, "train", config, int(size), training=True)
    testing, _ = _loader(folder, "test", config, int(size), training=False)
    network = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"file": weights}, num_classes=num_classes
    )  # fmt: skip
    for parameter in network.get_classifier().parameters():
        torch.nn.init.zeros_(parameter)  # timm draws heads of EfficientNets so large that few epochs undo them
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        _train(network, training, int(epochs))
        accuracy = _accuracy(network, testing)
    found = {"accuracy": accuracy, "seconds": time.perf_counter() - started, "version": timm.__version__}
    Path(answer).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
