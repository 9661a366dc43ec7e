"""What was found, as indented lines; no value is cut, however narrow the terminal."""

from collections.abc import Iterator
from typing import Any

from commands.tracing.verification import Check

_WIDTH = 13  # of the names


def told(found: dict[str, Any]) -> str:
    """Write down what `lineage` or `trace_picture` found."""
    return "\n".join(_of_picture(found) if "models" in found else _of_file(found))


def told_checks(checks: list[Check]) -> str:
    """Write down what holds, what does not, and what could not be looked at."""
    marks = {True: "holds", False: "DOES NOT HOLD", None: "not here"}
    counts = {state: sum(check.holds is state for check in checks) for state in marks}
    missing = f", {counts[None]} could not be looked at" if counts[None] else ""
    end = f"{counts[True]} hold, {counts[False]} do not{missing}."
    return "\n".join(["verified", *(f"  {marks[check.holds]:<{_WIDTH}} {check.what}" for check in checks), f"  {end}"])


def _of_file(found: dict[str, Any]) -> Iterator[str]:
    file, run, runs, promotion = (found[name] for name in ("file", "run", "runs", "promotion"))
    yield f"{file['path']}: {file['kind']}"
    yield _line("is", file["recorded_as"] or "not in dvc.lock itself; another file of the same model is")
    yield _line("fingerprint", _fingerprint(found))
    yield _line("recorded in", run["title"])
    if run["commit"]:
        yield _line("commit", run["commit"])
        yield _line("", f"{run['when']}  {run['subject']}")
    more = found["num_records"] - 1
    if more:
        yield _line("also in", f"{more} more: {'; '.join(found['also_in'])}{'; …' * (more > len(found['also_in']))}")
    yield from _parameters(found["parameters"])
    yield from _data(found["data"], found["split"])
    yield from _runs(runs)
    yield from _promotion(promotion)


def _parameters(found: dict[str, Any]) -> Iterator[str]:
    if found["compared_with"] is None:
        yield _line("parameters", "git has no params.yaml to compare")
        return
    with_commit = f"commit {found['compared_with'][:12]}"
    if not found["differing"]:
        yield _line("parameters", f"as in {with_commit}")
        return
    yield _line("parameters", f"differ from {with_commit}:")
    for change in found["differing"]:
        yield _line("", f"{change['name']} = {change['here']}, there {change['there']}")


def _data(data: dict[str, Any], split: dict[str, Any]) -> Iterator[str]:
    source = " ".join(str(part) for part in (data["source"], data["path"]) if part) or "not here"
    counts = f", {data['images']:,} images in {data['classes']} classes" if data["images"] else ""
    yield _line("data", f"{source}{counts}")
    yield _line("  dataset", data["dataset"] or "not here")
    if data["source_sha256"]:
        yield _line("  source", data["source_sha256"])
    sides = ", ".join(f"{split[name]:,} {name}" for name in ("train", "val", "test") if split[name] is not None)
    yield _line("split", f"{split['strategy']}{': ' * bool(sides)}{sides}")
    yield _line("  splits", split["splits"] or "not here")


def _runs(runs: dict[str, Any]) -> Iterator[str]:
    wandb, prefect = runs["wandb"], runs["prefect"]
    if wandb:
        yield _line("W&B", f"run {wandb['id']} ({wandb['name']})")
        yield from (_line("", folder) for folder in wandb["folders"])
    else:
        yield _line("W&B", "no run of it is known here")
    if prefect is None or prefect["runs"] is None:
        yield _line("Prefect", f"not asked: {prefect['reason']}" if prefect else "not asked: there is no fingerprint")
    elif not prefect["runs"]:
        yield _line("Prefect", f"no run of it on {prefect['server']}")
    else:
        for number, run in enumerate(prefect["runs"]):
            line = f"{run['name']} ({run['state_name']}, {run['start_time']}), flow run {run['id']}"
            yield _line("" if number else "Prefect", line)


def _promotion(found: dict[str, Any]) -> Iterator[str]:
    for stage in found["stages"]:
        until = f" until {stage['until']}" if stage["until"] else ", and still is"
        yield _line(stage["stage"], f"since {stage['since']}{until} ({stage['tag']})")
    if not found["stages"]:
        yield _line("champion", "never was")
    for verdict in found["verdicts"]:
        yield _line("verdict", f"{verdict['verdict']}, {verdict['when']} ({verdict['tag']})")
        yield from (_line("", reason) for reason in verdict["reasons"])
    if found["versions"]:
        yield _line("versions", ", ".join(found["versions"]))


def _of_picture(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['file']['path']}: image"
    yield _line("pixels", found["pixels"])
    for model in found["models"]:
        yield _line("data of", model["run"])
        yield _line("  model", _fingerprint(model))
        for row in model["rows"]:
            side = f"{row['split']}: {row['model']}" if row["split"] else "no split"
            yield _line("  image", f"{row['id']}, class {row['class']}, {side}")


def _fingerprint(found: dict[str, Any]) -> str:
    none = "its fingerprint lies nowhere here" if found["was_trained"] else "none: no model was trained"
    return found["fingerprint"] or none


def _line(name: str, value: str) -> str:
    return f"  {name:<{_WIDTH}} {value}"
