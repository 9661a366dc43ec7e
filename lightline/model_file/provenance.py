"""What a model file was made of, as a statement that can be signed: in-toto's form, SLSA's words.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance

Nothing in it differs between two equal runs, so that it holds no clock, host, commit or run; `python -m lightline
trace` finds those by the digests.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from lightline import __version__
from lightline.config.params import Export
from lightline.errors import DataError
from lightline.files import file_digest, write_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE, BUILDER = "urn:lightline:export:v1", "urn:lightline:stage:v1"  # docs/provenance.md says what they mean
CONTENT = "lightlineContentSha256"  # of what a data set or split says, however its file is packed

_ROOT, _TRAINED = Path(__file__).parents[2], Path("reports/train/fingerprint.json")
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # that write the file, beside those that trained
# What the stages that write model files depend on, beside their rooms, as dvc.yaml says too; a test compares the two.
CODE = (
    *("extensions/models", "lightline/__init__.py", "lightline/data", "lightline/files.py", "lightline/model_file"),
    "lightline/models",
    *(f"lightline_predict/{name}.py" for name in ("classifier", "images", "modes")),
)
# Settings of export that a stage does not depend on.
NOT_READ = {
    "export": {"quantize", "calibration_images", "max_accuracy_drop"},
    "quantize": {"quantize", "opset", "rtol", "atol", "test_rtol", "embedding"},
}


def write_statement(
    path: Path,
    subjects: Sequence[Path],
    files: Sequence[Path],
    fingerprint: str,
    stage: Literal["export", "quantize"],
    settings: Export,
) -> None:
    """Write the statement of a model file, whole or not at all.

    subjects: the files that it is about, which lie beside each other. files: that they were made from. fingerprint: of
    the model in them.

    Raises:
        DataError: what is known of the training is of another model.
    """
    trained = json.loads(_TRAINED.read_text(encoding="utf-8"))
    if trained["fingerprint"] != fingerprint:
        raise DataError(f"{_TRAINED} is of another model than {files[0]}; `dvc repro train` brings them together.")
    own = settings.model_dump(mode="json", exclude=NOT_READ[stage])
    dependencies = [*_data(trained), *map(_file, files), *_code(trained, f"stages/{stage}"), *_packages(trained)]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [_file(subject, subject.name) for subject in subjects],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"training": trained["params"], "export": own},
                "internalParameters": {name: trained[name] for name in ("fingerprint", "precision", "processes")},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {"builder": {"id": BUILDER, "version": {"lightline": __version__}}},
        },
    }
    write_json(path, statement)


def _file(path: Path, name: str | None = None) -> dict[str, Any]:
    return {"name": name or path.as_posix(), "digest": {"sha256": file_digest(path)}}


def _data(trained: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the data set and split, and the weights that training began with, by what their digests are of."""
    names = {"dataset": "data/dataset", "splits": "data/splits.parquet", "weights": "model.weights"}
    return [{"name": name, "digest": {CONTENT: trained[key]}} for key, name in names.items() if trained[key]]


def _code(trained: dict[str, Any], room: str) -> list[dict[str, Any]]:
    """Give the code that trained and the code that exports, a file once where it is the same."""
    found = [file for part in (*CODE, room) for file in (_ROOT / part, *(_ROOT / part).rglob("*.py")) if file.is_file()]
    names = {file.relative_to(_ROOT).as_posix(): file for file in found}
    exporting = {name: file_digest(file) for name, file in names.items() if "/." not in name}
    pairs = dict.fromkeys(sorted([*trained["code"].items(), *exporting.items()]))
    return [{"name": name, "digest": {"sha256": digest}} for name, digest in pairs]


def _packages(trained: dict[str, Any]) -> list[dict[str, Any]]:
    versions = trained["versions"] | {package: version(package) for package in _PACKAGES}
    return [{"uri": f"pkg:pypi/{package}@{versions[package]}"} for package in sorted(versions)]
