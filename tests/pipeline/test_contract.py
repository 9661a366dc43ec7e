"""dvc.yaml held to the code: what a stage depends on is what it imports and reads."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import UnidentifiedImageError

from lightline.config.params import Export, Params
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.model_file import provenance
from stages.train.fingerprint import CODE, TRAIN_SECTIONS
from tests.support import ROOT
from tests.support.imports import IMPORTS, closure_of, file_of, room_of
from tests.support.project import Project

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
# quantize stands in a `do`: it exists only where export.quantize asks for it.
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}
ORDER = ["source", "download", "split", "train", "test", "export", "quantize", "report"]
# Sections that steer where and how a stage runs, never what comes out of it.
WITHOUT_EFFECT = {"hardware", "checkpoint", "tracking", "sweep", "promote", "monitor"}
DECIDE_NO_BYTE = (
    "lightline.config",
    "lightline.extensions",
    "lightline.runtime",
    "lightline.errors",
    "lightline.redaction",
    "lightline_predict.errors",
    "lightline_predict.machine",
)
ROOMS = ("stages/", "lightline/", "lightline_predict/")
CODE_FOLDERS = (*ROOMS, "extensions/")
FLOWS = sorted(f"flows.{file.stem}" for file in (ROOT / "flows").glob("[!_]*.py"))
TORCH_FREE = [
    *FLOWS,
    "stages.source.__main__",
    "stages.download.__main__",
    "stages.split.__main__",
    "lightline.data.dataset",
    "lightline_predict.images",
    "lightline_predict.classifier",
    "stages.quantize.int8",
    "lightline.config.load",
    "lightline.runtime.tracking",
]

# What takes more than a twentieth of a second to load, and the stages that may load it with their own module. What only
# some settings need (torchvision's networks, W&B, a source's archive) is loaded where it is used.
HEAVY = {
    *("numpy", "PIL", "pyarrow", "scipy", "sklearn", "pandas", "matplotlib", "matplotlib.pyplot", "fsspec", "aiohttp"),
    *("torch", "torch._dynamo", "torch.onnx", "torchvision", "torchmetrics", "lightning", "timm", "sympy"),
    *("onnx", "onnxruntime", "onnxscript", "wandb", "dvc", "hydra", "omegaconf", "prefect", "botocore", "s3fs"),
}
_DATA = {"numpy", "PIL", "pyarrow"}
_TORCHMETRICS_BRINGS = {
    *("scipy", "matplotlib", "matplotlib.pyplot", "torch._dynamo", "torch.onnx", "torchvision", "torchmetrics", "sympy")
}
_LIGHTNING_BRINGS = _TORCHMETRICS_BRINGS | {"fsspec", "aiohttp"}
NEEDED = {
    "source": set(),
    "download": _DATA,
    "split": _DATA,
    "train": _DATA | {"torch", "lightning"} | _LIGHTNING_BRINGS,
    "test": _DATA | {"torch", "matplotlib"} | _TORCHMETRICS_BRINGS,
    "export": _DATA | {"torch", "onnx", "onnxruntime"},
    "quantize": _DATA | {"torch", "onnx", "onnxruntime"},
    "report": _DATA | {"torch", "onnxruntime"},
}


def _paths(stage: dict, *keys: str) -> set[str]:
    entries = [entry for key in keys for entry in stage.get(key, [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def test_the_stages_are_those_of_the_design():
    assert list(STAGES) == ORDER


@pytest.mark.parametrize("name", ORDER[1:])
def test_a_stage_depends_on_the_rooms_it_imports_and_no_other(name):
    code = {
        path
        for path in _paths(STAGES[name], "deps")
        if path.startswith(("stages/", "lightline/", "lightline_predict/"))
    }
    rooms = {room_of(module) for module in closure_of(name) if not module.startswith(DECIDE_NO_BYTE)}
    assert sorted(code) == sorted(rooms)


@pytest.mark.parametrize("name", ORDER[1:])
def test_a_stage_depends_on_the_kinds_of_extensions_that_it_builds(name):
    found = {path for path in _paths(STAGES[name], "deps") if path.startswith("extensions/")}
    assert found == {f"extensions/{kind}s" for kind in _built(name)}


def _built(name: str) -> Iterator[str]:
    """The kinds that a stage calls `build_extension` with."""
    for module in closure_of(name):
        for node in ast.walk(ast.parse(file_of(module).read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "build_extension":
                yield ast.literal_eval(node.args[0])


def test_no_module_imports_itself_in_a_circle():
    TopologicalSorter(
        {module: IMPORTS.find_modules_directly_imported_by(module) for module in IMPORTS.modules}
    ).prepare()


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_depends_on_the_sections_it_reads(name):
    sections = set(Params.model_fields)
    read = {node.attr for node in _attributes(name) if _is_params(node.value) and node.attr in sections}
    if name == "report":  # which shows them all
        read = sections
    assert {key.partition(".")[0] for key in STAGES[name]["params"]} == read - WITHOUT_EFFECT


@pytest.mark.parametrize("name", ["export", "quantize"])
def test_of_export_s_section_a_stage_depends_on_what_it_reads(name):
    # So that asking for an int8 file does not export and measure the other one anew.
    read = {f"export.{node.attr}" for node in _attributes(name) if node.attr in Export.model_fields}
    assert {key for key in STAGES[name]["params"] if key.startswith("export")} == read


def _attributes(name: str) -> Iterator[ast.Attribute]:
    for module in closure_of(name):
        if module.startswith("lightline_predict"):  # which is given no params: its Answers have an embedding, too
            continue
        for node in ast.walk(ast.parse(file_of(module).read_bytes())):
            if isinstance(node, ast.Attribute):
                yield node


def _is_params(node: ast.AST) -> bool:
    """`params` or `….params`, by which all code calls the whole of params.yaml."""
    return (isinstance(node, ast.Name) and node.id == "params") or (
        isinstance(node, ast.Attribute) and node.attr == "params"
    )


def test_the_fingerprint_covers_the_sections_that_train_depends_on():
    assert set(TRAIN_SECTIONS) == set(STAGES["train"]["params"])


def test_the_fingerprint_covers_the_code_that_train_depends_on():
    assert set(CODE) == {path for path in STAGES["train"]["deps"] if path.startswith(CODE_FOLDERS)}


@pytest.mark.parametrize("name", ["export", "quantize"])
def test_the_statement_of_a_model_file_covers_what_its_stage_depends_on(name):
    code = {path for path in STAGES[name]["deps"] if path.startswith(CODE_FOLDERS)}
    assert {*provenance.CODE, f"stages/{name}"} == code
    read = {key.removeprefix("export.") for key in STAGES[name]["params"] if key.startswith("export.")}
    assert set(Export.model_fields) - provenance.NOT_READ[name] == read


def test_every_path_has_one_producer():
    outputs = [path for stage in STAGES.values() for path in _paths(stage, "outs", "metrics", "plots")]
    assert len(outputs) == len(set(outputs))
    for path in outputs:
        assert not [other for other in outputs if other.startswith(f"{path}/")]


def test_no_command_contains_a_parameter():
    for stage in STAGES.values():
        assert "${" not in stage["cmd"]


def test_the_only_parameter_in_dvc_yaml_is_whether_to_quantize():
    assert re.findall(r"\$\{.*?\}", (ROOT / "dvc.yaml").read_text()) == ["${export.quantize}"]
    assert PIPELINE["stages"]["quantize"]["foreach"] == "${export.quantize}"


def test_what_a_stage_reads_is_produced_by_an_earlier_one():
    produced: set[str] = set()
    for name in ORDER:
        data = {path for path in _paths(STAGES[name], "deps") if not path.startswith(CODE_FOLDERS)} - {"conf"}
        assert data <= produced
        produced |= _paths(STAGES[name], "outs", "metrics", "plots")


def _loaded(module: str) -> set[str]:
    """All that a fresh process has in memory after the import of a module."""
    code = f"import {module}, sys; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split())


_IMPORT_ALL = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    if found := {"torch", "torchvision", "torchmetrics", "lightning"} & set(sys.modules):
        sys.exit(f"{module} imports {found}")
"""


def test_torch_free_modules_import_no_torch():
    command = (sys.executable, "-c", _IMPORT_ALL, *TORCH_FREE)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_loads_only_what_it_needs(name):
    loaded = _loaded(f"stages.{name}.__main__") & HEAVY
    assert loaded <= NEEDED[name], f"remove the import, or make it where it is needed: {sorted(loaded - NEEDED[name])}"


@pytest.mark.parametrize("name", ["test", "export"])
def test_a_stage_reads_no_image_but_those_of_the_test_split(name, finished_project, tmp_path):
    project = Project(shutil.copytree(finished_project.path, tmp_path / "project", symlinks=True))
    dataset = project.path / "data" / "dataset"
    before = Dataset(dataset)
    rows = read_splits(project.path / "data" / "splits.parquet").rows("test")
    kept = set(before.column("position")[rows].tolist())
    with pa.OSFile(str(dataset / "images.arrow")) as file:
        images = pa.ipc.open_file(file).read_all()["image"].to_pylist()
    (dataset / "images.arrow").unlink()  # it may be a link into the cache
    images = [image if position in kept else b"no image" for position, image in enumerate(images)]
    table = pa.table({"image": pa.array(images, pa.large_binary())})
    with pa.OSFile(str(dataset / "images.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    damaged = np.setdiff1d(np.arange(len(before)), rows)
    with pytest.raises(UnidentifiedImageError):
        Dataset(dataset).pixels(int(damaged[0]))

    metrics = project.path / "reports" / name / "metrics.json"
    found = metrics.read_text()
    metrics.unlink()
    project.run(sys.executable, "-m", f"stages.{name}")
    assert metrics.read_text() == found


def test_params_yaml_is_what_conf_composes_to():
    result = subprocess.run(
        [sys.executable, "tools/params.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
