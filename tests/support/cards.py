"""What a model card is written from."""

from lightline.config.params import Export
from lightline.model_file.card import Sections

METRICS = {"accuracy": 0.98765432, "auroc": None, "interval": {"lower": 0.97, "upper": 0.99}, "images": 270}
SPLITS = {"train": 1257, "val": 270, "test": 270}
SETTINGS = Export(
    opset=20,
    rtol=1e-3,
    atol=1e-8,
    test_rtol=0.05,
    quantize=[],
    calibration_images=64,
    max_accuracy_drop=0.005,
    target_risk=0.05,
    confidence=0.95,
    coverage=0.95,
    embedding=False,
    latency=True,
    intended_use="Sorting animals.",
    limits="Not for größe of 5 | 6.",
)
SECTIONS = Sections("| a table |", "Always.")
