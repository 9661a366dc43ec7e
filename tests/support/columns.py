"""Columns of a dataset that never was, and splits of them to judge."""

from collections.abc import Sequence

import numpy as np
from pydantic import TypeAdapter

from lightline.config.data import Split
from stages.split.strategies import Columns

TRAIN, VAL, TEST, EXCLUDED = range(4)  # by lightline.data.splits.NAMES


def columns(
    labels: Sequence[int],
    digests: Sequence[object] | None = None,
    groups: Sequence[str | None] | None = None,
    splits: Sequence[str | None] | None = None,
    num_classes: int | None = None,
) -> Columns:
    """Made-up columns; every image differs from the others where no digests are given."""
    rows = len(labels)
    classes = [f"class-{label}" for label in range(num_classes or max(labels) + 1)]
    return Columns(
        ids=np.array([f"image-{row:06d}" for row in range(rows)], object),
        labels=np.array(labels, np.int32),
        digests=np.array([str(digest) for digest in (range(rows) if digests is None else digests)], object),
        splits=np.array([None] * rows if splits is None else splits, object),
        groups=np.array([None] * rows if groups is None else groups, object),
        classes=classes,
    )


def strategy(name: str, **settings: float | str) -> Split:
    if name == "predefined":
        settings = {"test": 0.2, "without_test": "error", "duplicates": "exclude"} | settings
    return TypeAdapter(Split).validate_python({"strategy": name, **settings})


STRATIFIED = strategy("stratified", val=0.15, test=0.15)


def counts(table: Columns, splits: np.ndarray) -> list[list[int]]:
    """[classes][train, val, test, excluded]"""
    return [np.bincount(splits[table.labels == label], minlength=4).tolist() for label in range(len(table.classes))]


def divided(keys: np.ndarray, splits: np.ndarray) -> list:
    """The keys that stand in more than one split, those left out aside."""
    used = splits != EXCLUDED
    return [key for key in set(keys[used]) - {None} if len(set(splits[used & (keys == key)])) > 1]
