"""`dvc repro` asks for the identity every time, so asking loads nothing that reads images or uses the network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.source_settings import FETCH

HEAVY = {"numpy", "PIL", "pyarrow", "sklearn", "scipy", "torch", "fsspec", "aiohttp", "botocore"}
LIMITS = {"max_rejected": 0, "max_pixels": 1000, "bit_depth": "auto", "corrections": None}
CODE = """
import json, sys
from pydantic import TypeAdapter
from lightline.config.data import Data
from lightline.sources import open_source
identity = open_source(TypeAdapter(Data).validate_python(json.loads(sys.argv[1]))).identity()
print(json.dumps({"modules": list(sys.modules), "identity": identity}))
"""


def ask(data: dict) -> dict:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, json.dumps(data | LIMITS)]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(
    "data",
    [
        {"source": "digits"},
        {"source": "folder", "path": "raw", "sha256": None, "split_folders": "auto", "fetch": FETCH},
        {"source": "folder", "path": "images.tar.zst", "sha256": None, "split_folders": "auto", "fetch": FETCH},
        {
            "source": "folder",
            "path": "https://user:key@127.0.0.1:1/images.zip?sig=1",
            "sha256": "0" * 64,
            "split_folders": "auto",
            "fetch": FETCH,
        },
        {"source": "cifar10", "mirror": None, "checksums": None, "fetch": FETCH},
        {"source": "mnist", "mirror": "http://127.0.0.1:1/mnist", "checksums": None, "fetch": FETCH},
    ],
    ids=lambda data: data.get("path", data["source"]),
)
def test_the_identity_loads_no_heavy_module(data, write, pack):
    pack(write(Path("raw"), ["cat/1.png", "dog/1.png"]), Path("images.tar.zst"), "tar.zst")
    answer = ask(data)
    assert not set(answer["modules"]) & HEAVY
    assert answer["identity"]["source"] == data["source"]
    assert "key" not in json.dumps(answer["identity"])


def test_a_table_loads_pyarrow_alone(write):
    write(Path("raw"), ["1.png"])
    Path("raw/table.csv").write_text("path,label\n1.png,cat\n")
    columns = {"path_column": "path", "label_column": "label", "split_column": None, "group_column": None}
    answer = ask({"source": "table", "path": "raw/table.csv", **columns})
    assert set(answer["modules"]) & HEAVY <= {"pyarrow", "numpy"}
