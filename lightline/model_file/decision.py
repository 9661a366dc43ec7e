"""When an answer is sure enough: calibrated probabilities, a rule for "I don't know", and sets that hold the class.

Fitted to the logits of images that training did not see, and written into the model file.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightline.models.temperature import fit_temperature, probabilities

if TYPE_CHECKING:  # the model file is used without pydantic
    from lightline.config.params import Export

_DECIMALS = 6  # to which probabilities are told apart: runtimes agree to fewer than float32 has
_ALL, _NONE = 0.0, 2.0  # thresholds that every probability passes, and none
_CANDIDATES = 20  # thresholds: those that accept all, 95 %, 90 %, … of the images

CONSTANTS = ("temperature", "threshold", "set_threshold")  # of the file, by these names


class Answers(NamedTuple):
    """What the model file makes of logits.

    probabilities: float32 [images, classes]. confidence: float32 [images], the largest of them. accepted: bool
    [images], sure enough. set: bool [images, classes], the classes that it may well be.
    """

    probabilities: np.ndarray
    confidence: np.ndarray
    accepted: np.ndarray
    set: np.ndarray


@dataclass(frozen=True)
class Decision:
    """What makes answers of logits, and what it was fitted for.

    temperature: logits are divided by it before the softmax.
    threshold: an answer is accepted from this confidence on; 0 accepts all, 2 none.
    set_threshold: a class is in the set from this probability on; the likeliest always is. 0 takes all classes.
    target_risk, confidence, coverage: as asked; None: not asked. images: that it was fitted to.
    """

    temperature: float = 1.0
    threshold: float = _ALL
    set_threshold: float = _NONE
    target_risk: float | None = None
    confidence: float | None = None
    coverage: float | None = None
    images: int = 0

    def answers(self, logits: np.ndarray) -> Answers:
        """Answer as the file does; logits: float [images, classes]."""
        shares = probabilities(logits, self.temperature).astype(np.float32)
        confidence = shares.max(1)
        likely = (shares >= np.float32(self.set_threshold)) | (shares >= confidence[:, None])
        return Answers(shares, confidence, confidence >= np.float32(self.threshold), likely)

    @property
    def rule(self) -> str:
        """Say from where on an answer is accepted."""
        if self.threshold == _ALL:
            return "Every answer is accepted."
        if self.threshold == _NONE:
            return "No answer is accepted."
        return f"An answer is accepted from a confidence of {self.threshold:.4g} on."

    @property
    def shortfalls(self) -> list[str]:
        """Say what was asked and could not be shown."""
        told = []
        if self.target_risk is not None and self.confidence is not None and self.threshold == _NONE:
            fewest = fewest_images(self.target_risk, self.confidence)
            why = f"it takes at least {fewest}" if self.images < fewest else "too many of the surest are wrong"
            told.append(
                f"no answer is accepted: the {self.images} validation images cannot show with export.confidence = "
                f"{self.confidence:g} that at most {self.target_risk:g} of some answers are wrong "
                f"(export.target_risk); {why}. A larger split.val or export.target_risk may do; "
                "export.target_risk=null accepts all."
            )
        if self.coverage is not None and self.set_threshold == _ALL:
            fewest = math.ceil(1 / (1 - self.coverage) - 1 - 1e-9)
            why = f"are too few, it takes {fewest}" if self.images < fewest else "have one that nothing speaks for"
            told.append(
                f"sets of all classes: for export.coverage = {self.coverage:g} the {self.images} validation images "
                f"{why}; export.coverage=null makes the set the likeliest class."
            )
        return told

    def sentence(self, judged: dict[str, float | None]) -> str:
        """Say how often it answers, and how well; judged: see `judge`."""
        if self.target_risk is None:
            return "Every answer is accepted (export.target_risk was null)."
        if judged["selective_risk"] is None:
            return "It accepts none of its answers to the test images."
        missed = " On the test images it is more." if judged["selective_risk"] > self.target_risk else ""
        return (
            f"It answers {judged['accepted_share']:.1%} of the test images and is wrong in "
            f"{_told('selective_risk', judged)} of those; asked for: at most {_percent(self.target_risk)}, with "
            f"{_percent(self.confidence or 0)} confidence.{missed}"
        )

    def sets_sentence(self, judged: dict[str, float | None]) -> str:
        """Say how large the sets are, and how often they hold the right class; judged: see `judge`."""
        if self.coverage is None:
            return "`set` is the likeliest class (`export.coverage` was null)."
        missed = "" if (judged["set_coverage_upper"] or 1) >= self.coverage else ", which is missed"
        return (
            f"`set` has {judged['set_size']:.2f} classes on average and holds the right one for "
            f"{_told('set_coverage', judged)} of the test images; asked for: {_percent(self.coverage)}{missed}."
        )

    def markdown(self, judged: dict[str, float | None]) -> str:
        """Write a section of the model card; judged: see `judge`."""
        lines = [
            f"Fitted to {self.images:,} validation images: temperature {self.temperature:.6g}; `accepted` from a "
            f"`confidence` of {self.threshold:.6g} on.",
            self.sentence(judged),
            self.sets_sentence(judged),
        ]
        return "\n\n".join([" ".join(lines), *(f"**Not shown**: {shortfall}" for shortfall in self.shortfalls)])


def _percent(share: float) -> str:
    return f"{share * 100:.3g}%"


def _told(name: str, judged: dict[str, float | None]) -> str:
    return f"{judged[name]:.1%} ({judged[f'{name}_lower']:.1%} to {judged[f'{name}_upper']:.1%})"


def fit_decision(logits: np.ndarray, labels: np.ndarray, settings: "Export") -> Decision:
    """Fit to logits, float [images, classes], and labels, int [images], of the validation split."""
    target_risk, confidence, coverage = settings.target_risk, settings.confidence, settings.coverage
    temperature = fit_temperature(logits, labels) or 1.0
    threshold, set_threshold = _ALL, _NONE
    shares = probabilities(logits, temperature) if len(logits) else np.zeros((0, 1))
    if target_risk is not None:
        found = fit_threshold(shares.max(1), shares.argmax(1) == labels, target_risk, confidence)
        threshold = _NONE if found is None else found
    if coverage is not None:
        set_threshold = fit_set_threshold(shares[np.arange(len(labels)), labels], coverage) or _ALL
    return Decision(
        temperature, threshold, set_threshold, target_risk, target_risk and confidence, coverage, len(labels)
    )


def judge(decision: Decision, logits: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Measure on other images what the decision promises; intervals as wide as its confidence, else 95 %.

    logits: float [images, classes]. labels: int [images].
    """
    answers = decision.answers(logits)
    wrong = (answers.probabilities.argmax(1) != labels)[answers.accepted]
    covered = answers.set[np.arange(len(labels)), labels]
    confidence = decision.confidence or 0.95
    return {
        "accepted_share": round(float(answers.accepted.mean()), 6),
        **_share("selective_risk", wrong, confidence),
        **_share("set_coverage", covered, confidence),
        "set_size": round(float(answers.set.sum(1).mean()), 6),
    }


def _share(name: str, found: np.ndarray, confidence: float) -> dict[str, float | None]:
    """Give a share and its two-sided interval (Clopper and Pearson); found: bool [images]."""
    count, images, each = int(found.sum()), len(found), (1 + confidence) / 2
    bounds = 1 - highest_risk(images - count, images, each), highest_risk(count, images, each)
    values = (count / images, *bounds) if images else (None, None, None)
    names = (name, f"{name}_lower", f"{name}_upper")
    return {key: value if value is None else round(value, 6) for key, value in zip(names, values, strict=True)}


def highest_risk(errors: int, images: int, confidence: float) -> float:
    """Bound the risk from above by Clopper and Pearson (1934), given so many errors among so many images."""
    from scipy.special import betaincinv

    return 1.0 if errors >= images else float(betaincinv(errors + 1, images - errors, confidence))


def fit_threshold(certainty: np.ndarray, correct: np.ndarray, target_risk: float, confidence: float) -> float | None:
    """Find the lowest confidence from which on at most target_risk of all such answers are wrong.

    That holds with probability `confidence` over the draw of these images: each candidate threshold is judged by an
    upper bound that fails with (1 − confidence) / candidates (Y. Geifman and R. El-Yaniv, "Selective classification for
    deep neural networks", 2017). None: no threshold can be shown to.

    certainty: float [images], the probability of the predicted class. correct: bool [images].
    """
    certainty = certainty.round(_DECIMALS)
    ordered = np.sort(certainty)
    each = 1 - (1 - confidence) / _CANDIDATES
    for rejected in range(_CANDIDATES):
        first = len(ordered) * rejected // _CANDIDATES
        accepted = certainty >= ordered[first] if len(ordered) else np.zeros(0, bool)
        errors, images = int((accepted & ~correct).sum()), int(accepted.sum())
        if highest_risk(errors, images, each) <= target_risk:
            return _just_below(ordered, ordered[first])
    return None


def fewest_images(target_risk: float, confidence: float) -> int:
    """Count the images that it takes to show a risk, all of them answered rightly."""
    return math.ceil(math.log((1 - confidence) / _CANDIDATES) / math.log1p(-target_risk))


def fit_set_threshold(of_label: np.ndarray, coverage: float) -> float | None:
    """Find the probability from which on a class is in the set, so that the right one is with probability coverage.

    Split conformal prediction with the least ambiguous sets (M. Sadinle et al., 2019), over the draw of these images
    and the one to answer. None: there are too few images.

    of_label: float [images], the probability that each has for its own class.
    """
    rank = math.floor((len(of_label) + 1) * (1 - coverage) + 1e-9)  # of the probability, from below
    ordered = np.sort(of_label.round(_DECIMALS))
    # Below the smallest there is none to go half the way to.
    return None if rank < 1 else _just_below(ordered, ordered[rank - 1]) or float(ordered[rank - 1] / 2)


def _just_below(ordered: np.ndarray, value: float) -> float:
    """Go half the way to the next lower one: there, rounding decides nothing."""
    lower = ordered[ordered < value]
    return float((lower[-1] + value) / 2) if len(lower) else 0.0
