"""The result table, and the page that `make bench` writes: docs/benchmarks.md."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.harness import Row
from lightline.model_file.latency import processor

PAGE, ANSWERS = Path("docs/benchmarks.md"), Path("docs/benchmarks.json")
_PACKAGES = ("torch", "torchvision", "lightning", "onnxruntime", "pillow", "dvc", "prefect")
_HEADER = ("what", "ours", "reference", "ratio", "ratio of CPU seconds", "asked", "held")
_INTRODUCTION = """# What it costs

Written by `make bench`, never by hand. Each line is one run of both ways in turn on this machine, at least seven pairs
unless it says otherwise; a ratio is the median over the pairs of reference / ours: above one, ours took less.
"""


def table(rows: Sequence[Row]) -> str:
    """Give the rows as a table in Markdown."""
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    return "\n".join([*lines, *(_line(_cells(row)) for row in rows)])


def keep(answer: dict[str, Any], commit: str) -> None:
    """Note a question's answer, with where and when it was found, and write the page from all that are noted.

    answer: as `benchmarks.question` writes it, with its name and seconds; of another machine, with what `found` has.
    A question asked again gets its new answer. commit: what was measured, see `checked_out`.
    """
    kept = json.loads(ANSWERS.read_text(encoding="utf-8")) if ANSWERS.exists() else {}
    kept[answer["name"]] = found(commit) | answer
    ANSWERS.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text("\n".join([_INTRODUCTION, *map(_section, sorted(kept.values(), key=_name))]), encoding="utf-8")


def found(commit: str) -> dict[str, str]:
    """Say when and on what an answer was found; commit: see `checked_out`."""
    return {"date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": commit, "machine": machine()}


def _name(answer: dict[str, Any]) -> str:
    return answer["name"]


def _section(answer: dict[str, Any]) -> str:
    told = f"Not answered: {answer.get('skipped') or answer.get('error')}."
    if "rows" in answer:
        told = table([Row(**row) for row in answer["rows"]])
    of = f" at {answer['commit']}" if answer.get("commit") else ""
    return (
        f"## {answer['name'].replace('_', ' ')}\n\n{answer.get('question', '')}\n\n{told}\n\n"
        f"{answer['date']}{of}, {answer['seconds']:.0f} s, on {answer['machine']}\n"
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in (row.ratio, row.cpu_ratio)]
    held = "" if row.met is None else "yes" if row.met else "**no**"
    return [row.what, row.ours, row.reference, *ratios, row.target, held]


def checked_out() -> str:
    """Name the commit that is measured, where git knows one; with a plus where files, but for this report's, differ."""
    if shutil.which("git") is None:
        return ""
    but = [f":!{path}" for path in (PAGE, ANSWERS, "docs/models.*")]
    commit, changed = (
        subprocess.run(("git", *arguments), capture_output=True, text=True, check=False).stdout.strip()
        for arguments in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", ".", *but))
    )
    return commit + "+" * bool(changed)


def machine() -> str:
    """Say what was measured on: processor, system and the versions of what matters."""
    packages = ", ".join(filter(None, map(_installed, _PACKAGES)))
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cpus} cores of {processor()}, {_accelerator()}, {platform.system()}, Python {platform.python_version()}, "
        f"{packages}"
    )


def _installed(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:  # `benchmarks.gpu` runs where the doors are not
        return ""


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
