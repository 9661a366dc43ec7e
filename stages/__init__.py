"""The stages of dvc.yaml, one file each; none imports another."""

import lightline.interruption  # noqa: F401 (first, for `python -m`)
