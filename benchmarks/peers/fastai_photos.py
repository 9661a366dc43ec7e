"""fastai's way of fine-tuning, by its defaults: vision_learner, fine_tune with one frozen epoch, aug_transforms.

python fastai_photos.py FOLDER NETWORK WEIGHTS SIZE SEED EPOCHS ANSWER.json
FOLDER: with train/CLASS/ and test/CLASS/; NETWORK: timm's name; WEIGHTS: a safetensors file of it; SIZE: in pixels

The answer has accuracy on test/ and seconds (of all but imports) after the frozen epoch and at the end.
"""

import json
import sys
import time
from pathlib import Path

import fastai
import torch
from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    RandomResizedCrop,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)


class _Clock(Callback):
    """Note accuracy and time after each epoch, validation included."""

    order = 70  # after the Recorder

    def __init__(self, started):
        self.started, self.found = started, []

    def after_epoch(self):
        measured = float(self.recorder.values[-1][-1])
        self.found.append({"accuracy": measured, "seconds": time.perf_counter() - self.started})


if __name__ == "__main__":
    folder, network, weights, size, seed, epochs, answer = sys.argv[1:]
    clock = _Clock(time.perf_counter())
    set_seed(int(seed))
    # item_tfms and aug_transforms as fastai's chapter on presizing has them: crops on the way in, the rest in batches.
    data = ImageDataLoaders.from_folder(
        folder, "train", "test", item_tfms=RandomResizedCrop(int(size), min_scale=0.35), batch_tfms=aug_transforms(),
        device=torch.device("cpu"), bs=32,
    )  # fmt: skip
    learner = vision_learner(data, network, metrics=accuracy, pretrained_cfg_overlay={"file": weights})
    learner.add_cb(clock)
    with learner.no_bar():
        learner.fine_tune(int(epochs), freeze_epochs=1)
    found = {"frozen": clock.found[0], "end": clock.found[-1], "version": fastai.__version__}
    Path(answer).write_text(json.dumps(found))
