"""The runs of k folds, which between them test every image once."""

from collections.abc import Sequence


def of_fold(fold: int, num_folds: int, overrides: Sequence[str]) -> list[str]:
    """Give the overrides of one fold's run, in Hydra's grammar."""
    return [*overrides, "split=k_fold", f"split.num_folds={num_folds}", f"split.fold={fold}"]
