"""Ultralytics' yolo11n-cls on CIFAR-10 from random weights, as its page on CIFAR-10 has it: one epoch at 32 pixels.

python ultralytics_cifar.py FOLDER SEED ANSWER.json      FOLDER: with train/CLASS/ and test/CLASS/
"""

import json
import sys
import time
from pathlib import Path

import ultralytics

if __name__ == "__main__":
    folder, seed, answer = sys.argv[1:]
    ultralytics.settings.update({"sync": False, **dict.fromkeys(("clearml", "comet", "dvc", "mlflow", "wandb"), False)})
    started = time.perf_counter()
    model = ultralytics.YOLO("yolo11n-cls.yaml")
    metrics = model.train(
        data=folder, epochs=1, imgsz=32, seed=int(seed), device="cpu", pretrained=False, plots=False, verbose=False,
        project=str(Path(answer).parent),
    )  # fmt: skip
    found = {"accuracy": float(metrics.top1), "seconds": time.perf_counter() - started}
    Path(answer).write_text(json.dumps(found | {"version": ultralytics.__version__}))
