"""Sweeps: an Optuna study whose trials are runs of the flow `pipeline`."""
