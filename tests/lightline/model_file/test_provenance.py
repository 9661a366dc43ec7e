"""The statement of where a model file comes from."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from lightline.errors import DataError
from lightline.model_file import provenance
from tests.support import ROOT
from tests.support.project import Project
from tests.support.signing import make_statement
from tests.support.tiny import tiny_params


def test_it_says_what_was_made_of_what(own_folder):
    said = json.loads(make_statement(b"a model").read_text())
    assert (said["_type"], said["predicateType"]) == (provenance.STATEMENT_TYPE, provenance.PREDICATE_TYPE)
    assert said["subject"] == [
        {"name": "model.onnx", "digest": {"sha256": hashlib.sha256(b"a model").hexdigest()}},
        {"name": "MODEL_CARD.md", "digest": {"sha256": hashlib.sha256(b"# the card of a model").hexdigest()}},
    ]
    definition = said["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["training"] == {"seed": 1}
    assert definition["internalParameters"]["fingerprint"] == "f" * 64
    found = {entry.get("name", entry.get("uri")): entry.get("digest") for entry in definition["resolvedDependencies"]}
    assert found["data/dataset"] == {provenance.CONTENT: "d" * 64}
    assert found["data/splits.parquet"] == {provenance.CONTENT: "5" * 64}
    assert "model.weights" not in found
    assert found["models/checkpoints/best.ckpt"] == {"sha256": hashlib.sha256(b"numbers of a model").hexdigest()}
    assert found["stages/train/fit.py"] == {"sha256": "c" * 64}
    code = (ROOT / "stages/export/exporter.py").read_bytes()
    assert found["stages/export/exporter.py"] == {"sha256": hashlib.sha256(code).hexdigest()}
    assert "pkg:pypi/torch@2.14.0" in found
    assert any(re.fullmatch(r"pkg:pypi/onnx@\d.*", name) for name in found)


def test_equal_models_have_equal_statements_and_any_difference_shows(own_folder):
    first = make_statement().read_bytes()
    assert make_statement().read_bytes() == first
    assert make_statement(b"another model").read_bytes() != first
    assert make_statement(settings=tiny_params(export__opset=21).export).read_bytes() != first
    assert make_statement(fingerprint="e" * 64).read_bytes() != first
    # What export does not depend on would be of another run than the one that wrote the file.
    assert make_statement(settings=tiny_params(export__calibration_images=7).export).read_bytes() == first


def test_what_trained_another_model_is_not_stated_of_this_one(own_folder):
    path, checkpoint, settings = make_statement(), Path("models/checkpoints/best.ckpt"), tiny_params().export
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"fingerprint\.json is of another model than models/checkpoints/best\.ckpt"):
        provenance.write_statement(path, [], [checkpoint], "0" * 64, "export", settings)
    assert path.read_bytes() == before


def test_that_of_a_real_run_holds_nothing_of_the_machine(finished_project: Project):
    text = (finished_project.path / "models/model.intoto.json").read_text()
    assert str(finished_project.path) not in text
    assert not re.search(r"\d{4}-\d\d-\d\dT", text)
    said = json.loads(text)
    for subject in said["subject"]:
        content = (finished_project.path / "models" / subject["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == subject["digest"]["sha256"]
    trained = json.loads((finished_project.path / "reports/train/fingerprint.json").read_text())
    names = {entry.get("name") for entry in said["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert trained["code"].keys() < names
