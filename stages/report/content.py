"""What the page says and draws, from the findings: texts for its template and data for its script."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightline.config.params import Params
from lightline.data.splits import stratified_choice
from lightline.models.device import choose_device
from lightline.models.inference import predict_embeddings
from stages.report.embedding import least_alike, nearest, principal_map
from stages.report.findings import Findings
from stages.report.heat_maps import heat_maps
from stages.report.pictures import MOST, MOST_TRAIN, pictures, sample, side

_MATRIX_UP_TO = 40  # classes; of more, the pairs that are confused most
_PAIRS, _TOP, _SET = 60, 3, 8  # shown of pairs, of probabilities and of a set's classes
_HEAT = 48  # images of each gallery with a map of where the network looked
_MOST_VALUES = 50  # of a column by which images are filtered
_DIGITS = 4
_ODD = 24  # training images that are least like the others


def data_of(found: Findings, params: Params) -> dict[str, Any]:
    """Gather what the script draws; images stand in the order of the split."""
    shown = sample(found.correct, found.labels)
    train = stratified_choice(found.dataset.labels, found.splits.rows("train"), MOST_TRAIN, 0)
    pixels, others = side(len(shown)), _embeddings(found, train, params)
    return {
        "classes": found.checkpoint.classes,
        "pixelated": _are_small(found, shown),
        "images": _images(found, shown, pixels) | _places(found, shown, others),
        "train": {
            "odd": least_alike(others, found.dataset.labels[train], _ODD).tolist(),
            "id": found.dataset.column("id")[train].tolist(),
            "label": found.dataset.labels[train].tolist(),
            "thumb": pictures(found.dataset, train, min(pixels, 96)),
        },
        "slices": {name: column for name, values in found.columns.items() if (column := _column(values, shown))},
        "confusion": _confusion(found),
        "heat": _heat(found, shown),
    }


def sampled(found: Findings) -> str:
    """Say which images the page has."""
    if len(found.labels) <= MOST:
        return f"All {len(found.labels):,} test images."
    return (
        f"{MOST:,} of {len(found.labels):,} test images: the wrong ones, and of the others as many of every class as "
        "can be. Numbers above are of all of them."
    )


def _are_small(found: Findings, shown: np.ndarray) -> bool:
    return bool(np.median(found.dataset.column("width")[found.rows[shown]]) < 64)


def _images(found: Findings, shown: np.ndarray, pixels: int) -> dict[str, Any]:
    answers, likeliest = found.answers, np.argsort(-found.answers.probabilities[shown], axis=1, kind="stable")
    probabilities = answers.probabilities[shown]
    suspect = found.suspect[shown]
    sets = [row[answers.set[number][row]] for number, row in zip(shown, likeliest, strict=True)]
    return {
        "id": [found.ids[number] for number in shown],
        "thumb": pictures(found.dataset, found.rows[shown], pixels),
        "label": found.labels[shown].tolist(),
        "predicted": found.predicted[shown].tolist(),
        "confidence": _rounded(answers.confidence[shown]),
        "accepted": answers.accepted[shown].astype(int).tolist(),
        "top": [
            [[int(number), _rounded(row[number])] for number in best[:_TOP]]
            for row, best in zip(probabilities, likeliest, strict=True)
        ],
        "set": [one[:_SET].tolist() for one in sets],
        "set_size": [len(one) for one in sets],
        "suspect": [None if np.isinf(value) else _rounded(value) for value in suspect],
    }


def _embeddings(found: Findings, train: np.ndarray, params: Params) -> np.ndarray:
    """Compute those of training images; of no images where the network has none."""
    if not found.embeddings.shape[1]:
        return np.zeros((0, 0))
    settings = found.checkpoint.preprocessing, params.evaluate.batch_size, choose_device(params.hardware)
    return predict_embeddings(found.checkpoint.network(), found.dataset, train, *settings)[1]


def _places(found: Findings, shown: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """Find each image's place on the map, and the training images nearest to it; others: what these embed to."""
    embeddings = found.embeddings[shown]
    return {"place": principal_map(embeddings).tolist(), "near": nearest(embeddings, others).tolist()}


def _column(values: Sequence[str | None], shown: np.ndarray) -> dict[str, Any] | None:
    """Give a column's values and which of them each image has, -1 for none; None where they have nothing in common."""
    of_images = [values[number] for number in shown]
    names = sorted({value for value in of_images if value is not None})
    if not 0 < len(names) <= _MOST_VALUES:
        return None
    number = {name: position for position, name in enumerate(names)}
    return {"values": names, "of": [-1 if value is None else number[value] for value in of_images]}


def _confusion(found: Findings) -> dict[str, Any]:
    num_classes = len(found.checkpoint.classes)
    pairs, counts = np.unique(found.labels.astype(np.int64) * num_classes + found.predicted, return_counts=True)
    if num_classes <= _MATRIX_UP_TO:
        matrix = np.zeros(num_classes**2, int)
        matrix[pairs] = counts
        return {"counts": matrix.reshape(num_classes, num_classes).tolist()}
    labels, answers = np.divmod(pairs, num_classes)
    most = [number for number in np.argsort(-counts, kind="stable") if labels[number] != answers[number]][:_PAIRS]
    return {"pairs": [[int(labels[number]), int(answers[number]), int(counts[number])] for number in most]}


def _heat(found: Findings, shown: np.ndarray) -> dict[str, Any]:
    """Make maps of where the network looked for what the galleries begin with."""
    confidence, wrong = found.answers.confidence[shown], ~found.correct[shown]
    galleries = (
        np.flatnonzero(wrong)[np.argsort(-confidence[wrong], kind="stable")],
        np.argsort(confidence, kind="stable"),
        np.argsort(np.where(found.answers.accepted[shown], np.inf, -confidence), kind="stable"),
        np.argsort(found.suspect[shown], kind="stable"),
    )
    chosen = np.unique(np.concatenate([one[:_HEAT] for one in galleries]))
    maps = heat_maps(found.checkpoint, found.dataset, found.rows[shown[chosen]])
    if maps is None:
        return {"maps": {}, "crop": 1, "told": "No map of where it looked: this network has none of several places."}
    encoded = ([*one.shape, base64.b64encode(one.tobytes()).decode()] for one in maps)
    told = "Maps of where it looked are there for the first images of the galleries."
    crop = found.checkpoint.preprocessing.crop_pct
    return {"maps": dict(zip(map(str, chosen.tolist()), encoded, strict=True)), "crop": crop, "told": told}


def _rounded(values: Any) -> Any:
    return np.asarray(values, np.float64).round(_DIGITS).tolist()
