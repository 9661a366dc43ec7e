"""Read back what an offline W&B run wrote: a LevelDB log of protobuf records."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK, _HEADER = 32768, 7  # bytes
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """What one stage sent; history, one dict a step; artifacts: (name, aliases, file names)."""

    id: str = ""
    name: str = ""
    job: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, list[str], list[str]]] = field(default_factory=list)
    exit_code: int | None = None  # None: it never came to its end


def read_offline_runs(folder: Path) -> list[OfflineRun]:
    """The runs below folder/wandb, oldest first."""
    return [read_offline_run(file) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=_age)]


def read_offline_run(file: Path) -> OfflineRun:
    run = OfflineRun()
    for content in _records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        _add(run, record)
    return run


def _add(run: OfflineRun, record: Any) -> None:
    match record.WhichOneof("record_type"):
        case "run":
            run.id, run.name, run.job = record.run.run_id, record.run.display_name, record.run.job_type
            run.tags = list(record.run.tags)
            run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        case "history":
            run.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        case "summary":
            run.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        case "exit":
            run.exit_code = record.exit.exit_code
        case "request" if record.request.WhichOneof("request_type") == "log_artifact":
            artifact = record.request.log_artifact.artifact
            names = [entry.path for entry in artifact.manifest.contents]
            run.artifacts.append((artifact.name, sorted(artifact.aliases), names))
        case "artifact":
            names = [entry.path for entry in record.artifact.manifest.contents]
            run.artifacts.append((record.artifact.name, sorted(record.artifact.aliases), names))


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _age(file: Path) -> int:
    return file.stat().st_mtime_ns


def _records(log: bytes):
    """The records of a LevelDB log: blocks of 32 KiB, each piece with checksum, length and kind before it."""
    position, pieces = 7, b""  # after W&B's own seven bytes
    while position + _HEADER <= len(log):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:
            position += left
            continue
        length = int.from_bytes(log[position + 4 : position + 6], "little")
        kind = log[position + 6]
        pieces += log[position + _HEADER : position + _HEADER + length]
        position += _HEADER + length
        if kind in (_FULL, _LAST):
            yield pieces
            pieces = b""
