"""Experiments beside a project's own model, made without training."""

import io
from hashlib import md5
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import yaml
from onnx import numpy_helper

from tests.support.project import Project


def changed_model(model: Path, noise: float = 0.0, **metadata: str) -> bytes:
    loaded = onnx.load(model)
    for entry in loaded.metadata_props:
        entry.value = metadata.get(entry.key, entry.value)
    layers = [one for one in loaded.graph.initializer if len(one.dims) == 2 and 10 in one.dims]
    rng = np.random.default_rng(0)
    for layer in layers if noise else []:
        weights = numpy_helper.to_array(layer)
        drawn = (weights + rng.normal(0, noise * weights.std(), weights.shape)).astype(weights.dtype)
        layer.CopyFrom(numpy_helper.from_array(drawn, layer.name))
    return loaded.SerializeToString()


def with_test_in_train(file: Path, every: int) -> bytes:
    table = pq.read_table(file)
    splits = table["split"].to_pylist()
    for row in [row for row, split in enumerate(splits) if split == "test"][::every]:
        splits[row] = "train"
    written = io.BytesIO()
    pq.write_table(table.set_column(2, table.schema.field(2), [splits]), written)
    return written.getvalue()


def record(project: Project, name: str, outputs: dict[str, bytes | None]) -> None:
    """Make an experiment as `dvc commit` and `dvc exp save` would, which take seconds; None: it has no such output."""
    recorded = (project.path / "dvc.lock").read_text()
    lock_file = yaml.safe_load(recorded)
    for path, content in outputs.items():
        every = [(stage["outs"], out) for stage in lock_file["stages"].values() for out in stage["outs"]]
        ((outs, out),) = (pair for pair in every if pair[1]["path"] == path)
        if content is None:
            outs.remove(out)
            continue
        digest = md5(content, usedforsecurity=False).hexdigest()
        kept = project.path / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(content)
        out |= {"md5": digest, "size": len(content)}
    (project.path / "dvc.lock").write_text(yaml.safe_dump(lock_file))
    commit = project.run("git", "stash", "create").stdout.strip()
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    commit = project.run("git", "commit-tree", f"{commit}^{{tree}}", "-p", head, "-m", name).stdout.strip()
    project.run("git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", commit)
    (project.path / "dvc.lock").write_text(recorded)
