"""The ONNX file, used: run, timed, described."""
