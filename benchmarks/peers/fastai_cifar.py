"""fastai's xresnet18 on CIFAR-10 from its start, by fastai's defaults: one epoch of one-cycle at 1e-3, batches of 64.

python fastai_cifar.py FOLDER SEED ANSWER.json      FOLDER: with train/CLASS/ and test/CLASS/
"""

import json
import sys
import time
from pathlib import Path

import fastai
import torch
from fastai.vision.all import (
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Learner,
    Normalize,
    accuracy,
    cifar_stats,
    set_seed,
    xresnet18,
)

if __name__ == "__main__":
    folder, seed, answer = sys.argv[1:]
    started = time.perf_counter()
    set_seed(int(seed))
    normalize = Normalize.from_stats(*cifar_stats)
    data = ImageDataLoaders.from_folder(folder, "train", "test", batch_tfms=normalize, device=torch.device("cpu"))
    learner = Learner(data, xresnet18(n_out=data.c), CrossEntropyLossFlat(), metrics=accuracy)
    with learner.no_bar():
        learner.fit_one_cycle(1)
    found = {"accuracy": float(learner.recorder.values[-1][-1]), "seconds": time.perf_counter() - started}
    Path(answer).write_text(json.dumps(found | {"version": fastai.__version__}))
