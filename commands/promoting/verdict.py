"""The verdict, as a file, as a page of Markdown, and as the message of a tag: the same content in all three."""

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from commands.promoting.comparison import Comparison, Contender
from commands.promoting.gate import HOLD, PROMOTE, Judgement, Score
from lightline.files import json_text

_PARTS = 20  # classes and slices, those that the challenger may be worse on first
_DIGITS = 6


@dataclass(frozen=True)
class Verdict:
    """content: plain JSON; what is not there, as of a first model, has no key."""

    content: dict[str, Any]

    @property
    def verdict(self) -> str:
        return self.content["verdict"]

    @property
    def text(self) -> str:
        return json_text(self.content)

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def told(self) -> str:
        """All that matters, in lines; the first has the verdict."""
        return "\n".join(
            [f"{self.verdict}: {self.content['reasons'][0]}", *self.content["reasons"][1:], *self._sight()]
        )

    def _sight(self) -> list[str]:
        return [self.content["sight"]] if "sight" in self.content else []

    def markdown(self) -> str:
        """Write it for people."""
        content = self.content
        names = [content[role]["name"] for role in ("champion", "challenger") if role in content]
        lines = [f"# {self.verdict}: {' → '.join(names)}", "", *(f"- {reason}" for reason in content["reasons"])]
        if "scores" not in content:
            return "\n".join([*lines, ""])
        tests, numbers = content["test_set"], content["comparison"]
        left_out = f" {tests['left_out']} more are left out: the champion has learned from them."
        lines += [
            *("", content["sight"]),
            "",
            f"Comparison {numbers['number']} with this champion on these images: alpha {numbers['alpha']:.4g}.",
            f"{tests['compared']} test images of the challenger.{left_out if tests['left_out'] else ''}",
            *("", "| | champion | challenger | difference, interval |", "|---|---|---|---|"),
            *(_row(score) for score in content["scores"]),
            *(
                "",
                "| part | images | champion | challenger | p of being no worse, after Holm |",
                "|---|---|---|---|---|",
            ),
            *(
                f"| {_cell(part['by'])} = {_cell(part['value'])} | {part['images']} | {part['champion']:.4f} | "
                f"{part['challenger']:.4f} | {part['p_worse']:.3g} |"
                for part in content["parts"]
            ),
        ]
        return "\n".join([*lines, ""])


def of_comparison(compared: Comparison, judged: Judgement) -> Verdict:
    """Put down what came of a comparison."""
    content = _rounded(asdict(judged))
    numbers = {key: content.pop(key) for key in ("number", "alpha")}
    accuracy, parts = content.pop("accuracy"), content.pop("parts")
    test_set = {"compared": accuracy.pop("images"), **asdict(compared.test_set)}
    return Verdict(
        {
            "verdict": content.pop("verdict"),
            "reasons": content.pop("reasons"),
            "champion": _contender(compared.champion),
            "challenger": _contender(compared.challenger),
            "comparison": numbers,
            "sight": content.pop("sight"),
            "smallest_difference": content.pop("smallest"),
            "accuracy": accuracy,
            "scores": content.pop("scores"),
            "parts": parts[:_PARTS],
            "test_set": test_set,
        }
    )


def of_first(challenger: Contender, asked: bool, why: str) -> Verdict:
    """Put down that there was nothing to compare a model with; asked: whether a person has said --first."""
    told = f"{why} A person has made it the champion without a comparison (--first)."
    reason = told if asked else f"{why} `--first` makes it the champion without a comparison."
    return _uncompared(PROMOTE if asked else HOLD, reason, challenger=challenger)


def of_same(champion: Contender, challenger: Contender) -> Verdict:
    """Put down that the challenger is the champion's own file; that is no try, and is not counted."""
    reason = "The model is the champion's own file: there is nothing to compare."
    return _uncompared(HOLD, reason, champion=champion, challenger=challenger)


def _uncompared(verdict: str, reason: str, **models: Contender) -> Verdict:
    """models: by their role."""
    roles = {role: _contender(model) for role, model in models.items()}
    return Verdict({"verdict": verdict, "reasons": [reason], **roles})


def _contender(model: Contender) -> dict[str, Any]:
    return {
        "name": model.name,
        "commit": model.commit,
        "model": model.digest,
        "fingerprint": model.classifier.metadata.get("fingerprint"),
    }


def _row(score: dict[str, Any]) -> str:
    one = Score(**score)
    interval = "" if one.lower is None else f", {one.lower:+.4g} to {one.upper:+.4g}"
    told = f"{one.challenger - one.champion:+.4g}{interval}"
    return f"| {one.name} | {one.champion:.6g} | {one.challenger:.6g} | {told} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
