"""From a log or a folder to reports/monitor/."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from commands.monitoring.drift import oddness
from commands.monitoring.images import Folder, Images, answer_folder, read_reference
from commands.monitoring.judgement import Verdict, expect, judge
from commands.monitoring.report import REPORTS, Findings, Odd, lines, write
from commands.monitoring.source import source_digests
from commands.monitoring.windows import Windows, is_log, of_folder, of_log
from lightline.config.composition import compose
from lightline.config.load import check_params, load_params
from lightline.config.params import Monitor
from lightline.errors import DataError
from lightline_predict.classifier import Classifier

_SHOWN = 40  # pictures of a page


def monitor(images: Path, model: Path, reference: Path, count: int | None, overrides: list[str]) -> Findings:
    """Compare, write and print; gives what was found.

    Raises:
        LightlineError: there is nothing to compare, or it is not of this model.
    """
    if not images.is_dir():
        raise DataError(f"{images} is no folder; what `lightline-predict serve --log` wrote is one, and so are images.")
    settings = _settings(overrides)
    if count is not None and count < settings.min_images:
        raise DataError(
            f"--count {count}: a window of fewer than {settings.min_images} images (monitor.min_images) is never "
            f"judged. Take larger ones, or add -S monitor.min_images={count}."
        )
    classifier = Classifier(model)
    known = read_reference(reference, classifier)
    windows, folder = _windows(images, classifier, settings, count)
    verdicts = list(judge(known, windows.windows, settings))
    findings = Findings(
        images=images,
        fingerprint=classifier.metadata.get("fingerprint", ""),
        settings=settings,
        verdicts=verdicts,
        notes=[*windows.notes, *_not_compared(known, verdicts)],
        accuracy=json.loads(classifier.metadata.get("metrics", "{}")).get("accuracy"),
        expected=expect(known),
        source=source_digests() if settings.retrain else None,
    )
    found = folder is not None and any(one.findings for one in verdicts)
    write(findings, _odd(known, folder, classifier.classes) if folder and found else [])
    print(*lines(findings), f"See {REPORTS / 'report.html'}", sep="\n")
    return findings


def _settings(overrides: list[str]) -> Monitor:
    return (check_params(compose(overrides), "-S") if overrides else load_params()).monitor


def _windows(
    images: Path, classifier: Classifier, settings: Monitor, count: int | None
) -> tuple[Windows, Folder | None]:
    if is_log(images):
        model = classifier.metadata.get("fingerprint", "")
        return of_log(images, model, settings.window_hours, count, settings.windows), None
    folder = answer_folder(images, classifier)
    return of_folder(folder, count), folder


def _not_compared(reference: Images, verdicts: list[Verdict]) -> Iterator[str]:
    without = [
        one for one in verdicts if one.compared and not any(test.comparison.of == "embeddings" for test in one.tests)
    ]
    if without and reference.embedding is None:
        yield "embeddings were not compared: the network has no last layer of its own"
    elif without:
        yield (
            f"embeddings were not compared in {len(without)} windows, which have none: export the model with "
            "export.embedding=true"
        )


def _odd(reference: Images, folder: Folder, classes: list[str]) -> list[Odd]:
    """Choose the images that are least like the reference, the oddest first."""
    order = np.argsort(-oddness(reference, folder.images), kind="stable")[:_SHOWN]
    probabilities = folder.images.probabilities
    return [
        Odd(folder.files[row], classes[probabilities[row].argmax()], float(probabilities[row].max()))
        for row in order.tolist()
    ]
