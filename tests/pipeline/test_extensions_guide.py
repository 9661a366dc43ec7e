"""docs/extensions.md, word for word: its five files, chosen all at once by its command."""

import json
import re
import shlex
from pathlib import Path

import onnx

from lightline.sources.digits import Digits
from stages.train.fingerprint import code_digests
from tests.support import ROOT
from tests.support.project import Project

GUIDE = (ROOT / "docs/extensions.md").read_text()
FILES = dict(re.findall(r"`(extensions/\w+/\w+\.py)`:\n\n```python\n(.*?)```", GUIDE, re.DOTALL))
(COMMAND,) = re.findall(r"```console\n(dvc exp run .*?)```", GUIDE, re.DOTALL)
QUICK = ("trainer.max_epochs=1", "model.input_size=16", "export.latency=false", "evaluate.bootstrap_samples=100")
NUM_IMAGES = 150


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def test_the_five_files_are_written_chosen_and_each_has_its_say(project: Project):
    assert sorted(Path(name).parent.name for name in FILES) == [
        *("augmentations", "callbacks", "metrics", "models", "sources")
    ]
    for name, code in FILES.items():
        (project.path / name).write_text(code)
    folder = project.path / "data/raw"
    folder.mkdir(parents=True)
    for number, image in zip(range(NUM_IMAGES), Digits().images(), strict=False):
        (folder / f"{image.class_name}.{number}.png").write_bytes(image.read())

    command = [*shlex.split(COMMAND.replace("\\\n", "")), *(part for one in QUICK for part in ("-S", one))]
    told = project.run(*command).stdout
    assert ran(told) == ["source", "download", "split", "train", "test", "export", "report"]
    assert f"{NUM_IMAGES} images in 10 classes" in told
    assert json.loads((project.path / "data/source.json").read_text())["source"] == "names"
    assert told.count("best val loss so far") == 1
    metrics = json.loads((project.path / "reports/test/metrics.json").read_text())
    assert -1 <= metrics["kappa"] <= 1
    card = (project.path / "models/MODEL_CARD.md").read_text()
    assert card.startswith("# my_net: a classifier of 10 classes")
    assert "| kappa |" in card
    model = onnx.load(project.path / "models/model.onnx")
    assert (32, 3, 3, 3) in {tuple(weights.dims) for weights in model.graph.initializer}  # width 32
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    trained = json.loads(metadata["params"])
    assert trained["trainer"]["callbacks"] == [{"name": "plateau", "settings": {"min_delta": 0.001}}]
    assert trained["augment"]["transforms"] == [{"name": "inverted", "settings": {}}]
    shown = project.run("dvc", "exp", "show", "--csv").stdout
    assert "kappa" in shown.splitlines()[0].split(",")

    known = json.loads((project.path / "reports/train/fingerprint.json").read_text())["code"]
    assert known == code_digests(project.path)
    (project.path / "extensions/callbacks/plateau.py").write_text(
        f"{FILES['extensions/callbacks/plateau.py']}\n# more\n"
    )
    assert code_digests(project.path) != known
    assert ran(project.run("dvc", "repro", "--dry").stdout)[:2] == ["source", "train"]
