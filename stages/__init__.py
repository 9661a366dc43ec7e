"""The stages of dvc.yaml, a room each; none imports another."""
