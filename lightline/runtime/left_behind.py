"""Values of params.yaml that an experiment leaves behind, because conf/, from which it is composed, does not have them.

`dvc exp apply` brings an experiment's params.yaml, which may be committed; the next `dvc exp run` composes it anew.
"""

import json
import os
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lightline.config.composition import Change, CompositionError, compose, differences
from lightline.config.load import PARAMS_FILE
from lightline.errors import some
from lightline.redaction import redacted
from lightline.runtime.commits import applied_experiment, committed, experiment_of, git
from lightline.runtime.origin import origin, records

_SHOWN = 4  # changes in a message


def left_behind() -> str | None:
    """What the experiment that runs here has left behind, as a sentence; None where that is nothing.

    `dvc repro`, which takes params.yaml as it stands, leaves nothing. The flow looks for itself.
    """
    baseline = os.environ.get("DVC_EXP_BASELINE_REV")
    if baseline is None:
        return None
    now = _load(PARAMS_FILE.read_text(encoding="utf-8"))
    if left := _lost(baseline, Path(), now):
        return sentence(left, "this commit", "HEAD")
    applied = _applied(baseline)
    if applied and (left := _lost(applied, origin(), now)):
        name = experiment_of(applied, origin()) or applied[:12]
        return sentence(left, f"experiment {name}, which was applied here,", name)
    return None


def sentence(left: Sequence[Change], where: str, rev: str) -> str:
    """A warning for people. left: (dotted key, value that was left, value in this run)."""
    # A section that is another one now has lost keys; those that say nothing are counted only.
    telling = [change for change in left if change[1] not in (None, False)] or list(left)
    telling.sort(key=lambda change: change[2] is None)
    silent = [change for change in left if change not in telling]
    shown = some([f"{key} = {_short(before)} (now {_short(now)})" for key, before, now in [*telling, *silent]], _SHOWN)
    return (
        f"values in params.yaml of {where} that conf/ does not have are no part of this run, which is composed from "
        f"conf/: {shown}. `make keep EXP={rev}` makes them a recipe in conf/; then run the same command again."
    )


def _short(value: Any) -> str:
    return "none" if value is None else redacted(repr(value))


def _lost(rev: str, folder: Path, now: dict[str, Any]) -> list[Change]:
    """Values in a commit's params.yaml that its conf/ did not compose to, and that are as in its conf/ now."""
    text = committed(rev, PARAMS_FILE.name, folder)
    recorded = _load(text) if text else {}
    if not recorded or not differences(recorded, now):
        return []
    basis = _composed(rev, folder)
    if basis is None:
        return []
    by_hand = {key for key, *_ in differences(basis, recorded)}
    asked_for = {key for key, *_ in differences(basis, now)}
    return [change for change in differences(recorded, now) if change[0] in by_hand - asked_for]


def _applied(baseline: str) -> str | None:
    """The experiment on this commit that was applied here, where nothing has run since: dvc.lock is still its own."""
    applied = applied_experiment(origin())
    lock = Path("dvc.lock")
    if applied is None or not lock.exists() or git("rev-parse", f"{applied}~", folder=origin()) != baseline:
        return None
    same = committed(applied, lock.name, origin()) == lock.read_text(encoding="utf-8").rstrip("\n")
    return applied if same else None


def _composed(rev: str, folder: Path) -> dict[str, Any] | None:
    """What conf/ of a commit composes to by itself, remembered by its tree: Hydra takes a second."""
    tree = git("rev-parse", f"{rev}:./conf", folder=folder)
    if tree is None:
        return None
    record = records() / "composed.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(record.read_bytes())
        if known["conf"] == tree:
            return known["values"]
    with tempfile.TemporaryDirectory() as place, suppress(CompositionError, OSError, tarfile.TarError):
        conf = _check_out(tree, folder, Path(place))
        values = compose(conf=conf)
        record.write_text(json.dumps({"conf": tree, "values": values}), encoding="utf-8")
        return values
    return None


def _check_out(tree: str, folder: Path, place: Path) -> Path:
    """A folder with the files of a tree, below an empty one."""
    root = git("rev-parse", "--show-toplevel", folder=folder)  # below it, git would take a part of the tree
    git("archive", f"--output={place / 'conf.tar'}", tree, folder=Path(root or "."))
    with tarfile.open(place / "conf.tar") as files:
        files.extractall(place / "conf", filter="data")
    return place / "conf"


def _load(text: str) -> dict[str, Any]:
    with suppress(yaml.YAMLError):
        values = yaml.safe_load(text)
        if isinstance(values, dict):
            return values
    return {}
