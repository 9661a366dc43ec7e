"""Values of params.yaml that an experiment leaves behind, because conf/, from which it is composed, does not have them.

`dvc exp apply` brings an experiment's params.yaml, which may be committed; the next `dvc exp run` composes it anew. It
also brings conf/ as it was when the experiment was made, which may be older than the commit's.
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

from lightline.config.composition import CONF, Change, CompositionError, compose, differences
from lightline.config.load import PARAMS_FILE
from lightline.errors import some
from lightline.redaction import redacted
from lightline.runtime.commits import applied_experiment, committed, experiment_of, git
from lightline.runtime.origin import origin, records

_SHOWN = 4  # changes in a message


def left_behind() -> str | None:
    """Tell what the experiment that runs here has left behind, as a sentence; None where that is nothing.

    `dvc repro`, which takes params.yaml as it stands, leaves nothing. The flow looks for itself.
    """
    baseline = os.environ.get("DVC_EXP_BASELINE_REV")
    if baseline is None:
        return None
    now = _load(PARAMS_FILE.read_text(encoding="utf-8"))
    if left := _lost(baseline, Path(), now):
        return sentence(left, "this commit", "HEAD")
    applied = _applied()
    if applied is None:
        return None
    name = experiment_of(applied, origin()) or applied[:12]
    is_older = _is_conf_of(applied, origin()) and not _is_conf_of(baseline, Path())
    undone = _undone(baseline, applied, now) if is_older else []
    told = [_conf_sentence(undone, name)] if undone else []
    if is_older or git("rev-parse", f"{applied}~", folder=origin()) == baseline:
        left = [change for change in _lost(applied, origin(), now) if change not in undone]
        told += [sentence(left, f"experiment {name}, which was applied here,", name)] if left else []
    return " And: ".join(told) or None


def sentence(left: Sequence[Change], where: str, rev: str) -> str:
    """Write a warning for people. left: (dotted key, value that was left, value in this run)."""
    return (
        f"values in params.yaml of {where} that conf/ does not have are no part of this run, which is composed from "
        f"conf/: {_list(left)}. `make keep EXP={rev}` makes them a recipe in conf/; then run the same command again."
    )


def _conf_sentence(undone: Sequence[Change], name: str) -> str:
    return (
        f"conf/ is not this commit's: `dvc exp apply` brought it back as it was when experiment {name} was made. This "
        f"run is composed from it, without this commit's {_list(undone)}. `git checkout HEAD -- conf` takes this "
        "commit's conf/ again; then run the same command again."
    )


def _list(left: Sequence[Change]) -> str:
    # A section that is another one now has lost keys; those that say nothing are counted only.
    telling = [change for change in left if change[1] not in (None, False)] or list(left)
    telling.sort(key=lambda change: change[2] is None)
    shown = [f"{key} = {_short(before)} (now {_short(now)})" for key, before, now in telling]
    silent = [""] * (len(left) - len(telling))
    return some([*shown, *silent], min(_SHOWN, len(telling)))


def _short(value: Any) -> str:
    return "none" if value is None else redacted(repr(value))


def _lost(rev: str, folder: Path, now: dict[str, Any]) -> list[Change]:
    """Find values in a commit's params.yaml that its conf/ did not compose to, and that are as in its conf/ now."""
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


def _undone(baseline: str, applied: str, now: dict[str, Any]) -> list[Change]:
    """Find values of this commit that the conf/ of an experiment does not have, and that nobody asked to be others."""
    text, basis = committed(baseline, PARAMS_FILE.name), _composed(applied, origin())
    if not text or basis is None:
        return []
    asked_for = {key for key, *_ in differences(basis, now)}
    return [change for change in differences(_load(text), now) if change[0] not in asked_for]


def _applied() -> str | None:
    """Find the experiment that was applied here, where nothing has run since: dvc.lock is still its own."""
    applied = applied_experiment(origin())
    lock = Path("dvc.lock")
    if applied is None or not lock.exists():
        return None
    same = committed(applied, lock.name, origin()) == lock.read_text(encoding="utf-8").rstrip("\n")
    return applied if same else None


def _is_conf_of(rev: str, folder: Path) -> bool:
    """Tell whether all that a commit has in conf/ is so here."""
    tree = git("rev-parse", f"{rev}:./{CONF}", folder=folder)
    if tree is None:
        return False
    with tempfile.TemporaryDirectory() as place, suppress(OSError, tarfile.TarError):
        conf = _check_out(tree, folder, Path(place))
        there = [file for file in conf.rglob("*") if file.is_file()]
        return all(file.read_bytes() == Path(CONF, file.relative_to(conf)).read_bytes() for file in there)
    return False


def _composed(rev: str, folder: Path) -> dict[str, Any] | None:
    """Compose conf/ of a commit by itself, and remember the values by its tree: Hydra takes a second."""
    tree = git("rev-parse", f"{rev}:./{CONF}", folder=folder)
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
    """Write the files of a tree into a folder below an empty one."""
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
