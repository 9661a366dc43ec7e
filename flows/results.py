"""What a run produced, as its reports tell it, and as Prefect shows it."""

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.security import ask_server

REPORTS = Path("reports")
MODEL = Path("models/model.onnx")
_FINGERPRINT = REPORTS / "train" / "fingerprint.json"
_CONFUSION = REPORTS / "test" / "confusion.png"
PAGE = REPORTS / "report.html"
_PAGES, _MOST_PAGES = Path(".lightline", "reports"), 20  # that are kept beside a repository's experiments


@dataclass(frozen=True)
class Results:
    """The end of a run.

    Attributes:
        metrics: (stage, metric, value), as the metrics files have them; the test stage's first.
        fingerprint: of the trained model; None where none was trained.
        ran: the stages that ran; the others came from the cache.
        changed: parameters: (dotted key, value in the commit, value in this run).
        confusion: a PNG, where the test stage drew one.
        page: where the report can be opened without applying the experiment; None where there is no such place.
        promotion: the verdict of promote.auto; None without it.
    """

    origin: str
    commit: str
    experiment: str
    ran: list[str]
    changed: list[tuple[str, Any, Any]]
    metrics: list[tuple[str, str, Any]]
    fingerprint: str | None
    has_model: bool
    confusion: bytes | None
    page: Path | None = None
    promotion: str | None = None

    def metric(self, stage: str, name: str) -> Any:
        return next((value for where, metric, value in self.metrics if (where, metric) == (stage, name)), None)

    def headline(self) -> str:
        """Say in one line what matters most."""
        accuracy = self.metric("test", "accuracy")
        parts = [f"test accuracy {accuracy:.4f}"] if isinstance(accuracy, float) else []
        parts.append(f"experiment {self.experiment}")
        parts.append(f"ran {', '.join(self.ran)}" if self.ran else "nothing had changed: all from the cache")
        parts += [f"promotion: {self.promotion}"] if self.promotion else []
        return " · ".join(parts)


def read_results(folder: Path, stages: list[str], **told: Any) -> Results:
    """Read the reports of a workspace; `told` are the fields of Results that do not stand in files."""
    stages = sorted(stages, key=lambda stage: stage != "test")
    # metrics.json, and beside export's that of quantize@int8: metrics.int8.json.
    files = [(stage, file) for stage in stages for file in sorted((folder / REPORTS / stage).glob("metrics*.json"))]
    read = [(stage, json.loads(file.read_text(encoding="utf-8"))) for stage, file in files]
    confusion = folder / _CONFUSION
    return Results(
        metrics=[(stage, name, value) for stage, values in read for name, value in _numbers(values)],
        fingerprint=_fingerprint(folder / _FINGERPRINT),
        has_model=(folder / MODEL).exists(),
        confusion=confusion.read_bytes() if confusion.exists() else None,
        **told,
    )


def keep_page(workspace: Path, home: Path, experiment: str) -> Path | None:
    """Copy a run's page to where it stays when the workspace goes; of earlier ones the latest stay."""
    page, kept = workspace / PAGE, home / _PAGES / f"{experiment.replace('/', '-')}.html"
    if not page.exists():
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    new = kept.with_suffix(".new")
    shutil.copyfile(page, new)
    new.replace(kept)
    pages = sorted(kept.parent.glob("*.html"), key=lambda path: path.stat().st_mtime)
    for old in pages[:-_MOST_PAGES]:
        old.unlink(missing_ok=True)
    return kept


def _fingerprint(file: Path) -> str | None:
    return json.loads(file.read_text(encoding="utf-8"))["fingerprint"] if file.exists() else None


def _numbers(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float):
            found.append((f"{prefix}{key}", value))
    return found


async def publish(results: Results) -> None:
    """Leave the results in Prefect: artifacts, tags and labels of the flow run."""
    from prefect.artifacts import (
        acreate_image_artifact,
        acreate_link_artifact,
        acreate_markdown_artifact,
        acreate_table_artifact,
    )

    table = [{"stage": stage, "metric": metric, "value": value} for stage, metric, value in results.metrics]
    # One after another: a server on SQLite takes seconds over writes that come at once.
    if table:
        await acreate_table_artifact(table, key="metrics", description=f"Metrics of experiment {results.experiment}")
    await acreate_markdown_artifact(summary(results), key="summary", description=results.headline())
    if results.confusion:
        address = f"data:image/png;base64,{base64.b64encode(results.confusion).decode()}"
        await acreate_image_artifact(address, key="confusion", description="Test images: actual against predicted")
    if results.page:
        await acreate_link_artifact(
            results.page.as_uri(),
            link_text=str(results.page),
            key="report",
            description="A page of what the model knows",
        )
    await _label(results)


async def server_answers() -> bool:
    """Tell whether the Prefect server is still there; Prefect itself asks for minutes before it gives up."""
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    # A temporary one ends with this process.
    return not address or await ask_server(address, "health") is not None


async def _label(results: Results) -> None:
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    labels: dict[str, Any] = {"experiment": results.experiment, "commit": results.commit}
    if results.fingerprint:
        labels["fingerprint"] = results.fingerprint
    tags = [*flow_run.tags, *(f"{name}:{value[:12]}" for name, value in labels.items() if name != "experiment")]
    async with get_client() as client:
        await client.update_flow_run_labels(flow_run.id, labels)
        await client.update_flow_run(flow_run.id, name=results.experiment, tags=tags)


def summary(results: Results) -> str:
    """Sum up in Markdown: parameters that differ from the commit's, identity, metrics, and how to get the results."""
    changed = [f"| `{key}` | {_cell(before)} | {_cell(now)} |" for key, before, now in results.changed]
    metrics = [f"| {stage} | {metric} | {_cell(value)} |" for stage, metric, value in results.metrics]
    return "\n".join(
        [
            f"# {results.experiment}",
            "",
            f"- commit `{results.commit}`",
            f"- fingerprint `{results.fingerprint or 'none: no model was trained'}`",
            "",
            "## Parameters that differ from the commit's",
            "",
            *(["| parameter | commit | this run |", "|---|---|---|", *changed] if changed else ["None."]),
            "",
            "## Metrics",
            "",
            *(["| stage | metric | value |", "|---|---|---|", *metrics] if metrics else ["None."]),
            "",
            "## Get it",
            "",
            "```",
            *commands(results),
            "```",
        ]
    )


def commands(results: Results) -> list[str]:
    """List what to type to have the results in the workspace."""
    here = Path(results.origin).is_dir()
    fetch = [] if here else [f"dvc exp pull origin {results.experiment}"]
    return [*fetch, f"dvc exp apply {results.experiment}"]


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "\\|")
