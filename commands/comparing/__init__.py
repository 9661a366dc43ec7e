"""Two experiments side by side, for `python -m lightline report`."""
