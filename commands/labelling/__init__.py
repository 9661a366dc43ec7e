"""Labels that are likely wrong and pictures that are no pictures, for `python -m lightline labels`."""
