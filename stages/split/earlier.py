"""The split of the last commit, to tell which images have changed sides since."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightline.data.dataset import DATASET
from lightline.data.splits import NAMES, SPLITS, TEST, TRAIN, read_splits
from lightline.errors import DataError, some
from lightline.runtime.commits import committed
from lightline.runtime.dvc_cache import cache_folder

_SHOWN = 3  # ids in a warning


def warning(ids: np.ndarray, splits: np.ndarray, params: Mapping[str, Any]) -> str | None:
    """Tell which images go from train to test because others came or went; None: none, or the last commit has no split.

    ids: texts [rows]; splits: int8 [rows], positions in NAMES. params: that decide the split; where the commit has
    others, another split is what was asked for.
    """
    before = _committed_sides(params)
    moved = [name for name, side in zip(ids, splits, strict=True) if side == TEST and before.get(name) == NAMES[TRAIN]]
    if not moved:
        return None
    return (
        f"{len(moved)} of {len(before):,} images were for training in the last commit and are for testing now, since "
        f"others came or went: {some(moved, _SHOWN)}. A model of that commit has seen them."
    )


def _committed_sides(params: Mapping[str, Any]) -> dict[str, str]:
    """Read the split of HEAD's dvc.lock from the cache, by image, where it was made of other data in the same way."""
    text = committed("HEAD", "dvc.lock")
    lock = Path("dvc.lock")
    if text is None or not lock.exists():
        return {}
    try:
        then, now = (yaml.safe_load(one)["stages"] for one in (text, lock.read_text(encoding="utf-8")))
        outputs = [{out["path"]: out["md5"] for out in stage["outs"]} for stage in (then["download"], now["download"])]
        same_data = outputs[0][str(DATASET)] == outputs[1][str(DATASET)]
        if same_data or then["split"]["params"] != {"params.yaml": params}:
            return {}
        digest = next(out["md5"] for out in then["split"]["outs"] if out["path"] == str(SPLITS))
        table = read_splits(cache_folder() / digest[:2] / digest[2:])
    # A lock that git has merged or a kill has cut, or one without these stages: DVC has its say on that.
    except (yaml.YAMLError, KeyError, TypeError, StopIteration, DataError):
        return {}
    return table.sides()
