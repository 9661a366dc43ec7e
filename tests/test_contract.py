"""dvc.yaml held to the code: what a stage depends on is what it imports and reads."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lightline.closure import import_closure
from lightline.fingerprint import TRAIN_SECTIONS
from lightline.params import Export, Params

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
# quantize stands in a `do`: it exists only where export.quantize asks for it.
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}
ORDER = ["source", "download", "split", "train", "test", "export", "quantize"]
# Sections that steer where and how a stage runs, never what comes out of it.
WITHOUT_EFFECT = {"hardware", "tracking"}


def _paths(stage: dict, *keys: str) -> set[str]:
    entries = [entry for key in keys for entry in stage.get(key, [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def test_the_stages_are_those_of_the_design():
    assert list(STAGES) == ORDER


@pytest.mark.parametrize("name", ORDER[1:])
def test_a_stage_depends_on_all_code_it_imports_and_no_other(name):
    code = {path for path in _paths(STAGES[name], "deps") if path.endswith(".py")}
    closure = {path.as_posix() for path in import_closure(f"stages.{name}", ROOT)}
    assert sorted(code) == sorted(closure)


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_depends_on_the_sections_it_reads(name):
    sections = set(Params.model_fields)
    read = {node.attr for node in _attributes(name) if _is_params(node.value) and node.attr in sections}
    assert {key.partition(".")[0] for key in STAGES[name]["params"]} == read - WITHOUT_EFFECT


@pytest.mark.parametrize("name", ["export", "quantize"])
def test_of_export_s_section_a_stage_depends_on_what_it_reads(name):
    # So that asking for an int8 file does not export and measure the other one anew.
    read = {f"export.{node.attr}" for node in _attributes(name) if node.attr in Export.model_fields}
    assert {key for key in STAGES[name]["params"] if key.startswith("export")} == read


def _attributes(name: str) -> Iterator[ast.Attribute]:
    for path in import_closure(f"stages.{name}", ROOT):
        for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
            if isinstance(node, ast.Attribute):
                yield node


def _is_params(node: ast.AST) -> bool:
    """`params` or `….params`, by which all code calls the whole of params.yaml."""
    return (isinstance(node, ast.Name) and node.id == "params") or (
        isinstance(node, ast.Attribute) and node.attr == "params"
    )


def test_the_fingerprint_covers_the_sections_that_train_depends_on():
    assert set(TRAIN_SECTIONS) == set(STAGES["train"]["params"])


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
        data = {path for path in _paths(STAGES[name], "deps") if not path.endswith(".py")}
        assert data <= produced
        produced |= _paths(STAGES[name], "outs", "metrics", "plots")


@pytest.mark.parametrize(
    "module",
    [
        "stages.source",
        "stages.download",
        "stages.split",
        "flows.pipeline",
        "lightline.onnx_model",
        "lightline.quantization",
    ],
)
def test_torch_free_modules_import_no_torch(module):
    code = f"import sys, {module}; sys.exit(' '.join({{'torch', 'lightning'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stderr.strip() == ""


def test_params_yaml_is_what_conf_composes_to():
    result = subprocess.run(
        [sys.executable, "tools/params.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
