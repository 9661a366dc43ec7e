"""Sweeps: an Optuna study whose trials are runs of the flow `pipeline`."""

TAG = "sweep:"  # of the runs of a sweep, before its name: who cleans up leaves them to it
