"""Whether a model may become the champion, for `python -m lightline promote`."""
