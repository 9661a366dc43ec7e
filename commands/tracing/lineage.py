"""From a file to all that led to it: the record that has it, and what is known of that."""

from typing import Any

import yaml

from commands.tracing.inside import Inside
from commands.tracing.objects import Objects
from commands.tracing.promotion import stages_of, verdicts_of, versions_of
from commands.tracing.records import Record
from commands.tracing.runs import prefect_runs, wandb_run
from lightline.config.composition import differences
from lightline.errors import DataError
from lightline.redaction import redacted
from lightline.runtime.commits import git

FINGERPRINT = "reports/train/fingerprint.json"
_MOST = 10  # other places of the same file that are listed


def find(inside: Inside, records: list[Record], objects: Objects) -> tuple[list[Record], str | None]:
    """Find the records of a file, the likeliest first, and its path in them; None: of another file of the same model.

    Raises:
        DataError: nothing that is known has it.
    """
    exact = [record for record in records if record.has(inside.md5)]
    for record in exact:
        for output in record.outputs.values():
            if output.md5 == inside.md5:
                return exact, output.path
    if in_folder := _find_in_folders(inside, records, objects):
        return in_folder
    same = [record for record in records if inside.fingerprint and _fingerprint(record, objects) == inside.fingerprint]
    if not same:
        raise DataError(_explain(inside, records))
    return same, None


def _find_in_folders(inside: Inside, records: list[Record], objects: Objects) -> tuple[list[Record], str] | None:
    """Find a file of an output that is a folder, as data/dataset/index.parquet is."""
    looked: set[str] = set()
    for record in records:
        new = record.folders - looked
        looked |= new
        for output in record.outputs.values() if new else ():
            for name, md5 in (objects.listing(output) or {}).items() if output.md5 in new else ():
                if md5 == inside.md5:
                    return [one for one in records if one.has(output.md5)], f"{output.path}/{name}"
    return None


def _fingerprint(record: Record, objects: Objects) -> str | None:
    known = objects.json(record, FINGERPRINT, anywhere=False)
    return known.get("fingerprint") if isinstance(known, dict) else None


def _explain(inside: Inside, records: list[Record]) -> str:
    commits = [record for record in records if record.commit]
    experiments = sum(record.experiment is not None for record in records)
    by = f"fingerprint {inside.fingerprint}, which it holds, and by its" if inside.fingerprint else "its"
    return (
        f"{inside.path} ({inside.kind}) is of no run that is known here. Looked for by {by} MD5 {inside.md5} in "
        f"dvc.lock of the workspace and of {len(commits)} commits: HEAD, {experiments} experiments, all tags and "
        "branches, and what came before them. `git fetch --tags` and `dvc exp pull REMOTE --all-commits` bring what "
        "was recorded elsewhere."
    )


def lineage(inside: Inside, records: list[Record], path: str | None, objects: Objects) -> dict[str, Any]:
    """Gather all that is known of a file; records: those that have it."""
    record = records[0]
    trained = objects.json(record, FINGERPRINT) or {}
    fingerprint = inside.fingerprint or trained.get("fingerprint")
    commits = {one.commit for one in records if one.commit}
    return {
        "file": {
            "path": str(inside.path), "kind": inside.kind, "recorded_as": path, "md5": inside.md5,
            "sha256": inside.sha256,
        },
        "was_trained": FINGERPRINT in record.outputs,
        "fingerprint": fingerprint,
        "run": {"title": record.title, "experiment": record.experiment, **_commit(record.commit)},
        "also_in": [one.title for one in records[1 : _MOST + 1]],
        "num_records": len(records),
        "parameters": _parameters(record),
        "data": _data(record, trained, objects),
        "split": _split(record, trained, objects),
        "runs": {
            "wandb": wandb_run(fingerprint) if fingerprint else None,
            "prefect": prefect_runs(fingerprint) if fingerprint else None,
        },
        "promotion": {
            "versions": versions_of(commits), "stages": stages_of(commits),
            "verdicts": verdicts_of(commits, fingerprint),
        },
    }  # fmt: skip


def _commit(commit: str | None) -> dict[str, Any]:
    told = git("show", "--no-patch", "--format=%cI%n%s", commit) if commit else None
    when, _, subject = (told or "").partition("\n")
    return {"commit": commit, "when": when or None, "subject": subject or None}


def _parameters(record: Record) -> dict[str, Any]:
    """Tell which parameters differ: of an experiment from the commit that it was run on, of others from HEAD's."""
    base = record.base or git("rev-parse", "--verify", "--quiet", "HEAD")
    with_base = git("show", f"{base}:./params.yaml") if base else None
    own = record.text("params.yaml")
    if own is None or with_base is None:
        return {"compared_with": None, "differing": []}
    changes = differences(yaml.safe_load(with_base), yaml.safe_load(own))
    # A section's other choice has other keys: what is null there is as if it were not.
    differing = [
        {"name": name, "there": _plain(before), "here": _plain(now)}
        for name, before, now in changes
        if (before, now) != (None, None)
    ]
    return {"compared_with": base, "differing": differing}


def _plain(value: Any) -> Any:
    return redacted(value) if isinstance(value, str) else value


def section_of(record: Record, section: str) -> dict[str, Any]:
    values = yaml.safe_load(record.text("params.yaml") or "{}") or {}
    return {name: _plain(value) for name, value in (values.get(section) or {}).items()}


def _data(record: Record, trained: dict[str, Any], objects: Objects) -> dict[str, Any]:
    summary = objects.json(record, "reports/download/summary.json") or {}
    source = objects.json(record, "data/source.json") or {}
    return {
        "dataset": trained.get("dataset"),
        "source": source.get("source"),
        "path": section_of(record, "data").get("path"),
        "source_sha256": source.get("sha256"),
        "images": summary.get("images"),
        "classes": summary.get("classes"),
    }


def _split(record: Record, trained: dict[str, Any], objects: Objects) -> dict[str, Any]:
    summary = objects.json(record, "reports/split/summary.json") or {}
    return {
        "splits": trained.get("splits"),
        "strategy": section_of(record, "split").get("strategy"),
        **{name: summary.get(f"{name}_images") for name in ("train", "val", "test")},
    }
