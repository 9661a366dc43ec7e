"""Labels that are most likely wrong, by what a model that has not seen the images thinks of them: confident learning.

C. Northcutt, L. Jiang and I. Chuang, "Confident learning: estimating uncertainty in dataset labels" (2021).
"""

import numpy as np


def label_quality(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Tell how well each label fits, 0 to 1: half of one more than its probability less the largest of the others'.

    probabilities: float [images, classes], of a model that has not seen the images. labels: int [images].
    """
    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    return (1 + probabilities[rows, labels] - others.max(1)) / 2


def confident_joint(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count images by given and likely label: int64 [given, likely], and the likely label of each: int64 [images].

    An image counts for a class where its probability is at least the mean of what the images of that class have for it;
    for the likeliest such class, where there are several; for none (-1) where there is none.
    """
    num_classes = probabilities.shape[1]
    given = probabilities[np.arange(len(labels)), labels]
    sizes = np.bincount(labels, minlength=num_classes)
    thresholds = np.bincount(labels, given, num_classes) / np.maximum(sizes, 1)
    thresholds[sizes == 0] = np.inf
    above = np.where(probabilities >= thresholds - 1e-6, probabilities, -1.0)
    likely = np.where(above.max(1) >= 0, above.argmax(1), -1)
    counts = np.bincount(labels[likely >= 0] * num_classes + likely[likely >= 0], minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes), likely


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Choose the images whose label is most likely wrong: bool [images].

    As many of each pair of given and likely label as the confident joint, calibrated to the number of images a class,
    says that there are, those of the largest margin; and none whose label the model would give, too.
    """
    labels = labels.astype(np.int64)
    counts, _ = confident_joint(probabilities, labels)
    sizes = np.bincount(labels, minlength=len(counts))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    expected = np.rint(share * sizes[:, None]).astype(np.int64)
    chosen = np.zeros(len(labels), bool)
    for given, likely in np.argwhere(expected > 0).tolist():
        if given == likely:
            continue
        of_class = np.flatnonzero(labels == given)
        margin = probabilities[of_class, likely] - probabilities[of_class, given]
        most = of_class[np.argsort(-margin, kind="stable")[: expected[given, likely]]]
        chosen[most] = True
    return chosen & (probabilities.argmax(1) != labels)
