"""What a stage's libraries load, and how."""

import json
import subprocess
import sys

_LOADED = """
import lightline.runtime.stage
import gc, json, os, sys
import lightning, torch, torchmetrics
from lightning_utilities.core.imports import RequirementCache, package_available
from torchmetrics.functional.classification import multiclass_accuracy

accuracy = multiclass_accuracy(torch.tensor([0, 1]), torch.tensor([0, 0]), num_classes=2, average="micro")
loaded = [name for name in ("scipy", "torchvision") if name in sys.modules]
there = [bool(RequirementCache(name)) and package_available(name) for name in ("scipy", "torchvision")]
print(json.dumps([loaded, there, float(accuracy), gc.isenabled(), os.environ["OMP_WAIT_POLICY"]]))
"""


def test_torchmetrics_loads_without_what_it_needs_for_sounds_and_pictures_and_nobody_else_notices():
    done = subprocess.run((sys.executable, "-c", _LOADED), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], [True, True], 0.5, False, "PASSIVE"]
