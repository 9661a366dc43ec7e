"""Put two experiments side by side, in a page that opens from disk.

python -m lightline report EXPERIMENT OTHER
"""

import argparse
import json
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from lightline.errors import LightlineError
from lightline.redaction import redacted
from lightline.runtime.experiment_files import WORKSPACE, read_file, reading

_SHOWN = 60  # images of each gallery
_SIDE = 96  # pixels


def main(arguments: Sequence[str]) -> int:
    """Write the page and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m lightline report", description="Put two experiments side by side.")
    parser.add_argument("first", help=f"an experiment's name, a commit, or {WORKSPACE}: what lies here")
    parser.add_argument("second", help="another one")
    parser.add_argument("--output", type=Path, default=Path("reports/compare.html"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        print(_write(options.first, options.second, options.output))
    except LightlineError as error:
        sys.exit(f"error: {error}")
    return 0


def _write(first: str, second: str, output: Path) -> str:
    from commands.comparing.pairs import compare
    from lightline.config.composition import differences
    from lightline.files import whole_file

    experiments = [_read(first), _read(second)]
    pairs = compare(*experiments)
    changed = [
        (name, redacted(str(before)), redacted(str(now)))
        for name, before, now in differences(experiments[0].params, experiments[1].params)
    ]
    with whole_file(output) as temporary:
        temporary.write_text(_page(experiments, pairs, changed), encoding="utf-8")
    return f"{_headline(first, second, pairs)}\nLook at it: {output.resolve()}"


def _read(name: str) -> Any:
    """Read what an experiment has, from the workspace or from DVC's cache and remote."""
    import pyarrow.parquet as pq

    from commands.comparing.pairs import Experiment

    with reading(name):
        table = pq.read_table(BytesIO(read_file(name, "reports/test/predictions.parquet")))
        metrics = [json.loads(read_file(name, f"reports/{stage}/metrics.json")) for stage in ("test", "export")]
        dataset = json.loads(read_file(name, "reports/train/fingerprint.json"))["dataset"]
        params = yaml.safe_load(read_file(name, "params.yaml"))
        return Experiment(name, table, metrics[0] | metrics[1], params, dataset)


def _headline(first: str, second: str, pairs: Any) -> str:
    found = pairs.differences[0]
    points, lower, upper = (100 * value for value in (found.difference, found.lower, found.upper))
    return (
        f"{second} is right on {abs(points):.2f} points {'more' if points >= 0 else 'less'} of the images than {first} "
        f"(interval {lower:+.2f} to {upper:+.2f}): {len(pairs.only_second)} that it alone gets right, "
        f"{len(pairs.only_first)} that {first} alone does (McNemar's exact test: p = {pairs.p_value:.2g})."
    )


def _page(experiments: list[Any], pairs: Any, changed: list[tuple[str, str, str]]) -> str:
    from stages.report.page import render_static

    first, second = (experiment.name for experiment in experiments)
    tested = [len(experiment.predictions) for experiment in experiments]
    return render_static(
        Path(__file__).parent / "comparing",
        first=first,
        second=second,
        headline=_headline(first, second, pairs),
        common=f"{len(pairs.ids):,} test images that both were tested on, of {tested[0]:,} and {tested[1]:,}.",
        metrics=[_cells(difference) for difference in pairs.differences],
        changed=changed,
        galleries=[
            _gallery(name, pairs, numbers, {experiment.dataset for experiment in experiments})
            for name, numbers in ((second, pairs.only_second), (first, pairs.only_first))
        ],
    )


def _cells(found: Any) -> list[str]:
    def text(value: float | None, form: str = ".4g") -> str:
        return "" if value is None else format(value, form)

    interval = "" if found.lower is None else f"{found.lower:+.4g} to {found.upper:+.4g}"
    return [found.name, text(found.first), text(found.second), text(found.difference, "+.4g"), interval]


def _gallery(name: str, pairs: Any, numbers: Any, datasets: set[str]) -> tuple[str, list[dict[str, Any]], int]:
    chosen = numbers[:_SHOWN].tolist()
    thumbs = _thumbs([pairs.ids[number] for number in chosen], datasets)
    images = []
    for number in chosen:
        thumb = thumbs.get(pairs.ids[number])
        said = [
            f"{answers[number]} {confidence[number]:.0%}"
            for answers, confidence in zip(pairs.answers, pairs.confidences, strict=True)
        ]
        images.append(
            {
                "id": pairs.ids[number],
                "label": pairs.labels[number],
                "first": said[0],
                "second": said[1],
                "thumb": thumb,
                "kind": "png" if thumb and thumb.startswith("iVBOR") else "jpeg",
            }
        )
    return name, images, len(numbers)


def _thumbs(ids: list[str], datasets: set[str]) -> dict[str, str]:
    """Make pictures of those images that the workspace's dataset has, where it is one of these, by their digests."""
    from commands.comparing.dataset_here import dataset_here
    from stages.report.pictures import pictures

    if (dataset := dataset_here(datasets)) is None:
        return {}
    positions = {name: row for row, name in enumerate(dataset.column("id"))}
    there = [name for name in ids if name in positions]
    return dict(zip(there, pictures(dataset, [positions[name] for name in there], _SIDE), strict=True))
