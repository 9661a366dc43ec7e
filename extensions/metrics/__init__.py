"""Metrics of the test split of one's own: docs/extensions.md."""
