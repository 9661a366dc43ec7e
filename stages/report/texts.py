"""What the page says, from the findings: its sentences, tables, charts and where the model comes from."""

import hashlib
import shlex
from collections.abc import Iterable
from typing import Any

import numpy as np

from lightline import __version__
from lightline.config.composition import CompositionError, compose, differences, overrides_for
from lightline.config.params import WITHOUT_EFFECT, Params
from lightline.models.checkpoint import BEST
from lightline.redaction import redacted
from stages.report.charts import Line, line_chart
from stages.report.content import sampled
from stages.report.findings import Findings, Row

_SHOWN = 200  # lines of a list
_NAMED = 5  # slices in a sentence
_FEWEST = 5  # images of a part of the confidences that the reliability is drawn of
_NAMES = ("class", "by", "value")  # columns that hold no numbers
_STEPS = 200  # points of the curve of risk and coverage


def texts_of(found: Findings, params: Params) -> dict[str, Any]:
    """Write all that the page's template names."""
    test = found.metrics["test/metrics"]
    wrong = int((~found.correct).sum())
    name = found.checkpoint.params["model"]["name"]
    return {
        "title": f"{name}: {len(found.checkpoint.classes)} classes",
        "headline": (
            f"Right on {test['accuracy']:.1%} of {len(found.labels):,} test images "
            f"({params.evaluate.confidence:.0%} interval, by bootstrap, {test['accuracy_lower']:.1%} to "
            f"{test['accuracy_upper']:.1%}); {wrong:,} are wrong."
        ),
        "sure": found.decision.sentence(found.metrics["export/metrics"]),
        "shortfalls": found.decision.shortfalls,
        "accepts": _accepts(found),
        "confused": _confused(found),
        "classes": _classes(found),
        "slices_told": _slices(found, params),
        "slices": [_short(row) for row in found.tables["test/slices"][:_SHOWN]],
        "sampled": sampled(found),
        "map_told": _map(found),
        "trained": _trained(found),
        "reliability": _reliability(found),
        "risk_coverage": _risk_coverage(found),
        "curves": _curves(found.tables["train/history"]),
        "facts": _facts(found),
        "sizes": found.tables["split/classes"],
        "lists": [one for name in ("rejected", "duplicates", "near_copies") if (one := _list(found, name))],
        "latency": found.tables["export/latency"],
        **_lineage(found, params),
    }


def _accepts(found: Findings) -> str:
    """Say from where on an answer is accepted, and what the sets are."""
    sets = found.decision.sets_sentence(found.metrics["export/metrics"])
    return f"{found.decision.rule} {sets.replace('`set`', 'The set of likely classes', 1).replace('`', '')}"


def _confused(found: Findings) -> str:
    """Name the worst class and what it is taken for."""
    scored = [row for row in found.tables["test/per_class"] if row["recall"]]
    worst = min(scored, key=lambda row: float(row["recall"]))
    if float(worst["recall"]) == 1:
        return "No test image is wrong."
    number = found.checkpoint.classes.index(worst["class"])
    taken = np.bincount(found.predicted[(found.labels == number) & ~found.correct])
    other = found.checkpoint.classes[int(taken.argmax())]
    number_of_times, wrong = int(taken.max()), int(taken.sum())
    times = f"{number_of_times} time{'s' * (number_of_times > 1)}"
    return (
        f"The worst class is {worst['class']}: {float(worst['recall']):.1%} of its {worst['images']} images are right "
        f"({wrong} {'is' if wrong == 1 else 'are'} wrong); "
        f"most often ({times}) it is taken for {other}. A click on a number shows its images."
    )


def _classes(found: Findings) -> list[dict[str, Any]]:
    rows = [
        {**_short(row), "number": number, **_accepted(found, number)}
        for number, row in enumerate(found.tables["test/per_class"])
    ]
    return sorted(rows, key=lambda row: (float(row["recall"] or 2), row["number"]))


def _accepted(found: Findings, number: int) -> dict[str, int]:
    """Count the images of a class whose answers are accepted, and those of them that are wrong."""
    answered = found.answers.accepted & (found.labels == number)
    return {"answered": int(answered.sum()), "wrong": int((answered & ~found.correct).sum())}


def _slices(found: Findings, params: Params) -> str:
    settings, rows = params.evaluate, found.tables["test/slices"]
    if not rows:
        return "None were looked at (evaluate.slices)."
    worse = [row for row in rows if row["p_value"] and float(row["p_value"]) <= 1 - settings.confidence]
    names = ", ".join(f"{row['by']} = {row['value']}" for row in worse[:_NAMED])
    names += f" and {len(worse) - _NAMED} more" if len(worse) > _NAMED else ""
    told = f"Worse than the rest: {names}" if worse else "None is worse than the rest"
    return f"{told} (Fisher's exact test after Holm over all of at least {settings.min_slice} images)."


def _short(row: Row) -> dict[str, str]:
    """Cut numbers to four digits; what people have named stays as it is, a class 0.10 among them."""
    return {name: text if name in _NAMES else _four_digits(text) for name, text in row.items()}


def _four_digits(text: str) -> str:
    return f"{float(text):.4g}" if "." in text else text


def _map(found: Findings) -> str:
    if not found.embeddings.shape[1]:
        return "There is none: this network has no last layer whose input could be mapped."
    return (
        "The two principal components of what goes into the last layer. A dot is a test image in the colour of its "
        "class; one with a ring is wrong, and the ring has the colour of the answer."
    )


def _trained(found: Findings) -> str:
    split = found.metrics["split/summary"]
    parts = [f"{name.removeprefix('val_')} {value:.4g}" for name, value in found.checkpoint.metrics.items()]
    epoch = found.checkpoint.epoch or "0, its last layer alone,"
    return (
        f"On {split['train_images']:,} images; epoch {epoch} was the best on {split['val_images']:,} validation "
        f"images: {', '.join(parts)}."
    )


def _reliability(found: Findings) -> Any:
    def points(name: str) -> list[tuple[float, float]]:
        rows = [row for row in found.tables[f"test/calibration_{name}"] if int(row["images"]) >= _FEWEST]
        return [(float(row["confidence"]), float(row["accuracy"])) for row in rows]

    test = found.metrics["test/metrics"]
    lines = [
        Line("confidence = accuracy", "ideal", [(0, 0), (1, 1)]),
        Line(f"plain softmax, ECE {test['ece']:.3f}", "line-1", points("before")),
        Line(f"in the file, ECE {test['calibrated_ece']:.3f}", "line-0", points("after")),
    ]
    if lines[1].points == lines[2].points:  # one would hide the other
        lines[1:] = [Line(f"in the file, as by plain softmax, ECE {test['ece']:.3f}", "line-0", points("after"))]
    return line_chart(lines, "confidence", "accuracy", (0, 1), (0, 1))


def _risk_coverage(found: Findings) -> Any:
    order = np.argsort(-found.answers.confidence, kind="stable")
    risk = np.cumsum(~found.correct[order]) / np.arange(1, len(order) + 1)
    at = np.unique(np.linspace(0, len(order) - 1, _STEPS).astype(int))
    points = [((number + 1) / len(order), float(risk[number])) for number in at.tolist()]
    lines = [Line("wrong, of the surest answers", "line-0", points)]
    if found.decision.target_risk is not None:
        target = found.decision.target_risk
        lines.append(Line(f"asked for: at most {target:.3g}", "ideal", [(0, target), (1, target)]))
    highest = max(y for line in lines for _, y in line.points)
    return line_chart(lines, "share of images answered", "risk", (0, 1), (0, max(highest * 1.1, 0.01)))


def _curves(history: list[Row]) -> list[Any]:
    def line(name: str, kind: str) -> Line:
        points = [(float(row["epoch"]), float(row[name])) for row in history if row.get(name)]
        return Line(name.split("_")[0], kind, points)

    charts = []
    if len(history) < 2:
        return charts  # a dot is no curve
    for what in ("loss", "accuracy"):
        lines = [line(f"train_{what}", "line-0"), line(f"val_{what}", "line-1")]
        charts.append(line_chart([one for one in lines if one.points], "epoch", what))
    return charts


def _facts(found: Findings) -> list[tuple[str, str]]:
    download, split = found.metrics["download/summary"], found.metrics["split/summary"]
    sides = (f"{download[name]['min']} to {download[name]['max']}" for name in ("width", "height"))
    return [
        ("images", f"{download['images']:,} in {download['classes']} classes of {download['smallest_class']:,} to "
         f"{download['largest_class']:,}"),
        ("pixels", " × ".join(sides)),
        ("files left out, unreadable", f"{download['rejected']:,}"),
        ("copies", f"{split['duplicates']:,}, of which {split['label_conflicts']:,} under several labels"),
        ("near copies", f"{split['near_copies']:,} across the splits"),
    ]  # fmt: skip


def _list(found: Findings, name: str) -> tuple[str, list[str], list[list[str]], int] | None:
    rows = found.tables[f"{'download' if name == 'rejected' else 'split'}/{name}"]
    if not rows:
        return None
    title = {"rejected": "Rejected files", "duplicates": "Copies", "near_copies": "Near copies across splits"}[name]
    return title, list(rows[0]), [list(row.values()) for row in rows[:_SHOWN]], len(rows)


def _lineage(found: Findings, params: Params) -> dict[str, Any]:
    composed = compose()
    values = params.model_dump(mode="json") | {name: composed[name] for name in WITHOUT_EFFECT}
    # A section's other choice has other keys: what is null there is as if it were not.
    differing = [change for change in differences(composed, values) if change[1:] != (None, None)]
    changed = [(name, _text(before), _text(now)) for name, before, now in differing]
    md5 = hashlib.md5(BEST.read_bytes(), usedforsecurity=False).hexdigest()
    return {
        "lineage": [
            ("fingerprint", found.checkpoint.fingerprint),
            ("dataset", found.checkpoint.dataset),
            ("split", found.splits.digest),
            ("commits that recorded it", f"git log --oneline -S {md5} --all -- dvc.lock"),
            ("runs of it", f"dvc exp show -A --only-changed | grep {found.checkpoint.fingerprint[:16]}"),
            ("Lightline", __version__),
        ],
        "changed": changed,
        "commands": "\n".join(_commands(values)),
    }


def _commands(values: dict[str, Any]) -> Iterable[str]:
    try:
        overrides = overrides_for(values)
    except CompositionError:
        return ["dvc repro   # with params.yaml as it is in that commit"]
    words = [word for override in overrides for word in ("-S", shlex.quote(redacted(override)))]
    return ["dvc repro   # in the commit that recorded it", " ".join(["dvc exp run", *words]) + "   # from conf/"]


def _text(value: Any) -> str:
    return "null" if value is None else redacted(str(value))
