"""The result table, and the page that `make bench` writes: docs/benchmarks.md."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.harness import Row
from lightline.machine import processor

PAGE = Path("docs/benchmarks.md")
_PACKAGES = ("torch", "torchvision", "lightning", "onnxruntime", "pillow", "dvc", "prefect")
_HEADER = ("what", "ours", "reference", "ratio", "ratio of CPU seconds", "asked", "held")
_INTRODUCTION = """# What it costs

Written by `make bench`, never by hand. Each line is one run of both ways in turn on this machine, at least seven pairs
unless it says otherwise; a ratio is the median over the pairs of reference / ours: above one, ours took less.
"""


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    return "\n".join([*lines, *(_line(_cells(row)) for row in rows)])


def write_report(answers: Iterable[dict[str, Any]], minutes: float) -> None:
    """answers: of every question, as `benchmarks.question` writes them, with its name and seconds."""
    parts = [_INTRODUCTION, _machine(minutes)]
    for answer in answers:
        parts.append(f"## {answer['name'].replace('_', ' ')}\n\n{answer.get('question', '')}\n")
        if "rows" in answer:
            parts.append(table([Row(**row) for row in answer["rows"]]) + f"\n\n{answer['seconds']:.0f} s.\n")
        else:
            parts.append(f"Not answered: {answer.get('skipped') or answer['error']}.\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"{PAGE} is written")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in (row.ratio, row.cpu_ratio)]
    held = "" if row.met is None else "yes" if row.met else "**no**"
    return [row.what, row.ours, row.reference, *ratios, row.target, held]


def _machine(minutes: float) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {minutes:.0f} minutes in all, on {cpus} cores of {processor()}, "
        f"{_accelerator()}, {platform.system()}, Python {platform.python_version()}, {packages}.\n"
    )


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
