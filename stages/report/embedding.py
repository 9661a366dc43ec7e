"""Where images lie to each other, by what goes into the network's last layer: a map, and their nearest neighbours."""

import numpy as np

NEIGHBOURS = 5
_BLOCK = 1024  # images whose similarities are in memory at once
_GRID = 1000  # steps of the map's sides


def principal_map(embeddings: np.ndarray) -> np.ndarray:
    """Lay embeddings, float [images, features], onto their two principal components: int64 [images, 2], 0 to 1,000.

    None where there are fewer than two features or images.
    """
    if min(embeddings.shape) < 2:
        return np.zeros((0, 2), np.int64)
    centred = embeddings.astype(np.float64) - embeddings.mean(0, dtype=np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, [-1, -2]]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])  # an eigenvector's sign is anyone's choice
    places = centred @ axes
    low, high = np.quantile(places, [0.005, 0.995], axis=0)  # a few far away must not press the others together
    scaled = (places - low) / np.maximum(high - low, 1e-12)
    return np.rint(scaled.clip(-0.02, 1.02) * _GRID).astype(np.int64)


def nearest(embeddings: np.ndarray, others: np.ndarray, number: int = NEIGHBOURS) -> np.ndarray:
    """Find the others of the largest cosine similarity: int64 [images, at most number], the nearest first."""
    if not embeddings.shape[1] or not len(others):
        return np.zeros((len(embeddings), 0), np.int64)
    target = _unit(others).T
    found = []
    for start in range(0, len(embeddings), _BLOCK):
        similarity = (_unit(embeddings[start : start + _BLOCK]) @ target).round(5)
        found.append(np.argsort(-similarity, axis=1, kind="stable")[:, :number])
    return np.concatenate(found)


def least_alike(embeddings: np.ndarray, labels: np.ndarray, number: int) -> np.ndarray:
    """Find the images that are least like the nearest others of their class: int64 [at most number], the oddest first.

    By the mean cosine similarity to NEIGHBOURS of them; the only one of a class is like itself.
    """
    if not embeddings.shape[1]:
        return np.zeros(0, np.int64)
    alike = np.ones(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        unit, most = _unit(embeddings[rows]), min(NEIGHBOURS, len(rows) - 1)
        for start in range(0, len(rows) if most else 0, _BLOCK):
            similarity = unit[start : start + _BLOCK] @ unit.T
            similarity[np.arange(len(similarity)), np.arange(start, start + len(similarity))] = -np.inf  # itself
            alike[rows[start : start + _BLOCK]] = np.sort(similarity, axis=1)[:, -most:].mean(1)
    return np.argsort(alike.round(5), kind="stable")[:number]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
