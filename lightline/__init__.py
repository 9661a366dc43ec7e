"""Lightline: labelled images in, one trusted ONNX classifier out."""

import lightline.runtime.interruption  # noqa: F401 (first, for `python -m`)

__version__ = "0.1.0"
