"""The page of a sweep, for `python -m lightline sweep`."""
