"""Lightline: labelled images in, one trusted ONNX classifier out."""

__version__ = "0.1.0"
