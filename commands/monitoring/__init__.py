"""What `python -m lightline monitor` is made of."""
