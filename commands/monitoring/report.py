"""Write down what was found: reports/monitor/report.json, report.html and windows.csv, and lines for a terminal."""

import base64
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commands.monitoring.judgement import Estimate, Test, Verdict
from lightline.config.params import Monitor
from lightline.files import whole_file, write_csv, write_json

REPORTS = Path("reports/monitor")
_MEASURES = {"ks": "distance", "cramers_v": "Cramér's V", "mmd": "share of MMD²", "auc": "AUC above 0.5"}
_SIDE = 96  # pixels of a picture
_PLACES = 6


@dataclass(frozen=True)
class Odd:
    """An image that is least like the test images, and what the model says of it."""

    path: Path
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Findings:
    """All that a comparison came to.

    Attributes:
        images: the log or folder.
        fingerprint: of the model.
        notes: what was left out, in sentences.
        accuracy: measured on the test images; None where the model file does not say.
        expected: what confidence expects of the same images.
        source: see `source.source_digests`; None where it was not asked.
    """

    images: Path
    fingerprint: str
    settings: Monitor
    verdicts: list[Verdict]
    notes: list[str]
    accuracy: float | None
    expected: Estimate
    source: dict[str, str | None] | None

    @property
    def compared(self) -> list[Verdict]:
        return [one for one in self.verdicts if one.compared]

    @property
    def alarm(self) -> Verdict | None:
        """Give the latest window of those that raise an alarm."""
        return next((one for one in reversed(self.verdicts) if one.alarms), None)

    def headline(self) -> str:
        if not self.compared:
            if not self.verdicts:
                return "too few to say: there is no whole window yet; `--count` says how many images make one"
            most = max(one.images for one in self.verdicts)
            return f"too few to say: no window has {self.settings.min_images} images, the largest {most}"
        if self.alarm is None:
            found = sum(bool(one.findings) for one in self.compared)
            once = f"; {found} of them differ alone, which chance can do" if found else ""
            return f"no drift in {len(self.compared)} windows{once}"
        over = "" if self.alarm is self.compared[-1] else ", and is over"
        return f"drift, last in {self.alarm.name}{over}: {', '.join(map(told, self.alarm.alarms))}"


def told(test: Test) -> str:
    """Say what a test found."""
    one = test.comparison
    return f"{one.of} ({one.test}: {_MEASURES[one.measure]} {one.effect:.3f}, p = {test.p_value:.2g})"


def lines(findings: Findings) -> Iterator[str]:
    """Sum up for a terminal."""
    yield findings.headline()
    if findings.compared:
        last = findings.compared[-1]
        known = "" if findings.accuracy is None else f"; measured on the test images: {findings.accuracy:.3f}"
        estimate = f"an estimate by calibrated confidence: {_interval(last.estimate)}{known}"
        yield f"expected accuracy in {last.name}, {estimate}"
    yield from (f"note: {note}" for note in findings.notes)


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.accuracy:.3f} ({estimate.lower:.3f} to {estimate.upper:.3f})"


def write(findings: Findings, odd: list[Odd]) -> None:
    """Write reports/monitor/; odd: the pictures to show."""
    header = ("window", "images", "of", "test", "measure", "effect", "p_value", "found", "alarm", "expected_accuracy")
    write_csv(REPORTS / "windows.csv", header, _rows(findings))
    write_json(REPORTS / "report.json", _content(findings))
    with whole_file(REPORTS / "report.html") as temporary:
        temporary.write_text(_page(findings, odd), encoding="utf-8")


def _rows(findings: Findings) -> Iterator[tuple[Any, ...]]:
    for one in findings.verdicts:
        if not one.compared:
            yield (one.name, one.images, *[""] * 8)
        expected = one.estimate and round(one.estimate.accuracy, _PLACES)
        for test in one.tests:
            of = test.comparison
            numbers = round(of.effect, _PLACES), float(f"{test.p_value:.4g}")
            yield (one.name, one.images, of.of, of.test, of.measure, *numbers, test.found, test in one.alarms, expected)


def _content(findings: Findings) -> dict[str, Any]:
    return {
        "images": str(findings.images),
        "model": findings.fingerprint,
        "headline": findings.headline(),
        "alarm": findings.alarm and findings.alarm.name,
        "is_over": bool(findings.alarm and findings.alarm is not findings.compared[-1]),
        "notes": findings.notes,
        "accuracy_on_test": findings.accuracy,
        "expected_on_test": asdict(findings.expected),
        "windows": [
            {
                "name": one.name,
                "images": one.images,
                "enough": one.compared,
                "findings": [told(test) for test in one.findings],
                "alarms": [told(test) for test in one.alarms],
                "expected_accuracy": one.estimate and asdict(one.estimate),
            }
            for one in findings.verdicts
        ],
        "settings": findings.settings.model_dump(mode="json"),
        "source": findings.source,
    }


def _page(findings: Findings, odd: list[Odd]) -> str:
    from stages.report.page import render_static

    return render_static(
        Path(__file__).parent,
        images=str(findings.images),
        model=findings.fingerprint,
        headline=findings.headline(),
        is_alarm=findings.alarm is not None,
        notes=findings.notes,
        accuracy="" if findings.accuracy is None else f"{findings.accuracy:.3f}",
        expected=_interval(findings.expected),
        windows=[_window(one, findings.settings) for one in findings.verdicts],
        tests=_tests(findings),
        odd=[
            {"name": str(one.path), "said": f"{one.predicted} {one.confidence:.0%}", "thumb": _thumb(one.path)}
            for one in odd
        ],
    )


def _window(one: Verdict, settings: Monitor) -> tuple[str, int, str, str, str]:
    if not one.compared:
        return one.name, one.images, "", f"too few to say: fewer than {settings.min_images}", ""
    found = "; ".join(map(told, one.findings)) or "nothing"
    return one.name, one.images, _interval(one.estimate), found, "alarm" if one.alarms else ""


def _tests(findings: Findings) -> list[tuple[str, str, str, str, str, str]]:
    """List the tests of the latest window that was compared, with what each takes to find something."""
    floors = findings.settings.floors.model_dump()
    return [
        (
            test.comparison.of,
            test.comparison.test,
            f"{_MEASURES[test.comparison.measure]} {test.comparison.effect:.3f}",
            f"{floors[test.comparison.measure]:g}",
            f"{test.p_value:.2g}",
            "found" if test.found else "",
        )
        for test in (findings.compared[-1].tests if findings.compared else [])
    ]


def _thumb(path: Path) -> str | None:
    from PIL import Image

    from lightline_predict.images import decode_small

    try:
        image = decode_small(path.read_bytes(), _SIDE)
    except (OSError, ValueError, Image.DecompressionBombError):  # gone meanwhile, or of a rare mode
        return None
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
