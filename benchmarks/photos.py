"""How well, and how soon, is a network fine-tuned on some photos: beside fastai, and beside timm's recipe?

EfficientNet-Lite0 with ImageNet's weights, the same file and the same photos for all. Ours: `dvc exp run -S recipe=…
test`, which holds some training photos out to choose its epoch by; the others train on all. fastai: vision_learner,
`fine_tune` with one frozen epoch, aug_transforms, and the best of what it reaches after the frozen epoch and after
several numbers of epochs, chosen by the test photos themselves. timm: AdamW with rates by depth, RandAugment, cosine,
label smoothing, in bfloat16 where the processor has it. Accuracy on the test photos, mean (and range) over the seeds;
seconds of the process that trains, without its imports: ours reads, decodes, trains, validates and writes checkpoints
and reports; theirs reads, decodes, trains and tests.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Row
from benchmarks.peer_environment import MissingPeersError, run_peer
from benchmarks.photo_sets import photos
from benchmarks.project import ROOT, Project
from benchmarks.settings import composed
from benchmarks.sources import weights_file
from stages.train.precision import choose_precision

NETWORK = "tf_efficientnet_lite0"
_RECIPES = ("linear_probe", "fine_tune")
# Theirs is without timm's import: fastai does it with its own.
_IMPORT = (sys.executable, "-c", "import stages.train.__main__, timm")


@dataclass(frozen=True)
class Target:
    """What is asked beside fastai: at least its accuracy, and of its seconds by ours at least a ratio."""

    what: str
    ratio: float = 0.0


@dataclass(frozen=True)
class PhotoSet:
    """Photos and how to ask about them; epochs: fastai's numbers after its frozen one; timm_epochs: timm's."""

    name: str
    folder: Path
    size: int  # pixels
    seeds: Sequence[int] = (1, 2, 3)
    epochs: Sequence[int] = (1, 3, 5)
    timm_epochs: int | None = 10  # None: timm is not asked


@dataclass(frozen=True)
class Result:
    """What one way reached, seed by seed."""

    what: str
    accuracies: Sequence[float]
    seconds: Sequence[float]

    @property
    def accuracy(self) -> float:
        return statistics.mean(self.accuracies)

    @property
    def mean_seconds(self) -> float:
        return statistics.mean(self.seconds)

    def __str__(self) -> str:
        between = f" ({min(self.accuracies):.3f} to {max(self.accuracies):.3f})" if len(self.accuracies) > 1 else ""
        return f"{self.accuracy:.4f}{between}, {self.mean_seconds:.1f} s"


def run(quick: bool) -> list[Row]:
    """Return rows for ants-bees; quick: for a sixth of it, with one seed."""
    if quick:
        return compared([PhotoSet("a sixth of ants-bees", photos(quick), 224, (1,), (1,), 1)])
    target = Target("as accurate, in at most a quarter of the time", 4)
    return compared([PhotoSet("ants-bees", photos(quick), 224)], target)


def compared(photo_sets: Sequence[PhotoSet], target: Target | None = None) -> list[Row]:
    """Return rows for each set of photos."""
    weights_file()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        imports = statistics.median(project.run(*_IMPORT).wall for _ in range(3 if target else 1))
        return [row for photo_set in photo_sets for row in _compared(project, photo_set, imports, target)]


def _compared(project: Project, photo_set: PhotoSet, imports: float, target: Target | None) -> list[Row]:
    """Ask all ways about one set, seed by seed, ours first."""
    found: dict[str, list[tuple[float, float]]] = {}
    failed: str | None = None
    for seed in photo_set.seeds:
        for recipe in _RECIPES:
            if (ROOT / f"conf/recipe/{recipe}.yaml").exists():
                found.setdefault(recipe, []).append(_ours(project, photo_set, recipe, seed, imports))
        try:
            for what, result in _theirs(photo_set, seed):
                found.setdefault(what, []).append(result)
        except (MissingPeersError, RuntimeError) as error:
            failed = f"seed {seed}: {str(error).splitlines()[-1]}"  # of a failed process, the end of what it printed
    results = {what: Result(what, *zip(*pairs, strict=True)) for what, pairs in found.items()}
    return rows_of(photo_set.name, results, failed, target)


def _ours(project: Project, photo_set: PhotoSet, recipe: str, seed: int, imports: float) -> tuple[float, float]:
    """Run the whole pipeline; gives the test accuracy and the training's seconds."""
    choices = [
        f"recipe={recipe}", "data=folder", f"data.path={photo_set.folder}", "split=predefined", f"seed={seed}",
        f"model.name=timm/{NETWORK}", f"model.weights={weights_file()}", f"model.input_size={photo_set.size}",
        "data.max_rejected=10", "split.duplicates=exclude", "tracking=disabled",
    ]  # fmt: skip
    seconds = project.run_stages("dvc", "exp", "run", *(part for choice in choices for part in ("-S", choice)), "test")
    metrics = json.loads((project.path / "reports/test/metrics.json").read_text(encoding="utf-8"))
    return metrics["accuracy"], seconds["train"] - imports


def _theirs(photo_set: PhotoSet, seed: int) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each answer when it is there: what comes after it may fail."""
    common = (photo_set.folder, NETWORK, weights_file(), photo_set.size, seed)
    for epochs in photo_set.epochs:
        answer = run_peer("fastai_photos", *common, epochs)
        begun = f"fastai {answer['version']},"
        if epochs == photo_set.epochs[0]:
            yield f"{begun} frozen epoch", _pair(answer["frozen"])
        yield f"{begun} {epochs} epochs after it", _pair(answer["end"])
    if photo_set.timm_epochs is None:
        return
    mixed = choose_precision(composed().trainer, torch.device("cpu")) == "bf16-mixed"
    answer = run_peer("timm_photos", *common, photo_set.timm_epochs, "bf16" if mixed else "fp32")
    yield f"timm {answer['version']}, {photo_set.timm_epochs} epochs", _pair(answer)


def _pair(answer: dict[str, Any]) -> tuple[float, float]:
    return answer["accuracy"], answer["seconds"]


def rows_of(name: str, results: dict[str, Result], failed: str | None, target: Target | None) -> list[Row]:
    """Set ours beside fastai's best; then a row for each of the others' results.

    results: by what it is of. failed: why the others are not there, if so. target: None judges nothing.
    """
    fastai = [result for what, result in results.items() if what.startswith("fastai")]
    timed = {
        "linear_probe": [result for result in fastai if result.what.endswith("frozen epoch")],
        "fine_tune": [result for result in fastai if not result.what.endswith("frozen epoch")],
    }
    rows = []
    for recipe, others in timed.items():
        what, ours = f"{name}: {recipe}", results.get(recipe)
        if ours is None or not others:
            rows.append(Row(what, "not there" if ours is None else str(ours), "" if others else failed or ""))
            continue
        best = max(fastai, key=lambda result: result.accuracy)
        against = max(others, key=lambda result: result.accuracy)
        ratio = against.mean_seconds / ours.mean_seconds
        rows.append(
            Row(
                f"{what}, against fastai's best ({best.what}); seconds against those of {against.what}", str(ours),
                f"{best.accuracy:.4f}, {against.mean_seconds:.1f} s", ratio,
                target=target.what if target else "",
                met=(ours.accuracy >= best.accuracy and ratio >= target.ratio) if target else None,
            )
        )  # fmt: skip
    rows += [Row(f"{name}: {what}", "", str(found)) for what, found in results.items() if what not in timed]
    return rows + ([Row(f"{name}: what others did not answer", "", failed)] if failed and fastai else [])
