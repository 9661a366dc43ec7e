"""The dataset that lies in the workspace, for commands that speak of experiments: it may be another than theirs."""

from lightline.data.dataset import Dataset
from lightline.errors import DataError


def dataset_here(digests: set[str]) -> Dataset | None:
    """Open the workspace's dataset where it is one of these, by their digests; else, and where there is none, None."""
    try:
        dataset = Dataset()
        return dataset if dataset.digest in digests else None
    except (DataError, OSError):
        return None
