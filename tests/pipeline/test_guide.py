"""CONTRIBUTING's "Where things go", done word for word in a copy of the project."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

from tests.support.project import Project


def after_docstring(file: Path, start: str, code: str) -> None:
    """Put lines behind the docstring of a function or class, or behind the first line of what has none."""
    text, inserted = re.subn(
        rf'({re.escape(start)}[^\n]*\n(?:[^\n]*\n)*?(?:    """(?:.|\n)*?"""\n))',
        lambda found: found[1] + code,
        file.read_text(),
        count=1,
    )
    assert inserted == 1, f"{start} is not in {file}"
    file.write_text(text)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{old} is not in {file}"
    file.write_text(text.replace(old, new, 1))


def test_a_metric_is_in_the_report_in_dvc_exp_show_and_in_the_card(finished_project: Project, tmp_path: Path):
    project = Project(shutil.copytree(finished_project.path, tmp_path / "project", symlinks=True))
    metrics = project.path / "stages/test/metrics.py"
    replace(
        metrics,
        "    num_classes = logits.shape[1]\n    result = {",
        '    num_classes = logits.shape[1]\n    result = {"errors": (scores.argmax(1) != target).sum().item(), ',
    )
    replace(metrics, "    auroc: float | None\n", "    auroc: float | None\n    share: float | None = 0.1\n")
    project.run("dvc", "exp", "run", "--name", "measured", "-S", "trainer.max_epochs=2", "-S", "export.latency=false")
    found = json.loads((project.path / "reports/test/metrics.json").read_text())
    assert found["share"] == 0.1
    with (project.path / "reports/test/per_class.csv").open() as file:
        classes = list(csv.DictReader(file))
    assert {row["share"] for row in classes} == {"0.1"}
    assert found["errors"] == round((1 - found["accuracy"]) * sum(int(row["images"]) for row in classes)) > 0
    header, *rows = csv.reader(project.run("dvc", "exp", "show", "--csv").stdout.splitlines())
    assert [row[header.index("errors")] for row in rows if "measured" in row] == [str(found["errors"])]
    assert f"| errors | {found['errors']} |" in (project.path / "models/MODEL_CARD.md").read_text()


_USED = """
import torch, yaml
from pathlib import Path
from stages.train.augmentation import Augmentation
from lightline.models.build import build_network
from stages.train.optimizers import build_optimizer, build_schedule
from lightline.config.load import load_params
from lightline.sources import open_source
from benchmarks.__main__ import questions

params = load_params()
network = build_network(params.model, 3)
optimizer = build_optimizer(params.optimizer, network, torch.float32)
schedule = build_schedule(params.schedule, optimizer, 10, 5.0)
augmented = Augmentation.mine(params.augment.mine)
source = open_source(params.data)
print(type(network).__name__, type(optimizer).__name__, schedule.__class__.__name__, augmented, source.identity())
print(params.trainer.mine, "mine" in questions())
"""


def test_everything_else_goes_where_the_guide_says(project: Project):
    code, conf = project.path / "lightline", project.path / "conf"
    training, train = code / "config/training.py", project.path / "stages/train"

    own = code / "config/model.py"
    replace(own, "class CNN(", 'class Mine(_Network):\n    name: Literal["mine"]\n\n\nclass CNN(')
    replace(own, "in (CNN, Airbench)", "in (Mine, CNN, Airbench)")
    replace(own, "Model = Annotated[\n", 'Model = Annotated[\n    Annotated[Mine, Tag("mine")] | ')
    after_docstring(
        code / "models/build.py",
        "def build_network(",
        '    if settings.name == "mine":\n        return nn.Linear(2, num_classes)\n',
    )
    (conf / "model/mine.yaml").write_text("defaults:\n  - cnn\n\nname: mine\n")

    for group, kind, code_of_it in (
        ("optimizer", "Optimizer", "return torch.optim.Adagrad(network.parameters(), lr=settings.lr)"),
        ("schedule", "Schedule", "return LambdaLR(optimizer, lambda step: settings.lr)"),
    ):
        replace(
            training,
            f"{kind} = Annotated[",
            f'class Mine{kind}(Section):\n    name: Literal["mine"]\n    lr: PositiveFloat\n\n\n'
            f"{kind} = Annotated[Mine{kind} | ",
        )
        replace(
            train / "optimizers.py",
            "from lightline.config.training import ",
            f"from lightline.config.training import Mine{kind}\nfrom lightline.config.training import ",
        )
        after_docstring(
            train / "optimizers.py",
            f"def build_{group}(",
            f"    if isinstance(settings, Mine{kind}):\n        {code_of_it}\n",
        )
        (conf / group / "mine.yaml").write_text("name: mine\nlr: 0.5\n")

    with (train / "augmentation.py").open("a") as file:
        file.write("\n    @staticmethod\n    def mine(strength):\n        return strength + 1\n")
    after_docstring(training, "class Augment(", "    mine: int\n")
    with (conf / "augment/none.yaml").open("a") as file:
        file.write("mine: 3\n")

    after_docstring(training, "class Trainer(", "    mine: int\n")
    for path in (conf / "trainer").iterdir():
        path.write_text(f"{path.read_text()}mine: 4\n")

    (code / "sources/mine.py").write_text("class Mine:\n    def identity(self):\n        return {'source': 'mine'}\n")
    data = code / "config/data.py"
    replace(
        data,
        "_BuiltIn = ",
        'class MineSource(Source):\n    source: Literal["mine"]\n\n\n_BuiltIn = MineSource | ',
    )
    after_docstring(
        code / "sources/__init__.py",
        "def open_source(",
        '    if data.source == "mine":\n        from lightline.sources.mine import Mine\n\n        return Mine()\n',
    )
    (conf / "data/mine.yaml").write_text(
        "source: mine\nmax_rejected: 0\nmax_pixels: 100\nbit_depth: auto\ncorrections: null\n"
    )

    (conf / "recipe/mine.yaml").write_text(
        "# @package _global_\ndefaults:\n"
        + "".join(f"  - override /{group}: mine\n" for group in ("data", "model", "optimizer", "schedule"))
    )
    replace(conf / "config.yaml", "recipe: none", "recipe: mine")
    (project.path / "benchmarks/mine.py").write_text('"""Mine?"""\n\n\ndef run(quick):\n    return []\n')

    project.run(sys.executable, "tools/params.py")
    used = project.run(sys.executable, "-c", _USED).stdout
    assert used == "Linear Adagrad LambdaLR 4 {'source': 'mine'}\n4 True\n"
